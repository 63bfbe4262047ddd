"""Similarity of a child to candidate parents after the candidates' fine-tuning was approximated (Neural Lineage, learning-free).

A candidate with weights p and features f(p) is moved towards the child's weights c to first order, and compared with the child's
features there. Two ways, both of the paper (Yu & Wang, CVPR 2024, arXiv 2406.11129):

    linear   s(f(p) + a J_p (c - p), f(c))                         as proposed; one Jacobian-vector product a pair
    taylor   s(f(p), f(c)) + a <grad_p s(f(p), f(c)), c - p>       merged into one vector-Jacobian product; what the released code does
    none     s(f(p), f(c))                                         the baseline

They agree where fine-tuning was small. Where it was not, the merged step overshoots most for the candidates that are farthest away
(bench/NOTES.md), so `linear` is the default.

The computation is the caller's function, never code that came with a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vjp

from lineage.detect.methods.nl_similarity import SIMILARITIES, reported
from lineage.graphdb.schema import Failure

Tensors = Mapping[str, Tensor]
Forward = Callable[[Tensors], Tensor]  # tensors of one model -> (samples, ...) features, always on the same batch
APPROXIMATIONS = ("linear", "taylor", "none")


class NoFeatures(Failure):
    """The caller's function gave nothing that features could be made of."""


@dataclass(frozen=True, slots=True)
class Approximation:
    """kind: one of APPROXIMATIONS. scale: a in the formulas (grad_scale of the released code: 1.0, its README's example 0.01)."""

    kind: str = "linear"
    scale: float = 1.0


def features_of(tensors: Tensors, forward: Forward) -> Tensor:
    """(n, ...) float: what the caller's function makes of one model.

    Raises:
        NoFeatures: it failed, or gave something else than finite numbers, a row for each sample.
    """
    try:
        with torch.no_grad():
            found = forward(tensors)
    except Failure:
        raise
    except Exception as error:  # the caller's own code: whatever it raises is said, not guessed at
        raise NoFeatures(
            f"the function for features failed: {type(error).__name__}: {error}",
            "it is called with a model's tensors by their names in the file, and the batch",
        ) from error
    if not isinstance(found, Tensor) or found.ndim < 2 or not found.is_floating_point():
        kind = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise NoFeatures(
            f"the function for features gave {kind}", "it has to give floats, one row of features for each sample"
        )
    if not bool(found.isfinite().all()):
        raise NoFeatures("the features hold NaN or infinite values", "check the batch, and the function for features")
    return found


def movable(parent: Tensors, children: Sequence[Tensors], fixed: frozenset[str] = frozenset()) -> list[str]:
    """Names of floating tensors that all of them have in one shape: what fine-tuning moves. Heads of other widths drop out."""
    return [
        name
        for name, value in parent.items()
        if value.is_floating_point()
        and name not in fixed
        and all(name in child and child[name].shape == value.shape for child in children)
    ]


def similarities(
    parent: Tensors,
    children: Sequence[Tensors],
    forward: Forward,
    names: Sequence[str],
    approximation: Approximation | None = None,
    fixed: frozenset[str] = frozenset(),
    child_features: Sequence[Tensor] | None = None,
) -> Tensor:
    """
    Args:
        parent, children: tensors by name, one model each.
        names: of similarities, keys of SIMILARITIES.
        fixed: tensors that are not moved (running statistics of batch norm).
        child_features: the children's features if they are known already, (n, d) each.
    Returns:
        (len(names), len(children)) float64, larger is more alike.
    Raises:
        NoFeatures: see `features_of`; the features of parent and child have different shapes where that matters.
    """
    approximation = approximation or Approximation()
    theirs = list(child_features or [features_of(child, forward) for child in children])
    own = features_of(parent, forward)
    for other in theirs:
        if other.shape != own.shape and not set(names) <= {"cka", "dc"}:
            raise NoFeatures(
                f"features of {tuple(own.shape)} and {tuple(other.shape)} cannot be subtracted",
                "let the function give features from below the head, or use nl-cka or nl-dc",
            )
    if approximation.kind == "none":
        return _table(names, [[reported(n, SIMILARITIES[n](own, f)) for f in theirs] for n in names])
    if approximation.kind == "taylor":
        values, along = taylor_terms(parent, children, theirs, forward, names, fixed)
        moved = values + approximation.scale * along
        return torch.stack([reported(n, row) for n, row in zip(names, moved, strict=True)])
    own, changes = features_and_changes(parent, children, forward, fixed)
    moved_to = [own + approximation.scale * change for change in changes]
    return _table(
        names, [[reported(n, SIMILARITIES[n](m, f)) for m, f in zip(moved_to, theirs, strict=True)] for n in names]
    )


def taylor_terms(
    parent: Tensors,
    children: Sequence[Tensors],
    theirs: Sequence[Tensor],
    forward: Forward,
    names: Sequence[str],
    fixed: frozenset[str] = frozenset(),
) -> tuple[Tensor, Tensor]:
    """s(f(p), f(c)) and <grad_p s, c - p>, each (len(names), len(children)) float64, before `reported`.

    For one similarity the candidate's forward pass is made once, with one pull-back for each child, as published. For several, how the
    features change along c - p is found once for each child instead and serves them all: <grad_f s, J_p (c - p)> is the same number.
    """
    if len(names) > 1:
        own, changes = features_and_changes(parent, children, forward, fixed)
        pairs = [[taylor_from(own, c, f, n) for c, f in zip(changes, theirs, strict=True)] for n in names]
        first, second = ([[pair[i] for pair in row] for row in pairs] for i in (0, 1))
        return _table(names, first), _table(names, second)
    moving = movable(parent, children, fixed)
    at, rest = {n: parent[n] for n in moving}, {n: v for n, v in parent.items() if n not in moving}
    own, pull = vjp(lambda moved: forward({**rest, **moved}), at)[:2]
    values: list[list[Tensor]] = [[] for _ in names]
    along: list[list[Tensor]] = [[] for _ in names]
    for child, features in zip(children, theirs, strict=True):
        steps = {n: child[n] - at[n] for n in moving}
        for place, name in enumerate(names):
            similarity = SIMILARITIES[name]
            value, back = vjp(lambda f, s=similarity, g=features: s(f, g), own.detach())[:2]
            (gradient,) = pull(back(torch.ones_like(value))[0])
            values[place].append(value)
            along[place].append(torch.stack([(gradient[n] * steps[n]).sum() for n in moving]).sum())
    return _table(names, values), _table(names, along)


def features_and_changes(
    parent: Tensors, children: Sequence[Tensors], forward: Forward, fixed: frozenset[str] = frozenset()
) -> tuple[Tensor, list[Tensor]]:
    """f(p), and J_p (c - p) of every child: how the candidate's features change, to first order, when its weights move to the child's."""
    moving = movable(parent, children, fixed)
    at, rest = {n: parent[n] for n in moving}, {n: v for n, v in parent.items() if n not in moving}
    own, changes = features_of(parent, forward), []
    for child in children:
        step = {n: child[n] - at[n] for n in moving}
        changes.append(jvp(lambda moved: forward({**rest, **moved}), (at,), (step,))[1])
    return own, changes


def taylor_from(own: Tensor, change: Tensor, theirs: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """s and <grad_f s, change>, scalars."""
    value, back = vjp(lambda f: SIMILARITIES[name](f, theirs), own)[:2]
    return value, (back(torch.ones_like(value))[0] * change).sum()


def _table(names: Sequence[str], rows: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(list(row)) for row in rows]).double().detach().cpu()
