"""Whether a model's matrices were stored in few bits before they were written as floats again: a grid of few levels a row or block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample, Sketch

# bits -> the largest whole number that the largest value of a row or block may be; the numbers of few bits are some of those of more
GRID = {4: (7, 8), 5: (16,), 8: (127, 128)}
GRID_BLOCKS = {4: (0, 128, 64, 32), 5: (32,), 8: (0, 32)}  # values that share a scale; 0: a row
SMALL_NUMBERS = 24  # whole numbers up to which the dtype of the file does not blur the grid
# levels of bitsandbytes' four-bit floats, in parts of the largest value of a block; Dettmers et al. 2023, arXiv 2305.14314, appendix E
NF4 = (
    -1.0, -0.69619280, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0, 0.07958030, 0.16093020, 0.24611230,
    0.33791524, 0.44070983, 0.56261700, 0.72295684, 1.0,
)  # fmt: skip
FP4 = (
    -1.0,
    -0.6666667,
    -0.5,
    -0.3333333,
    -0.25,
    -0.1666667,
    -0.0052083,
    0.0,
    0.0052083,
    0.1666667,
    0.25,
    0.3333333,
    0.5,
    0.6666667,
    1.0,
)
LEVEL_BLOCKS = (64, 128, 32)  # values that share a scale there
OFF_LEVEL = 0.009  # of a level: what bfloat16 rounds away of a value and of the largest one
# values that share a scale and a zero, and how many different ones 4 bits leave of them
FEW_BLOCKS, FEW_LEVELS = (128, 64, 32), 16
# different values in most blocks, and share of values that are not zero: of pruned models few are different, too
FEWEST_LEVELS, FILLED = 6, 0.75
ON_GRID, OFF_GRID_AT_MOST = 0.98, 0.1  # share of the values that lie on it, and how far off a whole number they may be
FEWEST_ON_GRID = 512  # values, in at least half of the matrices


def grid_bits(sketch: Sketch) -> int | None:
    """Bits in which a model's matrices were stored before they were written as floats again; None where they were not.

    Every value of a row or block is then a whole number times one scale, and the largest one is the largest number there is. Where a whole
    matrix has one scale, its largest value may lie outside of the sample: the smallest is that scale.
    """
    matrices = [
        s for s in sketch.samples.values() if len(s.shape) == 2 and s.dtype in FLOAT_DTYPES and s.shape[1] >= 64
    ]
    bits = _grid_bits_of(matrices)
    if bits is None:
        return None
    varied = [s for s in matrices if np.ptp(s.values()) > 0]  # zeros alone, or one number, lie on every grid
    return bits if len(varied) == len(matrices) else _grid_bits_of(varied)


def _grid_bits_of(matrices: Sequence[Sample]) -> int | None:
    one = matrices[len(matrices) // 2 :][
        :1
    ]  # most models are distinguished by one that is neither a head nor an embedding
    for bits, largest in GRID.items():
        for block in GRID_BLOCKS[bits]:
            if any(_on_grid(one, block, n) and _on_grid(matrices, block, n) for n in largest):
                return bits
    if _one_scale_bits(one) is not None and (in_all := _one_scale_bits(matrices)) is not None:
        return in_all
    for levels in (NF4, FP4):
        for block in LEVEL_BLOCKS:
            if _on_levels(one, block, levels) and _on_levels(matrices, block, levels):
                return 4
    return 4 if _few_levels(one) and _few_levels(matrices) else None


def _few_levels(matrices: Sequence[Sample]) -> bool:
    """Whether blocks of most matrices have as few different values as four bits leave of them, wherever zero lies.

    So have GPTQ and AWQ copies of 4 bits, and GGUF's Q4_1 and Q4_K, written as floats again.
    """
    few = 0
    for sample in matrices:
        some = (rows for block in FEW_BLOCKS if (rows := _blocks(sample, block)) is not None)
        few += any(_has_few_levels(rows) for rows in some)
    return bool(matrices) and 2 * few > len(matrices)


def _has_few_levels(rows: np.ndarray) -> bool:
    """rows: (b, width) values of blocks that share a scale."""
    ordered = np.sort(rows, 1)
    levels = 1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1)  # (b,)
    enough = rows.size >= FEWEST_ON_GRID and float(np.median(levels)) >= FEWEST_LEVELS
    return enough and float((rows != 0).mean()) >= FILLED and float((levels <= FEW_LEVELS).mean()) >= ON_GRID


def _on_grid(matrices: Sequence[Sample], block: int, largest: int) -> bool:
    on_grid = 0
    for sample in matrices:
        width = block or sample.shape[1]
        rows = None if sample.shape[1] % width else _blocks(sample, width)
        if rows is None:
            continue
        number = rows * largest
        told = (np.abs(number) <= SMALL_NUMBERS) & (np.abs(number) > 0.5 * (largest > SMALL_NUMBERS))
        near = np.abs(number - np.round(number)) <= OFF_GRID_AT_MOST
        on_grid += int(told.sum()) >= FEWEST_ON_GRID and float((near & told).sum()) >= ON_GRID * float(told.sum())
    return bool(matrices) and 2 * on_grid > len(matrices)


def _one_scale_bits(matrices: Sequence[Sample]) -> int | None:
    """Bits of the whole numbers that the values of most matrices are, times the smallest of them; None where they are not."""
    largest = _numbers_of(matrices)
    if 2 * sum(0 < number <= max(GRID[8]) for number in largest) <= len(largest):
        return None
    return 4 if max(largest) <= max(GRID[4]) else 8


def _numbers_of(matrices: Sequence[Sample]) -> list[int]:
    """The largest whole number in each matrix, all values being some times the smallest; 0 where they are not."""
    found = []
    for sample in matrices:
        size = np.abs(sample.values().astype(np.float64))
        size = size[size > 0]
        number = size / size.min() if len(size) >= FEWEST_ON_GRID else np.zeros(0)
        near = np.abs(number - np.round(number))[number <= SMALL_NUMBERS] <= OFF_GRID_AT_MOST
        on_grid = len(near) >= FEWEST_ON_GRID / 2 and float(near.mean()) >= ON_GRID
        found.append(round(float(number.max())) if on_grid and float(number.max()) < 2 * max(GRID[8]) else 0)
    return found


def _on_levels(matrices: Sequence[Sample], block: int, levels: Sequence[float]) -> bool:
    table, on_levels = np.array(levels), 0
    middles = (table[1:] + table[:-1]) / 2
    for sample in matrices:
        rows = _blocks(sample, block)
        if rows is not None:
            level = table[np.searchsorted(middles, rows)]
            near = np.abs(rows - level) <= OFF_LEVEL * np.maximum(np.abs(level), table[table > 0].min())
            on_levels += rows.size >= FEWEST_ON_GRID and float(near.mean()) >= ON_GRID
    return bool(matrices) and 2 * on_levels > len(matrices)


def _blocks(sample: Sample, width: int) -> np.ndarray | None:
    """(b, width) float64 values in parts of the largest of each block; None where the sample is not of whole blocks."""
    values = sample.values()
    if sample.start % width or len(values) < width:
        return None
    rows = values[: len(values) // width * width].reshape(-1, width).astype(np.float64)
    most = np.abs(rows).max(1, keepdims=True)
    return rows / np.where(most > 0, most, 1.0)
