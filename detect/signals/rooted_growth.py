"""Growth seen from a root: what training adds lies at right angles to what a model had changed since the root, not only to its weights.

For models s and b, a root r and output units: d = |b - s|^2, M = |(b + s)/2 - r|^2, y = |b - r|^2 - |s - r|^2. Where b was trained
from s, y = alpha M + d over the units, alpha for what goes on, or back, along all that s had changed; where s was trained from b,
y = alpha M - d; of siblings both moved, and gamma, the coefficient of d, lies between. The same fit as in growth.py with the root in
the place of zero: a step from the root is so much shorter than the weights that what is at right angles to it shows where growth itself
sees only chance, and a tuning back towards the root, which is nearer to it than its parent, is still told from it. It says something
where s moved about as far as b did from it: a still s leaves d and M alike. Rows of an embedding are fitted by themselves: those of
tokens that one of the two never saw are the surest of all units. As in growth.py what lies beyond a gamma of 1 did not come at right
angles and counts by the inverse square. Own method; `bench.fit_ancestor` reads it with the others.

Dimension letters: m models, u units, k neighbours of each model.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.growth import at_right_angles, least_squares
from lineage.detect.signals.retention import UnitDistances

MINIMUM_UNITS = 8  # of each kind, for gamma to be fitted
BEYOND = 1.5  # gamma up to which what grew may have been at right angles: units of a layer do not all share one alpha
SHORTEST = 1e-6  # of |s - r|^2: what float32 distances still tell of |b - s|^2
_HELD = 1 << 18  # numbers held at a time: they stay in the cache


@dataclass(frozen=True, slots=True)
class RootedGrowth:
    """Of each model b and each of its neighbours s, (m, k) float64, 0 where the units do not say.

    Attributes:
        gamma: 1 where all of the movement between them is b's, -1 where it is s's, less again where it was not at right angles; z: the same
            over its standard error.
    """

    gamma: Tensor
    z: Tensor

    def where(self, known: Tensor) -> RootedGrowth:
        """What is known of the pairs, (m, k) bool; 0 elsewhere."""
        return RootedGrowth(self.gamma.where(known, 0.0), self.z.where(known, 0.0))


def rooted_growth(distances: UnitDistances, neighbours: Tensor, root: int) -> RootedGrowth:
    """
    Args:
        root: which of the possible roots all is seen from, a place in their order.
    """
    weighted, precision = (torch.zeros(neighbours.shape, dtype=torch.float64) for _ in range(2))
    for rows in (distances.embedded, ~distances.embedded):
        sums = _sums(distances.near[rows], distances.root[rows, :, root], neighbours)
        gamma, variance, _ = least_squares(sums, MINIMUM_UNITS, 1e-6)
        weight = at_right_angles(gamma) / variance
        weighted += weight * at_right_angles(gamma / BEYOND) * gamma.clamp(-1, 1)
        precision += weight
    known = precision > 0
    precision = precision.where(known, 1.0)
    return RootedGrowth((weighted / precision).where(known, 0.0), (weighted / precision.sqrt()).where(known, 0.0))


def _sums(near: Tensor, from_root: Tensor, neighbours: Tensor) -> list[Tensor]:
    """(m, k) float64 each, see `growth.least_squares`.

    Args:
        near: (u, m, k), |b - s|^2; from_root: (u, m), |b - r|^2.
    """
    models, count = neighbours.shape
    sums = [torch.zeros(models, count, dtype=torch.float64) for _ in range(6)]
    some = max(1, _HELD // (models * count))
    for moved, own in zip(near.split(some), from_root.split(some), strict=True):
        step = own[:, neighbours]  # (u, m, k): |s - r|^2
        unused = moved <= SHORTEST * step
        moved = moved.masked_fill(unused, 1.0)
        size = ((own[:, :, None] + step) / 2 - moved / 4).clamp(min=0)
        unused |= size <= SHORTEST * moved
        size = size.masked_fill(unused, 1.0)
        grown = (own[:, :, None] - step).masked_fill(unused, 0.0)
        used = (~unused).float()
        by_size, by_moved = grown / size, grown / moved
        terms = (used, used * size / moved, used * moved / size, by_moved, by_size, by_size * by_moved)
        for total, term in zip(sums, terms, strict=True):
            total += term.sum(0)
    return sums
