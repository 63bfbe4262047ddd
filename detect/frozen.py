"""Models whose body is equal bit for bit and differ only in heads or vectors: the body was frozen, so the tree cannot part them.

Such models stand as one in the family's tree. Which of them the others come from is told by their heads: a model trained on from one
of them keeps its head more than the others'; and where heads say nothing, it cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lineage.detect.align import Layer, Part

EQUAL = 1e-14  # squared distance over squared length: nothing but rounding in sums
NEARER = 0.8  # a head is kept if it is nearer to one by this factor than to the next


@dataclass(frozen=True, slots=True)
class SameBody:
    """
    Attributes:
        members: indices of models of equal body, two or more.
        chosen: the one that stands for them; probability: that it is the one the others come from.
    """

    members: tuple[int, ...]
    chosen: int
    probability: tuple[float, ...]


def same_bodies(relative: Tensor, layers: Sequence[Layer]) -> list[SameBody]:
    """
    Args:
        relative: (m, m) squared distances of the bodies over squared length.
    """
    left = set(range(relative.shape[0]))
    equal = relative <= EQUAL
    groups = []
    for first in range(relative.shape[0]):
        members = [i for i in equal[first].nonzero()[:, 0].tolist() if i in left]
        left -= set(members)
        if len(members) > 1:
            groups.append(members)
    if not groups:
        return []
    rest = rest_distances(layers)
    return [_chosen(members, rest) for members in groups]


def rest_distances(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64: squared distance of heads and vectors, each layer in units of its mean squared length."""
    models = layers[0].values.shape[0]
    total = torch.zeros(models, models, dtype=torch.float64)
    for layer in layers:
        if layer.part is Part.REST:
            flat = layer.values.reshape(models, -1).double()
            scale = flat.square().sum(1).mean().clamp(min=1e-300)
            total += (torch.cdist(flat, flat).square() / scale).cpu()
    return total


def _chosen(members: list[int], rest: Tensor) -> SameBody:
    """Every model votes for the member whose head it kept; a member's own derivatives vote as well."""
    votes = torch.zeros(len(members), dtype=torch.float64)
    own = torch.tensor(members)
    for model in range(rest.shape[0]):
        if model in members and len(members) == 2:
            continue
        to = rest[model, own].clone()
        if model in members:
            to[members.index(model)] = torch.inf
        order = to.argsort()
        if to[order[0]] < NEARER**2 * to[order[1]]:
            votes[order[0]] += 1
    probability = (1.5 * votes).softmax(0)
    return SameBody(tuple(members), members[int(probability.argmax())], tuple(probability.tolist()))
