"""Merges: a model whose every weight is one weighted mean of the weights of two others lies exactly on the line between them.

Training never ends on such a line: its steps have their own direction in every layer. Only means of two models are found (model soups,
linear merges, checkpoint averages of two); spherical and trimmed merges are not means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lineage.detect.arrays import Tensor, torch
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.gram import Gram
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

MERGED = 0.98
CERTAIN = 12.0
CHILD = 0.3  # a child of a mean is nearer to it than its parts by this factor, squared distances
LOOKED_AT = 12  # nearest neighbours of a model that may be its parts
OFF = 1e-3  # of the distance of the parts: farther off the line is no mean
OFF_ROUNDED = 0.05  # the same where the model is stored coarsely, so that rounding takes it off the line
LEAST = 0.02  # share of a part at least
SCALED = 0.98  # cosine of the line and of the model from which on the parts differ by scaling alone


@dataclass(frozen=True, slots=True)
class Merge:
    """model = (1 - share) * first + share * second; indices of models. off: distance from that, in distances of the parts."""

    model: int
    first: int
    second: int
    share: float
    off: float


def merges(gram: Gram, lengths: Tensor, neighbours: Tensor, digits: Sequence[int]) -> dict[int, Merge]:
    """
    Args:
        gram: of m models; lengths: (m,) float64, squared; neighbours: (m, k) int64, nearest first.
        digits: of the significand in which each model is stored.
    Returns:
        model -> the mean that fits it best, for those that are one.
    """
    products = gram.products  # (g, m, m)
    found: dict[int, Merge] = {}
    for model in range(len(lengths)):
        near = neighbours[model, :LOOKED_AT]
        if len(near) < 2:
            continue
        shared, to_model = products[:, near[:, None], near], products[:, near, model]  # (g, k, k), (g, k)
        # inner products of the differences to the model, (g, k, k):
        seen = shared - to_model[:, None, :] - to_model[:, :, None] + products[:, model, model, None, None]
        whole = seen.sum(0)
        own = whole.diagonal()
        apart = own[:, None] + own[None, :] - 2 * whole  # (k, k): squared distance of the parts
        share = ((own[:, None] - whole) / apart.clamp(min=1e-300)).clamp(0, 1)  # of the second
        rest = own[:, None] * (1 - share) ** 2 + own[None, :] * share**2 + 2 * share * (1 - share) * whole
        off = (rest.clamp(min=0) / apart.clamp(min=1e-300)).sqrt()
        rounding = 2.0 ** (-digits[model] - 1) * (lengths[model] / apart.clamp(min=1e-300)).sqrt()
        allowed = torch.where(rounding > OFF, (2 * rounding).clamp(max=OFF_ROUNDED), torch.full_like(rounding, OFF))
        possible = (off <= allowed) & (share > LEAST) & (share < 1 - LEAST) & (apart > 1e-12 * lengths[model])
        if not possible.any():
            continue
        at = int(torch.where(possible, off, torch.inf).argmin())
        i, j = divmod(at, len(near))
        first, second = int(near[i]), int(near[j])
        longer = (lengths[second] - lengths[first]).abs() / (2 * (apart[i, j] * lengths[model]).sqrt())
        if float(longer) < SCALED and _alike_everywhere(
            seen[:, i, i], seen[:, j, j], seen[:, i, j], float(share[i, j])
        ):
            found[model] = Merge(
                model, min(first, second), max(first, second), _share(first, second, share[i, j]), float(off[i, j])
            )
    return found


def parts_first(found: Mapping[int, Merge], models: int) -> Tensor:
    """(m, m) float64, [a, b]: log-odds that a came before b: the parts of a mean were there before it."""
    odds = torch.zeros(models, models, dtype=torch.float64)
    for merge in found.values():
        for part in (merge.first, merge.second):
            odds[part, merge.model], odds[merge.model, part] = CERTAIN, -CERTAIN
    return odds


def leaf_merges(found: Mapping[int, Merge], distance: Tensor) -> set[int]:
    """Those means that nothing seems to come from: no part of another, and no model is much nearer to them than their own parts are.

    They are settled, and would only disturb the family's tree: a mean of siblings lies near their parent.

    Args:
        distance: (m, m) float64, squared.
    """
    parts = {part for merge in found.values() for part in (merge.first, merge.second)}
    return {m for m in found if m not in parts and not _has_children(found[m], distance)}


def _has_children(merge: Merge, distance: Tensor) -> bool:
    away = distance[merge.model].clone()
    own = [merge.model, merge.first, merge.second]
    limit = CHILD * float(away[own[1:]].min())
    away[own] = torch.inf
    return float(away.min()) < limit


def renumbered(found: Mapping[int, Merge], stay: Sequence[int]) -> dict[int, Merge]:
    """The same means among the models that stay, by their new places."""
    place = {old: new for new, old in enumerate(stay)}
    return {
        place[m]: Merge(place[m], place[merge.first], place[merge.second], merge.share, merge.off)
        for m, merge in found.items()
        if m in place
    }


def _share(first: int, second: int, share: Tensor) -> float:
    """Share of the one that is named second."""
    return float(share) if first < second else 1 - float(share)


def _alike_everywhere(first: Tensor, second: Tensor, both: Tensor, share: float) -> bool:
    """Whether the share is the same in every group that differs: (g,) squared distances to both parts and their inner product."""
    apart = first + second - 2 * both
    moved = apart > 1e-6 * apart.sum()
    here = (first - both)[moved] / apart[moved]
    return bool(moved.any()) and float((here - share).abs().max()) < 0.05


def merged_decision(models: Sequence[tuple[str, str]], merge: Merge) -> Decision:
    """A model that lies exactly between two others is their weighted mean: it has two parents. models: id and name of each."""
    first, second = models[merge.first], models[merge.second]
    shares = sorted(((first[0], 1 - merge.share), (second[0], merge.share)), key=lambda pair: -pair[1])
    return Decision(
        model=models[merge.model][0],
        answer=AnswerKind.PARENT,
        probability=MERGED,
        parent=shares[0][0],
        relation=Relation.MERGED_FROM,
        candidates=tuple(Candidate(name, MERGED) for name, _ in shares),
        decided_by=("merge",),
        evidence={"shares": {name: round(share, 4) for name, share in shares}, "off_the_line": merge.off},
        reason=Reason(
            "merge",
            {"first_share": 1 - merge.share, "second_share": merge.share},
            {"first": first[0], "second": second[0]},
        ),
        merged_from=tuple((name, round(share, 4)) for name, share in shares),
    )
