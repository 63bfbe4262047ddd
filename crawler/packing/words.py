"""Rows of a few bits side by side, with a scale for each group of a row: compressed-tensors, fp4 with two scales, and MLX.

compressed-tensors packs whole numbers (`weight_packed`, less half their range) into 32-bit words, with the shape in `weight_shape`; its fp4
formats, and ModelOpt's, put two values into a byte, the first one in the low bits: NVFP4 with a scale in fp8 for each group of 16 and one
for all, MXFP4 with a power of two for each 32. MLX has numbers in words, `scales` and `biases`; bits and group are those with which the
rows are as wide as a norm of the model is long, or else another tensor. Its fp4 and fp8 have no `biases` and scales of a byte.

Formats: https://github.com/neuralmagic/compressed-tensors, https://github.com/NVIDIA/TensorRT-Model-Optimizer,
https://github.com/ml-explore/mlx (mlx.core.quantize).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.interface import (
    SCALES,
    FileContext,
    PackedMatrix,
    ReadRanges,
    StatedShapes,
    TensorRange,
    Tensors,
    rows_of,
    stem_of,
    usable,
    whole,
)
from lineage.crawler.packing.numbers import FLOAT4, decoded, of_bits

MLX_GROUPS = (64, 32, 128)  # the usual one first
MLX_BITS = (2, 3, 4, 5, 6, 8)
MLX_FLOATS = {  # bits of the numbers that share a scale -> name, bits of a number, dtype of the scale
    32 * 4: ("mxfp4", 4, "F8_E8M0"),
    16 * 4: ("nvfp4", 4, "F8_E4M3"),
    32 * 8: ("mxfp8", 8, "F8_E8M0"),
}


@dataclass(frozen=True, slots=True)
class PackedRows(PackedMatrix):
    """Whole numbers in words.

    Attributes:
        numbers, scales, zeros, order, biases: tensors of the file. zeros are packed along the rows; biases are added after
            scaling; order: the group of each value of a row, None where they follow one another.
        offset: what the numbers are stored more by.
    """

    bits: int
    numbers: TensorHeader
    scales: TensorHeader
    zeros: TensorHeader | None
    order: TensorHeader | None
    biases: TensorHeader | None
    offset: int

    def needs(self, first: int, last: int) -> list[TensorRange]:
        found = [rows_of(self.numbers, first, last), rows_of(self.scales, first, last)]
        found += [rows_of(self.biases, first, last)] if self.biases is not None else []
        return found + [whole(t) for t in (self.zeros, self.order) if t is not None]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        rows = last - first
        words = loaded.values(rows_of(self.numbers, first, last)).reshape(rows, -1)
        values = of_bits(words, self.bits)[:, : self.width].astype(np.float32) - self.offset  # (rows, width)
        scales = loaded.values(rows_of(self.scales, first, last)).reshape(rows, -1)  # (rows, groups)
        group = np.arange(self.width) // -(-self.width // scales.shape[1])  # (width,)
        if self.order is not None:
            group = np.clip(loaded.values(whole(self.order)), 0, scales.shape[1] - 1)
        if self.zeros is not None:
            packed = loaded.values(whole(self.zeros)).reshape(self.zeros.shape).T  # (groups, words)
            values -= (of_bits(packed, self.bits)[:, first:last].T.astype(np.float32) - self.offset)[:, group]
        values *= scales[:, group]
        if self.biases is not None:
            values += loaded.values(rows_of(self.biases, first, last)).reshape(rows, -1)[:, group]
        return values


@dataclass(frozen=True, slots=True)
class SmallFloats(PackedMatrix):
    """Floats of four bits (E2M1) or eight (E4M3) in words.

    Attributes:
        numbers, scales, all_of_it: tensors of the file; divided: whether by the scale of all.
        scale_dtype: what the scales are where the file has them as bytes.
    """

    numbers: TensorHeader
    scales: TensorHeader
    all_of_it: TensorHeader | None
    divided: bool
    bits: int = 4
    scale_dtype: str = "F8_E8M0"

    def needs(self, first: int, last: int) -> list[TensorRange]:
        more = [whole(self.all_of_it)] if self.all_of_it is not None else []
        return [rows_of(self.numbers, first, last), rows_of(self.scales, first, last), *more]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        rows = last - first
        codes = of_bits(loaded.values(rows_of(self.numbers, first, last)).reshape(rows, -1), self.bits)[:, : self.width]
        values = FLOAT4[codes] if self.bits == 4 else decoded(codes.tobytes(), "F8_E4M3").reshape(codes.shape)
        scales = loaded.values(rows_of(self.scales, first, last))
        if self.scales.dtype == "U8":
            scales = decoded(scales.tobytes(), self.scale_dtype)
        scales = scales.reshape(rows, -1)  # (rows, groups)
        values = values * np.repeat(scales, -(-self.width // scales.shape[1]), 1)[:, : self.width]
        if self.all_of_it is not None:
            number = loaded.values(whole(self.all_of_it))[0]
            with np.errstate(all="ignore"):  # what is no number then is refused by the sketch
                values = values / number if self.divided else values * number
        return values.astype(np.float32)


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices of any of these packings."""
    shapes = StatedShapes(context)
    lengths = Counter(t.shape[0] for t in tensors.values() if len(t.shape) in (1, 2))
    for name, numbers in tensors.items():
        if len(numbers.shape) != 2 or not usable(numbers.shape):
            continue
        stem = stem_of(name, ".weight_packed")
        if stem is not None and numbers.dtype == "I32":
            found = _compressed(tensors, stem, numbers, shapes)
        elif stem is not None and numbers.dtype == "U8":
            found = _fp4(tensors, stem, numbers, ".weight_global_scale", True)
        elif (stem := stem_of(name, ".weight")) is not None and numbers.dtype == "U8":
            found = _fp4(tensors, stem, numbers, ".weight_scale_2", False)
        elif stem is not None and numbers.dtype == "U32":
            found = _mlx_floats(tensors, stem, numbers)
        else:
            found = None
        if found is not None:
            yield found
    yield from _mlx(tensors, lengths)


def _compressed(
    tensors: Tensors,
    stem: str,
    numbers: TensorHeader,
    shapes: StatedShapes,
) -> PackedMatrix | None:
    scales, stated = tensors.get(stem + ".weight_scale"), tensors.get(stem + ".weight_shape")
    if scales is None or stated is None:
        return None
    shape = shapes.of(numbers, stated)
    if (
        shape is None
        or not usable(shape)
        or shape[0] != numbers.shape[0]
        or len(scales.shape) != 2
        or scales.shape[0] != shape[0]
    ):
        return None
    bits = next((b for b in (4, 8, 2) if -(-shape[1] // (32 // b)) == numbers.shape[1]), None)
    zeros, order = tensors.get(stem + ".weight_zero_point"), tensors.get(stem + ".weight_g_idx")
    if bits is None or scales.dtype not in SCALES or not 0 < scales.shape[1] <= shape[1]:
        return None
    if zeros is not None and (zeros.dtype != "I32" or zeros.shape != (-(-shape[0] * bits // 32), scales.shape[1])):
        return None
    if order is not None and (order.shape != shape[1:] or order.dtype not in ("I32", "I64")):
        return None
    parts = (numbers.name, scales.name, stated.name, *(t.name for t in (zeros, order) if t is not None))
    how, offset = f"compressed-tensors {bits} bits", 1 << (bits - 1)
    return PackedRows(f"{stem}.weight", shape, how, parts, bits, numbers, scales, zeros, order, None, offset)


def _fp4(tensors: Tensors, stem: str, numbers: TensorHeader, all_of_it: str, divided: bool) -> PackedMatrix | None:
    scales, everything = tensors.get(stem + ".weight_scale"), tensors.get(stem + all_of_it)
    if scales is None or len(scales.shape) != 2 or scales.shape[0] != numbers.shape[0] or scales.shape[1] == 0:
        return None
    shape = (numbers.shape[0], 2 * numbers.shape[1])
    nv = scales.dtype == "F8_E4M3" and everything is not None and everything.values == 1 and everything.dtype == "F32"
    if not nv and (scales.dtype != "U8" or scales.shape[1] != -(-shape[1] // 32)):
        return None
    if shape[1] % scales.shape[1]:
        return None
    everything = everything if nv else None
    more = [f"{stem}{end}" for end in (".input_global_scale", ".input_scale") if f"{stem}{end}" in tensors]
    parts = (numbers.name, scales.name, *([everything.name] if everything is not None else []), *more)
    how = "nvfp4" if nv else "mxfp4"
    return SmallFloats(f"{stem}.weight", shape, how, parts, numbers, scales, everything, divided)


def _mlx_floats(tensors: Tensors, stem: str, numbers: TensorHeader) -> PackedMatrix | None:
    """The bits of numbers that share a scale say which of the formats it is."""
    scales = tensors.get(stem + ".scales")
    if scales is None or scales.dtype != "U8" or len(scales.shape) != 2 or scales.shape[0] != numbers.shape[0]:
        return None
    together, rest = divmod(32 * numbers.shape[1], scales.shape[1] or 1)
    if rest or together not in MLX_FLOATS or stem + ".biases" in tensors:
        return None
    how, bits, scale_dtype = MLX_FLOATS[together]
    shape, parts = (numbers.shape[0], 32 * numbers.shape[1] // bits), (numbers.name, scales.name)
    return SmallFloats(f"{stem}.weight", shape, f"mlx {how}", parts, numbers, scales, None, False, bits, scale_dtype)


def _mlx(tensors: Tensors, lengths: Counter[int]) -> Iterable[PackedMatrix]:
    layers: list[tuple[str, TensorHeader, TensorHeader, TensorHeader]] = []
    for name, numbers in tensors.items():
        stem = stem_of(name, ".weight")
        scales, biases = tensors.get(f"{stem}.scales"), tensors.get(f"{stem}.biases")
        if stem is None or numbers.dtype != "U32" or scales is None or biases is None or not usable(numbers.shape):
            continue
        if len(numbers.shape) != 2 or scales.shape != biases.shape or scales.shape[:1] != numbers.shape[:1]:
            continue
        if len(scales.shape) == 2 and {scales.dtype, biases.dtype} <= SCALES and scales.shape[1]:
            layers.append((stem, numbers, scales, biases))
    norms = {t.shape[0] for name, t in tensors.items() if len(t.shape) == 1 and name.endswith(".weight")}

    def fitting(group: int) -> tuple[int, int]:
        """Layers that are as wide as a norm of the model is long with such groups, and those as wide as any of its tensors."""
        wide = [scales.shape[1] * group for _, _, scales, _ in layers]
        return sum(width in norms for width in wide), sum(lengths[width] > 0 for width in wide)

    group = max(MLX_GROUPS, key=lambda g: (*fitting(g), -MLX_GROUPS.index(g)))
    for stem, numbers, scales, biases in layers:
        width = scales.shape[1] * group
        bits, rest = divmod(numbers.shape[1] * 32, width)
        if rest or bits not in MLX_BITS:
            continue
        parts = (numbers.name, scales.name, biases.name)
        shape, how = (numbers.shape[0], width), f"mlx {bits} bits"
        yield PackedRows(f"{stem}.weight", shape, how, parts, bits, numbers, scales, None, None, biases, 0)
