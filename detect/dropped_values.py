"""Values that are exactly a base's while those beside them moved: what merges that drop values leave, and training does not.

A gradient moves every value of a row whose unit takes part, by amounts that vary smoothly about nothing. Where the last digit is worth
little beside that, next to no value stays where it was; TIES, DARE and SCE leave a share of them. So values near zero tell, of which even
16 bits hold small differences. Rows and columns in which nothing moved are units without a gradient, and are left out. Units that are
seldom active together leave such values in some layers, a merge in all. Only the base is needed, none of the parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.family_values import last_place, rounded

SMALL = 1 / 128  # worth of the last digit over the usual movement of a row, up to which a value tells
FEWEST_TELLING, FEWEST_IN_TENSOR, FEWEST_KEPT = 128, 32, 12  # values that tell, and those of them that stayed
DROPPED = 0.025  # share that stayed: at most 0.011 in trained models, but for two of 0.035, 0.037 to 0.80 in merges that drop values
FAR, AS_OTHERS = 0.25, 0.4  # of a row's usual movement; share of values that moved so far, of those that moved
# of that share, and the share of tensors that have so much of it: these two models have it in a half of theirs
SOME, MOST = 0.3, 0.75


@dataclass(frozen=True, slots=True)
class KeptValues:
    """Of each tensor: telling: number of values that would have moved in training; kept: of those that are exactly the base's; nearly: of
    those that moved by one unit in the last place; far: of those that moved as others of their rows do."""

    telling: np.ndarray
    kept: np.ndarray
    nearly: np.ndarray
    far: np.ndarray

    @property
    def stayed(self) -> np.ndarray:
        """Number of values in each tensor that were dropped: what stayed beyond what moved by as little as can be seen."""
        return self.kept - self.nearly / 2

    @property
    def share(self) -> float:
        """Of values that tell: those that were dropped."""
        return float(self.stayed.sum()) / max(1, int(self.telling.sum()))

    @property
    def dropped(self) -> bool:
        """Whether more stayed than training leaves."""
        enough = int(self.telling.sum()) >= FEWEST_TELLING and int(self.kept.sum()) >= FEWEST_KEPT
        return enough and self.share >= DROPPED and self._in_most_tensors() and self._others_moved()

    def _others_moved(self) -> bool:
        """Whether values near zero move as far as others: where steps are in proportion to the values, none of them tells."""
        return float(self.far.sum()) >= AS_OTHERS * float((self.telling - self.kept).sum())

    def _in_most_tensors(self) -> bool:
        telling = self.telling >= FEWEST_IN_TENSOR
        some = self.stayed[telling] >= SOME * DROPPED * self.telling[telling]
        return bool(telling.any()) and float(some.mean()) >= MOST


def kept_values(own: Sequence[np.ndarray], start: Sequence[np.ndarray], digits: int) -> KeptValues:
    """
    Args:
        own, start: (r, w) of each tensor of a model and of the one that it may come from; digits: binary digits of the model's values.
    """
    counts = [_of_tensor(mine, theirs, digits) for mine, theirs in zip(own, start, strict=True)]
    return KeptValues(*np.array(counts, np.int64).reshape(-1, 4).T)


def _of_tensor(own: np.ndarray, start: np.ndarray, digits: int) -> tuple[int, int, int, int]:
    before = rounded(start, digits)
    moved = own.astype(np.float64) - before  # (r, w)
    changed = moved != 0
    alive = changed.any(1)[:, None] & changed.any(0)[None, :]
    digit = last_place(np.abs(before), digits)
    usual = np.sqrt(np.square(moved).mean(1, keepdims=True))
    telling = alive & (digit <= SMALL * usual) & (before != 0)
    size = np.abs(moved)
    nearly, far = telling & changed & (size <= 1.01 * digit), telling & (size >= FAR * usual)
    return int(telling.sum()), int((telling & ~changed).sum()), int(nearly.sum()), int(far.sum())
