"""One model seen from a base: which other models' differences, kept or dropped at single values, make up its own.

In: the values of a model, a base and candidates. Out: the parents with their numbers, how much of the values they explain, and the method.
A value equal to a parent's alone is what training in 16 bits leaves as well: it counts only beside values equal to the base's.
Dimension letters: t tensors, v values of each, c candidates, k parents, p sums.
Source: TIES, arXiv 2306.01708; DARE, arXiv 2311.03099; as mergekit computes them (arXiv 2403.13257).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lineage.detect.family_values import last_place
from lineage.detect.ratio_peaks import peaks, spread

FIRST_TENSORS, FIRST_PARENTS = 3, 5  # of these, in which a peak is looked for first
AT_MOST = 5  # parents
SUMS_SUBTRACTED = 4  # of known parents, before the next one is looked for
DIGITS = 1.0  # of the last place that a value may be off
EXACT = 0.55  # of that, by which copies of a parent differ from it
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


@dataclass(frozen=True, slots=True)
class Differences:
    """One model and candidates seen from a base: moved (t, v), deltas (c, t, v), off (t, v): what a difference may be off by rounding."""

    model: int
    base: int
    members: tuple[int, ...]
    moved: np.ndarray
    deltas: np.ndarray
    off: np.ndarray

    def promising(self) -> bool:
        """Whether a few ratios have a peak at all, and where it is at one, whether values equal the base's as well."""
        some = spread(len(self.moved), FIRST_TENSORS)
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
            found = self._next(sums, left, chosen) or self._as_the_others(sums, left, chosen, scales)
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
                off = np.abs(self.moved - self._sums(tried, scales)).min(0)
                count = int((off <= EXACT * self.off).sum())
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
            # (t,) of each candidate
            for candidate, height, scale, count, chance in zip(rest, heights, numbers, counts, by_chance, strict=True):
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

    def _as_the_others(
        self, sums: np.ndarray, left: np.ndarray, chosen: Sequence[int], scales: Sequence[np.ndarray]
    ) -> tuple[int, np.ndarray] | None:
        """The candidate that most values are left of, times the number of the known parents. TIES divides by the sum of the weights that
        agree: each of three parents alone has that one number, but means of it and others have as high peaks."""
        rest = [c for c in self._far() if c not in chosen]
        if not rest or not scales:
            return None
        scale = np.stack(scales).mean(0)  # (t,)
        parts = scale[:, None] * self.deltas[rest]  # (c, t, v)
        usable = (
            left
            & (np.abs(parts) > INFORMATIVE * self.off)
            & (np.abs(parts - sums[:, None]).min(0) > INFORMATIVE * self.off)
        )
        here, by_chance = (
            (usable & (np.abs(moved - parts) <= self.off)).sum(2) for moved in (self.moved, np.roll(self.moved, 1, 1))
        )
        count = np.clip(usable.sum((1, 2)), 1, None)
        above = (here - by_chance).sum(1) / count
        often = (here > TIMES_CHANCE * by_chance).mean(1)
        best = int(above.argmax())
        return (rest[best], scale) if above[best] > PEAK and often[best] > 0.6 else None

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
        # (k, t, v)
        parts = np.stack([scale[:, None] * self.deltas[c] for c, scale in zip(chosen, scales, strict=True)])
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


def differences(
    model: int, base: int, members: tuple[int, ...], own: np.ndarray, start: np.ndarray, parts: np.ndarray, digits: int
) -> Differences:
    """own, start: (t, v); parts: (c, t, v), all rounded to the model's digits."""
    moved = own - start
    last = last_place(np.maximum(np.abs(own), np.abs(start)), digits)
    off = DIGITS * last + np.abs(moved) * max(2.0 ** (1 - digits), 1e-5)
    return Differences(model, base, members, moved, parts - start, off)


def _kept(which: np.ndarray, place: int, parents: int, sums: int) -> np.ndarray:
    """(t, v) whether a parent's difference is in the sum that fits; sums are in the order in which they were made."""
    inside = [bool((i >> place) & 1) for i in range(1 << parents)]
    inside += [place in some for size in range(2, parents + 1) for some in combinations(range(parents), size)]
    return np.array(inside[:sums])[which]
