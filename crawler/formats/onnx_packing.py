"""Operators that unpack matrices of few bits: which initialisers are their numbers, scales and zero points, and rows of them as floats.

`MatMulNBits` has rows of blocks with a scale each, the lowest bits first; `GatherBlockQuantized` the same for an embedding; `MatMulBnb4`
entries of bitsandbytes' two tables, the first one in the high bits; `DequantizeLinear` a scale for all, for each index of an axis or
for each block along it. onnxruntime's dynamic quantization has no such operator: names tell which scale goes with which matrix.

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, https://onnx.ai/onnx/operators (DequantizeLinear).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineage.crawler.formats.onnx_file import BITS, BadOnnx, Initialiser, OnnxNode
from lineage.crawler.packing.numbers import decoded, of_bits

WHOLE = frozenset({"U8", "I8", "U16", "I16", "I32", "U4", "I4"})
SCALES = frozenset({"F32", "F16", "BF16"})
NBITS, BNB4, GATHER, LINEAR = "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "DequantizeLinear"
MAX_BLOCK = 1 << 20
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
FP4 = (0.0, 0.0052083333, 0.6666667, 1.0, 0.3333333, 0.5, 0.1666667, 0.25)  # and the same below zero
BNB4_TABLES = (("fp4", (*FP4, *(-value for value in FP4))), ("nf4", NF4))

Part = tuple[Initialiser, int, int]  # a tensor, and bytes of it


@dataclass(frozen=True, slots=True)
class OnnxPacked(ABC):
    """A packed matrix. shape: as the operator unpacks it; how: as `onnx 4 bits`; numbers, scales, zeros: tensors of the file."""

    shape: tuple[int, ...]
    how: str
    numbers: Initialiser
    scales: Initialiser
    zeros: Initialiser | None

    @property
    def width(self) -> int:
        """Values of one row."""
        return int(np.prod(self.shape[1:], dtype=object))

    @abstractmethod
    def needs(self, first: int, last: int) -> list[Part]:
        """What has to be read for rows [first, last)."""

    @abstractmethod
    def unpack(self, first: int, last: int, raw: Sequence[bytes]) -> np.ndarray:
        """Rows [first, last), (rows, width) float32.

        Args:
            raw: of what `needs` named, in its order.
        """


@dataclass(frozen=True, slots=True)
class RowBlocks(OnnxPacked):
    """Rows of blocks. zero: where there are no zero points; signed: whether the numbers are."""

    bits: int
    block: int
    zero: float
    signed: bool

    def needs(self, first: int, last: int) -> list[Part]:
        there = [self.numbers, self.scales, *([self.zeros] if self.zeros is not None else [])]
        wide = [(t.stop - t.start) // self.shape[0] for t in there]
        return [(t, first * size, last * size) for t, size in zip(there, wide, strict=True)]

    def unpack(self, first: int, last: int, raw: Sequence[bytes]) -> np.ndarray:
        rows = last - first
        numbers = self._whole(raw[0], rows)[:, : self.width]  # (rows, width)
        scales = decoded(raw[1], self.scales.dtype).reshape(rows, -1)  # (rows, blocks)
        zeros = np.full_like(scales, self.zero)
        if self.zeros is not None and self.zeros.dtype in SCALES:
            zeros = decoded(raw[2], self.zeros.dtype).reshape(rows, -1)
        elif self.zeros is not None:
            zeros = self._whole(raw[2], rows)[:, : scales.shape[1]]
        block = np.arange(self.width) // self.block
        return ((numbers - zeros[:, block]) * scales[:, block]).astype(np.float32)

    def _whole(self, raw: bytes, rows: int) -> np.ndarray:
        """(rows, n) float32."""
        numbers = of_bits(np.frombuffer(raw, np.uint8).reshape(rows, -1), self.bits).astype(np.int16)
        return (numbers - ((numbers >> (self.bits - 1)) << self.bits) * self.signed).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TableBlocks(OnnxPacked):
    """Runs of the whole matrix with a scale each, of entries of a table."""

    block: int
    table: tuple[float, ...]

    def needs(self, first: int, last: int) -> list[Part]:
        start, stop = first * self.width, last * self.width
        size, runs = BITS[self.scales.dtype] // 8, (start // self.block, -(-stop // self.block))
        return [(self.numbers, start // 2, -(-stop // 2)), (self.scales, runs[0] * size, runs[1] * size)]

    def unpack(self, first: int, last: int, raw: Sequence[bytes]) -> np.ndarray:
        start, stop = first * self.width, last * self.width
        pairs = np.frombuffer(raw[0], np.uint8)
        codes = np.stack([pairs >> 4, pairs & 15], 1).reshape(-1)[start % 2 :][: stop - start]
        run = np.arange(start, stop) // self.block - start // self.block
        values = np.array(self.table, np.float32)[codes] * decoded(raw[1], self.scales.dtype)[run]
        return values.reshape(last - first, self.width)


@dataclass(frozen=True, slots=True)
class Linear(OnnxPacked):
    """Whole numbers with a scale for all, for each index of an axis, or for each block along it. axis: None where the length tells."""

    axis: int | None
    block: int

    def needs(self, first: int, last: int) -> list[Part]:
        there = [self.numbers, self.scales, *([self.zeros] if self.zeros is not None else [])]
        return [(t, 0, t.stop - t.start) for t in there]

    def unpack(self, first: int, last: int, raw: Sequence[bytes]) -> np.ndarray:
        numbers = _whole_numbers(raw[0], self.numbers)  # shape
        scales = self._fitted(decoded(raw[1], self.scales.dtype).reshape(self.scales.shape))
        zeros = np.float32(0) if self.zeros is None else self._fitted(_whole_numbers(raw[2], self.zeros))
        return ((numbers - zeros) * scales).astype(np.float32).reshape(self.shape[0], -1)[first:last]

    def _fitted(self, found: np.ndarray) -> np.ndarray:
        """Scales or zero points, so that they fit the matrix."""
        if self.block:
            assert self.axis is not None
            return np.repeat(found, self.block, self.axis)[tuple(slice(size) for size in self.shape)]
        many = found.size
        if many == 1:
            return found.reshape(())
        axis = self.axis if self.axis is not None else next((a for a in (-1, 0) if self.shape[a] == many), None)
        if axis is None or self.shape[axis] != many:
            raise BadOnnx(self.scales.file, f"the scale {self.scales.name[:80]!r} fits no matrix")
        return found.reshape([-1 if place == axis % len(self.shape) else 1 for place in range(len(self.shape))])


def _whole_numbers(raw: bytes, tensor: Initialiser) -> np.ndarray:
    """In the tensor's shape, float32."""
    if tensor.dtype not in ("U4", "I4"):
        return decoded(raw, tensor.dtype).astype(np.float32).reshape(tensor.shape)
    values = int(np.prod(tensor.shape, dtype=object))
    numbers = of_bits(np.frombuffer(raw, np.uint8)[None], 4)[0, :values].astype(np.int16)
    return (numbers - (numbers >> 3 << 4) * (tensor.dtype == "I4")).astype(np.float32).reshape(tensor.shape)


def packed_by(node: OnnxNode, tensors: Mapping[str, Initialiser]) -> OnnxPacked | None:
    """The matrix that an operator unpacks; None where it is no such operator, or its parts do not fit."""
    found = {NBITS: _n_bits, BNB4: _bnb4, GATHER: _gather, LINEAR: _linear}.get(node.operator)
    return found(node, [tensors.get(name) for name in node.inputs]) if found is not None else None


def _n_bits(node: OnnxNode, given: Sequence[Initialiser | None]) -> OnnxPacked | None:
    numbers, scales, zeros = ([*given, None, None, None][place] for place in (1, 2, 3))
    shape = node.settings.get("N", 0), node.settings.get("K", 0)
    bits, block = node.settings.get("bits", 4), node.settings.get("block_size", 0)
    if numbers is None or scales is None or numbers.dtype != "U8" or bits not in (2, 4, 8):
        return None
    if not 0 < block <= MAX_BLOCK or min(shape) < 1 or (len(node.inputs) > 4 and node.inputs[4]):
        return None
    blocks = -(-shape[1] // block)
    if numbers.stop - numbers.start != shape[0] * blocks * block * bits // 8:
        return None
    return _row_blocks(shape, bits, block, numbers, scales, zeros, float(1 << (bits - 1)), len(node.inputs) > 3)


def _gather(node: OnnxNode, given: Sequence[Initialiser | None]) -> OnnxPacked | None:
    numbers, scales, zeros = ([*given, None, None, None, None][place] for place in (0, 2, 3))
    if numbers is None or scales is None or len(numbers.shape) != 2 or numbers.dtype not in ("U8", "U4", "I4"):
        return None
    bits = node.settings.get("bits", 4) if numbers.dtype == "U8" else 4
    block, axis = node.settings.get("block_size", 128), node.settings.get("quantize_axis", 1)
    width = numbers.shape[1] * 8 // bits if numbers.dtype == "U8" and bits in (2, 4, 8) else numbers.shape[1]
    if axis != 1 or width * bits % 8 or not 0 < block <= MAX_BLOCK or node.settings.get("gather_axis", 0):
        return None
    middle = float(1 << (bits - 1)) if numbers.dtype == "U8" else 0.0
    shape = numbers.shape[0], width
    return _row_blocks(shape, bits, block, numbers, scales, zeros, middle, len(node.inputs) > 3)


def _row_blocks(
    shape: tuple[int, int],
    bits: int,
    block: int,
    numbers: Initialiser,
    scales: Initialiser,
    zeros: Initialiser | None,
    middle: float,
    stated: bool,
) -> OnnxPacked | None:
    """
    Args:
        stated: whether there are zero points.
    """
    blocks = -(-shape[1] // block)
    if scales.dtype not in SCALES or scales.stop - scales.start != shape[0] * blocks * BITS[scales.dtype] // 8:
        return None
    if stated and zeros is None:
        return None
    if zeros is not None:
        row = blocks * BITS[zeros.dtype] // 8 if zeros.dtype in SCALES else -(-blocks * bits // 8)
        if zeros.stop - zeros.start != shape[0] * row or zeros.dtype not in SCALES | {"U8", numbers.dtype}:
            return None
    signed = numbers.dtype == "I4"
    return RowBlocks(shape, f"onnx {bits} bits", numbers, scales, zeros, bits, block, middle, signed)


def _bnb4(node: OnnxNode, given: Sequence[Initialiser | None]) -> OnnxPacked | None:
    numbers, scales = ([*given, None, None][place] for place in (1, 2))
    shape = node.settings.get("N", 0), node.settings.get("K", 0)
    block, kind = node.settings.get("block_size", 0), node.settings.get("quant_type", 1)
    if numbers is None or scales is None or numbers.dtype != "U8" or scales.dtype not in SCALES or min(shape) < 1:
        return None
    values = shape[0] * shape[1]
    if not 0 < block <= MAX_BLOCK or kind not in (0, 1) or numbers.stop - numbers.start != -(-values // 2):
        return None
    if scales.stop - scales.start != -(-values // block) * BITS[scales.dtype] // 8:
        return None
    name, table = BNB4_TABLES[kind]
    return TableBlocks(shape, f"onnx {name}", numbers, scales, None, block, table)


def _linear(node: OnnxNode, given: Sequence[Initialiser | None]) -> OnnxPacked | None:
    numbers, scales, zeros = ([*given, None, None, None][place] for place in (0, 1, 2))
    if numbers is None or scales is None or numbers.dtype not in WHOLE or scales.dtype not in SCALES:
        return None
    rank = len(numbers.shape)
    if not rank or min(numbers.shape) < 1 or (len(node.inputs) > 2 and node.inputs[2] and zeros is None):
        return None
    axis, block = node.settings.get("axis", 1), node.settings.get("block_size", 0)
    axis = axis - (1 << 64) if axis >= 1 << 63 else axis
    if zeros is not None and (zeros.shape != scales.shape or zeros.dtype not in WHOLE):
        return None
    values = int(np.prod(scales.shape, dtype=object))
    if values > 1 or block:
        if not -rank <= axis < rank:
            return None
        axis %= rank
    if block:
        expected = tuple(-(-s // block) if place == axis else s for place, s in enumerate(numbers.shape))
        if not 0 < block <= MAX_BLOCK or scales.shape != expected:
            return None
    elif values > 1 and values != numbers.shape[axis]:
        return None
    return Linear(numbers.shape, _how(numbers), numbers, scales, zeros, axis if values > 1 or block else None, block)


def by_names(numbers: Initialiser, scales: Initialiser, zeros: Initialiser | None) -> OnnxPacked | None:
    """A matrix of onnxruntime's dynamic quantization: one scale, or one for each row or column."""
    if scales.dtype not in SCALES or not numbers.shape or (zeros is not None and zeros.dtype not in WHOLE):
        return None
    return Linear(numbers.shape, _how(numbers), numbers, scales, zeros, None, 0)


def _how(numbers: Initialiser) -> str:
    return "onnx 4 bits" if numbers.dtype in ("U4", "I4") else f"onnx int{BITS[numbers.dtype]}"
