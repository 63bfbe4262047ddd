"""AQLM: runs of a row as sums of entries of code books.

`codes` has for each group of outputs and inputs one entry of each code book; `codebooks` lies as (books, entries, outputs, inputs) of a
group; `scales` has a factor for each group of outputs.

Format: https://github.com/Vahe1994/AQLM (inference_lib/src/aqlm/inference.py, utils.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log2

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.interface import (
    SCALES,
    FileContext,
    PackedMatrix,
    ReadRanges,
    TensorRange,
    Tensors,
    rows_of,
    stem_of,
    usable,
    whole,
)

_CODES = frozenset({"I8", "I16", "I32", "I64"})


@dataclass(frozen=True, slots=True)
class AqlmMatrix(PackedMatrix):
    """codes, books, scales: tensors of the file."""

    codes: TensorHeader
    books: TensorHeader
    scales: TensorHeader

    def _groups(self, first: int, last: int) -> tuple[int, int]:
        return first // self.books.shape[2], -(-last // self.books.shape[2])

    def needs(self, first: int, last: int) -> list[TensorRange]:
        ends = self._groups(first, last)
        return [rows_of(self.codes, *ends), rows_of(self.scales, *ends), whole(self.books)]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        start, stop = self._groups(first, last)
        many, entries, tall, wide = self.books.shape
        books = loaded.values(whole(self.books)).reshape(many, entries, tall * wide)
        codes = loaded.values(rows_of(self.codes, start, stop)).astype(np.int64).reshape(-1, many) % entries
        values = np.zeros((len(codes), tall * wide), np.float32)  # (groups, values of one)
        for book, column in zip(books, codes.T, strict=True):
            values += book[column]
        rows = values.reshape(stop - start, -1, tall, wide)  # (groups of outputs, of inputs, tall, wide)
        rows = rows * loaded.values(rows_of(self.scales, start, stop)).reshape(-1, 1, 1, 1)
        rows = rows.swapaxes(1, 2).reshape((stop - start) * tall, self.width)
        return rows[first - start * tall :][: last - first]


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Layers whose parts fit each other."""
    for name, codes in tensors.items():
        stem = stem_of(name, ".codes")
        books, scales = tensors.get(f"{stem}.codebooks"), tensors.get(f"{stem}.scales")
        if stem is None or books is None or scales is None or len(codes.shape) != 3 or len(books.shape) != 4:
            continue
        if not usable(codes.shape) or not usable(books.shape) or codes.shape[2] != books.shape[0]:
            continue
        if codes.dtype not in _CODES or not {books.dtype, scales.dtype} <= SCALES or scales.values != codes.shape[0]:
            continue
        many, entries, tall, wide = books.shape
        if not scales.shape or scales.shape[0] != codes.shape[0] or entries < 2:
            continue
        shape = (codes.shape[0] * tall, codes.shape[1] * wide)
        bits = max(1, round(many * log2(entries) / tall / wide))
        parts = (name, books.name, scales.name)
        yield AqlmMatrix(f"{stem}.weight", shape, f"aqlm {bits} bits", parts, codes, books, scales)
