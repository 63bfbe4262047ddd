"""Tensors -> sketch: the same small fixed sample of every model of one backbone.

The positions depend on the backbone alone: on a tensor's name within its block and its shape, on the place of the block from the
first or from the last one, never on values, dtypes, heads or wrappers. So sketches of one backbone can be compared value by value, and
blocks of models of different depth with each other. A sample is made of whole consecutive output units (rows): a run is contiguous in
a safetensors file, so it is one ranged read, and growth needs whole units.

Of a large model: some blocks spread over the depth; of each one or a few matrices (sampled_kinds.py), with the norm that lies beside
one of them in most files, so that both are one read; rows of the embedding; and the first rows of the matrices of two blocks, which a
model under other names has as well. Norms and embeddings change least and tell 16-bit models apart.
Small models are taken whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median_low

from lineage.detect.backbone import is_adapter, surrounds
from lineage.detect.backbone_names import NamedBackbone, named_parts
from lineage.detect.sampled_kinds import digest_number, kinds_of, vectors_beside
from lineage.detect.signature import Role, TensorInfo, TensorSpec, natural_key, tensors_of

SKETCH_VERSION = 5
BUDGET_VALUES = 131_072  # 256 KiB of bfloat16; bench/NOTES.md has accuracy against budget
WIDE_BUDGET_VALUES = 3 * BUDGET_VALUES  # where one row is thousands of values wide
WHOLE_MODEL_TENSORS = 2_000
MIN_BLOCKS, MAX_BLOCKS = 8, 32
ROWS = (64, 32, 16, 8)
SKIPPED_VOCABULARY_ROWS = 256  # special tokens and bytes come first and are untypical
FEWEST_RUNS, MOST_RUNS = 10, 24  # of matrix rows in a backbone
BACKBONES_SAMPLED = 4
NORM_VALUES = 8192  # of a vector, at most
ANCHOR_ROWS, ANCHOR_BLOCKS, MOST_ANCHORS = (16, 8, 4), 2, 24
SHAPE_ROWS, MOST_SHAPES, NARROWEST = 8, 12, 16  # anchors of a network without blocks, or with several lists of them
LEAST_OF_BUDGET = 8  # blocks that hold less are modules of unlike kinds
ANCHOR_SHARE = 4  # of the budget: at most a fourth of it on top
OUTSIDE_SHARE = 0.1  # of a body, from which what lies outside of its repeated blocks is looked at as well
HEAD_VALUES, MOST_HEADS = 16_384, 4  # of a head, at most: which of two models of one body others come from shows there
_WRAPPED = ".base_layer."
_ANOTHER = re.compile(r"(^|\.)[1-9]\d*(\.|$)")  # a number within a block that is not 0: another expert


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
        budget_values: about how many values to take of a backbone; wide ones get up to three times as many.
    Returns:
        Blocks in natural order of names, at most one a tensor, none overlapping, none empty. Empty if nothing can be compared.
    """
    header = without_adapters(header)
    tensors = [t for t in tensors_of(header) if t.values]
    comparable = [t for t in tensors if t.role not in (Role.CONSTANT, Role.PACKED)]
    if sum(t.values for t in comparable) <= budget_values and len(comparable) <= WHOLE_MODEL_TENSORS:
        return [Block(t.source, 0, t.values) for t in comparable]
    by_name = {t.source: t for t in comparable}
    blocks: dict[str, Block] = {}
    for named in _named(header)[:BACKBONES_SAMPLED]:
        for block in _of_backbone(named, by_name, budget_values):
            blocks.setdefault(block.tensor, block)
        for block in _anchors(named, by_name, budget_values):
            blocks[block.tensor] = _from_its_start(block, blocks.get(block.tensor))
        for block in _outside(named, by_name, budget_values):
            blocks.setdefault(block.tensor, block)
    if not blocks:
        blocks = {b.tensor: b for b in _spread_over(comparable, budget_values)}
    for block in _heads(comparable):
        blocks.setdefault(block.tensor, block)
    for counter in _counters(header, tensors):
        blocks[counter.source] = Block(counter.source, 0, counter.values)
    return [blocks[t.source] for t in tensors if t.source in blocks]


def _counters(header: Sequence[TensorSpec], tensors: Sequence[TensorInfo]) -> list[TensorInfo]:
    """The first counter of each backbone, in the order of names within it: a decoder around it counts from where it was added."""
    counters = {t.source: t for t in tensors if t.role is Role.COUNTER}
    if not counters:
        return []
    parts = [{n: part.names[n] for n in counters if n in part.names} for part in _named(header)[:BACKBONES_SAMPLED]]
    first = [min(names, key=lambda n: natural_key(names[n])) for names in parts if names]
    return [counters[name] for name in dict.fromkeys(first or [next(iter(counters))])]


def without_adapters(header: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
    """The header without the adapters that peft has put around modules: such a model is sampled like its base."""
    if not any(_WRAPPED in spec.name for spec in header):
        return header
    return [spec for spec in header if not is_adapter(spec.name)]


def _named(header: Sequence[TensorSpec]) -> tuple[NamedBackbone, ...]:
    return named_parts(tuple((spec.name, spec.dtype, tuple(spec.shape)) for spec in header))


def _of_backbone(named: NamedBackbone, tensors: dict[str, TensorInfo], budget: int) -> list[Block]:
    inside = {name: tensors[name] for name in named.names if name in tensors}
    blocks: dict[int, dict[str, TensorInfo]] = {}
    for name, place in named.places.items():
        if name in inside:
            blocks.setdefault(place.block, {})[place.name] = inside[name]
    found: list[Block] = []
    if blocks:
        found = _of_blocks([blocks[i] for i in sorted(blocks)], budget)
    if sum(block.stop - block.start for block in found) < budget // LEAST_OF_BUDGET:
        known = set(named.backbone.matrices)
        body = [t for t in inside.values() if t.role is Role.WEIGHT and (t.source in known or not known)]
        found = _spread_over(sorted(body, key=lambda t: natural_key(named.names[t.source])), budget, named.names)
        found += _vectors_beside(list(inside.values()), {block.tensor for block in found})
    taken = {block.tensor for block in found}
    width = sum(block.stop - block.start for block in found) // max(1, len(found))
    embeddings = [t for t in inside.values() if t.role is Role.EMBEDDING and t.source not in taken]
    if embeddings:
        table = max(embeddings, key=lambda t: t.values)
        rows = max(1, min(table.rows, ROWS[0], max(ROWS[-1], width // max(1, table.row_values))))
        first = min(table.rows - rows, SKIPPED_VOCABULARY_ROWS)
        if rows * table.row_values <= budget:
            found.append(_rows(table, first, rows))
    return found


def _outside(named: NamedBackbone, tensors: dict[str, TensorInfo], budget: int) -> list[Block]:
    """Rows of what is no repeated block, where that is a good part of a body: the stages of a convolution network that have one block
    each, say. Who trains the last stage alone would seem to have changed nothing."""
    if not named.places:
        return []
    body = [tensors[n] for n in named.names if n in tensors and tensors[n].role is Role.WEIGHT]
    alone = [t for t in body if t.source not in named.places]
    if sum(t.values for t in alone) < OUTSIDE_SHARE * sum(t.values for t in body):
        return []
    return _spread_over(
        sorted(alone, key=lambda t: natural_key(named.names[t.source])), budget // ANCHOR_SHARE, named.names
    )


def _heads(tensors: Sequence[TensorInfo]) -> list[Block]:
    """Rows of the heads, the smallest ones: of classes the first, of a vocabulary those of its embedding; and vectors beside them."""
    heads = sorted((t for t in tensors if t.role is Role.HEAD and len(t.shape) > 1), key=lambda t: (t.values, t.source))
    found = []
    for tensor in heads[:MOST_HEADS]:
        rows = max(1, min(tensor.rows, HEAD_VALUES // tensor.row_values))
        first = min(tensor.rows - rows, SKIPPED_VOCABULARY_ROWS)
        if rows * tensor.row_values <= BUDGET_VALUES:
            found.append(_rows(tensor, first, rows))
    vectors = [t for t in tensors if t.role in (Role.HEAD, Role.VECTOR) and len(t.shape) == 1 and surrounds(t.source)]
    return found + [_vector(t) for t in vectors[: 2 * MOST_HEADS]]


def _from_its_start(anchor: Block, chosen: Block | None) -> Block:
    """An anchor, as long as what was chosen of its tensor anyway."""
    length = max(anchor.stop, chosen.stop - chosen.start if chosen is not None else 0)
    return Block(anchor.tensor, 0, length)


def _anchors(named: NamedBackbone, tensors: dict[str, TensorInfo], budget: int) -> list[Block]:
    """The first rows of matrices that a model under other names has as well, whatever they are called and however they are fused there:
    of the first blocks, one expert of several; without blocks, or of several lists of blocks, which may be divided otherwise there, of the
    first matrix of each shape."""
    share = budget // ANCHOR_SHARE
    several = len(named.backbone.containers) > 1 or any("*" in path for path in named.backbone.containers)
    if several or not named.places:
        return [_first_rows(t, SHAPE_ROWS) for t in _by_shape(named, tensors, share)]
    for count in range(ANCHOR_BLOCKS, 0, -1):
        chosen = _of_first_blocks(named, tensors, count)
        for rows in ANCHOR_ROWS:
            if sum(min(rows, t.rows) * t.row_values for t in chosen) <= share and len(chosen) <= MOST_ANCHORS:
                return [_first_rows(t, rows) for t in chosen]
    return []


def _first_rows(tensor: TensorInfo, rows: int) -> Block:
    return _rows(tensor, 0, min(rows, tensor.rows))


def _rows(tensor: TensorInfo, first: int, count: int) -> Block:
    return Block(tensor.source, first * tensor.row_values, (first + count) * tensor.row_values)


def _vector(tensor: TensorInfo) -> Block:
    return Block(tensor.source, 0, min(tensor.values, NORM_VALUES))


def _of_first_blocks(named: NamedBackbone, tensors: dict[str, TensorInfo], blocks: int) -> list[TensorInfo]:
    inside = [(p.name, tensors[n]) for n, p in named.places.items() if p.block < blocks and n in tensors]
    return [t for name, t in inside if t.role is Role.WEIGHT and t.rows > 1 and not _ANOTHER.search(name)]


def _by_shape(named: NamedBackbone, tensors: dict[str, TensorInfo], share: int) -> list[TensorInfo]:
    """The first matrix of each shape in the order of names, the widest of those that fit into a share of the budget."""
    body = named.backbone.matrices or named.names
    weights = [tensors[n] for n in body if n in tensors and tensors[n].role is Role.WEIGHT]
    first = {t.shape: t for t in sorted(weights, key=lambda t: natural_key(t.source), reverse=True)}
    chosen = sorted(first.values(), key=lambda t: (t.row_values, t.shape))
    known = [t for t in chosen if t.row_values >= NARROWEST and t.rows >= SHAPE_ROWS]
    held = accumulate(SHAPE_ROWS * t.row_values for t in known)
    return [t for t, values in zip(known, held, strict=True) if values <= share][-MOST_SHAPES:]


def _of_blocks(blocks: Sequence[dict[str, TensorInfo]], budget: int) -> list[Block]:
    """Of repeated blocks: the same kinds of matrices at the same places, counted from the first block and from the last."""
    matrices = [(name, t) for block in blocks for name, t in block.items() if t.role is Role.WEIGHT]
    if not matrices:
        return []
    usual = median_low([t.row_values for _, t in matrices])
    runs = max(FEWEST_RUNS, min(MOST_RUNS, round(1.25 * budget / (ROWS[-1] * usual))))
    chosen = blocks_chosen(len(blocks), runs)
    step = next((s for s in (1, 2, 4, 8, 16, 32, 64, 128) if len(_every(len(blocks), s)) <= runs), 256)
    each = max(1, runs // len(chosen)) if step == 1 else 1
    # a matrix, vectors beside it, whether its last rows are taken
    picked: list[tuple[TensorInfo, list[TensorInfo], bool]] = []
    for turn, number in enumerate(chosen):
        block = blocks[number]
        kinds = kinds_of(block, usual)
        from_end = min(turn, len(chosen) - 1 - turn)
        names = kinds.common(number, each) if step == 1 else kinds.alone(from_end, from_end < turn)
        near = vectors_beside(block, names)
        for name in names:
            vectors, at_end = near[name]
            if name in kinds.shared:  # the first rows; vectors may be one more read, so not of every block
                vectors, at_end = vectors if from_end % 2 == 0 else [], False
            picked.append((block[name], vectors, at_end))
    if not picked:
        return []
    wide = sum(tensor.row_values for tensor, _, _ in picked)
    rows = budget // wide // ROWS[-1] * ROWS[-1] or max(1, min(ROWS[-1], WIDE_BUDGET_VALUES // wide))
    found: dict[str, Block] = {}
    for tensor, vectors, at_end in picked:
        count = min(rows, tensor.rows)
        first = tensor.rows - count if at_end else 0
        found[tensor.source] = _rows(tensor, first, count)
        for vector in vectors:
            found[vector.source] = _vector(vector)
    return list(found.values())


def blocks_chosen(depth: int, at_most: int) -> list[int]:
    """Places of blocks: all of a shallow stack, else every second, fourth, … counted from either end, so that stacks of other
    depths have them in common."""
    step = 1
    while len(_every(depth, step)) > at_most:
        step *= 2
    return _every(depth, step)


def _every(depth: int, step: int) -> list[int]:
    half = range(0, (depth + 1) // 2, step)
    return sorted({*half, *(depth - 1 - i for i in half)})


def _vectors_beside(tensors: Sequence[TensorInfo], chosen: set[str]) -> list[Block]:
    """Short vectors that come before or after a chosen matrix."""
    order = sorted(tensors, key=lambda t: natural_key(t.name))
    found = []
    for one, other in pairwise(order):
        for matrix, vector in ((one, other), (other, one)):
            if matrix.source in chosen and vector.role is Role.VECTOR:
                found.append(_vector(vector))
    return found


def _spread_over(tensors: Sequence[TensorInfo], budget: int, names: object = None) -> list[Block]:
    """Of a network without repeated blocks: rows of matrices spread over the depth."""
    weights = [t for t in tensors if t.role is Role.WEIGHT]
    if not weights:
        weights = [t for t in tensors if t.role in (Role.EMBEDDING, Role.HEAD, Role.VECTOR)]
    called = {t.source: (names[t.source] if isinstance(names, dict) else t.name) for t in weights}
    return [_block(t, rows, called[t.source]) for t, rows in _choose(weights, budget, called)] if weights else []


def _choose(tensors: list[TensorInfo], budget_values: int, called: dict[str, str]) -> list[tuple[TensorInfo, int]]:
    """Tensors spread over the depth, and how many rows of each."""
    budget = budget_values
    order = _spread(tensors, called)
    for rows in ROWS:
        chosen = _fill(order, rows, budget)
        if len(chosen) >= min(MAX_BLOCKS, len(order)):
            return chosen
    if len(chosen) < min(MIN_BLOCKS, len(order)):
        chosen = _fill(order, ROWS[-1], WIDE_BUDGET_VALUES * budget_values // BUDGET_VALUES)
    return chosen or [(min(tensors, key=lambda t: t.row_values), 1)]


def _fill(order: list[TensorInfo], rows: int, budget: int) -> list[tuple[TensorInfo, int]]:
    chosen: list[tuple[TensorInfo, int]] = []
    for tensor in order:
        cost = min(rows, tensor.rows) * tensor.row_values
        if cost <= budget and len(chosen) < MAX_BLOCKS:
            chosen.append((tensor, min(rows, tensor.rows)))
            budget -= cost
    if len(chosen) == len(order) and budget > 0:  # narrow model: the rest goes into more rows of the same tensors
        extra = 1 + budget / max(1, sum(t.row_values * r for t, r in chosen))
        chosen = [(t, min(t.rows, int(r * extra))) for t, r in chosen]
    return chosen


def _spread(tensors: list[TensorInfo], called: dict[str, str]) -> list[TensorInfo]:
    """Order in which any prefix lies spread over the depth (van der Corput), and no kind of layer is favoured by its period."""
    count = len(tensors)
    edges = [i * count // MAX_BLOCKS for i in range(MAX_BLOCKS + 1)]
    strata = [sorted(tensors[a:b], key=lambda t: digest_number(called[t.source])) for a, b in pairwise(edges) if a < b]
    turn = sorted(range(len(strata)), key=lambda i: int(f"{i:08b}"[::-1], 2))
    order: list[TensorInfo] = []
    for depth in range(max((len(s) for s in strata), default=0)):
        order += [strata[i][depth] for i in turn if depth < len(strata[i])]
    return order


def _block(tensor: TensorInfo, rows: int, name: str) -> Block:
    free = tensor.rows - rows
    first = min(free, SKIPPED_VOCABULARY_ROWS) if tensor.role is Role.EMBEDDING else digest_number(name) % (free + 1)
    return _rows(tensor, first, rows)
