"""Levels that a copy's values lie on, seen from the copy alone, and how many values of a model rounding would have taken to another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.detect.model_input import Subject
from lineage.detect.packing_format import VALUES_OF_A_SCALE
from lineage.detect.sampled_values import SampledValues
from lineage.detect.signature import is_conv1d, is_conv1d_layer
from lineage.detect.sketch_store import Sample

BLOCKS_SEEN = 1024  # of a tensor
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
        blocks = _blocks(copy, model, name, values, VALUES_OF_A_SCALE)
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
    if pair is None or len(sample.shape) < 2:
        return None
    if is_conv1d_layer(name, sample.shape) and is_conv1d(copy.sketch.layout.items()):
        pair = _down_columns(pair, sample, width)
    elif sample.shape[-1] % width or sample.start % width:
        return None
    if len(pair[0]) < width:
        return None
    blocks = max(1, BLOCKS_SEEN * VALUES_OF_A_SCALE // width)
    x, y = (side[: len(side) // width * width].reshape(-1, width)[:blocks].astype(np.float64) for side in pair)
    return x, y


def _down_columns(pair: tuple[np.ndarray, np.ndarray], sample: Sample, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of whole blocks of inputs, block after block, of a tensor that lies as (inputs, outputs): blocks lie along the inputs."""
    wide = sample.shape[-1]
    first = -(sample.start // wide) % width
    blocks = max(0, len(pair[0]) // wide - first) // width
    if sample.start % wide or blocks < 1:
        return pair[0][:0], pair[1][:0]
    mine, its = (
        side[first * wide : (first + blocks * width) * wide].reshape(blocks, width, wide).swapaxes(1, 2).reshape(-1)
        for side in pair
    )
    return mine, its


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
