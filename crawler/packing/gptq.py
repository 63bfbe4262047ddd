"""GPTQ and AWQ: a linear layer as `qweight`, `qzeros`, `scales`, with GPTQ's `g_idx` where inputs were reordered.

Both lie as (inputs, outputs), so an output's numbers are spread over the whole tensor. GPTQ packs along the inputs, 32 bits a word; AWQ
along the outputs, in the order 0 2 4 6 1 3 5 7. Zeros are stored less one by GPTQ's first format and as they are by its second: the
file's is the one by which zero lies in the middle, or by which the weights of its first outputs have the smaller mean.

Formats: https://github.com/AutoGPTQ/AutoGPTQ (nn_modules/qlinear), https://github.com/casper-hansen/AutoAWQ (utils/packing_utils.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.interface import (
    SCALES,
    FileContext,
    PackedMatrix,
    ReadRanges,
    TensorRange,
    Tensors,
    stem_of,
    usable,
    whole,
)
from lineage.crawler.packing.numbers import of_bits

GPTQ_BITS, AWQ_BITS = (2, 3, 4, 8), 4
ROWS_FOR_MEAN = 64
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # place in a word of each of eight outputs


@dataclass(frozen=True, slots=True)
class GptqMatrix(PackedMatrix):
    """numbers, zeros, scales, groups: tensors of the file; groups: the group of each input, None where they follow one another."""

    bits: int
    numbers: TensorHeader
    zeros: TensorHeader
    scales: TensorHeader
    groups: TensorHeader | None

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return [whole(t) for t in (self.numbers, self.zeros, self.scales, self.groups) if t is not None]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        inputs = self.shape[1]
        words = loaded.values(whole(self.numbers)).reshape(self.numbers.shape)
        zeros = of_bits(loaded.values(whole(self.zeros)).reshape(self.zeros.shape), self.bits)  # (groups, outputs)
        scales = loaded.values(whole(self.scales)).reshape(self.scales.shape)  # (groups, outputs)
        group = self._group(loaded)  # (inputs,)

        def numbers_less_zeros(start: int, stop: int) -> np.ndarray:
            numbers = of_bits(np.ascontiguousarray(words[:, start:stop].T), self.bits)[:, :inputs]  # (rows, inputs)
            return numbers.astype(np.float32) - zeros[group, start:stop].T

        half = 1 << (self.bits - 1)
        if np.ptp(zeros) == 0 and zeros.flat[0] in (half - 1, half):  # symmetric
            less = int(zeros.flat[0]) == half - 1
        else:
            less = float(numbers_less_zeros(0, ROWS_FOR_MEAN).mean()) > 0.5
        return (numbers_less_zeros(first, last) - less) * scales[group, first:last].T

    def _group(self, loaded: ReadRanges) -> np.ndarray:
        inputs, groups = self.shape[1], self.scales.shape[0]
        if self.groups is None:
            return np.arange(inputs) // -(-inputs // groups)
        return np.clip(loaded.values(whole(self.groups)), 0, groups - 1)


@dataclass(frozen=True, slots=True)
class AwqMatrix(PackedMatrix):
    """See GptqMatrix."""

    numbers: TensorHeader
    zeros: TensorHeader
    scales: TensorHeader

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return [whole(t) for t in (self.numbers, self.zeros, self.scales)]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        inputs = self.shape[1]
        words = loaded.values(whole(self.numbers)).reshape(self.numbers.shape)[:, first // 8 : -(-last // 8)]
        skipped = first - first // 8 * 8
        numbers = _awq(words)[:, skipped : skipped + last - first].T  # (rows, inputs)
        zeros = _awq(loaded.values(whole(self.zeros)).reshape(self.zeros.shape))[:, first:last]  # (groups, rows)
        scales = loaded.values(whole(self.scales)).reshape(self.scales.shape)[:, first:last]  # (groups, rows)
        group = np.arange(inputs) // -(-inputs // len(scales))  # (inputs,)
        return ((numbers - zeros[group].T.astype(np.float32)) * scales[group].T).astype(np.float32)


def _awq(words: np.ndarray) -> np.ndarray:
    """(rows, words) -> (rows, 8 x words), outputs in their order."""
    numbers = of_bits(words, AWQ_BITS).reshape(len(words), -1, 8)  # (rows, words, 8)
    return numbers[:, :, AWQ_ORDER].reshape(len(words), -1)


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Layers of either packing, by their shapes."""
    for name, numbers in tensors.items():
        stem = stem_of(name, ".qweight")
        zeros, scales = tensors.get(f"{stem}.qzeros"), tensors.get(f"{stem}.scales")
        if stem is None or zeros is None or scales is None or numbers.dtype not in ("I32", "U32"):
            continue
        if not all(len(t.shape) == 2 and usable(t.shape) for t in (numbers, zeros, scales)):
            continue
        groups, outputs = scales.shape
        bits, rest = divmod(32 * zeros.shape[1], outputs)
        if rest or zeros.shape[0] != groups or zeros.dtype not in ("I32", "U32") or scales.dtype not in SCALES:
            continue
        parts = (name, zeros.name, scales.name)
        if bits == AWQ_BITS and numbers.shape[1] == zeros.shape[1] and numbers.shape[0] >= groups:
            shape = (outputs, numbers.shape[0])
            yield AwqMatrix(f"{stem}.weight", shape, "awq 4 bits", parts, numbers, zeros, scales)
        elif bits in GPTQ_BITS and numbers.shape[1] == outputs and numbers.shape[0] * 32 // bits >= groups:
            inputs = numbers.shape[0] * 32 // bits
            order = tensors.get(f"{stem}.g_idx")
            if order is not None and (order.shape != (inputs,) or order.dtype not in ("I32", "I64")):
                continue
            named = (*parts, *([order.name] if order is not None else []))
            how = f"gptq {bits} bits"
            yield GptqMatrix(f"{stem}.weight", (outputs, inputs), how, named, bits, numbers, zeros, scales, order)
