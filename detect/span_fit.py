"""One model seen from a pool of others: the sums of a few of them that are nearest to it, tensor by tensor.

Coefficients of a tensor sum to one and are its own. Values are taken in units of their last digit, so that rounding is the same everywhere
and small values count most. The origin may be one more point: SLERP leaves the plane through its parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.family_values import ROUNDING_SQ, FamilyValues, last_digit
from lineage.detect.regression import OFF_SQ, RIDGE


@dataclass(frozen=True, slots=True)
class View:
    """One model seen from its pool.

    Attributes:
        inner: (l, p + 1, p + 1) inner products of the differences of the pool and the origin, last, to the model, each value in units of
            its last digit; floor: (l,) their numerical error.
        rounding: (l,) expected squared rounding error of the model; values: (l,) how many there are.
        off_sq: of the squared distance of the parents, what rounding of their differences adds.
    """

    model: int
    pool: tuple[int, ...]
    inner: np.ndarray
    floor: np.ndarray
    rounding: np.ndarray
    values: np.ndarray
    off_sq: float

    def allowed(self, sets: np.ndarray) -> np.ndarray:
        """(s, l): rounding expected of a sum, and what is nothing beside the distance of the parents in each set (s, n)."""
        own = np.diagonal(self.inner, axis1=1, axis2=2)  # (l, p + 1)
        return np.asarray(self.rounding + self.off_sq * own[:, sets].mean(2).T + self.floor)  # (s, l)

    def fit(self, sets: np.ndarray, origin: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(s, l) remainders and (s, l, n) coefficients that sum to one of each set (s, n) in each tensor; with the origin n + 1."""
        if origin:
            sets = np.concatenate([sets, np.full((len(sets), 1), len(self.pool))], 1)
        inner = self.inner[:, sets[:, :, None], sets[:, None, :]].swapaxes(0, 1)  # (s, l, n, n)
        return affine(inner, np.broadcast_to(self.floor, inner.shape[:2]))

    def among(self, some: Sequence[int]) -> View:
        """With some of the pool, by place."""
        index = np.array([*some, len(self.pool)])
        return replace(
            self, pool=tuple(self.pool[i] for i in some), inner=self.inner[:, index[:, None], index[None, :]]
        )

    def only(self, tensors: np.ndarray) -> View:
        return replace(
            self,
            inner=self.inner[tensors],
            floor=self.floor[tensors],
            rounding=self.rounding[tensors],
            values=self.values[tensors],
        )


def view(values: FamilyValues, model: int, pool: Sequence[int]) -> View:
    digits = int(values.digits[model])
    inner, floor, count = [], [], []
    for rows, mine in zip(values.rounded(pool, digits), values.rounded([model], digits), strict=True):
        unit = last_digit(mine[0], digits)  # (v,)
        moved = np.concatenate([rows - mine, -mine]) / unit  # (p + 1, v)
        inner.append(moved @ moved.T)
        floor.append(float(np.square(mine[0] / unit).sum()) * 1e-14)
        count.append(mine.shape[1])
    each = np.array(count, np.float64)
    small = np.array(floor) * 4.0**-digits
    return View(model, tuple(pool), np.stack(inner), small, each / 12, each, OFF_SQ + 2 * ROUNDING_SQ * 4.0**-digits)


def affine(inner: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., n, n) inner products of differences to a point -> (...) squared distance of it to the plane through the n points, and the
    (..., n) coefficients of its foot, which sum to one. Equal points share what they have. floor: (...) numerical error of the products."""
    size = inner.shape[-1]
    scale = np.clip(np.diagonal(inner, axis1=-2, axis2=-1).max(-1), 1e-300, None)  # (...)
    scale = np.maximum(scale, 1e3 * floor)
    ridge = (RIDGE + 4 * floor / scale)[..., None, None] * np.eye(size)
    unit = inner / scale[..., None, None] + ridge
    solved = np.linalg.solve(unit, np.ones((*unit.shape[:-1], 1)))[..., 0]  # (..., n)
    coefficients = solved / solved.sum(-1, keepdims=True)
    remainder = np.einsum("...i,...ij,...j->...", coefficients, inner, coefficients)
    return np.clip(remainder, 0, None), coefficients
