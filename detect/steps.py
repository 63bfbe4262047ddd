"""Where models stand seen from a possible root: how far each is from it, what lies between two of them, and which of them lies farther out.

Dimension letters: m models, k neighbours of each.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.detect.arrays import Tensor
from lineage.detect.geometry import Geometry

BACK = 0.15  # cosine with what its parent had changed by which a child goes on or back; a short step has no order beside that


@dataclass(frozen=True, slots=True)
class Steps:
    """From neighbours s to models b, all float64, [b, s].

    Attributes:
        from_root: (m,) squared distance of b from the root; apart: (m, k) of b from s; moved: (m, k) of s from the root.
        order: (m, k): how much farther b is from the root than s, in units of what is between them: 1 where b went on from s at right
            angles, -1 where s went on from b; nearer to 0 where the step is so short that going a little on or back along s makes it.
    """

    from_root: Tensor
    apart: Tensor
    moved: Tensor
    order: Tensor


def steps_from(root: int, geometry: Geometry) -> Steps:
    distance, lengths, neighbours = geometry.distance, geometry.lengths, geometry.neighbours
    turned, apart = turned_from(root, distance, lengths), distance.gather(1, neighbours)
    moved = distance[root][neighbours]
    order = (turned[:, None] - turned[neighbours]) / (apart / lengths[:, None]).clamp(min=1e-300)
    return Steps(distance[:, root], apart, moved, beside_turning(order, apart, moved))


def beside_turning(order: Tensor, apart: Tensor, moved: Tensor) -> Tensor:
    """An order of two models, nearer to 0 where the step between them is so short that going a little on or back makes it.

    Args:
        order, apart, moved: of one shape, as in `Steps`.
    """
    return order / (1 + 4 * BACK**2 * moved / apart.clamp(min=1e-300)).sqrt()


def turned_from(root: int, distance: Tensor, lengths: Tensor) -> Tensor:
    """(m,) float64: twice one minus the cosine of each model and the root. Unlike their distance it does not shrink where decay does."""
    long = lengths.sqrt()
    return (distance[:, root] - (long - long[root]).square()).clamp(min=0) / (long * long[root])
