"""Models trained on from a merge, and what came before what.

Trained on from a merge, a model goes neither back to its base nor to one of its parts: of the way to each of them it goes next to nothing,
whereas another child of the base goes that way as far as the base, and a child of a part as far as the part. Nor is its step a sum of
those of others. In: the merges of a family and distances. Out: the merge that each such model was trained from, the merges that nothing
comes from, and log-odds of who came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from lineage.detect.arrays import Tensor, torch
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.family_values import plain
from lineage.detect.reasons import Reason
from lineage.detect.root import centre
from lineage.detect.sums_of_steps import sum_of_steps
from lineage.graphdb.schema import Relation

if TYPE_CHECKING:
    from lineage.detect.merges import Merge

CERTAIN = 12.0  # log-odds that the parts of a merge came before it
# share of the way from a merge to any of its sources that a model trained from it may go, and that a model near to it may, of which that
# is not sure: what comes from another merge of the same models goes as far
TOWARD_SOURCES, NEAR_TOWARD_SOURCES = 0.25, 0.35
# the same of what is asserted to be trained from it and is not near: a tuning of the base on what both parts learned goes 0.11 to 0.2 of
# the way
SURELY_TOWARD = 0.1
# the same of what the parts come from: of parts that moved unlike far it goes to the nearer one, and a child of a part goes all of the way
ORIGIN_TOWARD_PARTS = 0.6
# squared distance of a model trained from a merge, over that of the nearest source: a sibling of the parts is farther, and it alone tells
# the two where what all come from is not at hand
AS_FAR = 1.0
AS_FAR_BESIDE_BASE = 4.0  # the same over that of what all come from, where that is at hand, which tells siblings apart
# that a model was trained from a merge itself, and not from an unseen model that was: siblings the two cannot be; and of one less sure
SURE, UNSURE = 0.9, 0.6
# cosine of the ways to two parts: they come from the model from which it is about nothing, and lie opposite seen from one between them
APART, OPPOSITE = 0.5, -0.05


def trained_from(found: Mapping[int, Merge], distance: Tensor) -> dict[int, int]:
    """
    Args:
        found: the merges by place; distance: (m, m) float64, squared.
    Returns:
        model -> the merge that it was trained from, for models that are no merges.
    """
    return {model: merge for model, (_, merge) in _tunings(found, distance).items()}


def _tunings(found: Mapping[int, Merge], distance: Tensor) -> dict[int, tuple[float, int]]:
    """Model that is no merge -> the largest share of the way to a source that it went, and the merge that it was trained from."""
    nearest: dict[int, tuple[float, int]] = {}
    for merge in found.values():
        for model, share in _trained_on(merge, _base(merge, found, distance), distance).items():
            if model not in found:
                nearest[model] = min(nearest.get(model, (torch.inf, -1)), (share, merge.model))
    return nearest


def _trained_on(merge: Merge, base: int, distance: Tensor) -> dict[int, float]:
    """Models that may be trained from a merge -> the largest share of the way to a source that they went."""
    known = tuple(dict.fromkeys((*merge.sources, base)))
    sources = torch.tensor(known)
    way, away = distance[merge.model, sources], distance[merge.model]  # (s,), (m,)
    if float(way.min()) <= 0:
        return {}
    near = far = AS_FAR * float(way.min())
    apart = base not in _parts(merge) and abs(_between_parts(merge, distance)[base]) < APART
    if apart:
        far = max(far, AS_FAR_BESIDE_BASE * float(distance[merge.model, base]))
    share = _toward(merge.model, sources, distance)  # (m,)
    if not apart:  # a run's moving average is as near to the mean of its checkpoints
        share = share.clamp(min=TOWARD_SOURCES)
    may_be = ((share < TOWARD_SOURCES) & (away < far)) | ((share < NEAR_TOWARD_SOURCES) & (away < near))
    share = share.where((share < SURELY_TOWARD) | (away < near), share.clamp(min=TOWARD_SOURCES))
    never = {*known, *merge.before}
    some = [model for model in may_be.nonzero()[:, 0].tolist() if model not in never]
    others = [model for model in range(len(distance)) if model not in {merge.model, *some}]
    steps = plain(distance)
    return {m: float(share[m]) for m in some if not sum_of_steps(m, merge.model, others, steps)}


def _base(merge: Merge, found: Mapping[int, Merge], distance: Tensor) -> int:
    """The base of a merge, or what its parts come from, or a model near to it: the model that most others are near to. Neither merges,
    which lie between others, nor parts; no model trained from this merge, seen from which its parts lie opposite each other; no child of a
    part, which sees the ways to the parts apart as well, but goes to one of them. Without one, the model nearest to all others but
    those trained from this merge."""
    if merge.base is not None:
        return merge.base
    cosine = torch.tensor(_between_parts(merge, distance), dtype=torch.float64)  # (m,)
    toward_none = _toward(merge.model, torch.tensor(_parts(merge)), distance) <= ORIGIN_TOWARD_PARTS  # (m,)
    origins = (cosine >= APART) | ((cosine >= OPPOSITE) & toward_none)
    origins[[*found, *_parts(merge)]] = False
    if bool(origins.any()):
        return int(centre(distance).where(origins, -torch.inf).argmax())
    away = distance.sum(1)
    away[list(found)] = torch.inf
    aside = away.where(cosine >= OPPOSITE, torch.inf)
    return int((aside if bool(aside.isfinite().any()) else away).argmin())


def _toward(merge: int, sources: Tensor, distance: Tensor) -> Tensor:
    """(m,) the largest share of the way from a merge to any of its sources that each model goes. sources: (s,) places."""
    way = distance[merge, sources].clamp(min=1e-300)  # (s,)
    return ((distance[merge][:, None] + way - distance[:, sources]) / (2 * way)).amax(1)


def _between_parts(merge: Merge, distance: Tensor) -> list[float]:
    """(m,) lowest cosine of the ways to two parts of the merge, seen from each model; of the parts themselves 1."""
    lowest = torch.ones(len(distance), dtype=torch.float64)
    for one, other in combinations(_parts(merge), 2):
        first, second = distance[:, one], distance[:, other]  # (m,)
        cosine = (first + second - distance[one, other]) / (2 * (first * second).clamp(min=1e-300).sqrt())
        lowest = torch.minimum(lowest, torch.where((first > 0) & (second > 0), cosine, torch.ones_like(cosine)))
    return list(map(float, lowest.tolist()))


def _parts(merge: Merge) -> list[int]:
    return [part for part, _ in merge.parts]


def leaf_merges(found: Mapping[int, Merge], distance: Tensor) -> set[int]:
    """Those merges that nothing seems to come from: no part of another, and no model was trained from them.

    They are settled, and would only disturb the family's tree: a mean of siblings lies near their parent.

    Args:
        distance: (m, m) float64, squared.
    """
    parts = {part for merge in found.values() for part in merge.sources}
    return set(found) - parts - set(trained_from(found, distance).values())


def settled_tunings(found: Mapping[int, Merge], distance: Tensor) -> dict[int, tuple[int, float]]:
    """Model -> the merge that it alone was trained from, and the share of the way to a source that it went, where nothing else hangs on
    the two: these are settled as well, since merge and tuning lie between the parts and disturb the tree of their family.

    Args:
        distance: (m, m) float64, squared.
    """
    tuned = _tunings(found, distance)
    tied = {part for merge in found.values() for part in merge.sources}
    several = [merge for _, merge in tuned.values()]
    return {
        model: (merge, share)
        for model, (share, merge) in tuned.items()
        if several.count(merge) == 1 and tied.isdisjoint((model, merge))
    }


def tuned_decision(model: str, merge: str, share: float, distance: float, threshold: float) -> Decision:
    """
    Args:
        model, merge: ids; share: of the way to a source; distance: relative to the merge's length.
    """
    sure = SURE if share < TOWARD_SOURCES else UNSURE
    asserted = threshold <= sure
    return Decision(
        model=model,
        answer=AnswerKind.PARENT if asserted else AnswerKind.UNDECIDED,
        probability=sure,
        parent=merge if asserted else None,
        relation=Relation.FINE_TUNED_FROM if asserted else None,
        candidates=(Candidate(merge, sure),),
        decided_by=("merge",) if asserted else (),
        evidence={"toward_parts": round(share, 4), "relative_distance": round(distance, 6)},
        reason=Reason("tuned_merge" if asserted else "unseen_parent", {"distance": distance}, {"parent": merge}),
    )


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
