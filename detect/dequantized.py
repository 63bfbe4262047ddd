"""Whether a model's matrices were stored in few bits before they were written as floats again: a grid of few levels a row or block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample, Sketch

GRID = {8: (127, 128), 4: (7, 8)}  # bits -> the largest whole number that the largest value of a row or block may be
GRID_BLOCKS = {8: (0,), 4: (0, 128, 64, 32)}  # values that share a scale; 0: a row
SMALL_NUMBERS = 24  # whole numbers up to which the dtype of the file does not blur the grid
ON_GRID, OFF_GRID_AT_MOST = 0.98, 0.1  # share of the values that lie on it, and how far off a whole number they may be
FEWEST_ON_GRID = 512  # values, in at least half of the matrices


def grid_bits(sketch: Sketch) -> int | None:
    """Bits in which a model's matrices were stored before they were written as floats again; None where they were not.

    Every value of a row or block is then a whole number times one scale, and the largest one is the largest number there is.
    """
    matrices = [
        s for s in sketch.samples.values() if len(s.shape) == 2 and s.dtype in FLOAT_DTYPES and s.shape[1] >= 64
    ]
    for bits, largest in GRID.items():
        for block in GRID_BLOCKS[bits]:
            if any(_on_grid(matrices[:1], block, n) and _on_grid(matrices, block, n) for n in largest):
                return bits
    return None


def _on_grid(matrices: Sequence[Sample], block: int, largest: int) -> bool:
    on_grid = 0
    for sample in matrices:
        width = block or sample.shape[1]
        values = sample.values()
        if sample.shape[1] % width or sample.start % width or len(values) < width:
            continue
        rows = values[: len(values) // width * width].reshape(-1, width).astype(np.float64)
        most = np.abs(rows).max(1, keepdims=True)
        number = rows / np.where(most > 0, most, 1.0) * largest
        told = (np.abs(number) <= SMALL_NUMBERS) & (np.abs(number) > 0.5 * (largest > SMALL_NUMBERS))
        near = np.abs(number - np.round(number)) <= OFF_GRID_AT_MOST
        on_grid += int(told.sum()) >= FEWEST_ON_GRID and float((near & told).sum()) >= ON_GRID * float(told.sum())
    return bool(matrices) and 2 * on_grid > len(matrices)
