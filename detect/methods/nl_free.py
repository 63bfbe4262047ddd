"""nl-l1, nl-l2, nl-cka, nl-dc: Neural Lineage without training (Yu & Wang, CVPR 2024, arXiv 2406.11129).

In: models of one signature; for features the user's function and batch. Out: each child's parent is the candidate with the most similar
features, by default after the candidate's fine-tuning was approximated (detect/methods/nl_approximation.py).

Which models may be parents is an input (setting `parents`); without that every other model is a candidate of every model, and
since the similarity has no direction, answers may form circles. It never abstains. l1 and l2 also work on the weights themselves,
where the approximation has no meaning: moved by the whole difference, every candidate becomes the child.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lineage.detect.align import NotComparable, align
from lineage.detect.decision import Decision
from lineage.detect.methods.nl_approximation import Approximation, Forward, NoFeatures, features_of, similarities
from lineage.detect.methods.registry import MethodInputs, NeedsMore, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions, at_least
from lineage.detect.model_input import Subject
from lineage.detect.options import Options

FEATURE_INDEX = 2  # of the layers that the function gives, as in the released code
ON_WEIGHTS = ("l1", "l2")


def decide(
    similarity: str,
    subjects: Sequence[Subject],
    options: Options,
    device: torch.device,
    given: MethodInputs | None = None,
) -> list[Decision]:
    """
    Args:
        similarity: l1, l2, lp, lse, cka or dc.
    Raises:
        NeedsMore: features are needed, and there is no function or batch. CannotTake: too few models, or no candidate.
        NoFeatures: the function gave none.
    """
    name = f"nl-{similarity}"
    settings = settings_of(name, options.settings)
    similarity = settings.get("variant", similarity)
    at_least(2, subjects, name)
    parents = candidates_among(subjects, settings["parents"], name)
    if given is None:
        if similarity not in ON_WEIGHTS:
            raise NeedsMore(
                f"method {name} compares features: it needs the computation and data",
                "give --forward package.module:function and --batch FILE.safetensors",
            )
        table = on_weights(similarity, subjects, device)
    else:
        approximation = Approximation(settings["approximation"], settings["scale"])
        table = on_features(
            similarity, subjects, parents, given, settings["layer"], settings["samples"], approximation, device
        )
    return answers(name, subjects, parents, table, children_only=bool(settings["parents"]))


decide_l1 = partial(decide, "l1")
decide_l2 = partial(decide, "l2")
decide_cka = partial(decide, "cka")
decide_dc = partial(decide, "dc")


def candidates_among(subjects: Sequence[Subject], patterns: str, name: str) -> list[int]:
    """Indices of the models that may be parents: those whose name fits one of the comma-separated patterns; all where there are none.

    Raises:
        CannotTake: no model fits.
    """
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    if not wanted:
        return list(range(len(subjects)))
    fitting = [i for i, s in enumerate(subjects) if any(fnmatch(s.label, w) or fnmatch(s.id, w) for w in wanted)]
    if not fitting:
        raise CannotTake(
            f"method {name}: none of the models is named like {patterns}", "see the names of `lineage scan`"
        )
    return fitting


def on_weights(similarity: str, subjects: Sequence[Subject], device: torch.device) -> Tensor:
    """(m, m) float64, [child, parent]: similarity of the sampled weights themselves.

    Raises:
        CannotTake: they share no weights.
    """
    try:
        layers = align([s.sketch for s in subjects], device)
    except NotComparable as error:
        raise CannotTake(error.message, error.try_next) from error
    flat = torch.cat([layer.values.flatten(1) for layer in layers], 1).double()  # (m, v)
    power = 1.0 if similarity == "l1" else 2.0
    distance = torch.cdist(flat[None], flat[None], p=power, compute_mode="donot_use_mm_for_euclid_dist")[0]
    return -(distance / flat.shape[1] if similarity == "l1" else distance / flat.shape[1] ** 0.5).cpu()


def on_features(
    similarity: str,
    subjects: Sequence[Subject],
    parents: Sequence[int],
    given: MethodInputs,
    layer: str,
    samples: int,
    approximation: Approximation,
    device: torch.device,
) -> Tensor:
    """(m, m) float64, [child, parent]: similarity of features; nan in the columns of models that are no candidates."""
    forward = forward_of(given, layer, samples, device)
    models = [{n: t.to(device) for n, t in given.tensors(s.id).items()} for s in subjects]
    theirs = [features_of(model, forward) for model in models]
    table = torch.full((len(subjects), len(subjects)), torch.nan, dtype=torch.float64)
    for place in parents:
        others = [i for i in range(len(subjects)) if i != place]
        table[others, place] = similarities(
            models[place],
            [models[i] for i in others],
            forward,
            [similarity],
            approximation,
            statistics(models[place]),
            [theirs[i] for i in others],
        )[0]
    return table


def forward_of(given: MethodInputs, layer: str, samples: int, device: torch.device) -> Forward:
    """The user's function on the first samples of the batch, cut down to one layer: the one named, else the third, else the last.

    Raises (when called):
        NoFeatures: the function gives no mapping, or no such layer.
    """
    batch = {n: t[:samples].to(device) for n, t in given.batch.items()}

    def run(tensors: Mapping[str, Tensor]) -> Tensor:
        found: Any = given.forward(tensors, batch)
        if isinstance(found, Tensor):
            return found
        if not isinstance(found, Mapping) or not found:
            raise NoFeatures(f"the function gave {type(found).__name__}", "it has to give features by name")
        if layer and layer not in found:
            raise NoFeatures(f"the function gives no layer {layer!r}", f"it gives {', '.join(map(str, found))}")
        values = list(found.values())
        chosen: Tensor = found[layer] if layer else values[min(FEATURE_INDEX, len(values) - 1)]
        return chosen.flatten(1) if chosen.ndim > 1 else chosen[:, None]

    return run


def answers(
    name: str, subjects: Sequence[Subject], parents: Sequence[int], table: Tensor, children_only: bool
) -> list[Decision]:
    """Decisions from similarities [child, parent]: the most similar candidate is the parent; candidates that were named are roots."""
    allowed = torch.zeros(len(subjects), dtype=torch.bool)
    allowed[list(parents)] = True
    table = torch.where(allowed, table, -torch.inf).clone().fill_diagonal_(-torch.inf)
    best = table.argmax(1).tolist()
    chosen: list[int | None] = []
    evidence: list[dict[str, Any]] = []
    for child, parent in enumerate(best):
        numbers = {} if children_only and bool(allowed[child]) else _evidence(table[child], subjects)
        chosen.append(parent if numbers else None)
        evidence.append(numbers)
    return as_decisions(name, subjects, chosen, evidence=evidence)


def _evidence(similar: Tensor, subjects: Sequence[Subject]) -> dict[str, Any]:
    values, order = similar.sort(descending=True)
    if not bool(values[0].isfinite()):
        return {}
    numbers: dict[str, Any] = {"similarity": float(values[0])}
    if len(order) > 1 and bool(values[1].isfinite()):
        numbers |= {"next": subjects[int(order[1])].id, "next_similarity": float(values[1])}
    return numbers


def statistics(tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Running statistics, which training does not move by gradients."""
    return frozenset(
        n for n in tensors if n.endswith(("running_mean", "running_var", "moving_mean", "moving_variance"))
    )
