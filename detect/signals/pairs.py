"""Everything that is measured on pairs of models, in one pass over the values: the statistics of units are what costs.

Growth, direction and balance are made of the same three numbers a unit; decay looks at single values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals import balance, direction, growth
from lineage.detect.signals.decay import decay
from lineage.detect.signals.units import measured

NEAREST_COMPARED = 12  # nearest neighbours of each model whose single values are compared: that sorts them


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """Measurements of each pair of models, [child, parent]: positive where the parent came first; antisymmetric, 0 for pairs that were
    not measured (balance: nan).

    Attributes:
        growth_z, growth_gamma: (m, m) float64, see signals/growth.py.
        direction: (m, m) float64, log-odds, see signals/direction.py.
        balance: (m, m) float64, see signals/balance.py.
        decay: (m, m) float64, log-odds, see signals/decay.py; one_factor: the same where all layers shrank by one factor.
    """

    growth_z: Tensor
    growth_gamma: Tensor
    direction: Tensor
    balance: Tensor
    decay: Tensor
    one_factor: Tensor

    def beside(self, other: PairEvidence) -> PairEvidence:
        """These measurements, and the other ones for pairs that were not measured here."""
        here = self.balance.isnan() & (self.direction == 0)
        mine = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return PairEvidence(*(second.where(here, first) for first, second in mine))


def pair_evidence(layers: Sequence[Layer], pairs: Tensor, nearest: Tensor) -> PairEvidence:
    """
    Args:
        pairs: (p, 2) int64 on the CPU: those to be measured, each once, in rising order; which of the two is the child is not known.
        nearest: (q, 2) int64: those of them whose single values are compared as well.
    """
    models = len(layers[0].values)
    on_device = pairs.to(layers[0].values.device)
    grown, directed, balanced = measured(
        layers, on_device, growth.layer_growth, direction.layer_features, balance.layer_balance
    )

    def matrix(values: Tensor, missing: float = 0.0, pairs: Tensor = pairs) -> Tensor:
        return by_child_and_parent(values.cpu(), pairs, models, missing)

    whole = growth.combined(grown, on_device)
    shrunk, one_factor = decay(layers, nearest.to(on_device.device))
    return PairEvidence(
        growth_z=matrix(whole.z),
        growth_gamma=matrix(whole.gamma),
        direction=matrix(direction.log_odds(direction.combined(directed, on_device))),
        balance=matrix(balance.combined(balanced, on_device), torch.nan),
        decay=matrix(shrunk, pairs=nearest),
        one_factor=matrix(one_factor, pairs=nearest),
    )


def by_child_and_parent(values: Tensor, pairs: Tensor, models: int, missing: float = 0.0) -> Tensor:
    """
    Args:
        values: (p,) float64, positive where the first of the pair came first; pairs: (p, 2) int64, each once.
    Returns:
        (m, m) float64, [child, parent]: positive where the parent came first; antisymmetric, `missing` elsewhere.
    """
    first, second = pairs[:, 0], pairs[:, 1]
    filled = torch.full((models, models), missing, dtype=torch.float64)
    filled[second, first] = values
    filled[first, second] = -values
    return filled


def each_once(neighbours: Tensor) -> Tensor:
    """(m, k) int64 -> (p, 2) int64 on the CPU: every pair of a model and one of its neighbours, once, in rising order."""
    models, count = neighbours.shape
    pairs = torch.stack([torch.arange(models).repeat_interleave(count), neighbours.reshape(-1).cpu()], 1)
    return torch.unique(pairs.sort(1).values, dim=0)
