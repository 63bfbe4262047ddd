"""Kept: in how many of a model's units is still there what another model had changed since their common origin, and how much is lost?

Seen from a model r, for two others s and b and one output unit, the slope of s in b is <b - r, s - r> / |s - r|^2. Over all values
(`inheritance.py`) a few units that moved far decide; here every unit has one vote. If b was trained from s, what s changed is kept in
nearly all units, and where the slope is off 1 it is by chance, by about |b - s| / (|s - r| sqrt(w)); if they are siblings, what was
peculiar to s is lost in many units by more than that. Needs three squared distances a unit, |b - r|, |b - s| and |s - r|, no more.

Dimension letters: m models, u units, w values a unit, k neighbours of each model, r possible roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch

UNITS = 512  # looked at, spread over all layers; more change nothing
EMBEDDED = 256  # rows of an embedding looked at: those of tokens that the data did not hold tell most
FEWEST = 4  # units of each layer
KEPT = 0.8  # slope from which a unit has kept the change
BY_CHANCE = 2.0  # standard errors by which a slope is off by chance
CERTAINLY = 3.0  # standard errors from which on it is not
_CHUNK = 1 << 22  # inner products held at a time
_VOTES = 1 << 18  # votes held at a time: they stay in the cache


@dataclass(frozen=True, slots=True)
class UnitDistances:
    """Squared distances within each unit looked at.

    Attributes:
        near: (u, m, k) float32: of each model from its neighbours.
        root: (u, m, r) float32: of each model from each possible root.
        width: (u,) float32: values of the unit; embedded: (u,) bool, whether it is a row of an embedding.
    """

    near: Tensor
    root: Tensor
    width: Tensor
    embedded: Tensor


@dataclass(frozen=True, slots=True)
class Votes:
    """What the units say of each model and each of its neighbours, (m, k) float64 each; 0 where the neighbour is the root.

    Attributes:
        kept: share of units whose slope is at least KEPT.
        lost: share of the neighbour's change, in squared length, that is missing beyond chance.
        fell, rose: share of units whose slope is certainly below, or above, 1.
    """

    kept: Tensor
    lost: Tensor
    fell: Tensor
    rose: Tensor


def unit_distances(layers: Sequence[Layer], neighbours: Tensor, roots: Tensor) -> UnitDistances:
    """
    Args:
        neighbours: (m, k) int64; roots: (r,) int64.
    Returns:
        On the CPU, where trees are decided.
    """
    trained = [layer for layer in layers if layer.part is not Part.REST]
    body = sum(layer.values.shape[1] for layer in trained if layer.part is Part.BODY)
    chosen = [_looked_at(layer, body) for layer in trained]
    counts = torch.tensor([len(some) for some in chosen])
    width = torch.tensor([float(layer.values.shape[2]) for layer in trained]).repeat_interleave(counts)
    embedded = torch.tensor([layer.part is Part.EMBEDDING for layer in trained]).repeat_interleave(counts)
    models, child = len(neighbours), torch.arange(len(neighbours))[:, None]
    near = torch.empty(len(width), models, neighbours.shape[1])
    root = torch.empty(len(width), models, len(roots))
    place = 0
    for layer, units in zip(trained, chosen, strict=True):
        values = layer.values
        for some in units.split(max(1, _CHUNK // models**2)):
            rows = values[:, some.to(values.device)].transpose(0, 1).double()  # (u, m, w)
            rows = rows - rows.mean(1, keepdim=True)  # near-identical models keep their digits
            products = torch.bmm(rows, rows.transpose(1, 2)).cpu()  # (u, m, m)
            own = products.diagonal(dim1=1, dim2=2)  # (u, m)
            to_near = own[:, :, None] + own[:, neighbours] - 2 * products[:, child, neighbours]
            to_root = own[:, :, None] + own[:, None, roots] - 2 * products[:, :, roots]
            near[place : place + len(some)] = to_near.clamp(min=0).float()
            root[place : place + len(some)] = to_root.clamp(min=0).float()
            place += len(some)
    return UnitDistances(near, root, width, embedded)


def _looked_at(layer: Layer, body: int) -> Tensor:
    """(u,) int64: some of a layer's units, evenly. body: number of units of the whole body."""
    units = layer.values.shape[1]
    wanted = EMBEDDED if layer.part is Part.EMBEDDING else round(UNITS / body * units)
    return torch.linspace(0, units - 1, min(units, max(FEWEST, wanted))).round().long().unique()


def votes(distances: UnitDistances, neighbours: Tensor, root: int) -> Votes:
    """
    Args:
        root: which of the possible roots all is seen from, a place in their order.
    """
    models, count = neighbours.shape
    kept, fell, rose, lost = (torch.zeros(models, count, dtype=torch.float64) for _ in range(4))
    # units in which s differs from r, and |s - r|^2
    moved, size = (torch.zeros(models, dtype=torch.float64) for _ in range(2))
    some = max(1, _VOTES // (models * count))
    parts = zip(
        distances.near.split(some), distances.root[:, :, root].split(some), distances.width.split(some), strict=True
    )
    for near, from_root, width in parts:
        moved += (from_root > 0).sum(0)
        size += from_root.double().sum(0)
        step = from_root[:, neighbours]  # (u, m, k): |s - r|^2
        unused = step <= 0
        safe = step.clamp(min=1e-30)
        slope = ((from_root[:, :, None] - near) / safe + 1) / 2  # of s in b
        error = (near / safe).sqrt() / width[:, None, None].sqrt()
        off = (slope - 1).masked_fill(unused, 0.0)
        kept += (slope.masked_fill(unused, 0.0) > KEPT).sum(0)
        fell += (off < -CERTAINLY * error).sum(0)
        rose += (off > CERTAINLY * error).sum(0)
        lost += (step * (-off - BY_CHANCE * error).clamp(min=0)).double().sum(0)
    number = moved.clamp(min=1)[neighbours]
    return Votes(kept / number, lost / size[neighbours].clamp(min=1e-300), fell / number, rose / number)
