"""Whole numbers of eight bits with one scale and one zero point, which PyTorch keeps beside a quantized tensor, in no tensors of their own.

Dynamic quantization stores the weights of linear layers so (torch.ao.quantization.quantize_dynamic). The reader of the file puts scale and
zero point into a text beside the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    usable,
)


@dataclass(frozen=True, slots=True)
class AffineMatrix(PackedMatrix):
    """numbers: the tensor of the file."""

    numbers: TensorHeader
    scale: float
    zero: int

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return [rows_of(self.numbers, first, last)]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        values = loaded.values(rows_of(self.numbers, first, last)).reshape(last - first, self.width)
        return (values.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


def affine_key(tensor: str) -> str:
    """Key of the text that says how a tensor's numbers are scaled."""
    return f"{tensor} affine"


def affine_text(scale: float, zero: int) -> str:
    return f"{scale!r} {zero}"


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices of eight bits of which the file says scale and zero point."""
    for name, numbers in tensors.items():
        text = context.texts.get(affine_key(name))
        if text is None or numbers.dtype not in ("I8", "U8") or not usable(numbers.shape):
            continue
        try:
            scale, zero = text.split(" ")
            found = AffineMatrix(name, numbers.shape, "int8", (name,), numbers, float(scale), int(zero))
        except ValueError:  # a text of that name in a file of another format
            continue
        if math.isfinite(found.scale) and found.scale > 0:
            yield found
