"""bitsandbytes in four bits (nf4, fp4): runs of values with a scale each, in one long column.

Each byte is two values, the first one in the high bits; a value is an entry of `quant_map` times the scale of its run, `absmax`. With
double quantization `absmax` is bytes itself: entries of `nested_quant_map` times `nested_absmax`, plus an offset. Shape, run length and
offset are JSON in `quant_state.bitsandbytes__nf4`; the shape is read once for all layers of a stack that are alike.

Format: https://github.com/bitsandbytes-foundation/bitsandbytes (functional.py, QuantState.as_dict).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.interface import (
    MAX_PEEKED_BYTES,
    FileContext,
    PackedMatrix,
    ReadRanges,
    TensorRange,
    Tensors,
    kind_of,
    usable,
    whole,
)

STATE = ".quant_state.bitsandbytes__"
RUNS = frozenset({32, 64, 128, 256, 512, 1024, 2048, 4096})


@dataclass(frozen=True, slots=True)
class FourBitMatrix(PackedMatrix):
    """numbers, scales, entries, state and the nested ones: tensors of the file; run, nested_run: values to a scale."""

    numbers: TensorHeader
    scales: TensorHeader
    entries: TensorHeader
    state: TensorHeader
    run: int
    nested: tuple[TensorHeader, TensorHeader] | None
    nested_run: int

    def _ends(self, first: int, last: int) -> tuple[int, int]:
        return first * self.width, last * self.width

    def _numbers(self, first: int, last: int) -> TensorRange:
        start, stop = self._ends(first, last)
        return TensorRange(self.numbers.name, start // 2, -(-stop // 2))

    def _scales(self, first: int, last: int) -> TensorRange:
        start, stop = self._ends(first, last)
        return TensorRange(self.scales.name, start // self.run, -(-stop // self.run))

    def needs(self, first: int, last: int) -> list[TensorRange]:
        nested = [whole(self.state), *map(whole, self.nested)] if self.nested else []
        return [self._numbers(first, last), self._scales(first, last), whole(self.entries), *nested]

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        start, stop = self._ends(first, last)
        numbers = loaded.values(self._numbers(first, last))
        codes = np.stack([numbers >> 4, numbers & 15], 1).reshape(-1)[start % 2 :][: stop - start]
        part = self._scales(first, last)
        scales = loaded.values(part)
        if self.nested is not None:
            absmax, entries = (loaded.values(whole(t)) for t in self.nested)
            offset = float(_stated(loaded.values(whole(self.state)).tobytes()).get("nested_offset", 0.0))
            index = np.minimum(np.arange(part.start, part.stop) // self.nested_run, len(absmax) - 1)
            scales = entries[np.minimum(scales, len(entries) - 1)] * absmax[index] + np.float32(offset)
        run = np.arange(start, stop) // self.run - part.start
        values = loaded.values(whole(self.entries))[codes] * scales[run]
        return values.astype(np.float32).reshape(last - first, self.width)


def find(tensors: Tensors, context: FileContext) -> Iterable[PackedMatrix]:
    """Matrices with a state that fits them."""
    known: dict[tuple[str, int], dict[str, Any]] = {}
    for name, state in tensors.items():
        stem, found, kind = name.partition(STATE)
        numbers, scales, entries = (tensors.get(stem + end) for end in ("", ".absmax", ".quant_map"))
        if not found or numbers is None or scales is None or entries is None or state.dtype != "U8":
            continue
        if (
            numbers.dtype != "U8"
            or entries.values != 16
            or state.values > MAX_PEEKED_BYTES
            or kind not in ("nf4", "fp4")
        ):
            continue
        alike = kind_of(numbers)
        said = known[alike] if alike in known else _stated(context.peek(state))
        known[alike] = said
        shape, run = said.get("shape"), said.get("blocksize")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape) or not usable(tuple(shape)):
            continue
        values = int(np.prod(shape, dtype=object))
        if run not in RUNS or 2 * numbers.values not in (values, values + 1) or scales.values != -(-values // run):
            continue
        nested, nested_run = None, 1
        if scales.dtype == "U8":
            inner = tensors.get(stem + ".nested_absmax"), tensors.get(stem + ".nested_quant_map")
            nested_run = said.get("nested_blocksize", 256)
            if inner[0] is None or inner[1] is None or nested_run not in RUNS or inner[1].values != 256:
                continue
            nested = (inner[0], inner[1])
        elif scales.dtype != "F32":
            continue
        parts = (stem, scales.name, entries.name, name, *(t.name for t in nested or ()))
        how = f"bitsandbytes {kind}"
        yield FourBitMatrix(stem, tuple(shape), how, parts, numbers, scales, entries, state, run, nested, nested_run)


def _stated(raw: bytes) -> dict[str, Any]:
    """What the state says; empty where it is no JSON object."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
