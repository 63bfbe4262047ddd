"""Parents that were found from a base, kept or dropped at single values: are they those of a merge, and by which method?

In: a model's differences from a base, its parents' and their sums. Out: the merge, or None where training leaves the same. Values of a
parent alone are what a fine-tune in 16 bits keeps, so beside them values were dropped, or their signs elected.
Dimension letters: t tensors, v values of each, k parents, p sums.
Source: TIES, arXiv 2306.01708; DARE, arXiv 2311.03099; SCE, arXiv 2408.07990; as mergekit computes them (arXiv 2403.13257).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

INFORMATIVE = 4.0  # a parent's part over what a value may be off
MAY_BE_OFF = 1.5  # of what a difference may be off: a sum of several
TIMES_CHANCE = 2.0
TIMES_CHANCE_IN_PART = 6.0  # first steps of Adam are of one size, so that ratios meet at plus and minus one number
ONE = 0.03  # numbers that near to one are what is left of a parent in a fine-tune
DROPPED = 0.02  # share of informative values that equal the base, from which on values of two parents were dropped
EXPLAINED, MOSTLY, IN_PART = 0.98, 0.9, 0.15
ALL_DIFFER = 0.8  # the same share where base and parents have different values
MIXED = 0.05  # share of such values that are explained by no model alone
FEWEST_INFORMATIVE = 64
ELECTED = 0.95  # share of values that are the mean of the parents of one sign
# of what a value may be off: of a value that is a parent's alone more is left in a model near to that parent
EXACT = 0.55
OFTEN = 0.03  # share of such values from which on it is one, clear of chance; 0.015 at most for parents, 0.06 and more for what lies near
FEWEST_ALONE, FEWEST_IN_TENSOR = 64, 8  # values of a parent alone, by which the two differ
LEAST_SHARE = 0.02  # of the merged differences; what has less in them is no parent, and chance found it
BY_SIZE = 1.3  # mean size of kept differences over that of dropped ones, from which on small ones were dropped


@dataclass(frozen=True, slots=True)
class TrimmedMerge:
    """members: parents with their shares of the merged differences; explained: share of informative values that they account for;
    alike: models that may be the base as well; near: whether the unseen part is one that a model at hand lies near to."""

    members: tuple[tuple[int, float], ...]
    base: int
    method: str
    explained: float
    unseen: bool
    alike: tuple[int, ...] = ()
    near: bool = False

    @property
    def order(self) -> tuple[bool, float, int, float]:
        """Of two explanations the better one comes first."""
        return self.unseen and not self.near, -round(self.explained, 2), len(self.members), -self.explained

    @property
    def parents(self) -> list[int]:
        return [model for model, _ in self.members]

    @property
    def models(self) -> set[int]:
        return {*self.parents, self.base}


def unexplained(moved: np.ndarray, off: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """(t, v) whether none of the sums (p, t, v) is the difference (t, v), which may be off by so much (t, v)."""
    return np.asarray((np.abs(moved - sums) > MAY_BE_OFF * off).all(0))


@dataclass(frozen=True, slots=True)
class TrimmedSums:
    """A model's differences from a base by those of its parents.

    Attributes:
        moved: (t, v); off: (t, v) what a difference may be off by rounding.
        parts: (k, t, v) of the parents, each times its number; sums: (p, t, v) of them, and their means.
    """

    moved: np.ndarray
    parts: np.ndarray
    sums: np.ndarray
    off: np.ndarray

    def judged(
        self, parents: Sequence[int], base: int, numbers: Sequence[float], surely_dropped: bool = False
    ) -> TrimmedMerge | None:
        """
        Args:
            parents: (k,) models; numbers: (k,) by which their differences were multiplied; surely_dropped: whether values of the base are
                in the model that training would have moved.
        """
        informative = np.abs(self.parts).max(0) > INFORMATIVE * self.off  # (t, v)
        count = int(informative.sum())
        if count < FEWEST_INFORMATIVE:
            return None
        here, by_chance = (
            float((~unexplained(some, self.off, self.sums) & informative & (np.abs(some) > self.off)).sum()) / count
            for some in (self.moved, np.roll(self.moved, 1, 1))
        )
        left = unexplained(self.moved, self.off, self.sums)
        explained = float((~left & informative).sum()) / count
        dropped = float(((np.abs(self.moved) <= 0.5 * self.off) & informative).sum()) / count
        whole, ones = explained >= EXPLAINED, all(abs(number - 1) < ONE for number in numbers)
        if here < IN_PART or here < (TIMES_CHANCE if explained >= MOSTLY else TIMES_CHANCE_IN_PART) * by_chance:
            return None
        if not self._within_tensors(informative, left):
            return None
        least_dropped = DROPPED ** max(1.0, len(parents) / 2)  # a value is dropped where it is dropped of each parent
        if len(parents) < 2 and whole:
            return None
        if not surely_dropped and (
            (not whole and (ones or dropped < DROPPED))  # what a fine-tune kept of its parents, or they of it
            or (len(parents) > 1 and not self._where_all_differ(left, whole, ones))
        ):
            return None
        nothing_dropped = ones and dropped < least_dropped
        if nothing_dropped and self._elected() < ELECTED:
            return None  # what a fine-tune kept of several models
        kept = self._kept() & ~left
        weight = [number * int((k & informative).sum()) / count for k, number in zip(kept, numbers, strict=True)]
        total = sum(weight)
        if total <= 0 or min(weight) < LEAST_SHARE * total:
            return None
        near = self._near_alone()
        some = [(p, w) for p, w, its in zip(parents, weight, near, strict=True) if not its]
        if not some:
            return None
        total = sum(w for _, w in some)
        members = sorted(((p, w / total) for p, w in some), key=lambda pair: -pair[1])
        method = "TIES or SCE" if nothing_dropped else self._method(kept, left)
        return TrimmedMerge(tuple(members), base, method, explained, not whole or any(near), near=any(near))

    def _near_alone(self) -> list[bool]:
        """(k,) whether a parent is only near to the one that was merged, which is not at hand: where its values are alone in the merge,
        they are often off by more than rounding, while those of another parent are not."""
        often = [self._off_alone(place) for place in range(len(self.parts))]
        count = [len(off) for off in often]
        share = [float((off > EXACT).mean()) if len(off) >= FEWEST_ALONE else 0.0 for off in often]
        clear = [s - 2 * (s / max(1, n)) ** 0.5 for s, n in zip(share, count, strict=True)]
        exact = any(n >= FEWEST_ALONE and s < OFTEN for s, n in zip(share, count, strict=True))
        return [exact and c > OFTEN for c in clear]

    def _off_alone(self, place: int) -> np.ndarray:
        """What is left, over what a value may be off, of values that are one parent's alone, times the tensor's best number."""
        away = np.abs(self.moved - self.sums)
        part = self.parts[place]
        alone = (
            (away.argmin(0) == 1 << place)
            & (away.min(0) <= MAY_BE_OFF * self.off)
            & (np.abs(part) > INFORMATIVE * self.off)
        )
        found = [np.zeros(0)]
        for tensor in np.flatnonzero(alone.sum(1) >= FEWEST_IN_TENSOR).tolist():
            at = alone[tensor]
            off, own, moved = self.off[tensor][at], part[tensor][at], self.moved[tensor][at]
            number = float((own * moved / off**2).sum() / (own**2 / off**2).sum())
            found.append(np.abs(moved - number * own) / off)
        return np.concatenate(found)

    def _within_tensors(self, informative: np.ndarray, left: np.ndarray) -> bool:
        """Whether values are explained in tensors that are no other model's as a whole, as frozen layers are.

        Args:
            informative: (t, v) values that tell; left: those that no sum accounts for.
        """
        points = np.concatenate([self.parts, np.zeros_like(self.parts[:1])])
        whole = (np.abs(self.moved - points) <= MAY_BE_OFF * self.off).all(2).any(0)  # (t,)
        own = (informative & ~left & (np.abs(self.moved) > self.off))[~whole]
        return int(own.sum()) >= IN_PART * max(FEWEST_INFORMATIVE, int(informative[~whole].sum()))

    def _where_all_differ(self, left: np.ndarray, whole: bool, ones: bool) -> bool:
        """Whether values are explained where the base and all parents have other values, and, where all numbers are one, some of them by
        sums or means alone: the middle of models that changed few values each has the value of one of them nearly everywhere."""
        points = np.concatenate([self.parts, np.zeros_like(self.parts[:1])])
        distinct = np.ones(left.shape, bool)
        for one, other in combinations(points, 2):
            distinct &= np.abs(one - other) > INFORMATIVE * self.off
        count = int(distinct.sum())
        share = int((distinct & ~left).sum()) / max(1, count)
        mixed = int((distinct & ~left & unexplained(self.moved, self.off, points)).sum()) / max(1, count)
        enough = share >= (ALL_DIFFER if whole else IN_PART)
        return count >= FEWEST_INFORMATIVE and enough and (mixed >= MIXED or not ones)

    def _elected(self) -> float:
        """Share of values that are the mean of those parents, one or several, whose differences have one sign and all others the other:
        what TIES and SCE leave where nothing was too small. Training elects no signs, and seen from another base they are other ones."""
        telling = (np.abs(self.parts) > INFORMATIVE * self.off).all(0)
        count = int(telling.sum())
        good = np.zeros_like(telling)
        for place, some in enumerate(self._subsets()):
            if len(some) == 1 or place >= 1 << len(self.parts):
                own = np.array([i in some for i in range(len(self.parts))])[:, None, None]
                by_sign = ((self.parts > 0) == own).all(0) | ((self.parts < 0) == own).all(0)
                good |= by_sign & (np.abs(self.moved - self.sums[place]) <= MAY_BE_OFF * self.off)
        return int((telling & good).sum()) / count if count >= FEWEST_INFORMATIVE else 0.0

    def _kept(self) -> np.ndarray:
        """(k, t, v) whether a parent's difference is in the sum that fits best."""
        which = np.abs(self.moved - self.sums).argmin(0)  # (t, v)
        some = self._subsets()
        return np.stack([np.array([place in one for one in some])[which] for place in range(len(self.parts))])

    def _subsets(self) -> list[tuple[int, ...]]:
        """Which parents are in each of the sums, in the order in which these are made: plain ones, then means of two and more."""
        parents = len(self.parts)
        plain = [tuple(place for place in range(parents) if (i >> place) & 1) for i in range(1 << parents)]
        means = [some for size in range(2, parents + 1) for some in combinations(range(parents), size)]
        return [*plain, *means][: len(self.sums)]

    def _method(self, kept: np.ndarray, left: np.ndarray) -> str:
        ratio = []
        for part, k in zip(self.parts, kept, strict=True):
            size, dropped = np.abs(part), ~k & ~left
            if k.any() and dropped.any():
                ratio.append(float(size[k].mean()) / max(1e-300, float(size[dropped].mean())))
        if ratio and sum(ratio) / len(ratio) > BY_SIZE:
            return "TIES"
        if len(self.parts) < 2:
            return "DARE"
        both = kept[0] & kept[1] & ~left
        opposite = (np.sign(self.parts[0]) != np.sign(self.parts[1])) & both
        return "DARE, linear" if int(opposite.sum()) > 0.1 * int(both.sum()) else "DARE-TIES"
