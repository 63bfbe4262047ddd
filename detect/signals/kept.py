"""Kept: in how many of a model's units is still there what another model had changed since their common origin?

Seen from a model r, for two others s and b and one output unit, the slope of s in b is <b - r, s - r> / |s - r|^2. Over all values
(`inheritance.py`) a few units that moved far decide; here every unit has one vote. If b was trained from s, what s changed is kept in
nearly all units; if they are siblings, in few. Needs three squared distances a unit, |b - r|, |b - s| and |s - r|, no more.

Dimension letters: m models, u units, w values a unit, k neighbours of each model, r possible roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lineage.detect.align import Layer, Part

UNITS = 512  # looked at, spread over all layers; more change nothing
FEWEST = 4  # units of each layer
KEPT = 0.8  # slope from which a unit has kept the change
_CHUNK = 1 << 22  # inner products, or votes, held at a time


@dataclass(frozen=True, slots=True)
class UnitDistances:
    """Squared distances within each unit looked at.

    Attributes:
        near: (u, m, k) float32: of each model from its neighbours.
        root: (u, m, r) float32: of each model from each possible root.
    """

    near: Tensor
    root: Tensor


def unit_distances(layers: Sequence[Layer], neighbours: Tensor, roots: Tensor) -> UnitDistances:
    """
    Args:
        neighbours: (m, k) int64; roots: (r,) int64.
    Returns:
        On the CPU, where trees are decided.
    """
    trained = [layer.values for layer in layers if layer.part is not Part.REST]
    share = min(1.0, UNITS / sum(values.shape[1] for values in trained))
    near, root = [], []
    for values in trained:
        units = values.shape[1]
        chosen = torch.linspace(0, units - 1, min(units, max(FEWEST, round(share * units)))).round().long().unique()
        for some in chosen.split(max(1, _CHUNK // len(values) ** 2)):
            rows = values[:, some.to(values.device)].transpose(0, 1).double()  # (u, m, w)
            rows = rows - rows.mean(1, keepdim=True)  # near-identical models keep their digits
            products = torch.bmm(rows, rows.transpose(1, 2)).cpu()  # (u, m, m)
            own = products.diagonal(dim1=1, dim2=2)  # (u, m)
            child = torch.arange(len(neighbours))[:, None]
            to_near = own[:, :, None] + own[:, neighbours] - 2 * products[:, child, neighbours]
            to_root = own[:, :, None] + own[:, None, roots] - 2 * products[:, :, roots]
            near.append(to_near.clamp(min=0).float())
            root.append(to_root.clamp(min=0).float())
    return UnitDistances(torch.cat(near), torch.cat(root))


def kept(distances: UnitDistances, neighbours: Tensor, root: int) -> Tensor:
    """Share of units in which a model has kept what each neighbour changed.

    Args:
        root: which of the possible roots all is seen from, a place in their order.
    Returns:
        (m, k) float64; 0 where the neighbour is the root.
    """
    models, count = neighbours.shape
    still, moved = (torch.zeros(models, count, dtype=torch.float64) for _ in range(2))
    some = max(1, _CHUNK // (models * count))
    for near, from_root in zip(distances.near.split(some), distances.root[:, :, root].split(some), strict=True):
        step = from_root[:, neighbours]  # (u, m, k): |s - r|^2
        nearer = from_root[:, :, None] - near  # slope of s in b: (nearer / step + 1) / 2
        still += ((nearer > (2 * KEPT - 1) * step) & (step > 0)).sum(0)
        moved += (step > 0).sum(0)
    return still / moved.clamp(min=1)
