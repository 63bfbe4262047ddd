"""Merges that drop single values of the differences from a base: TIES (small ones and those of the minority's sign), DARE (random ones).

Such a merge is no weighted sum of its parents. But at every single value its difference from the base is nothing, a parent's difference
times that parent's number, or a sum of some of these, so the ratio of the two differences has sharp peaks, which training never leaves. In:
values of a family. Out: base, parents with their numbers, and how much of the values they explain; what is left comes from an unseen part.

Half of the values are taken near zero, where the last digit is worth little: elsewhere rounding hides the peaks. Half are taken from
everywhere: where a parent's weights decayed, what it changed near zero is little, and all of it is trimmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.dropped_values import kept_values
from lineage.detect.family_values import FamilyValues, last_place, rounded
from lineage.detect.near_models import near_of
from lineage.detect.ratio_peaks import most_alike, spread
from lineage.detect.regression import Regression
from lineage.detect.trimmed_fit import COARSE, FIRST_TENSORS, Differences, differences
from lineage.detect.trimmed_verdict import INFORMATIVE, MAY_BE_OFF, MOSTLY, TrimmedMerge

TENSORS, VALUES = 8, 640
PARENTS = 12  # candidates of one model
SCREENED_WIDTH = 12.0  # a difference over what it may be off, from which on its ratio is looked at first
SCREENED = 128  # models of a family up to which all are compared value by value with each that may be such a merge
WIDELY = 256  # candidates where the first ones leave something unexplained
HUBS, FIRST_HUBS = 8, 2  # models nearest to most others, and those of them that are tried as the base
NEAR_BASES = 32  # models near to a base that are tried in its place
RETRIED = 2  # bases from which everyone is looked at where the first candidates leave something
NEARLY = 0.95  # share of values that all parents explain where sums were rounded in 16 bits
FEW, CHANCE = 32, 1.0  # equal values, and standard errors of their number, by which models have as many
EXACTLY = 0.995  # share of values that the right base and all parents explain
MOST_EQUAL, SKIPPED = 5, 8  # models that one equals most; of a large family one value of SKIPPED is looked at for that
NAMED_BASES = 6  # models that are named of which each is tried as the base
EQUAL = 0.005  # share of values equal to a model from which on it may be the base


def trimmed_merges(values: FamilyValues, regressed: Regression, models: Iterable[int]) -> dict[int, TrimmedMerge]:
    """
    Args:
        models: those that may be such merges.
    """
    picked = _picked(values)  # (m, t, v)
    equal = _EqualValues.of(values, picked)
    hubs = values.hubs[:HUBS].tolist()
    # what most others are nearest to is what they come from
    tried = [model for model in models if model not in hubs[:1]]
    found: dict[int, TrimmedMerge] = {}
    alike = {model: equal.bases(model, set()) for model in tried}
    for model in tried:
        merge = _explained(values, picked, model, hubs, regressed.likely(values, model, WIDELY), alike[model])
        if merge is not None:
            found[model] = merge
    whole = {model for model, merge in found.items() if not merge.unseen}
    # merges of the same parents share values, and parents of a merge with it
    for model in [m for m in tried if m not in whole]:
        if whole.intersection(found[model].models if model in found else alike[model]):
            found.pop(model, None)
            wide = [other for other in regressed.likely(values, model, WIDELY) if other not in whole]
            rest = [h for h in hubs if h not in whole]
            merge = _explained(values, picked, model, rest, wide, equal.bases(model, whole))
            if merge is not None:
                found[model] = merge
    return without_turned_round(found, values.central)


def claimed_trims(values: FamilyValues, claimed: Mapping[int, Sequence[int]]) -> dict[int, TrimmedMerge]:
    """Those models that such merges of models that their cards name explain to rounding.

    Args:
        claimed: model -> two and more models that its card names.
    """
    picked = _picked(values)  # (m, t, v)
    equal = _EqualValues.of(values, picked)
    hubs = values.hubs[:HUBS].tolist()
    # of a folder of merges others may have more values in common with one than its base, which is named as well
    bases = {m: [*dict.fromkeys([*pool[:NAMED_BASES], *equal.bases(m, set())])] for m, pool in claimed.items()}
    tried = {m: _explained(values, picked, m, hubs, pool, bases[m]) for m, pool in claimed.items()}
    return {
        model: merge
        for model, merge in tried.items()
        if merge is not None and not merge.unseen and len(merge.members) > 1 and {*merge.parents} <= {*claimed[model]}
    }


def without_turned_round(
    found: Mapping[int, TrimmedMerge], central: Sequence[float] | np.ndarray
) -> dict[int, TrimmedMerge]:
    """The same, where two models are each other's base without the one in the middle of the family: it is the base.

    Where one difference alone was kept as it is, a merge has a parent's own value, so that base and merge explain each other.

    Args:
        central: of each model, how far off it lies from all others, squared.
    """
    return {
        model: merge
        for model, merge in found.items()
        if not (
            (other := found.get(merge.base)) is not None
            and other.base == model
            and float(central[model]) < float(central[merge.base])
        )
    }


def _picked(values: FamilyValues) -> np.ndarray:
    """(m, t, v) values near zero, of which 16 bits hold most digits behind the point, of the tensors with the most values."""
    large = sorted(range(len(values.tensors)), key=lambda i: -values.tensors[i].shape[1])[:TENSORS]
    count = min([VALUES, *(values.tensors[i].shape[1] for i in large)])
    picked = []
    for i in sorted(large):
        tensor = values.tensors[i]
        some = tensor[spread(len(tensor), 32)]
        size = np.where((some != some[0]).any(0), np.median(np.abs(some), 0), np.inf)
        best = np.argsort(size, kind="stable")[: min(4 * count, tensor.shape[1])]
        near = best[spread(len(best), count // 2)]
        rest = np.setdiff1d(np.arange(tensor.shape[1]), near)
        picked.append(tensor[:, np.sort(np.concatenate([near, rest[spread(len(rest), count - len(near))]]))])
    return np.stack(picked, 1)


def _explained(
    values: FamilyValues,
    picked: np.ndarray,
    model: int,
    hubs: Sequence[int],
    everyone: Sequence[int],
    alike: Sequence[int],
) -> TrimmedMerge | None:
    """
    Args:
        hubs: models in the middle; everyone: candidates, the likeliest first; alike: those that it has most values in common with.
    """
    digits = int(values.digits[model])

    def of(models: Sequence[int]) -> np.ndarray:
        """(k, t, v) float64, rounded as the merge is."""
        return rounded(picked[np.array(models, np.int64)], digits)

    hubs, alike = values.possible(model, hubs), values.possible(model, alike)
    own = of([model])[0]
    few = len(everyone) < SCREENED
    # in a crowd only what it has values in common with, since whatever is dropped is the base's own value
    bases = dict.fromkeys(
        [*alike, *(_most_alike(values, picked, model, h) for h in (hubs[:FIRST_HUBS] if few else ()))]
    )

    mine = values.by_unit(model)
    sure = {base for base in bases if few and kept_values(mine, values.by_unit(base), digits).dropped}

    def seen_from(base: int, pool: Sequence[int], narrow: bool = False) -> Differences:
        members = tuple(m for m in pool if m != base)
        if narrow and len(members) > PARENTS:
            members = _by_peak(own, of([base])[0], of(members), members, digits)
        seen = differences(model, base, members, own, of([base])[0], of(members), digits)
        return replace(seen, dropped=base in sure)

    def better(merge: TrimmedMerge) -> bool:
        """Whether it may be taken instead of what the first candidates explain: of many, some explain more of an unseen part by chance."""
        return not (merge.unseen and sure)

    promising = [
        seen
        for seen in (seen_from(base, everyone if few else everyone[:PARENTS], few) for base in bases)
        if seen.members and (seen.dropped or seen.promising())
    ]
    found = [merge for seen in promising if (merge := seen.explained()) is not None]
    if few and all(merge.explained < EXACTLY for merge in found):
        wide = [seen_from(seen.base, everyone) for seen in promising[:RETRIED]]
        found += [merge for seen in wide if (merge := seen.explained()) is not None and better(merge)]
    if not found:
        return None
    best = min(found, key=lambda merge: merge.order)
    if best.unseen:
        # what was dropped left the base's own values; what SCE keeps of two parents is one's own or the other's
        best = min([merge for merge in found if merge.base in sure] or [best], key=lambda merge: merge.order)
        again = seen_from(best.base, everyone).explained()  # a parent that moved little is not among the first
        best = best if again is None or again.order > best.order or not better(again) else again
    if best.unseen and few:  # what lies near to the base does in its place, but for the last digits
        near = values.possible(model, near_of(values.nearest[digits], best.base))[:NEAR_BASES]
        others = [merge for m in near if (merge := seen_from(m, everyone, few).explained()) is not None]
        best = min([best, *filter(better, others)], key=lambda merge: merge.order)
    # differences of a few steps of one grid agree by chance, so nearly all has to be explained
    alone = best.explained < (NEARLY if sure else MOSTLY) or len(best.members) < 2
    if best.unseen and digits <= COARSE and alone and (best.base not in sure or len(best.members) > 1):
        return None
    middle = {best.base, *near_of(values.nearest[digits], best.base)}
    if best.unseen and not middle & set(hubs):
        return None  # the base of an unseen part has more children
    rounding_leaves = digits <= COARSE and best.explained >= NEARLY
    same = [one.base for one in found if set(one.parents) == set(best.parents) and one.unseen == best.unseen]
    surest = surest_base(values, model, best, hubs) if few else None
    base, alike = surest or exactest_base(values, model, best, same)
    return replace(best, base=base, alike=alike, unseen=best.unseen and (best.near or not rounding_leaves))


def surest_base(
    values: FamilyValues, model: int, merge: TrimmedMerge, hubs: Sequence[int]
) -> tuple[int, tuple[int, ...]] | None:
    """The base by values that training would have moved: the model that has most of them, of those in the middle and near to the base.

    Args:
        hubs: models in the middle of the family.
    Returns:
        the base, and others that may be it as well; None where no model has more of these values than training leaves.
    """
    digits = int(values.digits[model])
    chosen = values.nearest[digits]
    near = [n for first in (merge.base, *hubs[:1]) for n in sorted(near_of(chosen, first), key=values.rank)]
    some = values.possible(model, dict.fromkeys([merge.base, *hubs[:FIRST_HUBS], *near]))
    some = [b for b in some if b not in merge.parents]
    own = values.by_unit(model)
    kept = {base: kept_values(own, values.by_unit(base), digits) for base in some[:NEAR_BASES]}
    count = {base: float(one.stayed.sum()) for base, one in kept.items() if one.dropped}
    if not count:
        return None
    best = max(count, key=lambda base: count[base])
    enough = count[best] - CHANCE * count[best] ** 0.5
    return best, tuple(base for base in count if base != best and count[base] >= enough)


def exactest_base(
    values: FamilyValues, model: int, merge: TrimmedMerge, bases: Sequence[int] = ()
) -> tuple[int, tuple[int, ...]]:
    """The base by dropped values: the model that has most of those that no parent has, all of them counted alike.

    Args:
        bases: others, from which the same parents explain the merge.
    Returns:
        the base, one of these or near to it, and others that may be it as well.
    """
    digits, parents = int(values.digits[model]), merge.parents
    first = dict.fromkeys([merge.base, *bases])
    near = [m for base in first for m in sorted(near_of(values.nearest[digits], base), key=values.rank)[:NEAR_BASES]]
    some = [base for base in values.possible(model, dict.fromkeys([*first, *near])) if base not in parents]
    equal = np.zeros(len(some), np.int64)
    for rows in values.rounded([model, *parents, *some], digits) if len(some) > 1 else ():
        own, theirs, tried = rows[0], rows[1 : 1 + len(parents)], rows[1 + len(parents) :]
        of_none = np.abs(theirs - own).min(0) > MAY_BE_OFF * last_place(np.abs(own), digits)
        equal += np.count_nonzero((tried == own) & of_none, axis=1)
    if equal[0] < FEW:  # where a parent hardly moved there are no such values, and what moved has others by chance
        own_near = {merge.base, *near_of(values.nearest[digits], merge.base)}
        equal[[base not in own_near for base in some]] = 0
    enough = equal.max() - max(FEW, CHANCE * float(equal.max()) ** 0.5)
    alike = [base for base, count in zip(some, equal.tolist(), strict=True) if count >= enough]
    best = merge.base if merge.base in alike else some[int(equal.argmax())]
    return best, tuple(base for base in alike if base != best)


def _most_alike(values: FamilyValues, picked: np.ndarray, model: int, hub: int) -> int:
    """Of a model in the middle and those near to it the one that the model has most values in common with."""
    digits = int(values.digits[model])
    some = sorted(values.possible(model, (hub, *near_of(values.nearest[digits], hub))), key=values.rank)
    own, others = (rounded(picked[np.array(models, np.int64)], digits) for models in ([model], some))
    return some[int((others == own).sum((1, 2)).argmax())]


@dataclass(frozen=True, slots=True)
class _EqualValues:
    """Values (m, t, v) of a family rounded to the digits of each dtype in it, to count those that two models have in common."""

    values: FamilyValues
    rounded: Mapping[int, np.ndarray]
    place: Mapping[int, int]  # of each model among those in the middle, for models that are equal in these digits

    @classmethod
    def of(cls, values: FamilyValues, picked: np.ndarray) -> _EqualValues:
        some = picked if len(picked) < SCREENED else picked[:, :, ::SKIPPED]
        place = {model: i for i, model in enumerate(values.hubs.tolist())}
        return cls(values, {d: rounded(some, d).astype(np.float32) for d in set(values.digits.tolist())}, place)

    def bases(self, model: int, never: set[int]) -> list[int]:
        """The models that may be the base of a trimmed merge since it has most of their values, one of each that are near to each other."""
        digits = int(self.values.digits[model])
        mine = self.rounded[digits]
        equal = np.count_nonzero(mine == mine[model], axis=(1, 2)) / mine[model].size  # (m,)
        chosen, found = self.values.nearest[digits], dict[int, int]()
        for other in sorted(range(len(equal)), key=lambda m: (-equal[m], self.place[m])):
            if len(found) == MOST_EQUAL or equal[other] < EQUAL:
                break
            if other != model and other not in never:
                found.setdefault(int(chosen[other]), other)
        return list(found.values())


def _by_peak(
    own: np.ndarray, start: np.ndarray, parts: np.ndarray, members: Sequence[int], digits: int
) -> tuple[int, ...]:
    """The members (c, t, v) whose differences from the base (t, v) occur most in the model (t, v): as they are, as TIES leaves them, and
    multiplied by some number, one of either in turn."""
    some_tensors = spread(len(own), FIRST_TENSORS)
    own, start, parts = own[some_tensors, ::2], start[some_tensors, ::2], parts[:, some_tensors, ::2]
    seen = differences(-1, -1, tuple(members), own, start, parts, digits)
    moved, by_chance = seen.moved, np.roll(seen.moved, 1, 1)
    size = np.abs(seen.deltas)
    as_they_are = [
        ((np.abs(m - seen.deltas) <= seen.off) & (size > INFORMATIVE * seen.off) & (np.abs(m) > seen.off)).sum((1, 2))
        for m in (moved, by_chance)
    ]
    some = size > SCREENED_WIDTH * seen.off
    multiplied = [most_alike(m, seen.deltas, some, seen.off) for m in (moved, by_chance)]
    orders = [np.argsort(chance - here, kind="stable").tolist() for here, chance in (as_they_are, multiplied)]
    order = dict.fromkeys(place for pair in zip(*orders, strict=True) for place in pair)
    return tuple(members[place] for place in [*order][:PARENTS])
