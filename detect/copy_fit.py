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
from lineage.detect.sampled_values import SampledValues
from lineage.detect.signals.content import DIGITS
from lineage.detect.sketch_store import Sample

FOLDED = 0.7  # of the error left with scales for rows and columns: then such scales were moved between tensors
MIN_FOLDED_ROWS = 8
# share of the error of rounding that is in another model: then that one was trained from the copy's values
HOLDS_THE_ERROR = 0.9


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

    Rounding does not know the difference of two models. Where the copy is of a third one, that lies between or beyond them. A model that
    was trained from the copy's values has their whole error, and not only what a third one had learned: 0 for that.
    """
    along = variance = error_sq = 0.0
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
        error_sq += weight * _sq(left)
    if along >= HOLDS_THE_ERROR * error_sq:
        return 0.0
    return along / sqrt(variance) if variance > 0 else 0.0


def is_coarser(copy: Subject, model: Subject, name: str, values: SampledValues) -> bool:
    """Whether a tensor of a copy has far fewer levels than a model's: then it was rounded as well."""
    pair = values.shared(copy, model, name)
    return pair is not None and 2 * len(np.unique(pair[0])) < len(np.unique(pair[1]))


def _sq(values: np.ndarray) -> float:
    return float(np.square(values).sum())
