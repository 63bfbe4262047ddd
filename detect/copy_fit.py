"""How well each model fits a quantized copy, tensor by tensor: equal bit for bit, or how much is left of the copy's values.

What the quantizer left alone (norms, biases, embeddings) is equal to the original's after a cast. Of packed values something is left: the
error of rounding. AWQ and SmoothQuant divide a norm by scales and multiply the columns of the next matrix with them, or rows of
one matrix and columns of another: then it is measured with a scale of its own for each row and column.

Source: Lin et al. 2024, "AWQ: Activation-aware Weight Quantization"; Xiao et al. 2023, "SmoothQuant".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from lineage.detect.decode import round_to
from lineage.detect.model_input import Subject
from lineage.detect.signals.content import DIGITS
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample

FOLDED = 0.7  # of the error left with scales for rows and columns: then such scales were moved between tensors
MIN_FOLDED_ROWS = 8
LEVELS_IN, BLOCKS_SEEN = (
    16,
    1024,
)  # values that share a scale in every packing; such blocks of a tensor that are looked at
SLACK, SCALES_ROUNDED = (
    1.05,
    2.0**-8,
)  # of a level's width; of a value: scales that are stored in 16 bits were rounded first
MOST_PARTS, ON_LEVEL = (
    8,
    0.02,
)  # levels that the nearest two values of a block may be apart, and how far off a level they may lie
NEAR_ZERO, FINE_SLACK = (
    1.5,
    1.01,
)  # levels from zero up to which values are looked at more closely, and of a level's width
CANDIDATES, PREVIEW_VALUES = 64, 16_384  # models compared in full, and values by which these are chosen
KEPT_VALUES = 1 << 26  # decoded values in memory


@dataclass(frozen=True, slots=True)
class CopyFit:
    """How one model fits a copy.

    Attributes:
        equal: tensors of the copy that are the model's bit for bit; cast: whether that took a cast.
        error: of the other tensors, the squared length of what is left of the copy once the model's tensor is scaled to it.
    """

    subject: Subject
    equal: frozenset[str]
    cast: bool
    error: Mapping[str, float]


class SampledValues:
    """Samples as numbers, decoded once as long as they are few."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], np.ndarray] = {}
        self._left = KEPT_VALUES
        self._previews: dict[tuple[tuple[str, int, int], ...], np.ndarray] = {}

    def of(self, subject: Subject, sample: Sample) -> np.ndarray:
        """(values,) float32 or float64."""
        key = subject.id, sample.name
        if key in self._known:
            return self._known[key]
        found = sample.values()
        if self._left >= len(found):
            self._known[key] = found
            self._left -= len(found)
        return found

    def shared(self, one: Subject, other: Subject, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The values of a tensor that both samples hold, (values,) each; None where there are none."""
        first, second = one.sketch.samples.get(name), other.sketch.samples.get(name)
        if first is None or second is None or not {first.dtype, second.dtype} <= FLOAT_DTYPES:
            return None
        if len(first.shape) != len(second.shape) or first.shape[1:] != second.shape[1:]:
            return None
        start, stop = first.common(second)
        if stop <= start:
            return None
        mine = self.of(one, first)[start - first.start : stop - first.start]
        return mine, self.of(other, second)[start - second.start : stop - second.start]

    def previews(self, places: tuple[tuple[str, int, int], ...], models: Sequence[Subject]) -> np.ndarray:
        """Values of all models at some places, NaN where a model has none there; made once for all copies of one layout.

        Args:
            places: (tensor, first, last) offsets within it.
        Returns:
            (models, values) float32.
        """
        if places not in self._previews:
            found = np.full((len(models), sum(last - first for _, first, last in places)), np.nan, np.float32)
            for row, subject in zip(found, models, strict=True):
                at = 0
                for name, first, last in places:
                    sample = subject.sketch.samples.get(name)
                    if (
                        sample is not None
                        and sample.start <= first
                        and last <= sample.stop
                        and sample.dtype in FLOAT_DTYPES
                    ):
                        row[at : at + last - first] = sample.values()[first - sample.start : last - sample.start]
                    at += last - first
            self._previews = {places: found}  # copies of one group mostly have one layout
        return self._previews[places]


def likely_originals(copy: Subject, models: Sequence[Subject], values: SampledValues) -> list[Subject]:
    """The models that a copy is compared with in full: where there are many, the nearest by some of its values."""
    if len(models) <= CANDIDATES:
        return list(models)
    places: list[tuple[str, int, int]] = []
    left = PREVIEW_VALUES
    for name, sample in copy.sketch.samples.items():
        if left > 0 and sample.dtype in FLOAT_DTYPES:
            places.append((name, sample.start, min(sample.stop, sample.start + left)))
            left -= places[-1][2] - places[-1][1]
    mine = np.concatenate([values.of(copy, copy.sketch.samples[n])[: last - first] for n, first, last in places])
    its = values.previews(tuple(places), models)  # (models, values)
    with np.errstate(all="ignore"):
        apart = np.nansum(np.square(its - mine.astype(np.float32)), 1) / (~np.isnan(its)).sum(1)  # (models,)
    order = np.argsort(np.where(np.isnan(apart), np.inf, apart), kind="stable")[:CANDIDATES]
    return [models[place] for place in sorted(order.tolist())]


def fit_of(copy: Subject, subject: Subject, values: SampledValues) -> CopyFit | None:
    """None where nothing can be compared. Constant tensors, such as norms that never moved, do not count."""
    equal: set[str] = set()
    error: dict[str, float] = {}
    cast = False
    for name, sample in copy.sketch.samples.items():
        pair = values.shared(copy, subject, name)
        if pair is None or pair[0].min() == pair[0].max():
            continue
        if np.array_equal(*pair):
            equal.add(name)
        elif _equal_after_cast(*pair, sample.dtype):
            equal.add(name)
            cast = True
        else:
            error[name] = _left(*pair)
    return CopyFit(subject, frozenset(equal), cast, error) if equal or error else None


def _equal_after_cast(mine: np.ndarray, its: np.ndarray, dtype: str) -> bool:
    """Whether values of a copy are those of a model rounded to a coarser dtype, at times by way of a further one."""
    lasts = ("BF16", "F16") if DIGITS.get(dtype, 24) >= DIGITS["F32"] else (dtype,)
    with np.errstate(over="ignore"):
        for last in lasts:
            for before in ("", "BF16", "F16"):
                if np.array_equal(mine, round_to(round_to(its, before) if before else its, last)):
                    return True
    return False


def _left(mine: np.ndarray, its: np.ndarray) -> float:
    """Squared length of what is left of a copy's values once a model's are scaled to them."""
    x, y = mine.astype(np.float64), its.astype(np.float64)
    length_sq = _sq(y)
    return _sq(x - y * (float(x @ y) / length_sq)) if length_sq > 0 else _sq(x)


def unfolded(
    copy: Subject, fits: Sequence[CopyFit], packed: Sequence[str], values: SampledValues
) -> Sequence[CopyFit] | None:
    """The same fits with scales of rows and columns taken out, over matrices alone; None where none were moved between tensors."""
    samples = copy.sketch.samples
    matrices = [n for n in packed if len(samples[n].shape) == 2 and _rows(samples[n]) >= MIN_FOLDED_ROWS]
    if not matrices:
        return None
    nearest = min(fits, key=lambda fit: sum(fit.error[name] for name in matrices))
    before = sum(nearest.error[name] for name in matrices)
    if sum(_left_unfolded(copy, nearest.subject, name, values) for name in matrices) > FOLDED * before:
        return None
    return [
        replace(fit, error={name: _left_unfolded(copy, fit.subject, name, values) for name in matrices}) for fit in fits
    ]


def _rows(sample: Sample) -> int:
    return (sample.stop - sample.start) // max(1, sample.shape[-1])


def _left_unfolded(copy: Subject, subject: Subject, name: str, values: SampledValues) -> float:
    """As `_left`, with a scale of its own for each column and each row."""
    x, y = _scaled_to(copy, subject, name, values, folded=True)
    return _sq(x - y)


def _scaled_to(
    copy: Subject, subject: Subject, name: str, values: SampledValues, folded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values of a copy and of a model scaled to it, (rows, width) float64 each; where scales were folded, by row and column."""
    pair, width = values.shared(copy, subject, name), copy.sketch.samples[name].shape[-1]
    assert pair is not None
    x, y = (side[: len(side) // width * width].reshape(-1, width).astype(np.float64) for side in pair)
    for axis in (0, 1, 0, 1) if folded else (None,):
        length_sq = np.square(y).sum(axis, keepdims=True)
        along = (x * y).sum(axis, keepdims=True)
        y = y * np.divide(along, length_sq, out=np.zeros_like(along), where=length_sq > 0)
    return x, y


def leaning(
    copy: Subject, model: Subject, other: Subject, packed: Sequence[str], values: SampledValues, folded: bool
) -> float:
    """How clearly what is left of a copy points from a model to another one: standard errors, about 0 for the original.

    Rounding does not know the difference of two models. Where the copy is of a third one, that lies between or beyond them.
    """
    along = variance = 0.0
    for name in packed:
        if len(copy.sketch.samples[name].shape) != 2 or values.shared(copy, other, name) is None:
            continue
        x, y = _scaled_to(copy, model, name, values, folded)
        _, z = _scaled_to(copy, other, name, values, folded)
        if x.shape != z.shape or not x.size:
            continue
        left, apart = x - y, z - y
        weight = 1 / max(_sq(left) / left.size, 1e-300)
        along += weight * float((left * apart).sum())
        variance += weight * _sq(apart)
    return along / sqrt(variance) if variance > 0 else 0.0


def is_coarser(copy: Subject, model: Subject, name: str, values: SampledValues) -> bool:
    """Whether a tensor of a copy has far fewer levels than a model's: then it was rounded as well."""
    pair = values.shared(copy, model, name)
    return pair is not None and 2 * len(np.unique(pair[0])) < len(np.unique(pair[1]))


def outside_share(
    copy: Subject, model: Subject, packed: Sequence[str], values: SampledValues, even: bool
) -> float | None:
    """Share of a model's values that rounding to the nearest level would have taken to another level than the copy has there.

    Args:
        even: whether levels lie at even distances, so that the distance can be found where most levels of a block are not taken.
    Returns:
        About 0 for the original, None where no blocks can be seen. An upper bound of the distance is used, so that no
        value of the original is ever outside but for the rounding of scales.
    """
    outside = seen = 0
    for name in packed:
        blocks = _blocks(copy, model, name, values, LEVELS_IN)
        if blocks is None:
            continue
        x, y = blocks
        below, above = _even_levels(x) if even else _levels(x)  # (blocks, width) each
        slack = SCALES_ROUNDED * np.abs(x)
        far = (y - x > SLACK * above / 2 + slack) | (x - y > SLACK * below / 2 + slack)
        outside, seen = outside + int(far.sum()), seen + far.size
    return outside / seen if seen else None


def outside_near_zero(
    copy: Subject, model: Subject, packed: Sequence[str], values: SampledValues, width: int, even: bool
) -> Mapping[str, tuple[int, int, int]]:
    """As `outside_share`, of values near zero, where the rounding of scales counts for next to nothing: so a hundredth of a level tells.

    Args:
        width: values that share a scale, at least.
    Returns:
        tensor -> (values that are nearer to another level, values, those of them whose level has a known width), of those tensors that
        can be looked at. Where a matrix was reordered, values side by side have scales of their own, and no width is found.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for name in packed:
        blocks = _blocks(copy, model, name, values, width)
        if blocks is None:
            continue
        x, y = blocks  # (blocks, width) each
        below, above = _even_levels(x) if even else _levels(x)
        near = np.abs(x) < NEAR_ZERO * np.minimum(below, above)
        far = near & ((y - x > FINE_SLACK * above / 2) | (x - y > FINE_SLACK * below / 2))
        if near.any():
            found[name] = int(far.sum()), int(near.sum()), int((near & np.isfinite(np.minimum(below, above))).sum())
    return found


def _blocks(
    copy: Subject, model: Subject, name: str, values: SampledValues, width: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Some blocks of a copy's and a model's tensor, (blocks, width) float64 each; None where the sample does not consist of such blocks."""
    sample, pair = copy.sketch.samples[name], values.shared(copy, model, name)
    if (
        pair is None
        or len(sample.shape) < 2
        or sample.shape[-1] % width
        or sample.start % width
        or len(pair[0]) < width
    ):
        return None
    blocks = max(1, BLOCKS_SEEN * LEVELS_IN // width)
    x, y = (side[: len(side) // width * width].reshape(-1, width)[:blocks].astype(np.float64) for side in pair)
    return x, y


def _levels(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each value of a block to the next one below and above it; infinite at the ends.

    Args:
        x: (blocks, width).
    """
    apart = x[:, None, :] - x[:, :, None]  # (blocks, width, width)
    least = 1e-6 * np.abs(x).max(1)[:, None, None]
    above = np.where(apart > least, apart, np.inf).min(2)
    below = np.where(apart < -least, -apart, np.inf).min(2)
    return below, above


def _even_levels(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance of which all differences within a block are multiples; infinite where there is none of a likely size."""
    step = _even_steps(x)
    below = np.where(x > x.min(1, keepdims=True), step[:, None], np.inf)
    above = np.where(x < x.max(1, keepdims=True), step[:, None], np.inf)  # beyond the last level all is rounded to it
    return below, above


def _even_steps(x: np.ndarray) -> np.ndarray:
    """(blocks,) of blocks (blocks, width)."""
    gaps = np.diff(np.sort(x, 1), axis=1)  # (blocks, width - 1)
    gaps[gaps <= 1e-6 * np.abs(x).max(1, keepdims=True)] = np.nan
    with np.errstate(all="ignore"):
        least = np.where(np.isnan(gaps), np.inf, gaps).min(1)  # (blocks,)
        step = np.full(len(x), np.inf)
        for parts in range(MOST_PARTS, 0, -1):  # the largest that fits remains
            counts = gaps / (least / parts)[:, None]
            fits = np.nanmax(np.abs(counts - np.round(counts)), 1, initial=0.0) < ON_LEVEL
            step = np.where(fits & np.isfinite(least), least / parts, step)
    return step


def _sq(values: np.ndarray) -> float:
    return float(np.square(values).sum())
