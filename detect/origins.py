"""Which of several models did each block of a model come from? Learning-free evidence, block by block.

In: whole rows of the tensors of one model and of the candidates. Out: for each block of the model one candidate's block, or none, or
"cannot tell", with a probability. A block of the model may have come from any block of a candidate that is built alike: names of blocks and
prefixes do not matter, and every block that it did not come from shows what strangers look like.

Two questions a block x, with candidates' blocks c:
- Related at all? The excess cosine of relatedness (detect/signals/relatedness.py): own units alike beyond other units. Strangers have 0.
- Which of two related ones, c or c'? If x was trained from c, what tells c' from c is not in x: the slope <x - c, c' - c> / |c' - c|^2 is
  about 0; it is about 1 if x came from c' (the same thought as detect/signals/inheritance.py).
Neural Lineage (Yu & Wang, CVPR 2024, arXiv 2406.11129) asks the same of a hybrid network by comparing features.

Dimension letters: b blocks of the model, k blocks of candidates that are built alike, u units, w values a unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from lineage.detect.signature import FLOAT_DTYPES, Role, TensorInfo, TensorSpec, natural_key, tensors_of
from lineage.detect.sketch import Block
from lineage.graphdb.schema import Failure

VALUES = 4 << 20  # read of one model, about
RELATED_AT, RELATED_WIDTH = 0.08, 0.02  # logistic of the excess cosine
SLOPE_WIDTH = 0.06  # how far a slope strays from 0 although the block came from there: what siblings share
EXCESS_WIDTH = 0.05
NEAR_AT, NEAR_WIDTH = 0.5, 0.08  # the same for vectors, by distance over the candidates' own spread
MINIMUM_UNITS = 4
_BLOCK = re.compile(
    r"(?:[^.]+\.)*?[^.\d][^.]*\.\d+(?:\.(?:blocks?|layers?|resnets|attentions|transformer_blocks)\.\d+)*(?=\.|$)"
)


class NothingAlike(Failure):
    """A model of which no block is built like any block of the candidates."""

    exit_code = 3


class BlockOutcome(StrEnum):
    FROM = "from"
    NONE = "none"  # it comes from none of the candidates
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some whole rows of one tensor.

    Attributes:
        suffix: name within its block; values: (rows, wide) float32; weight: more than a vector.
        first: which row of the tensor is the first of them.
    """

    suffix: str
    shape: tuple[int, ...]
    values: Tensor
    weight: bool
    first: int = 0

    @property
    def stop(self) -> int:
        return self.first + len(self.values)

    def between(self, first: int, stop: int) -> Rows:
        """Those of them that lie in [first, stop)."""
        return replace(self, values=self.values[first - self.first : stop - self.first], first=first)


@dataclass(frozen=True, slots=True)
class Parts:
    """One model, cut into blocks. blocks: name of the block -> its tensors in natural order."""

    id: str
    blocks: Mapping[str, Sequence[Rows]]


@dataclass(frozen=True, slots=True)
class PossibleBlock:
    """One block that a block may come from."""

    model: str
    block: str
    probability: float


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Attributes:
        block: name in the model asked about.
        outcome: `model` and `origin_block` are there where it is FROM.
        probability: of the outcome; of the best candidate where undecided.
        candidates: possible origins, most probable first.
        distance: |x - c| / |x| to the best one; related: excess cosine, nan for blocks of vectors only.
    """

    block: str
    outcome: BlockOutcome
    probability: float
    model: str | None
    origin_block: str | None
    candidates: tuple[PossibleBlock, ...]
    distance: float
    related: float
    values: int


def plan_rows(header: Sequence[TensorSpec], budget_values: int = VALUES) -> list[Block]:
    """Rows to read: of each float tensor the middle ones, of embeddings and heads the first; all of them where that is little.

    The place depends on the shape only, so that models with other names are read in the same places.
    """
    tensors = _comparable(header)
    each = budget_values // max(1, len(tensors))
    blocks = []
    for tensor in tensors:
        rows = max(1, min(tensor.rows, max(MINIMUM_UNITS, each // max(1, tensor.row_values))))
        first = _first_row(tensor, rows)
        blocks.append(Block(tensor.source, first * tensor.row_values, (first + rows) * tensor.row_values))
    return blocks


def _first_row(tensor: TensorInfo, rows: int) -> int:
    """Where some of a tensor's rows are read."""
    return 0 if tensor.role in (Role.EMBEDDING, Role.HEAD) else (tensor.rows - rows) // 2


def parts_of(model: str, header: Sequence[TensorSpec], read: Mapping[str, Tensor]) -> Parts:
    """
    Args:
        read: name in the file -> the values that `plan_rows` asked for, (n,) float32.
    """
    tensors = [t for t in _comparable(header) if t.source in read]
    prefix = _prefix([t.name for t in tensors])
    blocks: dict[str, list[Rows]] = {}
    for tensor in tensors:
        name = tensor.name.removeprefix(prefix)
        block, suffix = _split(name)
        flat = read[tensor.source]
        wide = tensor.row_values if tensor.output_first else tensor.shape[-1]
        weight = len(tensor.shape) > 1 and tensor.values > max(tensor.shape)
        values = flat.reshape(-1, wide if weight else 1).float()
        first = _first_row(tensor, flat.numel() // max(1, tensor.row_values)) * tensor.row_values // values.shape[1]
        rows = Rows(suffix, tensor.shape, values, weight, first)
        blocks.setdefault(block, []).append(rows)
    return Parts(model, {name: blocks[name] for name in sorted(blocks, key=natural_key)})


def origins(model: Parts, candidates: Sequence[Parts], threshold: float = 0.8) -> list[Origin]:
    """
    Args:
        threshold: probability below which nothing is said of a block.
    Returns:
        One answer for each block of the model that some candidate has alike, in order of depth.
    Raises:
        NothingAlike: there is no such block.
    """
    alike: dict[tuple[object, ...], list[tuple[str, str, Sequence[Rows]]]] = {}
    for candidate in candidates:
        for name, rows in candidate.blocks.items():
            alike.setdefault(_build(rows), []).append((candidate.id, name, rows))
    found = [
        _origin(name, rows, alike[_build(rows)], threshold)
        for name, rows in model.blocks.items()
        if _build(rows) in alike
    ]
    if not found:
        raise NothingAlike(
            f"cannot tell: no block of {model.id} is built like a block of the candidates",
            "give candidates whose layers have the same shapes",
        )
    return found


def _origin(
    name: str, own: Sequence[Rows], others: Sequence[tuple[str, str, Sequence[Rows]]], threshold: float
) -> Origin:
    own, others = _in_common(own, others)
    weights = [i for i, rows in enumerate(own) if rows.weight and min(rows.values.shape) >= MINIMUM_UNITS]
    used = weights or list(range(len(own)))
    x = torch.cat([own[i].values.flatten() for i in used]).double()
    c = torch.stack([torch.cat([rows[i].values.flatten() for i in used]) for _, _, rows in others]).double()  # (k, v)
    distance = (c - x).square().sum(1)  # (k,)
    best = int(distance.argmin())
    excess = torch.full((len(others),), math.nan, dtype=torch.float64)
    if weights:
        excess = _excess([own[i] for i in weights], [[rows[i] for i in weights] for _, _, rows in others])
        best = int(torch.where(excess >= excess.max() - EXCESS_WIDTH, distance, torch.inf).argmin())
        related = float(torch.sigmoid((excess[best] - RELATED_AT) / RELATED_WIDTH))
    elif float(distance[best]) == 0.0 and x.unique().numel() > 1:
        related = 1.0
    else:
        related = _near(c, distance, best)
    share = _shares(x, c, distance, excess, best)  # (k,), sums to 1
    if float(distance[best]) == 0.0 and related > 0.5:
        related = 0.999
    ranked = sorted(((float(p) * related, -i) for i, p in enumerate(share) if p * related >= 0.02), reverse=True)
    candidates = tuple(PossibleBlock(others[-i][0], others[-i][1], round(p, 4)) for p, i in ranked)
    top = ranked[0][0] if ranked else 0.0
    outcome = BlockOutcome.UNDECIDED
    if top >= threshold:
        outcome = BlockOutcome.FROM
    elif weights and 1 - related >= threshold:  # vectors tell too little to deny an origin
        outcome = BlockOutcome.NONE
    length = float(x.square().sum()) or 1.0
    return Origin(
        block=name,
        outcome=outcome,
        probability=1 - related if outcome is BlockOutcome.NONE else top,
        model=others[-ranked[0][1]][0] if outcome is BlockOutcome.FROM else None,
        origin_block=others[-ranked[0][1]][1] if outcome is BlockOutcome.FROM else None,
        candidates=candidates,
        distance=math.sqrt(float(distance[best]) / length),
        related=float(excess[best]),
        values=len(x),
    )


def _excess(own: Sequence[Rows], others: Sequence[Sequence[Rows]]) -> Tensor:
    """(k,) float64: excess cosine of matching units, layers weighted by their size."""
    total, weight = torch.zeros(len(others), dtype=torch.float64), 0
    for place, rows in enumerate(own):
        x = _directions(rows.values)  # (u, w)
        units = len(x)
        for k, other in enumerate(others):
            y = _directions(other[place].values)
            matching = float((x * y).sum())
            crossing = float(x.sum(0) @ y.sum(0)) - matching
            total[k] += math.prod(rows.shape) * (matching / units - crossing / (units * (units - 1)))
        weight += math.prod(rows.shape)
    return total / weight


def _directions(values: Tensor) -> Tensor:
    return F.normalize(values - values.mean(1, keepdim=True), dim=1, eps=1e-30).double()


def _shares(x: Tensor, c: Tensor, distance: Tensor, excess: Tensor, best: int) -> Tensor:
    """(k,) float64: how the probability of being related is shared among the candidates' blocks."""
    steps = c - c[best]  # (k, v)
    apart = steps.square().sum(1)
    slope = (steps @ (x - c[best])) / apart.clamp(min=1e-300)
    noise = (distance[best] / (apart.clamp(min=1e-300) * len(x))).sqrt()
    against = (0.5 - slope) / (SLOPE_WIDTH**2 + noise.square()).sqrt()  # log-odds of the best one over each
    if not bool(excess.isnan().any()):
        against = against + ((excess[best] - excess) / EXCESS_WIDTH).clamp(min=0)
    against = torch.where(apart > 1e-12 * c[best].square().sum(), against.clamp(-30, 30), 0.0)
    against[best] = 0.0
    return (-against).softmax(0)


def _near(c: Tensor, distance: Tensor, best: int) -> float:
    """For vectors: whether the nearest is nearer than the candidates are to each other; nothing is known of a single one."""
    if len(c) < 2:
        return 0.5
    spread = torch.pdist(c).square().median().clamp(min=1e-300)
    return float(torch.sigmoid((NEAR_AT - distance[best] / spread) / NEAR_WIDTH))


def _comparable(header: Sequence[TensorSpec]) -> list[TensorInfo]:
    used = (Role.WEIGHT, Role.VECTOR, Role.EMBEDDING, Role.HEAD)
    return [t for t in tensors_of(header) if t.role in used and t.dtype in FLOAT_DTYPES and t.values]


def _prefix(names: Sequence[str]) -> str:
    """What stands before every block's name, such as `vision_model.encoder.` where all blocks are called so."""
    heads = {
        match.group(0).rsplit(".", 2)[0] + "."
        for n in names
        if (match := _BLOCK.match(n)) and match.group(0).count(".") > 1
    }
    inside = [n for n in names if _BLOCK.match(n)]
    return next((h for h in heads if len(heads) == 1 and all(n.startswith(h) for n in inside)), "")


def _split(name: str) -> tuple[str, str]:
    """Name of the block and name within it: `blocks.3`, `attn.qkv.weight`; a tensor outside of blocks belongs to its first part."""
    match = _BLOCK.match(name)
    if match:
        return match.group(0), name[match.end() + 1 :]
    block, _, suffix = name.rpartition(".")
    return (block or name), (suffix if block else "")


def _in_common(
    own: Sequence[Rows], others: Sequence[tuple[str, str, Sequence[Rows]]]
) -> tuple[list[Rows], list[tuple[str, str, list[Rows]]]]:
    """The rows that were read of every one of them: of a deeper model fewer were read of each tensor."""
    spans = []
    for i in range(len(own)):
        same = [own[i], *(rows[i] for _, _, rows in others)]
        spans.append((max(r.first for r in same), min(r.stop for r in same)))
    cut = [rows.between(*span) for rows, span in zip(own, spans, strict=True)]
    return cut, [
        (model, name, [r.between(*span) for r, span in zip(rows, spans, strict=True)]) for model, name, rows in others
    ]


def _build(rows: Sequence[Rows]) -> tuple[object, ...]:
    """What two blocks must share to be compared: names within the block and shapes."""
    return tuple((r.suffix, r.shape) for r in rows)
