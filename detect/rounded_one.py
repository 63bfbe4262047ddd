"""Which of several models, each of which is a sum of the others, is the merge: the one whose values were rounded last.

A parent lies on the same line as its merge, beyond or within the base: by distances alone each of the three is a sum of the other two.
What is left of the right one is its own rounding, even between half a digit up and half a digit down. Of a model that was not rounded last
the same remainder is narrower or wider than its digits are. In: values of a family. Out: log-odds, all of the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import erf, inf, isfinite

import numpy as np

from lineage.detect.family_values import FamilyValues, last_place, rounded

FEWEST = 64  # values for each coefficient of a tensor
AS_LARGE = 2  # powers of two between the largest and the smallest of the values that are compared
LARGEST_VARIANCE = 1.0  # of remainders, in squared digits: more than a sum that was rounded in between may leave
NOISES = (0.03, 0.1, 0.2, 0.3, 0.5, 0.8)  # digits that a remainder is off by, beside the last rounding
COARSER = 0.03  # share of remainders that may lie anywhere
CLASSES, FARTHEST = 120, 3.0  # of sizes of remainders, in digits


def rounded_last(values: FamilyValues, models: Iterable[int]) -> dict[int, float]:
    """Log-odds of each of three or more models, over the likeliest, to be the sum of the others.

    Returns:
        model -> log-odds, minus infinity for those that leave more than rounding does; nothing where too few values can be compared.
    """
    dependent = sorted(models)
    found = {model: odds for model in dependent if (odds := _log_density(values, model, dependent)) is not None}
    first = max(found.values(), default=0.0)
    return {model: odds - (first if isfinite(first) else 0.0) for model, odds in found.items()}


def _log_density(values: FamilyValues, model: int, dependent: list[int]) -> float | None:
    """Of what is left, if this model is the sum; parents are taken as they are, and as they are before they are merged in its dtype."""
    coarse = {24, int(values.digits[model])}
    return max((odds for d in coarse if (odds := _density(values, model, dependent, d)) is not None), default=None)


def _density(values: FamilyValues, model: int, dependent: list[int], coarse: int) -> float | None:
    digits = int(values.digits[model])
    index = np.array([model, *(m for m in dependent if m != model)], np.int64)
    coarsest = int(values.digits[index].min())
    left, density = list[np.ndarray](), 0.0
    for tensor in values.tensors:
        rows = tensor[index].astype(np.float64)  # (n, v)
        _, exponent = np.frexp(np.abs(rows))
        alike = (
            (exponent.max(0) - exponent.min(0) <= AS_LARGE) & (rows != 0).all(0) & _all_differ(rounded(rows, coarsest))
        )
        if int(alike.sum()) < FEWEST * len(index):
            continue
        rows = rows[:, alike]
        digit = last_place(np.abs(rows[0]), digits)  # (v,)
        rows[1:] = rounded(rows[1:], coarse)
        moved, own = (rows[2:] - rows[1]) / digit, (rows[0] - rows[1]) / digit
        product = moved @ moved.T
        if not np.isfinite(product).all() or np.linalg.matrix_rank(product) < len(product):
            continue
        left.append(own - np.linalg.solve(product, moved @ own) @ moved)
        density -= float(np.log(digit).sum()) + len(digit) * _log_volume(rows[1:])
    if not left:
        return None
    off = np.concatenate(left)
    variance = float(np.square(off).mean())
    if variance > LARGEST_VARIANCE:
        return -inf
    count, edges = np.histogram(np.minimum(np.abs(off), FARTHEST), CLASSES, (0.0, FARTHEST))
    sizes = (edges[1:] + edges[:-1]) / 2
    return density + max(float(count @ _of_rounding(sizes, noise)) for noise in NOISES)


def _all_differ(rows: np.ndarray) -> np.ndarray:
    """(v,) where no two rows (n, v) are equal: where a parent has kept the base's value, all sums are exact."""
    ordered = np.sort(rows, 0)
    return np.asarray((ordered[1:] != ordered[:-1]).all(0))


def _log_volume(points: np.ndarray) -> float:
    """Of the simplex between points (n, v), the parents: odds of models on one line are then of one measure."""
    moved = points[1:] - points[0]
    _, determinant = np.linalg.slogdet(moved @ moved.T / moved.shape[1])
    return float(determinant) / 2


def _of_rounding(sizes: np.ndarray, noise: float) -> np.ndarray:
    """(n,) log-density of remainders: even over one digit, plus noise; a few are of sums that were rounded to coarser digits in between."""
    below, above = ((sizes + side) / noise / 2**0.5 for side in (-0.5, 0.5))
    even = np.array([(erf(high) - erf(low)) / 2 for low, high in zip(below, above, strict=True)])
    return np.asarray(np.log((1 - COARSER) * even + COARSER / (2 * FARTHEST)))
