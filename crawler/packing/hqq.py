"""HQQ: groups of a row (or of a column) as rows of their own, packed so that a byte holds values of rows far apart.

The matrix is cut into groups along its rows (axis 1) or down its columns (axis 0), which gives an array of groups by values or of values by
groups; of its rows, the first part lies in the high bits of the bytes of `W_q`, the next one below it, and so on. Three bits
lie in words of 32, ten parts to a word. A value is the number less `zero`, times `scale`. `W_q` may be stored as floats, whose bytes count.
hqq's own files (`qmodel.pt`) have settings and the shape beside the tensors, where they are not read: bits and shape are guessed.

Format: https://github.com/mobiusml/hqq (hqq/core/quantize.py, bitpack.py); transformers stores the same under HqqConfig.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.guessed_shape import guessed_shape, usual_length
from lineage.crawler.packing.interface import (
    SCALES,
    FileContext,
    PackedMatrix,
    ReadRanges,
    StatedShapes,
    TensorRange,
    Tensors,
    rows_of,
    spread_rows,
    stem_of,
    usable,
    whole,
)

_BITS_OF_BYTES = (8, 4, 2, 1)
IN_WORDS_BITS, IN_WORDS_PARTS = 3, 10


@dataclass(frozen=True, slots=True)
class HqqMatrix(PackedMatrix):
    """
    Attributes:
        numbers, scales, zeros: tensors of the file. bits: of a value.
        tall, wide: of the array that was packed; by_column: whether a group is a column of it.
    """

    bits: int
    numbers: TensorHeader
    scales: TensorHeader
    zeros: TensorHeader
    tall: int
    wide: int
    by_column: bool

    @property
    def _parts(self) -> int:
        """Rows of the array that share a row of the packed one."""
        return IN_WORDS_PARTS if self.bits == IN_WORDS_BITS else 8 // self.bits

    def _ends(self, first: int, last: int) -> tuple[int, int]:
        """Rows of the array that hold rows [first, last) of the matrix."""
        return first * self.width // self.wide, -(-last * self.width // self.wide)

    def _pieces(self, first: int, last: int) -> list[tuple[int, TensorRange]]:
        """(shift of the bits, rows of the packed tensor), in the order of the array."""
        pieces = spread_rows(self.numbers, self._parts, *self._ends(first, last))
        return [(self.bits * (self._parts - 1 - place), part) for place, part in pieces]

    def _scales_of(self, first: int, last: int) -> list[TensorRange]:
        if self.by_column:
            return [whole(self.scales), whole(self.zeros)]
        return [rows_of(tensor, *self._ends(first, last)) for tensor in (self.scales, self.zeros)]

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return [part for _, part in self._pieces(first, last)] + self._scales_of(first, last)

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        start, stop = self._ends(first, last)
        kind, mask = "<u4" if self.bits == IN_WORDS_BITS else "u1", (1 << self.bits) - 1
        pieces = [np.frombuffer(loaded.raw(p), kind) >> shift & mask for shift, p in self._pieces(first, last)]
        numbers = np.concatenate(pieces).reshape(stop - start, self.wide).astype(np.float32)  # (rows, wide)
        shape = (1, self.wide) if self.by_column else (stop - start, 1)
        scales, zeros = (loaded.values(part).reshape(shape) for part in self._scales_of(first, last))
        skipped = first * self.width - start * self.wide
        values = ((numbers - zeros) * scales).reshape(-1)[skipped:]
        return values[: (last - first) * self.width].reshape(last - first, self.width)


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices whose shape the file states, or that follows from the rest of the model."""
    shapes, usual = StatedShapes(context), usual_length(tensors)
    for name, numbers in tensors.items():
        stem = stem_of(name, ".W_q")
        scales, zeros, stated = (tensors.get(f"{stem}.{part}") for part in ("scale", "zero", "shape"))
        if stem is None or scales is None or zeros is None or not usable(numbers.shape):
            continue
        if scales.shape != zeros.shape or not {scales.dtype, zeros.dtype} <= SCALES or len(numbers.shape) != 2:
            continue
        if len(scales.shape) != 2 or 1 not in scales.shape:
            continue
        shape = (
            shapes.of(numbers, stated)
            if stated is not None
            else guessed_shape(stem, _values(numbers, scales), tensors, usual)
        )
        found = _matrix(stem, shape, numbers, scales, zeros, tensors) if shape is not None else None
        if found is not None:
            yield found


def _values(numbers: TensorHeader, scales: TensorHeader) -> int:
    """Of a matrix whose groups lie along its rows, so that a packed row is as wide as a group; 0 where they lie down its columns."""
    return scales.values * numbers.shape[1] if scales.shape[1] == 1 else 0


def _matrix(
    stem: str,
    shape: tuple[int, ...],
    numbers: TensorHeader,
    scales: TensorHeader,
    zeros: TensorHeader,
    tensors: Tensors,
) -> HqqMatrix | None:
    if len(shape) != 2 or not usable(shape) or scales.values < 1 or shape[0] * shape[1] % scales.values:
        return None
    group = shape[0] * shape[1] // scales.values
    by_column = scales.shape[0] == 1 and scales.shape[1] > 1
    tall, wide = (group, scales.values) if by_column else (scales.values, group)
    packed_bytes = numbers.stop - numbers.start
    if numbers.dtype == "I32" and packed_bytes == 4 * wide * -(-tall // IN_WORDS_PARTS):
        bits = IN_WORDS_BITS
    else:
        bits = next((b for b in _BITS_OF_BYTES if tall % (8 // b) == 0 and 8 * packed_bytes == b * tall * wide), 0)
    parts = IN_WORDS_PARTS if bits == IN_WORDS_BITS else 8 // bits if bits else 1
    if not bits or numbers.shape[0] != -(-tall // parts):
        return None
    settings = (f"{stem}.{part}" for part in SETTINGS)
    names = (numbers.name, scales.name, zeros.name, *(name for name in settings if name in tensors))
    how = f"hqq {bits} bits"
    return HqqMatrix(f"{stem}.weight", shape, how, names, bits, numbers, scales, zeros, tall, wide, by_column)


SETTINGS = (  # beside a matrix, a number or text each
    "shape", "nbits", "group_size", "axis", "packing", "unpack_view_dtype", "view_as_float", "quant_scale", "quant_zero",
    "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero",
)  # fmt: skip
