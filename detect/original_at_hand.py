"""Whether the model that fits a quantized copy best is its original, or only a relative of one that is not at hand.

The original is missing where something that the quantizer left alone is no model's, where the rest lies farther off than rounding takes it,
where values would have been rounded to another level, or where what is left of the copy points to or away from another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from lineage.detect.copy_fit import CopyFit, is_coarser, leaning, unfolded
from lineage.detect.model_input import Subject
from lineage.detect.packing_format import (
    AS_FLOATS,
    EVEN_BITS,
    FINE_ERROR,
    FP8,
    MOST_ERROR,
    MOST_NEAR_ZERO,
    MOST_OUTSIDE,
    TO_NEAREST,
    bits_of,
    most_of,
    shared_scale_values,
)
from lineage.detect.rounding_levels import outside_near_zero, outside_share
from lineage.detect.sampled_values import SampledValues

LEANING_BY_CHANCE = 0.002  # probability that a copy of the model named seems to be one of another that is not at hand
MIN_EQUAL_VALUES = 64  # in tensors that are not constant
FEWEST_OUTSIDE = 4
UNEVEN_BITS, MOST_UNEVEN = 8, 5.0  # of a copy in so many bits: error of one tensor over that of most
CLEAN = 0.006  # share up to which a tensor may be rounded to the nearest level


@dataclass(frozen=True, slots=True)
class BestFits:
    """A copy beside the models that fit it best.

    Attributes:
        best: the fits that are equal in most values; equal_values: how many; told: tensors that some model equals.
        packed: the other tensors that all of them were compared in; folded: whether scales were moved between tensors.
        unequal: tensors that all of them were compared in, and that none equals.
    """

    copy: Subject
    best: Sequence[CopyFit]
    equal_values: int
    told: frozenset[str]
    packed: Sequence[str]
    folded: bool
    unequal: Sequence[str]


def best_fits(copy: Subject, fits: Sequence[CopyFit], values: SampledValues) -> BestFits:
    size = {name: sample.stop - sample.start for name, sample in copy.sketch.samples.items()}
    equal = [sum(size[name] for name in fit.equal) for fit in fits]
    best: Sequence[CopyFit] = [fit for fit, count in zip(fits, equal, strict=True) if count == max(equal)]
    told = frozenset(name for fit in fits for name in fit.equal)
    packed = sorted(set.intersection(*(set(fit.error) for fit in best)) - told)
    without_scales = unfolded(copy, best, packed, values)
    unequal = packed
    if without_scales is not None:
        best, packed = without_scales, sorted(without_scales[0].error)
    return BestFits(copy, best, max(equal), told, packed, without_scales is not None, unequal)


def original_is_missing(
    found: BestFits, how: str, nearest: CopyFit, error: float, others: Sequence[Subject], values: SampledValues
) -> bool:
    """Whether no model is the original.

    Args:
        nearest: the model that fits best, error: how far off it lies, relative; others: the other models.
    """
    if any(not is_coarser(found.copy, nearest.subject, name, values) for name in _left_alone(found, how)):
        return True
    bits = bits_of(how)
    if error > MOST_ERROR.get(bits or 4, FINE_ERROR):
        return True
    even = "fp" not in how and "nf4" not in how and not how.startswith("bitsandbytes 4")
    near_zero = outside_near_zero(found.copy, nearest.subject, found.packed, values, shared_scale_values(how), even)
    if bits == UNEVEN_BITS and _uneven_error(found, nearest, values, near_zero) > MOST_UNEVEN:
        return True
    if found.folded and _moves_no_scales(found, how):
        return True
    if found.folded:
        return _leans(found, nearest.subject, others, found.packed, values)
    if how.startswith(TO_NEAREST) or _to_nearest(near_zero):
        outside, seen = (sum(pair[i] for pair in near_zero.values()) for i in (0, 1))
        if outside > FEWEST_OUTSIDE and outside > most_of(MOST_NEAR_ZERO, how) * seen:
            return True
    outside_all = outside_share(found.copy, nearest.subject, found.packed, values, even and (bits or 4) >= EVEN_BITS)
    if outside_all is not None and outside_all > most_of(MOST_OUTSIDE, how):
        return True
    unseen = [name for name in found.packed if not how.startswith(TO_NEAREST) or name not in near_zero]
    return _leans(found, nearest.subject, others, unseen, values)


def _moves_no_scales(found: BestFits, how: str) -> bool:
    """Whether scales that were moved between tensors are not the quantizer's: of one that rounds values as they are, where no norm has the
    inverse scales, and of floats of 8 bits, which need none."""
    norm_moved = any(len(found.copy.sketch.samples[name].shape) == 1 for name in found.unequal)
    return FP8 in how or (how.startswith(TO_NEAREST) and not norm_moved)


def _leans(
    found: BestFits, nearest: Subject, others: Sequence[Subject], names: Sequence[str], values: SampledValues
) -> bool:
    """Whether what is left of a copy points to or away from another model, as it does where the copy is of one that is not at hand.

    Args:
        names: tensors whose levels do not show it: not rounded to the nearest one, or in blocks that the sample does not hold.
    """
    if not others or not names:
        return False
    limit = NormalDist().inv_cdf(1 - LEANING_BY_CHANCE / 2 / len(others))
    return any(abs(leaning(found.copy, nearest, o, names, values, found.folded)) > limit for o in others)


def _uneven_error(
    found: BestFits, nearest: CopyFit, values: SampledValues, near_zero: Mapping[str, tuple[int, int, int]]
) -> float:
    """The largest relative error of a tensor over the median one: where a part was trained on, that part alone lies farther off. A table
    with a few large rows does too, and there all values near zero are on the right level."""
    samples = found.copy.sketch.samples
    lengths_sq = {n: float(np.square(values.of(found.copy, samples[n]), dtype=np.float64).sum()) for n in found.packed}
    errors = {name: sqrt(nearest.error[name] / length) for name, length in lengths_sq.items() if length > 0}
    middle = sorted(errors.values())[len(errors) // 2] if errors else 0.0
    most = max((error for name, error in errors.items() if not _is_clean(near_zero.get(name))), default=middle)
    return most / max(middle, 1e-12)


def _is_clean(near_zero: tuple[int, int, int] | None) -> bool:
    """Whether enough values of a tensor lie near zero, and nearly all of them are rounded to the nearest level."""
    return near_zero is not None and near_zero[2] >= MIN_EQUAL_VALUES and near_zero[0] <= CLEAN * near_zero[2]


def _left_alone(found: BestFits, how: str) -> list[str]:
    """Tensors that no model has, and that were not packed: vectors, and what is still in 16 bits. Where scales were moved between tensors,
    those of blocks may differ all the same."""
    samples = found.copy.sketch.samples
    return [
        name
        for name in found.unequal
        if (len(samples[name].shape) == 1 or (samples[name].dtype in ("F16", "BF16") and not how.endswith(AS_FLOATS)))
        and not (found.folded and any(part.isdigit() for part in name.split(".")))
    ]


def _to_nearest(near_zero: Mapping[str, tuple[int, int, int]]) -> bool:
    """Whether some tensors are another model's, rounded to the nearest level: then the quantizer did so with all of them."""
    clean = [_is_clean(tensor) for tensor in near_zero.values() if tensor[2] >= MIN_EQUAL_VALUES]
    return 3 * sum(clean) >= len(clean) > 0
