"""Tensors -> sketch: the same small fixed sample of every model of one architecture.

The positions depend on canonical names and shapes only, never on values, dtype or the model's name, so that sketches of one
signature can be compared value by value. A sample is made of blocks of whole consecutive output units (rows): a block is
contiguous in a safetensors file, so it is one ranged read, and growth (detect/signals/growth.py) needs whole units.
Small models are taken whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lineage.detect.signature import Role, Tensor, TensorSpec, tensors_of

SKETCH_VERSION = 1
BUDGET_VALUES = 131_072  # 256 KiB of bfloat16; bench/NOTES.md has accuracy against budget
WIDE_BUDGET_VALUES = 3 * BUDGET_VALUES  # where one row is thousands of values wide
WHOLE_MODEL_TENSORS = 2_000
MIN_BLOCKS, MAX_BLOCKS = 8, 32
ROWS = (64, 32, 16, 8)
SKIPPED_VOCABULARY_ROWS = 256  # special tokens and bytes come first and are untypical


@dataclass(frozen=True, slots=True)
class Block:
    """A run of values of one tensor, row-major element offsets, half open. `tensor` is the name in the file."""

    tensor: str
    start: int
    stop: int


def plan(header: Sequence[TensorSpec], budget_values: int = BUDGET_VALUES) -> list[Block]:
    """Positions to read.

    Args:
        header: names, dtypes, shapes of one model.
        budget_values: about how many values to take; wide models get up to three times as many, so that there are at least
            eight blocks of eight rows.
    Returns:
        Blocks in natural order of names, at most one a tensor, none overlapping, none empty. Empty if nothing can be compared.
    """
    tensors = [t for t in tensors_of(header) if t.values]
    comparable = [t for t in tensors if t.role not in (Role.CONSTANT, Role.PACKED)]
    if sum(t.values for t in comparable) <= budget_values and len(comparable) <= WHOLE_MODEL_TENSORS:
        return [Block(t.source, 0, t.values) for t in comparable]
    weights = [t for t in comparable if t.role is Role.WEIGHT]
    if not weights:
        weights = [t for t in comparable if t.role in (Role.EMBEDDING, Role.HEAD, Role.VECTOR)]
    chosen = _choose(weights, budget_values)
    counters = [t for t in tensors if t.role is Role.COUNTER][:1]
    blocks = {t.source: _block(t, rows) for t, rows in chosen} | {
        t.source: Block(t.source, 0, t.values) for t in counters
    }
    return [blocks[t.source] for t in tensors if t.source in blocks]


def _choose(tensors: list[Tensor], budget_values: int) -> list[tuple[Tensor, int]]:
    """Tensors spread over the depth, and how many rows of each."""
    budget = budget_values
    order = _spread(tensors)
    for rows in ROWS:
        chosen = _fill(order, rows, budget)
        if len(chosen) >= min(MAX_BLOCKS, len(order)):
            return chosen
    if len(chosen) < min(MIN_BLOCKS, len(order)):
        chosen = _fill(order, ROWS[-1], WIDE_BUDGET_VALUES * budget_values // BUDGET_VALUES)
    return chosen or [(min(tensors, key=lambda t: t.row_values), 1)]


def _fill(order: list[Tensor], rows: int, budget: int) -> list[tuple[Tensor, int]]:
    chosen: list[tuple[Tensor, int]] = []
    for tensor in order:
        cost = min(rows, tensor.rows) * tensor.row_values
        if cost <= budget and len(chosen) < MAX_BLOCKS:
            chosen.append((tensor, min(rows, tensor.rows)))
            budget -= cost
    if len(chosen) == len(order) and budget > 0:  # narrow model: the rest goes into more rows of the same tensors
        extra = 1 + budget / max(1, sum(t.row_values * r for t, r in chosen))
        chosen = [(t, min(t.rows, int(r * extra))) for t, r in chosen]
    return chosen


def _spread(tensors: list[Tensor]) -> list[Tensor]:
    """Order in which any prefix lies spread over the depth (van der Corput), and no kind of layer is favoured by its period."""
    count = len(tensors)
    edges = [i * count // MAX_BLOCKS for i in range(MAX_BLOCKS + 1)]
    strata = [sorted(tensors[a:b], key=lambda t: _hash(t.name)) for a, b in pairwise(edges) if a < b]
    turn = sorted(range(len(strata)), key=lambda i: int(f"{i:08b}"[::-1], 2))
    order: list[Tensor] = []
    for depth in range(max((len(s) for s in strata), default=0)):
        order += [strata[i][depth] for i in turn if depth < len(strata[i])]
    return order


def _block(tensor: Tensor, rows: int) -> Block:
    free = tensor.rows - rows
    first = min(free, SKIPPED_VOCABULARY_ROWS) if tensor.role is Role.EMBEDDING else _hash(tensor.name) % (free + 1)
    return Block(tensor.source, first * tensor.row_values, (first + rows) * tensor.row_values)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
