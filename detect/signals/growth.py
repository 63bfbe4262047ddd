"""Growth: training adds what is new at right angles to what is there, so a unit that moved more grew more.

For two models a, b and output units u of one tensor: d = |b - a|^2, M = |(a + b)/2|^2, y = |b|^2 - |a|^2. Decay shrinks all units
alike, so in y = alpha M + gamma d + noise, fitted over the units of a tensor with weights 1/(M d), decay goes into alpha, and
gamma > 0 says that a came first. Tensors are combined by inverse variance. Antisymmetric by construction: swapping a and b turns
the sign of gamma and of z exactly. Own method; the idea that models drift outwards is Neural Phylogeny's (Yu & Wang, ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detect.align import Layer, Part

MINIMUM_UNITS = 4
_CHUNK_VALUES = 1 << 24  # numbers held at a time
_CHUNK_STATISTICS = 1 << 22  # units times pairs
_GRAM_PAYS = 128  # a product of matrices computes so many inner products in the time of one pair's differences


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
    (found,) = measured(layers, pairs, layer_growth)
    return combined(found, pairs)


def combined(found: Sequence[Tensor], pairs: Tensor) -> Growth:
    """(p, 2) gamma and variance of each layer, see `layer_growth` -> growth by inverse variance."""
    weighted = torch.zeros(len(pairs), dtype=torch.float64, device=pairs.device)
    precision = torch.zeros_like(weighted)
    for gamma, variance in (each.T for each in found):
        certain = torch.isfinite(variance)
        weighted += torch.where(certain, gamma / variance, 0.0)
        precision += torch.where(certain, 1.0 / variance, 0.0)
    known = precision > 0
    gamma = torch.where(known, weighted / precision.clamp(min=1e-300), 0.0)
    return Growth(z=torch.where(known, weighted / precision.clamp(min=1e-300).sqrt(), 0.0), gamma=gamma)


def measured(
    layers: Sequence[Layer], pairs: Tensor, *measures: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> tuple[list[Tensor], ...]:
    """What functions of the units' d, M, y say, in one pass over the values.

    Args:
        measures: each from (u, p) d, M, y of a layer to (p, ...).
    Returns:
        For each function a list of (p, ...), one a layer that can be measured.
    """
    found: tuple[list[Tensor], ...] = tuple([] for _ in measures)
    for layer in layers:
        if measurable(layer):
            parts = []
            for part in pair_chunks(layer, len(pairs)):
                statistics = unit_statistics(layer.values, pairs[part])
                parts.append([measure(*statistics) for measure in measures])
            for into, chunks in zip(found, zip(*parts, strict=True), strict=True):
                into.append(torch.cat(chunks))
    return found


def measurable(layer: Layer) -> bool:
    """Whether a layer has enough units of enough values for statistics over units."""
    return layer.part is Part.BODY and layer.values.shape[1] >= MINIMUM_UNITS and layer.values.shape[2] > 1


def pair_chunks(layer: Layer, pairs: int) -> Iterator[slice]:
    """Runs of pairs whose statistics over a layer's units fit into memory together."""
    step = max(1, _CHUNK_STATISTICS // layer.values.shape[1])
    return (slice(start, min(start + step, pairs)) for start in range(0, pairs, step))


def unit_statistics(values: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """d, M, y of each unit and pair: (u, p) float64.

    Many pairs of few models come from one Gram matrix a unit, few pairs of many models from their differences. Neither takes d or y
    as a small difference of large numbers.
    """
    models, _, width = values.shape
    many = _GRAM_PAYS * len(pairs) >= models * models
    step = max(1, _CHUNK_VALUES // (max(models, len(pairs)) * max(models if many else 1, width)))
    parts = [(_from_gram if many else _from_differences)(chunk, pairs) for chunk in values.split(step, dim=1)]
    moved, size, grown = (torch.cat(each) for each in zip(*parts, strict=True))
    return moved, size, grown


def _from_gram(values: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Around the models' mean, so that near-identical models keep their digits."""
    first, second = pairs[:, 0], pairs[:, 1]
    rows = values.transpose(0, 1).double()  # (u, m, w)
    mean = rows.mean(1, keepdim=True)  # (u, 1, w)
    rows = rows - mean
    products = torch.bmm(rows, rows.transpose(1, 2))  # (u, m, m)
    along = torch.bmm(rows, mean.transpose(1, 2))[:, :, 0]  # (u, m): inner product with the mean
    own = products.diagonal(dim1=1, dim2=2)  # (u, m)
    a, b, both = own[:, first], own[:, second], products[:, first, second]  # (u, p)
    size = (a + b + 2 * both) / 4 + along[:, first] + along[:, second] + mean.square().sum((1, 2))[:, None]
    return (a + b - 2 * both).clamp(min=0), size, b - a + 2 * (along[:, second] - along[:, first])


def _from_differences(values: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]  # (p, u, w)
    difference, middle = second - first, (first + second) / 2
    statistics = (difference.square().sum(2), middle.square().sum(2), 2 * (difference * middle).sum(2))  # (p, u) each
    moved, size, grown = (each.double().T for each in statistics)
    return moved, size, grown


def layer_growth(moved: Tensor, size: Tensor, grown: Tensor) -> Tensor:
    """Weighted least squares of y on (M, d) over the units of one layer, (u, p) each.

    Returns:
        (p, 2) float64: gamma and its variance, which is infinite where gamma is not determined.
    """
    used = (moved > 1e-12 * size) & (size > 0)  # (u, p)
    moved, size = torch.where(used, moved, 1.0), torch.where(used, size, 1.0)
    grown = torch.where(used, grown, 0.0)
    count = used.sum(0).double()  # (p,)
    size_size = torch.where(used, size / moved, 0.0).sum(0)
    moved_moved = torch.where(used, moved / size, 0.0).sum(0)
    size_grown, moved_grown = (grown / moved).sum(0), (grown / size).sum(0)
    grown_grown = (grown.square() / (size * moved)).sum(0)
    determinant = size_size * moved_moved - count.square()
    determined = (count >= MINIMUM_UNITS) & (determinant > 1e-9 * size_size * moved_moved)
    determinant = torch.where(determined, determinant, 1.0)
    gamma = (size_size * moved_grown - count * size_grown) / determinant
    alpha = (moved_moved * size_grown - count * moved_grown) / determinant
    left = torch.maximum(grown_grown - alpha * size_grown - gamma * moved_grown, 1e-12 * grown_grown)
    variance = left / (count - 2).clamp(min=1) * size_size / determinant
    return torch.stack([gamma, torch.where(determined & (variance > 0), variance, torch.inf)], 1)
