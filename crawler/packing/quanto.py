"""quanto in four and two bits: groups of a row as rows of their own, packed so that a byte holds values of rows far apart.

The matrix is cut into groups; of four (or two) bits, the first half (quarter) of all groups lies in the low bits of the bytes, and so
on. A value is `_scale` times the number, less `_shift`, for each group. Nothing states the shape: a layer's inputs are as many as the
norms of the model are long, or its outputs are where it leads back to them, as its name or its bias says.

Format: https://github.com/huggingface/optimum-quanto (tensor/packed.py, tensor/weights/qbits.py).
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
    TensorRange,
    Tensors,
    rows_of,
    spread_rows,
    stem_of,
    usable,
)
from lineage.crawler.packing.scaled import beside


@dataclass(frozen=True, slots=True)
class QuantoMatrix(PackedMatrix):
    """numbers, scales, shifts: tensors of the file; group: values to a scale."""

    bits: int
    group: int
    numbers: TensorHeader
    scales: TensorHeader
    shifts: TensorHeader

    def _groups(self, first: int, last: int) -> tuple[int, int]:
        return first * self.width // self.group, -(-last * self.width // self.group)

    def _pieces(self, first: int, last: int) -> list[tuple[int, TensorRange]]:
        """(shift of the bits, rows of the packed tensor), in the order of the groups."""
        pieces = spread_rows(self.numbers, 8 // self.bits, *self._groups(first, last))
        return [(place * self.bits, part) for place, part in pieces]

    def needs(self, first: int, last: int) -> list[TensorRange]:
        ends = self._groups(first, last)
        return [part for _, part in self._pieces(first, last)] + [rows_of(t, *ends) for t in (self.scales, self.shifts)]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        start, stop = self._groups(first, last)
        mask = (1 << self.bits) - 1
        pieces = [(loaded.values(part) >> shift) & mask for shift, part in self._pieces(first, last)]
        numbers = np.concatenate(pieces).reshape(stop - start, self.group).astype(np.float32)  # (groups, group)
        scales, shifts = (
            loaded.values(rows_of(t, start, stop)).reshape(-1, 1).astype(np.float32) for t in (self.scales, self.shifts)
        )
        values = numbers * scales - shifts if self.shifts.dtype in SCALES else (numbers - shifts) * scales
        skipped = first * self.width - start * self.group
        return values.reshape(-1)[skipped:][: (last - first) * self.width].reshape(last - first, self.width)


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices whose shape follows from the rest of the model."""
    usual = usual_length(tensors)
    for name, numbers in tensors.items():
        stem = stem_of(name, ".weight._data._data")
        scales, shifts = tensors.get(f"{stem}.weight._scale"), tensors.get(f"{stem}.weight._shift")
        if stem is None or scales is None or shifts is None or numbers.dtype != "U8" or len(numbers.shape) != 2:
            continue
        if (
            not usable(numbers.shape)
            or scales.values != shifts.values
            or scales.dtype not in SCALES
            or not scales.shape
        ):
            continue
        bits = next((b for b in (4, 2) if numbers.shape[0] == -(-scales.shape[0] * b // 8)), None)
        if bits is None or scales.values != scales.shape[0] or shifts.dtype not in {*SCALES, "I8"}:
            continue
        shape = guessed_shape(stem, scales.shape[0] * numbers.shape[1], tensors, usual)
        if shape is None:
            continue
        parts = (name, scales.name, shifts.name, *beside(stem, tensors))
        how = f"quanto {bits} bits"
        yield QuantoMatrix(f"{stem}.weight", shape, how, parts, bits, numbers.shape[1], numbers, scales, shifts)
