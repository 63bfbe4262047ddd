"""Relatedness: do two models have the same unit in the same place?

Unit i of a model trained from another still resembles unit i of its parent more than it resembles the parent's other units; between
models that started apart there is no such match. So the background needs no third model: it is the match with the *other* units of
the same two models. excess = mean cosine of own units - mean cosine of other units, layers weighted by their size; 1 for copies, 0 for
models that started apart, and between where there is descent, or only a common random start (a trap that the family tree has to see).

A table that strangers took from the same place, such as the sines of a spectrogram, is equal in both and says nothing: where a few tensors
are equal and nothing of the others has anything in common, the others count alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch

MINIMUM_UNITS = 4
DEAD = 1e-18  # length of a unit that decay took to nothing: the squares of its values have no room in float32
EQUAL = 0.9995  # excess of a tensor that two models have alike, rounding aside
APART = 0.08  # excess of tensors that have nothing in common
FEW_TABLES, LEAST_OTHERS = 3, 3
TABLES_UP_TO = 1024  # models of a group that are looked at for such tables


def relatedness(layers: Sequence[Layer]) -> Tensor:
    """
    Returns:
        (m, m) float64: excess cosine of matching units, symmetric, ones on the diagonal. Layers count by their whole size, so that a
        sample answers like all values; small first layers keep a common random start longest and would say too much.
    """
    models = layers[0].values.shape[0]
    total = torch.zeros(models, models, dtype=torch.float64, device=layers[0].values.device)
    others = _Others(total) if models <= TABLES_UP_TO else None
    weight = 0
    for layer in layers:
        units, width = layer.values.shape[1:]
        if layer.part is not Part.BODY or units < MINIMUM_UNITS or width < MINIMUM_UNITS:
            continue
        centred = layer.values - layer.values.mean(2, keepdim=True)  # (m, u, w)
        directions = torch.nn.functional.normalize(centred, dim=2, eps=DEAD)  # (m, u, w)
        flat = directions.reshape(models, -1)  # (m, u*w)
        own = (flat @ flat.T).double()  # (m, m), sums over units
        summed = directions.sum(1).double()  # (m, w)
        other = summed @ summed.T - own  # (m, m)
        excess = own / units - other / (units * (units - 1))
        total += layer.size * excess
        weight += layer.size
        if others is not None:
            others.add(excess, layer.size)
    if weight:
        total /= weight
    if others is not None:
        total = others.instead_of(total)
    return total.fill_diagonal_(1.0)


class _Others:
    """Of each pair of models: how many tensors are equal, how many are not, and what the latter have in common."""

    def __init__(self, like: Tensor) -> None:
        self.equal, self.count, self.most = (torch.zeros_like(like) for _ in range(3))
        self.sum, self.size = torch.zeros_like(like), torch.zeros_like(like)

    def add(self, excess: Tensor, size: int) -> None:
        """excess: (m, m) of one tensor; size: its number of values."""
        other = (excess < EQUAL).double()
        self.equal += 1 - other
        self.count += other
        self.most = torch.maximum(self.most, excess * other)
        self.sum += size * excess * other
        self.size += size * other

    def instead_of(self, total: Tensor) -> Tensor:
        """The excess over all tensors, without the equal ones where these are tables that strangers have alike."""
        tables = (self.equal > 0) & (self.equal <= FEW_TABLES) & (self.count >= LEAST_OTHERS) & (self.most < APART)
        return torch.where(tables, self.sum / self.size.clamp(min=1), total)
