"""Growth: training adds what is new at right angles to what is there, so a unit that moved more grew more.

For two models a, b and output units u of one tensor: d = |b - a|^2, M = |(a + b)/2|^2, y = |b|^2 - |a|^2. Decay shrinks all units
alike, so in y = alpha M + gamma d + noise, fitted over the units of a tensor with weights 1/(M d), decay goes into alpha, and
gamma > 0 says that a came first. Tensors are combined by inverse variance. Antisymmetric by construction: swapping a and b turns
the sign of gamma and of z exactly. Own method; the idea that models drift outwards is Neural Phylogeny's (Yu & Wang, ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detect.align import Layer

MINIMUM_UNITS = 4
_CHUNK_VALUES = 1 << 24


@dataclass(frozen=True, slots=True)
class Growth:
    """
    Attributes:
        z: (p,) float64, gamma over its standard error; positive: the first of the pair came first.
        gamma: (p,) float64, 1 where all of the movement is the second's, 0 where both moved alike.
    """

    z: Tensor
    gamma: Tensor


def growth(layers: Sequence[Layer], pairs: Tensor) -> Growth:
    """
    Args:
        pairs: (p, 2) int64, indices of models (a, b).
    Returns:
        z and gamma of every pair; both 0 where nothing moved or no tensor has enough units.
    """
    weighted = torch.zeros(len(pairs), dtype=torch.float64, device=layers[0].values.device)
    precision = torch.zeros_like(weighted)
    for layer in layers:
        if layer.values.shape[1] < MINIMUM_UNITS:
            continue
        for chunk in _chunks(len(pairs), layer):
            gamma, variance = _fit(*_unit_statistics(layer.values, pairs[chunk]))
            certain = torch.isfinite(variance)
            weighted[chunk] += torch.where(certain, gamma / variance, 0.0)
            precision[chunk] += torch.where(certain, 1.0 / variance, 0.0)
    known = precision > 0
    gamma = torch.where(known, weighted / precision.clamp(min=1e-300), 0.0)
    return Growth(z=torch.where(known, weighted / precision.clamp(min=1e-300).sqrt(), 0.0), gamma=gamma)


def _chunks(count: int, layer: Layer) -> list[slice]:
    step = max(1, _CHUNK_VALUES // layer.values[0].numel())
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def _unit_statistics(values: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """d, M, y: each (p, u) float64; y as an inner product, so that nothing cancels."""
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]  # (p, u, w)
    difference, middle = second - first, (first + second) / 2
    moved = difference.square().sum(2, dtype=torch.float64)  # (p, u)
    size = middle.square().sum(2, dtype=torch.float64)  # (p, u)
    grown = 2 * (difference * middle).sum(2, dtype=torch.float64)  # (p, u)
    return moved, size, grown


def _fit(moved: Tensor, size: Tensor, grown: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares of grown on (size, moved): gamma and its variance, (p,) float64; infinite where not determined."""
    used = (moved > 1e-12 * size) & (size > 0)
    moved, size = torch.where(used, moved, 1.0), torch.where(used, size, 1.0)
    grown = torch.where(used, grown, 0.0)
    count = used.sum(1).to(torch.float64)  # (p,)
    size_size = torch.where(used, size / moved, 0.0).sum(1)
    moved_moved = torch.where(used, moved / size, 0.0).sum(1)
    size_grown, moved_grown = (grown / moved).sum(1), (grown / size).sum(1)
    grown_grown = (grown.square() / (size * moved)).sum(1)
    determinant = size_size * moved_moved - count.square()
    determined = (count >= MINIMUM_UNITS) & (determinant > 1e-9 * size_size * moved_moved)
    determinant = torch.where(determined, determinant, 1.0)
    gamma = (size_size * moved_grown - count * size_grown) / determinant
    alpha = (moved_moved * size_grown - count * moved_grown) / determinant
    left = (grown_grown - alpha * size_grown - gamma * moved_grown).clamp(min=1e-12 * grown_grown)
    variance = left / (count - 2).clamp(min=1) * size_size / determinant
    return gamma, torch.where(determined & (variance > 0), variance, torch.inf)
