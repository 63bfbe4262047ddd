"""Drift: two children of a model leave it partly in the same direction, a parent and a child of it lie on opposite sides.

Seen from a model p, the cosine of the differences to two of its neighbours a and b: training first undoes what p was specialised
for, in whatever direction it then goes, so for two children the cosine is above 0; for p's parent and p's child it is about 0 or below.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor


def differences_from(products: Tensor, origin: int) -> Tensor:
    """
    Args:
        products: (m, m) float64: inner products of the models over all values, around any point.
    Returns:
        (m, m) float64: inner products of a - origin and b - origin.
    """
    at = products[origin]  # (m,)
    return products - at[:, None] - at[None, :] + at[origin]


def drift(products: Tensor, origin: int) -> Tensor:
    """
    Args:
        products: (m, m) float64: inner products of the models over all values, around any point.
    Returns:
        (m, m) float64: cosine of a - origin and b - origin over all values; 0 where one of them equals the origin.
    """
    seen = differences_from(products, origin)
    length = seen.diagonal().clamp(min=0).sqrt()
    scale = length[:, None] * length[None, :]
    return (seen / scale.clamp(min=1e-300)).where(scale > 0, 0.0).clamp(-1.0, 1.0)
