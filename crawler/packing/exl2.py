"""EXL2: a linear layer whose groups of inputs have 2 to 8 bits each, the inputs in the order of how much they matter.

`q_weight` lies as (words, outputs): of each group, its numbers along the inputs, the lowest bits first. `q_groups` names for each group its
bits and its first word; `q_scale` has four bits for each group and output, eight outputs to a word, and the scale is (that number + 1)
squared times `q_scale_max` of the group over 256. A value is the number less half its range, times the scale. `q_invperm` is the
place of each input. Layers with other outputs than a multiple of 32 have more columns than the layer: their bias or none tells.

Format: https://github.com/turboderp-org/exllamav2 (conversion/adaptivegptq.py, exllamav2_ext/cuda/q_matrix.cu).
"""

from __future__ import annotations

from collections import Counter
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
    kind_of,
    stem_of,
    usable,
    whole,
)
from lineage.crawler.packing.numbers import decoded, of_bits

BITS = (2, 3, 4, 5, 6, 8)
SCALE_BITS = 4


@dataclass(frozen=True, slots=True)
class Exl2Matrix(PackedMatrix):
    """numbers, scales, largest, groups, places: tensors of the file, see above."""

    numbers: TensorHeader
    scales: TensorHeader
    largest: TensorHeader
    groups: TensorHeader
    places: TensorHeader

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return [whole(t) for t in (self.numbers, self.scales, self.largest, self.groups, self.places)]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        words = loaded.values(whole(self.numbers)).reshape(self.numbers.shape)[:, first:last]  # (words, rows)
        largest = loaded.values(whole(self.largest)) / 256  # (groups,)
        steps = of_bits(loaded.values(whole(self.scales)).reshape(self.scales.shape), SCALE_BITS)[:, first:last]
        scales = np.square(steps.astype(np.float32) + 1) * largest[:, None]  # (groups, rows)
        values = np.zeros((last - first, self.width), np.float32)
        at = 0
        for group, (bits, start, stop) in enumerate(_spans(loaded.values(whole(self.groups)), self.numbers.shape[0])):
            if bits not in BITS or not 0 <= start <= stop or at >= self.width:
                break
            numbers = of_bits(words[start:stop].T, bits)[:, : self.width - at].astype(np.float32)  # (rows, inputs)
            many = numbers.shape[1]
            values[:, at : at + many] = (numbers - (1 << (bits - 1))) * scales[group][:, None]
            at += many
        places = np.clip(loaded.values(whole(self.places)), 0, self.width - 1)
        return values[:, places]


def _spans(groups: np.ndarray, words: int) -> list[tuple[int, int, int]]:
    """(bits, first word, last word) of each group."""
    pairs = groups.reshape(-1, 2).astype(int).tolist()
    ends = [start for _, start in pairs[1:]] + [words]
    return [(bits, start, end) for (bits, start), end in zip(pairs, ends, strict=True)]


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Layers whose parts fit each other."""
    known: dict[tuple[str, int, int], tuple[int, int]] = {}
    for name, numbers in tensors.items():
        stem = stem_of(name, ".q_weight")
        ends = ("q_scale", "q_scale_max", "q_groups", "q_invperm")
        scales, largest, groups, places = (tensors.get(f"{stem}.{end}") for end in ends)
        if stem is None or scales is None or largest is None or groups is None or places is None:
            continue
        if (
            numbers.dtype != "I32"
            or scales.dtype != "I32"
            or groups.dtype != "I16"
            or places.dtype not in ("I32", "I16")
        ):
            continue
        if len(numbers.shape) != 2 or not usable(numbers.shape) or not usable(places.shape) or len(places.shape) != 1:
            continue
        if largest.dtype != "F16" or groups.values != 2 * largest.values or not largest.values:
            continue
        if scales.shape != (largest.values, numbers.shape[1] * SCALE_BITS // 32) or numbers.shape[1] % 8:
            continue
        bias, inputs = tensors.get(f"{stem}.bias"), places.values
        alike = (*kind_of(numbers), inputs)
        if alike not in known:
            known[alike] = _bits(context.peek(groups), numbers.shape[0], inputs)
        fits, bits = known[alike]
        if not fits:
            continue
        outputs = bias.values if bias is not None and 0 <= numbers.shape[1] - bias.values < 32 else numbers.shape[1]
        parts = (name, scales.name, largest.name, groups.name, places.name)
        shape, how = (outputs, inputs), f"exl2 {bits} bits"
        yield Exl2Matrix(f"{stem}.weight", shape, how, parts, numbers, scales, largest, groups, places)


def _bits(raw: bytes, words: int, inputs: int) -> tuple[int, int]:
    """(how many inputs the groups of a layer have room for, 0 where they do not fit it; the bits of most of them)."""
    counted: Counter[int] = Counter()
    for bits, start, stop in _spans(decoded(raw[: len(raw) // 4 * 4], "I16"), words):
        if bits not in BITS or not 0 <= start <= stop <= words:
            return 0, 0
        counted[bits] += (stop - start) * 32 // bits
    room = counted.total()
    return (room, counted.most_common(1)[0][0]) if counted and 0 <= room - inputs < 32 else (0, 0)
