"""Near models: those that lie nearer to each other than the rounding of a dtype, so that in this dtype one does for all.

A base that many models hardly left has no part of its own in a regression on all others: its near models share it. So merges are looked for
among representatives, and which of the near models a part is, is decided at the end, by all values together.
"""

from __future__ import annotations

import numpy as np


def representatives(distance: np.ndarray, radius_sq: float) -> np.ndarray:
    """Each model's representative: the one with the most near models first, until none is left.

    Args:
        distance: (m, m) squared distances; radius_sq: up to which models are near.
    Returns:
        (m,) int64; a representative is its own.
    """
    near = distance <= radius_sq
    np.fill_diagonal(near, True)
    chosen = np.arange(len(near))
    left = near.sum(1) > 1
    near &= left[:, None] & left[None, :]
    while near.any():
        count = near.sum(1)
        most = np.flatnonzero(count == count.max())
        middle = most[np.where(near[most], distance[most], 0.0).sum(1).argmin()]
        members = np.flatnonzero(near[middle])
        chosen[members] = middle
        near[members] = False
        near[:, members] = False
    return chosen


def near_of(chosen: np.ndarray, model: int) -> list[int]:
    """The other models with the same representative. chosen: (m,) representatives."""
    return [int(i) for i in np.flatnonzero(chosen == chosen[model]) if i != model]
