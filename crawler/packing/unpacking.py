"""Weights with packed matrices -> the same under the names and shapes of the original, with the numbers that they represent, as float32.

GPTQ and AWQ spread a row over the whole tensor, so that a row costs all of it: the cheapest matrices are read, up to a limit, and the
others are left out of the sample.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from lineage.crawler.formats.interface import Readable
from lineage.crawler.headers import DTYPE_BITS, SpanT, TensorHeader
from lineage.crawler.packing.interface import MAX_PEEKED_BYTES, FileContext, PackedMatrix, ReadRanges, TensorRange
from lineage.crawler.packing.registry import packed_matrices
from lineage.crawler.strided import cheapest

UNPACKED_LIMIT_BYTES = (
    16 * 1024 * 1024
)  # read for packed matrices of one model; eight rows of a large layer need them all
MAX_UNPACKED_VALUES = 16 * 1024 * 1024  # of one block: more cannot be a sample
_MARKS = frozenset({"I8", "U8", "I16", "I32", "U32"})


class UnpackedWeights:
    """Header and ranges of one model, as crawler.weights.Weights has them.

    Args:
        inner: the weights as they lie in the files.
    """

    def __init__(self, inner: Readable):
        self.inner = inner

    @cached_property
    def _tensors(self) -> Mapping[str, TensorHeader]:
        return {tensor.name: tensor for tensor in self.inner.header}

    @cached_property
    def _packed(self) -> Mapping[str, PackedMatrix]:
        in_order = {name: tensor for name, tensor in self._tensors.items() if tensor.strides is None}
        if not any(t.dtype in _MARKS or t.dtype.startswith("F8") for t in in_order.values()):
            return {}
        texts = getattr(self.inner, "metadata", {})
        return packed_matrices(in_order, FileContext(self._peek, texts))

    def _peek(self, tensor: TensorHeader) -> bytes:
        """All of a short tensor."""
        if tensor.stop - tensor.start > MAX_PEEKED_BYTES:
            return b""
        (found,) = self.inner.read([TensorRange(tensor.name, 0, tensor.values)])
        return found[1]

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """All tensors, packed matrices as F32; raises like that of the files."""
        if not self._packed:
            return tuple(self._tensors.values())
        parts = {part for matrix in self._packed.values() for part in matrix.parts}
        found = [tensor for name, tensor in self._tensors.items() if name not in parts]
        for matrix in self._packed.values():
            place = self._tensors[matrix.parts[0]]
            found.append(replace(place, name=matrix.name, shape=matrix.shape, dtype="F32"))
        return tuple(found)

    @property
    def bases(self) -> Sequence[tuple[str, str | None, str]]:
        return self.inner.bases

    @property
    def quantization(self) -> str | None:
        """How most of the packed matrices are packed."""
        if not self._packed:
            return self.inner.quantization
        return Counter(matrix.how for matrix in self._packed.values()).most_common(1)[0][0]

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values; of packed matrices float32, and only of as many as the limit allows.

        Raises:
            UnreadableWeights: the blocks are too large for a sample.
        """
        wanted = list(blocks)
        plain = [block for block in wanted if block.tensor not in self._packed]
        packed = self._affordable([block for block in wanted if block.tensor in self._packed])
        yield from self.inner.read(plain)
        by_file: dict[str, list[tuple[SpanT, int, int]]] = defaultdict(list)
        for block, first, last in packed:
            by_file[self._tensors[self._packed[block.tensor].parts[0]].file].append((block, first, last))
        for together in by_file.values():
            needs = {need for b, first, last in together for need in self._packed[b.tensor].needs(first, last)}
            loaded = ReadRanges(self._tensors, dict(self.inner.read(sorted(needs, key=_order))))
            for block, first, last in together:
                matrix = self._packed[block.tensor]
                with np.errstate(
                    all="ignore"
                ):  # scales of a damaged file may be anything; NaN is refused by the sketch
                    values = np.ascontiguousarray(matrix.unpack(first, last, loaded), "<f4").reshape(-1)
                yield block, values[block.start - first * matrix.width : block.stop - first * matrix.width].tobytes()

    def _affordable(self, blocks: Sequence[SpanT]) -> list[tuple[SpanT, int, int]]:
        """Blocks with the rows that they lie in, the cheapest ones up to the limit, in the order given."""
        rows = []
        for block in blocks:
            width = max(1, self._packed[block.tensor].width)
            rows.append((block, block.start // width, -(-block.stop // width)))
        cost = {
            place: self._bytes(block.tensor, first, last)
            for place, (block, first, last) in enumerate(rows)
            if block.stop - block.start <= MAX_UNPACKED_VALUES
        }
        chosen = cheapest(cost, UNPACKED_LIMIT_BYTES)
        return [one for place, one in enumerate(rows) if place in chosen]

    def _bytes(self, name: str, first: int, last: int) -> int:
        needs = self._packed[name].needs(first, last)
        return sum((n.stop - n.start) * DTYPE_BITS.get(self._tensors[n.tensor].dtype, 64) // 8 for n in needs)


def _order(part: TensorRange) -> tuple[str, int, int]:
    return part.tensor, part.start, part.stop
