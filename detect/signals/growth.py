"""Growth: training adds what is new at right angles to what is there, so a unit that moved more grew more.

For two models a, b and output units u of one tensor: d = |b - a|^2, M = |(a + b)/2|^2, y = |b|^2 - |a|^2. Decay shrinks all units
alike, so in y = alpha M + gamma d + noise, fitted over the units of a tensor with weights 1/(M d), decay goes into alpha, and
gamma > 0 says that a came first. Tensors are combined by inverse variance. Antisymmetric by construction: swapping a and b turns
the sign of gamma and of z exactly. Own method; the idea that models drift outwards is Neural Phylogeny's (Yu & Wang, ICLR 2025).

What comes at right angles makes a gamma between -1 and 1. Beyond, the later model moved along what was there: a tuning that undoes some
of it shrinks where it moved, one that goes on the same way grows, and which of the two it was is not in the lengths. The trained detector
reads the same lengths and errs with them. So both count for less there (`at_right_angles`) about which model came before all others, and
about missing parents; `bench.pair_direction` tells by gamma how often each is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.units import MINIMUM_UNITS, measured, turned

UPRIGHT = 1.0  # gamma, either way, that movement at right angles may make
_DIGITS = 1e-3  # what is smaller against the float32 numbers that it is the difference of has lost too many digits


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


def at_right_angles(gamma: Tensor) -> Tensor:
    """Gamma -> how much what lengths say of the order counts, 0 to 1: all of it within UPRIGHT, beyond that by the inverse square."""
    return (UPRIGHT / gamma.abs().clamp(min=UPRIGHT)).square()


def layer_growth(moved: Tensor, size: Tensor, grown: Tensor) -> Tensor:
    """The fit over the units of one layer, (u, p) each.

    Returns:
        (p, 2) float64: gamma and its variance, which is infinite where gamma is not determined or the units only turned.
        nan where float32 statistics leave too few digits: they nearly lie on a line, or nearly determine no gamma.
    """
    only_turned = turned(moved, grown)
    fine = moved.dtype == torch.float64  # then units may not have moved
    still = torch.zeros(1, dtype=torch.float64, device=moved.device)
    if fine:
        unused = (moved <= 1e-12 * size) | (size <= 0)  # (u, p)
        still = unused.sum(0).double()  # each adds 1 to the first two sums and nothing to the others
        moved, size, grown = (
            moved.masked_fill(unused, 1.0),
            size.masked_fill(unused, 1.0),
            grown.masked_fill(unused, 0.0),
        )
    count = len(moved) - still  # (p,)
    ratio = size.div_(moved)
    size_size = ratio.sum(0).double() - still
    inverse = ratio.reciprocal_()
    moved_moved = inverse.sum(0).double() - still
    by_moved = grown.div_(moved)
    size_grown = by_moved.sum(0).double()
    by_size = inverse.mul_(by_moved)
    moved_grown = by_size.sum(0).double()
    grown_grown = by_size.mul_(by_moved).sum(0).double()
    sums = (count, size_size, moved_moved, size_grown, moved_grown, grown_grown)
    gamma, variance, told = least_squares(sums, MINIMUM_UNITS, 1e-9)
    found = torch.stack([gamma, variance.masked_fill(only_turned, torch.inf)], 1)
    return found if fine else torch.where((told > _DIGITS)[:, None], found, torch.nan)


def least_squares(sums: Sequence[Tensor], units: int, digits: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gamma of y = alpha M + gamma d with weights 1/(M d).

    Args:
        sums: over units, of 1, M/d, d/M, y/d, y/M and y^2/(M d), float64 of one shape.
        units: fewest; digits: share of a sum that counts as nothing.
    Returns:
        gamma; its variance, infinite where gamma is not determined; the smaller share that is left of the sums in the determinant and in
        what is not explained.
    """
    count, size_size, moved_moved, size_grown, moved_grown, grown_grown = sums
    determinant = size_size * moved_moved - count.square()
    spread = determinant / (size_size * moved_moved)
    determined = (count >= units) & (spread > digits)
    determinant = torch.where(determined, determinant, 1.0)
    gamma = (size_size * moved_grown - count * size_grown) / determinant
    alpha = (moved_moved * size_grown - count * moved_grown) / determinant
    left = grown_grown - alpha * size_grown - gamma * moved_grown
    told = torch.minimum(spread, left / grown_grown)
    variance = torch.maximum(left, digits * 1e-3 * grown_grown) / (count - 2).clamp(min=1) * size_size / determinant
    return gamma, torch.where(determined & (variance > 0), variance, torch.inf), told
