"""Ratios of differences from a base: where they meet in one number, one difference was multiplied by it.

Ratios of values that do not belong together (moved on by one) show how high a peak comes about by chance, on the grid of the same dtype.
Dimension letters: t tensors, v values of each, c candidates.
"""

from __future__ import annotations

import numpy as np

CLASS, CLASSES = 0.04, 80  # width of a class of ratios, in powers of e, and how many there are on either side of one


def most_alike(moved: np.ndarray, deltas: np.ndarray, some: np.ndarray, off: np.ndarray) -> np.ndarray:
    """(c,) how many ratios of (t, v) to (c, t, v) fall into the fullest of narrow classes of sizes, all tensors together."""
    count = np.zeros(len(deltas))
    some = some & (np.abs(moved) > off)
    size = np.full(deltas.shape, np.nan)
    size[some] = np.abs(np.broadcast_to(moved, deltas.shape)[some] / deltas[some])
    with np.errstate(divide="ignore"):
        place = np.floor(np.log(size) / CLASS)
    right = some & (np.abs(place) < CLASSES)
    same_sign = (np.broadcast_to(moved, deltas.shape) > 0) == (deltas > 0)
    for c in range(len(deltas)):
        for t in range(deltas.shape[1]):
            at = right[c, t] & same_sign[c, t]
            if at.any():
                count[c] += np.bincount((place[c, t, at] + CLASSES).astype(np.int64)).max()
    return count


def peaks(
    moved: np.ndarray, deltas: np.ndarray, off: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each candidate in each tensor: how many ratios meet in the best place, that place, and how many ratios there are; (c, t) each.

    Args:
        moved: (t, v); deltas: (c, t, v); off: (t, v) what a difference may be off; left: (t, v) which values are still to be explained.
    """
    shape = deltas.shape[:2]
    height, middle, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    usable = left & (np.abs(moved) > off)
    for c in range(shape[0]):
        # width < 0.25 ratio, without dividing
        good = usable & (4 * off < np.abs(moved)) & (deltas[c] != 0)
        for t in range(shape[1]):
            at = np.flatnonzero(good[t])
            count[c, t] = len(at)
            if not len(at):
                continue
            delta = deltas[c, t, at]
            ratio, width = moved[t, at] / delta, off[t, at] / np.abs(delta)
            low, high = ratio - width, ratio + width
            starts = np.sort(low)
            meeting = np.arange(1, len(at) + 1) - np.searchsorted(np.sort(high), starts)
            best = int(meeting.argmax())
            height[c, t] = meeting[best]
            middle[c, t] = _median(ratio[(low <= starts[best] + 1e-12) & (high >= starts[best])])
    return height, middle, count


def _median(numbers: np.ndarray) -> float:
    """That of numpy, which takes ten times as long for a few numbers."""
    ordered = np.sort(numbers)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def spread(length: int, at_most: int) -> np.ndarray:
    """Places in a row, evenly."""
    return np.linspace(0, length - 1, min(at_most, length)).astype(np.int64)
