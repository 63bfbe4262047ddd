"""One model seen from a base: which other models' differences, kept or dropped at single values, make up its own.

In: the values of a model, a base and candidates. Out: the parents with their numbers, and what trimmed_verdict.py takes them for.
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
from lineage.detect.regressed_parents import regressed_parents
from lineage.detect.trimmed_verdict import (
    DROPPED,
    EXACT,
    INFORMATIVE,
    ONE,
    TIMES_CHANCE,
    TIMES_CHANCE_IN_PART,
    TrimmedMerge,
    TrimmedSums,
    unexplained,
)

COARSE = 11  # digits of 16-bit values
FIRST_TENSORS, FIRST_PARENTS = 3, 5  # of these, in which a peak is looked for first
AT_MOST = 5  # parents
SUMS_SUBTRACTED = 4  # of known parents, before the next one is looked for
DIGITS = 1.0  # of the last place that a value may be off
PEAK = 0.06  # share of informative values in a peak, above chance
FEWEST = 16  # ratios in a tensor that tell
AGREE = 0.15  # of the numbers of one parent in two tensors: DARE scales each tensor by what it dropped
NEAR = 0.03  # of a parent's squared distance from the base: a model that near to it is its copy or its child
GAIN = 0.03  # share of informative values that one more parent explains at least
LARGE = 2.0  # number of a parent beyond which one with a smaller number is tried as well
NEARLY = 0.05  # of a difference: what a gradient next to nothing adds to decay
SHELL = 3.0  # times what a value may be off: of values that a third parent comes near to by chance, fewer lie within a third of it


@dataclass(frozen=True, slots=True)
class Differences:
    """One model and candidates seen from a base: moved (t, v), deltas (c, t, v), off (t, v): what a difference may be off by rounding;
    dropped: whether the model has more of the base's values than training leaves, see dropped_values.py."""

    model: int
    base: int
    members: tuple[int, ...]
    moved: np.ndarray
    deltas: np.ndarray
    off: np.ndarray
    dropped: bool = False

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
        several = one & (high > TIMES_CHANCE_IN_PART * chance.sum(1)) & (high > PEAK / 2 * count.sum(1))
        return bool((good & (~one | (dropped > DROPPED / 2))).any()) or int((several | (good & one)).sum()) > 1

    def explained(self) -> TrimmedMerge | None:
        """Parents one after the other, as long as one explains values that the others do not; where values were surely dropped and these do
        not account for all, once more from those that a regression finds, each of which too few values have alone."""
        found = self._from([], [])
        if self.dropped and (found is None or found.unseen):
            far = self._far()
            regressed = regressed_parents(self.moved, self.deltas[far], self.off)
            scales = [np.full(len(self.moved), number) for _, number in regressed]
            again = self._from([far[place] for place, _ in regressed], scales) if regressed else None
            found = min((one for one in (found, again) if one is not None), key=lambda one: one.order, default=None)
        return found

    def _from(self, chosen: list[int], scales: list[np.ndarray]) -> TrimmedMerge | None:
        """The merge that begins with some parents and their numbers, (t,) each."""
        sums = self._sums(chosen, scales)  # (p, t, v)
        # without parents, what is not the base's value
        left = unexplained(self.moved, self.off, sums) if chosen else np.abs(self.moved) > self.off
        while len(chosen) < AT_MOST and (found := self._gaining(sums, left, chosen, scales)) is not None:
            candidate, scale, left = found
            sums = np.concatenate([sums, sums + scale[:, None] * self.deltas[candidate]])
            chosen, scales = [*chosen, candidate], [*scales, scale]
        if not chosen:
            return None
        while (spare := self._not_needed(chosen, scales)) is not None:
            del chosen[spare], scales[spare]
        for place in range(len(chosen)):
            chosen[place] = self._exactest(place, chosen, scales)
        # means of parents nearly alike look like one, made smaller
        as_they_are = [np.ones_like(scale) for scale in scales]
        tried = [self._explanation(chosen, some) for some in ((scales, as_they_are) if len(chosen) > 1 else (scales,))]
        seen, numbers = min(tried, key=lambda one: int(unexplained(self.moved, self.off, one[0].sums).sum()))
        return seen.judged([self.members[c] for c in chosen], self.base, numbers, self.dropped)

    def _explanation(self, chosen: Sequence[int], scales: Sequence[np.ndarray]) -> tuple[TrimmedSums, list[float]]:
        """By the parents and their numbers (t,), and the usual number of each."""
        sums = self._sums(chosen, scales)
        left = unexplained(self.moved, self.off, sums)
        parts = [scale[:, None] * self.deltas[c] for c, scale in zip(chosen, scales, strict=True)]  # (t, v) each
        means = self._with_means(sums, left, parts, range(len(parts) if len(parts) > 2 else 1))
        seen = TrimmedSums(self.moved, np.stack(parts), means, self.off)
        return seen, [float(np.median(scale)) for scale in scales]

    def _not_needed(self, chosen: Sequence[int], scales: Sequence[np.ndarray]) -> int | None:
        """The place of a parent without which the others explain as much: one that was found before they were."""
        if len(chosen) < 3:
            return None
        everyone = list(range(len(chosen)))
        sets = [everyone, *([i for i in everyone if i != place] for place in everyone)]
        seen = (self._explanation([chosen[i] for i in some], [scales[i] for i in some])[0] for some in sets)
        whole, *without = (int(unexplained(self.moved, self.off, one.sums).sum()) for one in seen)
        place = int(np.argmin(without))
        informative = np.abs(scales[place][:, None] * self.deltas[chosen[place]]) > INFORMATIVE * self.off
        return place if without[place] - whole < GAIN * int(informative.sum()) else None

    def _gaining(
        self, sums: np.ndarray, left: np.ndarray, chosen: Sequence[int], scales: Sequence[np.ndarray]
    ) -> tuple[int, np.ndarray, np.ndarray] | None:
        """The further parent that explains most, its number in each tensor (t,), and which values are left with it, (t, v)."""
        searched = (
            *self._next(sums, left, chosen),
            self._as_the_others(sums, left, chosen, scales),
            self._in_means(left, chosen, scales),
        )
        best: tuple[int, int, np.ndarray, np.ndarray] | None = None
        for candidate, scale in [found for found in searched if found is not None]:
            part = scale[:, None] * self.deltas[candidate]
            known = [s[:, None] * self.deltas[c] for c, s in zip(chosen, scales, strict=True)]
            # with the part where it belongs, and where it does not: sums of many explain some values by chance
            still, chance = (self._still(sums, [*known, some]) for some in (part, np.roll(part, 1, 1)))
            informative = np.abs(part) > INFORMATIVE * self.off
            own = left & informative & (np.abs(part - sums).min(0) > INFORMATIVE * self.off)  # the others are not near
            gained, by_chance = (int((own & ~some).sum()) for some in (still, chance))
            nearly = int((own & still & ~self._still(sums, [*known, part], SHELL)).sum()) if len(chosen) > 1 else 0
            enough = gained >= GAIN * int(informative.sum()) and gained > max(TIMES_CHANCE * by_chance, nearly)
            if enough and (best is None or gained > best[0]):
                best = gained, candidate, scale, still
        return None if best is None else best[1:]

    def _still(self, sums: np.ndarray, parts: Sequence[np.ndarray], times: float = 1.0) -> np.ndarray:
        """(t, v) whether a value is left with a further one of the parents, the last. times: as far off as it may be otherwise."""
        more = np.concatenate([sums, sums + parts[-1]])
        still = unexplained(self.moved, self.off, more)
        # a fourth is in means of three that are near to no other, and may be a merge of the others
        firsts = range(len(parts)) if len(parts) > 3 else (0,)
        more = self._with_means(more, still, parts, firsts) if len(parts) > 1 else more
        return unexplained(self.moved, times * self.off, more)

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

    def _next(self, sums: np.ndarray, left: np.ndarray, chosen: Sequence[int]) -> list[tuple[int, np.ndarray]]:
        """The candidate with the highest peak above chance, and its number in each tensor (t,); where that is large, also the next one."""
        rest = [c for c in self._far() if c not in chosen]
        found: dict[int, tuple[float, np.ndarray]] = {}
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
                higher = above > max(PEAK, found[candidate][0] if candidate in found else 0.0)
                if higher and telling > 0.6 and 0.02 < usual < 20:
                    found[candidate] = above, np.where(agree & enough, scale, usual)
        order = sorted(found, key=lambda candidate: -found[candidate][0])
        # a model that hardly moved, many times over, comes near to much on a coarse grid
        small = [c for c in order if float(np.median(found[c][1])) <= LARGE]
        return [(candidate, found[candidate][1]) for candidate in dict.fromkeys([*order[:1], *small[:1]])]

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

    def _in_means(
        self, left: np.ndarray, chosen: Sequence[int], scales: Sequence[np.ndarray]
    ) -> tuple[int, np.ndarray] | None:
        """The candidate that is most often averaged with one of the known parents: where signs are elected, a small one is seldom alone."""
        rest = [c for c in self._far() if c not in chosen]
        if not rest or not chosen:
            return None
        scale = np.stack(scales).mean(0)  # (t,)
        best: tuple[float, int] | None = None
        for known in chosen:
            second = scale[:, None] * self.deltas[known]  # (t, v)
            own, apart = self.moved - second, scale[:, None] * self.deltas[rest] - second
            height, share, count = peaks(own, apart, self.off, left)
            chance, *_ = peaks(np.roll(own, 1, 1), apart, self.off, left)
            good = (height > TIMES_CHANCE * chance) & (share > 0.02) & (share < 0.98) & (count >= FEWEST)  # (c, t)
            total = np.clip(count.sum(1), 1, None)
            above = np.where((good * count).sum(1) > 0.6 * total, (height - chance).sum(1) / total, 0.0)
            place = int(above.argmax())
            if above[place] > PEAK and (best is None or above[place] > best[0]):
                best = float(above[place]), rest[place]
        return None if best is None else (best[1], scale)

    def _with_means(
        self, sums: np.ndarray, left: np.ndarray, each: Sequence[np.ndarray], firsts: Sequence[int] = (0,)
    ) -> np.ndarray:
        """Where kept differences were divided by the sum of their weights: also the means of two and more of them.

        Args:
            each: (t, v) of each parent; firsts: places of those beside which the others' weights are looked for, see `_weights`; with each
                one more is explained by chance, too.
        """
        if len(each) < 2 or not left.any():
            return sums
        parts = np.stack(each)  # (k, t, v)
        both = [
            np.concatenate([sums, _means(parts, weight)])
            for first in firsts
            for weight in self._weights(parts, left, first)
        ]
        return min(both, key=lambda more: int(unexplained(self.moved, self.off, more).sum()))

    def _weights(self, parts: np.ndarray, left: np.ndarray, first: int) -> np.ndarray:
        """(2, k, t, 1) weights of the parents (k, t, v) in their means: one for all tensors; each tensor's own, which SCE has.

        Args:
            first: place of the parent with which each other one is seen averaged: a small one is in few means that are near to no other.
        """
        weights = np.ones((2, len(parts), len(left), 1))
        for place in range(len(parts)):
            if place == first:
                continue
            own, apart = self.moved - parts[place], parts[first] - parts[place]
            height, share, count = peaks(own, apart[None], self.off, left)
            good = (height[0] > PEAK * count[0]) & (share[0] > 0.02) & (share[0] < 0.98)
            _, usual, _ = peaks(
                own.reshape(1, -1), apart.reshape(1, 1, -1), self.off.reshape(1, -1), left.reshape(1, -1)
            )
            one = float(usual[0, 0]) if good.any() and 0.02 < usual[0, 0] < 0.98 else 0.5
            for weight, given in zip(
                weights, (np.full_like(share[0], one), np.where(good, share[0], one)), strict=True
            ):
                weight[place] = ((1 - given) / given)[:, None]
        return weights


def _means(parts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(p, t, v): of any two and more parents (k, t, v) with weights (k, t, 1)."""
    some = (list(c) for size in range(2, len(parts) + 1) for c in combinations(range(len(parts)), size))
    return np.stack([(weight[c] * parts[c]).sum(0) / weight[c].sum(0) for c in some])


def differences(
    model: int, base: int, members: tuple[int, ...], own: np.ndarray, start: np.ndarray, parts: np.ndarray, digits: int
) -> Differences:
    """own, start: (t, v); parts: (c, t, v), all rounded to the model's digits. Values that the model only shrank are left out: decay makes
    ratios of differences meet as a merge does."""
    moved = own - start
    last = last_place(np.maximum(np.abs(own), np.abs(start)), digits)
    off = DIGITS * last + np.abs(moved) * max(2.0 ** (1 - digits), 1e-5)
    trained = np.ones_like(moved) if digits <= COARSE else ~shrunk(moved, start, off)
    return Differences(model, base, members, moved * trained, (parts - start) * trained, off)


def shrunk(moved: np.ndarray, start: np.ndarray, off: np.ndarray) -> np.ndarray:
    """(t, v) whether a value is nearly the base's times the factor that many values of its tensor share, as those without a gradient are.

    Args:
        moved: differences from the base; start: its values; off: what a difference may be off, each (t, v).
    """
    everything = np.ones(moved.shape, bool)
    height, factor, count = (found[0] for found in peaks(moved, start[None], off, everything))  # (t,) each
    chance = peaks(np.roll(moved, 1, 1), start[None], off, everything)[0][0]
    sure = (factor < 0) & (height >= FEWEST) & (height >= PEAK * count) & (height >= TIMES_CHANCE * chance)
    near = np.abs(moved - factor[:, None] * start) <= np.maximum(off, NEARLY * np.abs(moved))
    return np.asarray(near & (np.abs(moved) > off) & sure[:, None])
