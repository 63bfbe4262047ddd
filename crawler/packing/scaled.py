"""One number for each value, in the shape of the original: eight-bit whole numbers or floats, with scales beside them.

bitsandbytes int8 (`SCB`), compressed-tensors int8 and fp8 (`weight_scale`), fp8 in blocks of DeepSeek and Qwen (`weight_scale_inv`),
torchao (`_weight_qdata`, `_weight_scale`, `_weight_zero_point`), quanto int8 and fp8 (`weight._data`, `weight._scale`), ModelOpt, ComfyUI
(`scale_weight`), plain `qweight` with a `scale`, MXFP8 (scales that are powers of two), and a cast to fp8 without a scale. A scale is one
number, or one for each row, each group of a row, or each block. torchao puts four bits into bytes of their own; the text beside the tensors
says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.interface import (
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
from lineage.crawler.packing.numbers import FLOAT8

EIGHT_BITS = frozenset({"I8", "U8", *FLOAT8}) - {"F8_E8M0"}
_SCALES = frozenset({"F16", "BF16", "F32", "F8_E8M0"})
_TORCHAO_BITS = re.compile(r'"target_dtype": \{"_type": "torch.dtype", "_data": "u?int(\d)"')
# (end of the name of the numbers, of the original, of scales, of zero points, divisor of the scale, the method)
LAYOUTS: tuple[tuple[str, str, str, str | None, float, str], ...] = (
    (".weight", ".weight", ".SCB", None, 127.0, "bitsandbytes"),
    (".weight", ".weight", ".weight_scale_inv", None, 1.0, ""),
    (".weight", ".weight", ".weight_scale", ".weight_zero_point", 1.0, ""),
    (".weight", ".weight", ".scale_weight", None, 1.0, ""),
    ("._weight_qdata", ".weight", "._weight_scale", "._weight_zero_point", 1.0, "torchao"),
    (".weight._data", ".weight", ".weight._scale", None, 1.0, "quanto"),
    (".qweight", "", ".scale", ".zero_point", 1.0, ""),  # beside a tensor's own name, or a module's
    (".qweight", "", ".scales", ".zeros", 1.0, ""),
    (".weight", ".weight", ".scale", ".zero_point", 1.0, ""),
    (".weight", ".weight", ".weight.scale", ".weight.zero_point", 1.0, ""),
)
MX_RUN = 32  # values that share a scale in the microscaling formats
BLOCKS = (128, 64, 32, 16, 256)
BESIDE = (".weight_format", ".input_scale", ".output_scale", ".scale_input", ".k_scale", ".v_scale")  # of activations


@dataclass(frozen=True, slots=True)
class ScaledMatrix(PackedMatrix):
    """numbers, scales, zeros: tensors of the file; divisor: of every scale; powers: whether scales are exponents of two, more by 127."""

    numbers: TensorHeader
    scales: TensorHeader | None
    zeros: TensorHeader | None
    divisor: float
    powers: bool = False

    def needs(self, first: int, last: int) -> list[TensorRange]:
        parts = [self._part(t, first, last) for t in (self.scales, self.zeros) if t is not None]
        return [rows_of(self.numbers, first, last), *parts]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        values = loaded.values(rows_of(self.numbers, first, last)).reshape(last - first, self.width).astype(np.float32)
        if self.zeros is not None:
            values -= self._spread(self.zeros, first, last, loaded)
        if self.scales is not None:
            scales = self._spread(self.scales, first, last, loaded)
            values *= np.exp2(scales - 127) if self.powers else scales
        return values / np.float32(self.divisor) if self.divisor != 1 else values

    def _block_rows(self, tensor: TensorHeader) -> int:
        """Rows of the original to a row of scales; 0 where one number counts for all."""
        return 0 if tensor.values == 1 else _length(self.shape[0], tensor.shape[0]) or 0

    def _part(self, tensor: TensorHeader, first: int, last: int) -> TensorRange:
        tall = self._block_rows(tensor)
        return rows_of(tensor, first // tall, -(-last // tall)) if tall else whole(tensor)

    def _spread(self, tensor: TensorHeader, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        """Scales for rows [first, last): (1, 1), (rows, 1) or (rows, width)."""
        tall, numbers = self._block_rows(tensor), loaded.values(self._part(tensor, first, last)).astype(np.float32)
        if not tall:
            return numbers.reshape(1, 1)
        many = tensor.values // tensor.shape[0]
        numbers = numbers.reshape(-1, many)[np.arange(first, last) // tall - first // tall]  # (rows, many)
        return numbers if many == 1 else numbers[:, np.arange(self.width) // (_length(self.width, many) or 1)]


def _length(size: int, many: int) -> int | None:
    """Values of an axis to one scale: as many as divide it, or blocks of which the last one is shorter; None where neither fits."""
    if many and size % many == 0:
        return size // many
    return next((length for length in BLOCKS if many == -(-size // length)), None)


def _fits(tensor: TensorHeader, shape: tuple[int, ...]) -> bool:
    """Whether scales are one number, or as many as rows, groups or blocks of a matrix."""
    if tensor.values == 1:
        return True
    width = 1
    for size in shape[1:]:
        width *= size
    if not tensor.shape or tensor.shape[0] == 0:
        return False
    return None not in (_length(shape[0], tensor.shape[0]), _length(width, tensor.values // tensor.shape[0]))


def beside(stem: str, tensors: Tensors) -> list[str]:
    """Names of the tensors of a module that are about its activations."""
    return [f"{stem}{end}" for end in BESIDE if f"{stem}{end}" in tensors]


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices of eight bits with fitting scales, and fp8 without any."""
    for name, numbers in tensors.items():
        if numbers.dtype not in EIGHT_BITS or not usable(numbers.shape):
            continue
        found = _with_scales(tensors, numbers, context.texts)
        if found is not None:
            yield found
        elif numbers.dtype in FLOAT8 and not _is_scale(name) and not _has_scales(tensors, name):
            yield ScaledMatrix(name, numbers.shape, "fp8", (name,), numbers, None, None, 1.0)


def _with_scales(tensors: Tensors, numbers: TensorHeader, texts: Mapping[str, str]) -> ScaledMatrix | None:
    for end, original, scale_end, zero_end, divisor, method in LAYOUTS:
        stem = stem_of(numbers.name, end)
        scales = tensors.get(f"{stem}{scale_end}")
        if stem is None or scales is None or not _fits(scales, numbers.shape):
            continue
        powers = scales.dtype == "U8" and numbers.dtype in FLOAT8
        if scales.dtype not in _SCALES and not (powers and scales.shape[1:] == (-(-numbers.shape[-1] // MX_RUN),)):
            continue
        zeros = tensors.get(f"{stem}{zero_end}") if zero_end else None
        if zeros is not None and (zeros.dtype not in EIGHT_BITS or not _fits(zeros, numbers.shape)):
            continue
        kind = "fp8" if numbers.dtype in FLOAT8 else "int8" if not method else "8 bits"
        if method == "torchao" and (narrow := _TORCHAO_BITS.search(texts.get(f"{stem}{original}", ""))):
            kind = f"{narrow[1]} bits"
        parts = (numbers.name, scales.name, *([zeros.name] if zeros else []), *beside(stem, tensors))
        how = f"{method} {kind}".strip()
        if not original and not stem.endswith("weight"):
            original = ".weight"
        return ScaledMatrix(f"{stem}{original}", numbers.shape, how, parts, numbers, scales, zeros, divisor, powers)
    return None


def _has_scales(tensors: Tensors, name: str) -> bool:
    return any(f"{stem}{end}" in tensors for own, _, end, *_ in LAYOUTS if (stem := stem_of(name, own)) is not None)


def _is_scale(name: str) -> bool:
    return "scale" in name.rpartition(".")[2]
