"""Where the models of one family lie: everything about lengths, distances and angles that the tree is decided from.

Dimension letters: m models, k neighbours of each.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.detect.arrays import Tensor
from lineage.detect.gram import Gram

NEARLY_EQUAL = 0.1  # of the distance to another model: what lies that near together is one as seen from there


@dataclass(frozen=True, slots=True)
class Geometry:
    """
    Attributes:
        gram: inner products of the m models, group by group of values.
        distance: (m, m) float64, squared distances; lengths: (m,) float64, squared lengths.
        shared: (m, m) float64, how much structure two models share, see signals/shared_start.py.
        neighbours: (m, k) int64, the nearest others of each model, nearest first.
        digits: (m,) int64, of the significand in which the models are stored.
    """

    gram: Gram
    distance: Tensor
    lengths: Tensor
    shared: Tensor
    neighbours: Tensor
    digits: Tensor


def nearly_equal_to(model: int, distance: Tensor) -> list[int]:
    """The model and those that are one with it as seen from half of the others. distance: (m, m) float64, squared."""
    away = distance[model]
    return [model, *(i for i in (away < NEARLY_EQUAL**2 * away.median()).nonzero()[:, 0].tolist() if i != model)]
