"""Merges that drop single values of the differences from a base: TIES (small ones and those of the minority's sign), DARE (random ones).

Such a merge is no weighted sum of its parents. But at every single value its difference from the base is nothing, a parent's difference
times that parent's number, or a sum of some of these, so the ratio of the two differences has sharp peaks, which training never leaves. In:
values of a family. Out: base, parents with their numbers, and how much of the values they explain; what is left comes from an unseen part.

- Half of the values are taken near zero, where the last digit is worth little: elsewhere rounding hides the peaks. Half are taken from
  everywhere: where a parent's weights decayed, what it changed near zero is little, and all of it is trimmed.
- Ratios of values that do not belong together (moved on by one) show how high a peak comes about by chance, on the grid of the same dtype.
- A value equal to a parent's alone is what training in 16 bits leaves as well: it counts only beside values equal to the base's.

All of it is computed by numpy. Dimension letters: m models, t tensors, v values of each, c candidates, p sums.
Source: TIES, arXiv 2306.01708; DARE, arXiv 2311.03099; as mergekit computes them (arXiv 2403.13257).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lineage.detect.span_merges import FamilyValues, Regression, rounded

TENSORS, VALUES = 8, 640
COARSE = 11  # digits of 16-bit values
PARENTS = 12  # candidates of one model
SCREENED_WIDTH = 12.0  # a difference over what it may be off, from which on its ratio is looked at first
CLASS, CLASSES = 0.04, 80  # width of a class of ratios, in powers of e, and how many there are on either side of one
SCREENED = 128  # models of a family up to which all are compared value by value with each that may be such a merge
FIRST_TENSORS, FIRST_PARENTS = 3, 5  # of these, in which a peak is looked for first
WIDELY = 256  # candidates where the first ones leave something unexplained
HUBS, FIRST_HUBS, MOST_EQUAL = (
    8,
    2,
    5,
)  # models nearest to most others, those that are tried as the base, and those that a model equals most
EQUAL = 0.005  # share of values equal to a model from which on it may be the base
AT_MOST = 5  # parents
SUMS_SUBTRACTED = 4  # of known parents, before the next one is looked for
DIGITS = 1.0  # of the last place that a value may be off
INFORMATIVE = 4.0  # a parent's part over what a value may be off
PEAK = 0.06  # share of informative values in a peak, above chance
FEWEST = 16  # ratios in a tensor that tell
TIMES_CHANCE, TIMES_CHANCE_IN_PART = (
    2.0,
    6.0,
)  # first steps of Adam are of one size, so that ratios meet at plus and minus one number
AGREE = 0.15  # of the numbers of one parent in two tensors: DARE scales each tensor by what it dropped
ONE = 0.03  # numbers that near to one are what is left of a parent in a fine-tune
DROPPED = 0.02  # share of informative values that equal the base, from which on values were dropped
NEAR = 0.03  # of a parent's squared distance from the base: a model that near to it is its copy or its child
GAIN = 0.03  # share of informative values that one more parent explains at least
EXPLAINED, IN_PART = 0.98, 0.15
ALL_DIFFER = 0.8  # the same share where base and parents have different values
MIXED = 0.05  # share of such values that are explained by no model alone
FEWEST_INFORMATIVE = 64
BY_SIZE = 1.3  # mean size of kept differences over that of dropped ones, from which on small ones were dropped


@dataclass(frozen=True, slots=True)
class TrimmedMerge:
    """members: parents with their shares of the merged differences; explained: share of informative values that they account for."""

    members: tuple[tuple[int, float], ...]
    base: int
    method: str
    explained: float
    unseen: bool

    @property
    def order(self) -> tuple[bool, float, int]:
        """Of two explanations the better one comes first."""
        return self.unseen, -round(self.explained, 2), len(self.members)

    @property
    def models(self) -> set[int]:
        return {model for model, _ in self.members} | {self.base}


def trimmed_merges(values: FamilyValues, regressed: Regression, models: Iterable[int]) -> dict[int, TrimmedMerge]:
    """
    Args:
        models: those that may be such merges.
    """
    picked = _picked(values)  # (m, t, v)
    hubs = values.hubs[:HUBS].tolist()
    found: dict[int, TrimmedMerge] = {}
    for model in models:
        if model in hubs[:1]:  # what most others are nearest to is what they come from
            continue
        merge = _explained(values, picked, model, regressed.pool(model, PARENTS), hubs, regressed.pool(model, WIDELY))
        if merge is not None:
            found[model] = merge
    whole = {model for model, merge in found.items() if not merge.unseen}
    for model in sorted(found.keys() - whole):  # parents of a merge share values with it
        if found[model].models & whole:
            wide = [other for other in regressed.pool(model, WIDELY) if other not in whole]
            merge = _explained(values, picked, model, wide[:PARENTS], [h for h in hubs if h not in whole], wide)
            if merge is None:
                del found[model]
            else:
                found[model] = merge
    return found


def _picked(values: FamilyValues) -> np.ndarray:
    """(m, t, v) values near zero, of which 16 bits hold most digits behind the point, of the tensors with the most values."""
    large = sorted(range(len(values.tensors)), key=lambda i: -values.tensors[i].shape[1])[:TENSORS]
    count = min([VALUES, *(values.tensors[i].shape[1] for i in large)])
    picked = []
    for i in sorted(large):
        tensor = values.tensors[i]
        some = tensor[_spread(len(tensor), 32)]
        size = np.where((some != some[0]).any(0), np.median(np.abs(some), 0), np.inf)
        best = np.argsort(size, kind="stable")[: min(4 * count, tensor.shape[1])]
        near = best[_spread(len(best), count // 2)]
        rest = np.setdiff1d(np.arange(tensor.shape[1]), near)
        picked.append(tensor[:, np.sort(np.concatenate([near, rest[_spread(len(rest), count - len(near))]]))])
    return np.stack(picked, 1)


def _spread(length: int, at_most: int) -> np.ndarray:
    """Places in a row, evenly."""
    return np.linspace(0, length - 1, min(at_most, length)).astype(np.int64)


def _explained(
    values: FamilyValues,
    picked: np.ndarray,
    model: int,
    pool: Sequence[int],
    hubs: Sequence[int],
    everyone: Sequence[int],
) -> TrimmedMerge | None:
    digits = int(values.digits[model])

    def of(models: Sequence[int]) -> np.ndarray:
        """(k, t, v) float64, rounded as the merge is."""
        return rounded(picked[np.array(models, np.int64)], digits)

    hubs = [h for h in hubs if h != model]
    candidates = list(dict.fromkeys([*pool, *hubs]))
    own = of([model])[0]
    equal = (of(candidates) == own).mean((1, 2))
    order = np.argsort(-equal, kind="stable")[:MOST_EQUAL].tolist()
    bases = dict.fromkeys([*hubs[:FIRST_HUBS], *(candidates[i] for i in order if float(equal[i]) >= EQUAL)])

    def seen_from(base: int, pool: Sequence[int], narrow: bool = False) -> _Differences:
        members = tuple(m for m in pool if m != base)
        if narrow and len(members) > PARENTS:
            members = _by_peak(own, of([base])[0], of(members), members, digits)
        return _differences(model, base, members, own, of([base])[0], of(members), digits)

    few = len(everyone) < SCREENED
    promising = [
        seen
        for seen in (seen_from(base, everyone if few else pool, few) for base in bases)
        if seen.members and seen.promising()
    ]
    found = [merge for seen in promising if (merge := seen.explained()) is not None]
    if digits <= COARSE:  # differences of a few steps of one grid agree by chance, so every part has to be at hand
        found = [merge for merge in found if not merge.unseen]
    if not found:
        return None
    best = min(found, key=lambda merge: merge.order)
    if best.unseen:
        again = seen_from(best.base, everyone).explained()  # a parent that moved little is not among the first
        best = best if again is None or again.order > best.order else again
    return None if best.unseen and best.base not in hubs else best  # the base of an unseen part has more children


def _by_peak(
    own: np.ndarray, start: np.ndarray, parts: np.ndarray, members: Sequence[int], digits: int
) -> tuple[int, ...]:
    """The members (c, t, v) whose differences from the base (t, v) occur most in the model (t, v): as they are, as TIES leaves them, and
    multiplied by some number, one of either in turn."""
    some_tensors = _spread(len(own), FIRST_TENSORS)
    own, start, parts = own[some_tensors, ::2], start[some_tensors, ::2], parts[:, some_tensors, ::2]
    seen = _differences(-1, -1, tuple(members), own, start, parts, digits)
    moved, by_chance = seen.moved, np.roll(seen.moved, 1, 1)
    size = np.abs(seen.deltas)
    as_they_are = [
        ((np.abs(m - seen.deltas) <= seen.off) & (size > INFORMATIVE * seen.off) & (np.abs(m) > seen.off)).sum((1, 2))
        for m in (moved, by_chance)
    ]
    some = size > SCREENED_WIDTH * seen.off
    multiplied = [_most_alike(m, seen.deltas, some, seen.off) for m in (moved, by_chance)]
    orders = [np.argsort(chance - here, kind="stable").tolist() for here, chance in (as_they_are, multiplied)]
    order = dict.fromkeys(place for pair in zip(*orders, strict=True) for place in pair)
    return tuple(members[place] for place in [*order][:PARENTS])


def _most_alike(moved: np.ndarray, deltas: np.ndarray, some: np.ndarray, off: np.ndarray) -> np.ndarray:
    """(c,) how many ratios of (t, v) to (c, t, v) fall into the fullest of narrow classes of sizes, all tensors together."""
    count = np.zeros(len(deltas))
    some = some & (np.abs(moved) > off)
    size = np.full(deltas.shape, np.nan)
    size[some] = np.abs(np.broadcast_to(moved, deltas.shape)[some] / deltas[some])
    with np.errstate(divide="ignore"):
        place = np.floor(np.log(size) / CLASS)
    right = some & (np.abs(place) < CLASSES)
    same_sign = (np.broadcast_to(moved, deltas.shape) > 0) == (deltas > 0)
    for c in range(len(deltas)):
        for t in range(deltas.shape[1]):
            at = right[c, t] & same_sign[c, t]
            if at.any():
                count[c] += np.bincount((place[c, t, at] + CLASSES).astype(np.int64)).max()
    return count


@dataclass(frozen=True, slots=True)
class _Differences:
    """One model and candidates seen from a base: moved (t, v), deltas (c, t, v), off (t, v): what a difference may be off by rounding."""

    model: int
    base: int
    members: tuple[int, ...]
    moved: np.ndarray
    deltas: np.ndarray
    off: np.ndarray

    def promising(self) -> bool:
        """Whether a few ratios have a peak at all, and where it is at one, whether values equal the base's as well."""
        some = _spread(len(self.moved), FIRST_TENSORS)
        moved, off = self.moved[some, ::2], self.off[some, ::2]
        deltas = self.deltas[:FIRST_PARENTS, some, ::2]
        left = np.abs(moved) > off
        height, scale, count = peaks(moved, deltas, off, left)
        chance, *_ = peaks(np.roll(moved, 1, 1), deltas, off, left)
        informative = np.abs(deltas) > INFORMATIVE * off
        dropped = (informative & ~left).sum((1, 2)) / np.clip(informative.sum((1, 2)), 1, None)  # (c,)
        one = (np.abs(scale - 1) < ONE).mean(1) > 0.5
        high = height.sum(1)
        good = (high > TIMES_CHANCE * chance.sum(1)) & (high > PEAK * count.sum(1))
        return bool((good & (~one | (dropped > DROPPED / 2))).any())

    def explained(self) -> TrimmedMerge | None:
        """Parents one after the other, as long as one explains values that the others do not."""
        chosen: list[int] = []
        scales: list[np.ndarray] = []  # (t,) each
        sums = np.zeros((1, *self.moved.shape))  # (p, t, v)
        left = np.abs(self.moved) > self.off  # not the base's value
        while len(chosen) < AT_MOST:
            found = self._next(sums, left, chosen)
            if found is None:
                break
            candidate, scale = found
            part = scale[:, None] * self.deltas[candidate]
            more = np.concatenate([sums, sums + part])
            still = self._left(self.moved, more)
            informative = np.abs(part) > INFORMATIVE * self.off
            own = np.abs(part - sums).min(0) > INFORMATIVE * self.off  # not what the others explain nearly
            if int((left & ~still & informative & own).sum()) < GAIN * int(informative.sum()):
                break
            chosen.append(candidate)
            scales.append(scale)
            sums, left = more, still
            if len(chosen) > 1:
                left = self._left(self.moved, self._with_means(sums, left, chosen, scales))
        if not chosen:
            return None
        for place in range(len(chosen)):
            chosen[place] = self._exactest(place, chosen, scales)
        sums = self._sums(chosen, scales)
        left = self._left(self.moved, sums)
        return self._judged(self._with_means(sums, left, chosen, scales), chosen, scales)

    def _left(self, moved: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """(t, v) whether none of the sums is the difference."""
        return np.asarray((np.abs(moved - sums) > 1.5 * self.off).all(0))

    def _sums(self, chosen: Sequence[int], scales: Sequence[np.ndarray]) -> np.ndarray:
        """(p, t, v): of all subsets of the parents."""
        sums = np.zeros((1, *self.moved.shape))
        for candidate, scale in zip(chosen, scales, strict=True):
            sums = np.concatenate([sums, sums + scale[:, None] * self.deltas[candidate]])
        return sums

    def _far(self) -> list[int]:
        """The candidates that are no copies or children of the model."""
        far = np.square(self.deltas - self.moved).sum((1, 2)) > NEAR * np.square(self.deltas).sum((1, 2))  # (c,)
        return [int(c) for c in np.flatnonzero(far)]

    def _exactest(self, place: int, chosen: Sequence[int], scales: Sequence[np.ndarray]) -> int:
        """The parent at one place, or a candidate that is nearly the same and explains more: its copy but for a few values."""
        mine = self.deltas[chosen[place]]
        length = float(np.square(mine).sum())
        best, most = chosen[place], -1
        for candidate in [chosen[place], *(c for c in self._far() if c not in chosen)]:
            if float(np.square(self.deltas[candidate] - mine).sum()) < 0.2 * length:
                tried = [*chosen[:place], candidate, *chosen[place + 1 :]]
                count = int((~self._left(self.moved, self._sums(tried, scales))).sum())
                if count > most:
                    best, most = candidate, count
        return best

    def _next(self, sums: np.ndarray, left: np.ndarray, chosen: Sequence[int]) -> tuple[int, np.ndarray] | None:
        """The candidate with the highest peak above chance, and its number in each tensor (t,)."""
        rest = [c for c in self._far() if c not in chosen]
        best: tuple[float, int, np.ndarray] | None = None
        for known in sums[:SUMS_SUBTRACTED] if rest else ():
            own = self.moved - known
            heights, numbers, counts = peaks(own, self.deltas[rest], self.off, left)
            by_chance, *_ = peaks(np.roll(own, 1, 1), self.deltas[rest], self.off, left)
            for place, candidate in enumerate(rest):
                height, scale, count, chance = (
                    heights[place],
                    numbers[place],
                    counts[place],
                    by_chance[place],
                )  # (t,) each
                enough = count >= FEWEST
                if not enough.any():
                    continue
                total = float(count[enough].sum())
                above = float((height - chance)[enough].sum()) / total
                usual = float(np.median(scale[enough]))
                agree = (np.abs(scale - usual) <= AGREE * abs(usual)) & (height > TIMES_CHANCE * chance)
                telling = float(count[enough & agree].sum()) / total
                if above > PEAK and telling > 0.6 and 0.02 < usual < 20 and (best is None or above > best[0]):
                    best = above, candidate, np.where(agree & enough, scale, usual)
        return None if best is None else best[1:]

    def _with_means(
        self, sums: np.ndarray, left: np.ndarray, chosen: Sequence[int], scales: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Where kept differences were divided by the sum of their weights: also the means of two and more of them."""
        if len(chosen) < 2 or not left.any():
            return sums
        common = np.stack(scales).mean(0)[:, None]  # (t, 1)
        weight = {chosen[0]: 1.0}
        for other in chosen[1:]:
            first, second = (common * self.deltas[c] for c in (chosen[0], other))
            height, share, count = peaks(self.moved - second, (first - second)[None], self.off, left)
            good = (height[0] > PEAK * count[0]) & (share[0] > 0.02) & (share[0] < 0.98)
            usual = float(np.median(share[0][good])) if good.any() else 0.5
            weight[other] = (1 - usual) / usual
        means = []
        for size in range(2, len(chosen) + 1):
            for some in combinations(chosen, size):
                whole = sum(weight[c] for c in some)
                means.append(common * np.stack([weight[c] / whole * self.deltas[c] for c in some]).sum(0))
        return np.concatenate([sums, np.stack(means)])

    def _judged(self, sums: np.ndarray, chosen: Sequence[int], scales: Sequence[np.ndarray]) -> TrimmedMerge | None:
        parts = np.stack(
            [scale[:, None] * self.deltas[c] for c, scale in zip(chosen, scales, strict=True)]
        )  # (k, t, v)
        informative = np.abs(parts).max(0) > INFORMATIVE * self.off  # (t, v)
        count = int(informative.sum())
        if count < FEWEST_INFORMATIVE:
            return None
        here, by_chance = (
            float((~self._left(some, sums) & informative & (np.abs(some) > self.off)).sum()) / count
            for some in (self.moved, np.roll(self.moved, 1, 1))
        )
        left = self._left(self.moved, sums)
        explained = float((~left & informative).sum()) / count
        dropped = float(((np.abs(self.moved) <= 0.5 * self.off) & informative).sum()) / count
        ones = [abs(float(np.median(scale)) - 1) < ONE for scale in scales]
        if here < IN_PART or here < (TIMES_CHANCE if explained >= EXPLAINED else TIMES_CHANCE_IN_PART) * by_chance:
            return None
        if (all(ones) and explained < EXPLAINED) or (dropped < DROPPED and (explained < EXPLAINED or all(ones))):
            return None  # what a fine-tune kept of its parents, or they of it
        if len(chosen) < 2 and explained >= EXPLAINED:
            return None
        if len(chosen) > 1 and not self._where_all_differ(parts, left, explained, all(ones)):
            return None
        which = np.abs(self.moved - sums).argmin(0)  # (t, v)
        kept = [_kept(which, place, len(chosen), len(sums)) & ~left for place in range(len(chosen))]
        weight = [
            float(np.median(scale)) * int((k & informative).sum()) / count
            for k, scale in zip(kept, scales, strict=True)
        ]
        whole = sum(weight)
        if whole <= 0:
            return None
        members = sorted(
            ((self.members[c], w / whole) for c, w in zip(chosen, weight, strict=True)), key=lambda pair: -pair[1]
        )
        return TrimmedMerge(
            tuple(members), self.base, self._method(chosen, kept, left), explained, explained < EXPLAINED
        )

    def _where_all_differ(self, parts: np.ndarray, left: np.ndarray, explained: float, ones: bool) -> bool:
        """Whether values are explained where the base and all parents (k, t, v) have other values, and, where all numbers are one, some of
        them by sums or means alone: the middle of models that changed few values each has the value of one of them nearly everywhere."""
        points = np.concatenate([parts, np.zeros_like(parts[:1])])
        distinct = np.ones(left.shape, bool)
        for one, other in combinations(points, 2):
            distinct &= np.abs(one - other) > INFORMATIVE * self.off
        count = int(distinct.sum())
        share = int((distinct & ~left).sum()) / max(1, count)
        mixed = int((distinct & ~left & self._left(self.moved, points)).sum()) / max(1, count)
        enough = share >= (ALL_DIFFER if explained >= EXPLAINED else IN_PART)
        return count >= FEWEST_INFORMATIVE and enough and (mixed >= MIXED or not ones)

    def _method(self, chosen: Sequence[int], kept: Sequence[np.ndarray], left: np.ndarray) -> str:
        ratio = []
        for c, k in zip(chosen, kept, strict=True):
            size, dropped = np.abs(self.deltas[c]), ~k & ~left
            if k.any() and dropped.any():
                ratio.append(float(size[k].mean()) / max(1e-300, float(size[dropped].mean())))
        if ratio and sum(ratio) / len(ratio) > BY_SIZE:
            return "TIES"
        if len(chosen) < 2:
            return "DARE"
        both = kept[0] & kept[1] & ~left
        opposite = (np.sign(self.deltas[chosen[0]]) != np.sign(self.deltas[chosen[1]])) & both
        return "DARE, linear" if int(opposite.sum()) > 0.1 * int(both.sum()) else "DARE-TIES"


def _differences(
    model: int, base: int, members: tuple[int, ...], own: np.ndarray, start: np.ndarray, parts: np.ndarray, digits: int
) -> _Differences:
    """own, start: (t, v); parts: (c, t, v), all rounded to the model's digits."""
    moved = own - start
    _, exponent = np.frexp(np.clip(np.maximum(np.abs(own), np.abs(start)), 1e-30, None))
    last = np.ldexp(np.ones_like(moved), exponent - digits)
    off = DIGITS * last + np.abs(moved) * max(2.0 ** (1 - digits), 1e-5)
    return _Differences(model, base, members, moved, parts - start, off)


def _kept(which: np.ndarray, place: int, parents: int, sums: int) -> np.ndarray:
    """(t, v) whether a parent's difference is in the sum that fits; sums are in the order in which they were made."""
    inside = [bool((i >> place) & 1) for i in range(1 << parents)]
    inside += [place in some for size in range(2, parents + 1) for some in combinations(range(parents), size)]
    return np.array(inside[:sums])[which]


def peaks(
    moved: np.ndarray, deltas: np.ndarray, off: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each candidate in each tensor: how many ratios meet in the best place, that place, and how many ratios there are; (c, t) each.

    Args:
        moved: (t, v); deltas: (c, t, v); off: (t, v) what a difference may be off; left: (t, v) which values are still to be explained.
    """
    shape = deltas.shape[:2]
    height, middle, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    usable = left & (np.abs(moved) > off)
    for c in range(shape[0]):
        # width < 0.25 ratio, without dividing
        good = usable & (4 * off < np.abs(moved)) & (deltas[c] != 0)
        for t in range(shape[1]):
            at = np.flatnonzero(good[t])
            count[c, t] = len(at)
            if not len(at):
                continue
            delta = deltas[c, t, at]
            ratio, width = moved[t, at] / delta, off[t, at] / np.abs(delta)
            low, high = ratio - width, ratio + width
            starts = np.sort(low)
            meeting = np.arange(1, len(at) + 1) - np.searchsorted(np.sort(high), starts)
            best = int(meeting.argmax())
            height[c, t] = meeting[best]
            middle[c, t] = np.median(ratio[(low <= starts[best] + 1e-12) & (high >= starts[best])])
    return height, middle, count
