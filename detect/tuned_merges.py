"""Models trained on from a merge, and what came before what.

Trained on from a merge, a model goes neither back to its base nor to one of its parts: of the way to each of them it goes next to nothing,
whereas another child of the base goes that way as far as the base, and a child of a part as far as the part. In: the merges of a family
and distances. Out: the merge that each such model was trained from, the merges that nothing comes from, and log-odds of who came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lineage.detect.arrays import Tensor, torch

if TYPE_CHECKING:
    from lineage.detect.merges import Merge

CERTAIN = 12.0  # log-odds that the parts of a merge came before it
TOWARD_SOURCES = 0.25  # share of the way from a merge to any of its sources that a model trained from it may go
AS_FAR = 1.0  # a model trained from a merge is nearer to it than its sources are by this factor, squared distances


def trained_from(found: Mapping[int, Merge], distance: Tensor) -> dict[int, int]:
    """
    Args:
        found: the merges by place; distance: (m, m) float64, squared.
    Returns:
        model -> the merge that it was trained from, for models that are no merges.
    """
    nearest: dict[int, tuple[float, int]] = {}
    middle = _middle(found, distance)
    for merge in found.values():
        known = merge.sources if merge.base is not None else (*merge.sources, middle)
        sources = torch.tensor(known)
        way = distance[merge.model, sources]  # (s,)
        if float(way.min()) <= 0:
            continue
        away = distance[merge.model]  # (m,)
        share = ((away[:, None] + way - distance[:, sources]) / (2 * way)).amax(1)  # (m,) of the way to a source
        may_be = (share < TOWARD_SOURCES) & (away < AS_FAR * way.min())
        for model in may_be.nonzero()[:, 0].tolist():
            if model not in found and model not in known:
                nearest[model] = min(nearest.get(model, (torch.inf, -1)), (float(share[model]), merge.model))
    return {model: merge for model, (_, merge) in nearest.items()}


def _middle(found: Mapping[int, Merge], distance: Tensor) -> int:
    """The model nearest to all others but merges, which lie between them: what the parts of a mean come from, or a model near to it."""
    away = distance.sum(1)
    away[list(found)] = torch.inf
    return int(away.argmin())


def leaf_merges(found: Mapping[int, Merge], distance: Tensor) -> set[int]:
    """Those merges that nothing seems to come from: no part of another, and no model was trained from them.

    They are settled, and would only disturb the family's tree: a mean of siblings lies near their parent.

    Args:
        distance: (m, m) float64, squared.
    """
    parts = {part for merge in found.values() for part in merge.sources}
    return set(found) - parts - set(trained_from(found, distance).values())


def parts_first(found: Mapping[int, Merge], distance: Tensor) -> Tensor:
    """(m, m) float64, [child, parent]: log-odds that the parent came first: the parts of a merge were there before it, and before all that
    was trained from it.

    Args:
        distance: (m, m) float64, squared.
    """
    odds = torch.zeros(distance.shape, dtype=torch.float64)
    later = [(merge.model, source) for merge in found.values() for source in merge.sources]
    for model, merge in trained_from(found, distance).items():
        later += [(model, source) for source in (merge, *found[merge].sources)]
    for child, parent in later:
        odds[child, parent], odds[parent, child] = CERTAIN, -CERTAIN
    return odds
