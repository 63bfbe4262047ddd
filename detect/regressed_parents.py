"""Parents of a merge that drops values, of each of which too few values come alone to be seen in ratios: DARE of three that keeps most.

The mean of what is kept of a difference, divided by the share that is kept, is the difference times its weight: so the parents are those
that a regression of the model's difference on all others finds, one after the other. The numbers by which they were multiplied are their
weights over one share for all, or one where the sum was divided by the weights of those kept; at the right share many ratios meet.
Source: orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993); DARE, arXiv 2311.03099, as mergekit computes it.
Dimension letters: t tensors, v values of each, c candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.ratio_peaks import peaks
from lineage.detect.trimmed_verdict import TIMES_CHANCE

AT_MOST = 5
SURE = 6.0  # standard errors of a part in the sum
SHARES = np.arange(0.1, 1.0, 0.1)  # of the values that may have been kept
NEAR_GUESS = 0.12  # how far off a number may be that was guessed from one of these


def regressed_parents(moved: np.ndarray, deltas: np.ndarray, off: np.ndarray) -> list[tuple[int, float]]:
    """
    Args:
        moved: (t, v) the model's difference from a base; deltas: (c, t, v) those of candidates; off: (t, v) what a difference may be off.
    Returns:
        (candidate, its number), the surest first; none where fewer than two are sure.
    """
    if len(deltas) < 2:
        return []
    chosen, parts = _parts(moved.reshape(-1), deltas.reshape(len(deltas), -1), off.reshape(-1))
    if len(chosen) < 2:
        return []
    guesses = [*(parts / share for share in SHARES), np.ones(len(parts))]
    tried = [[_near(moved, deltas[c], off, g) for c, g in zip(chosen, some, strict=True)] for some in guesses]
    surest = max(tried, key=lambda some: sum(above for _, above in some))
    # where signs are elected, each part has a share of its own
    own = [max((some[place] for some in tried), key=lambda one: one[1]) for place in range(len(chosen))]
    found = [one if one[1] > 0 else its for one, its in zip(surest, own, strict=True)]
    return [(c, number) for c, (number, above) in zip(chosen, found, strict=True) if above > 0]


def _parts(own: np.ndarray, flat: np.ndarray, off: np.ndarray) -> tuple[Sequence[int], np.ndarray]:
    """Candidates (c, t v) that have sure parts in a difference (t v,) and these parts, of all of them together.

    A part is kept or dropped, so that what is left at a value is as large as the parts there: a small one shows where others are smaller.
    """
    chosen: list[int] = []
    parts, usual = np.zeros(0), np.ones_like(own)
    while len(chosen) < min(AT_MOST, len(flat)):
        seen, rest = flat / usual, (own - parts @ flat[chosen]) / usual
        length = np.sqrt(np.square(seen).sum(1).clip(1e-300))  # (c,)
        errors = seen @ rest / length / max(float(np.sqrt(np.square(rest).mean())), 1e-300)  # (c,)
        errors[chosen] = -np.inf
        best = int(errors.argmax())
        if errors[best] < SURE:
            break
        chosen.append(best)
        parts, *_ = np.linalg.lstsq(seen[chosen].T, own / usual)
        usual = np.sqrt(np.square(off) + np.square(parts[:, None] * flat[chosen]).sum(0))
    return chosen, parts


def _near(moved: np.ndarray, delta: np.ndarray, off: np.ndarray, guess: float) -> tuple[float, float]:
    """The number near to a guess at which most ratios to a candidate's difference (t, v) meet, and how many more than twice by chance."""
    found: list[tuple[float, float]] = []
    for some in (moved, np.roll(moved, 1, 1)):
        expected = guess * delta
        near = (expected != 0) & (np.abs(some - expected) < NEAR_GUESS * np.abs(expected))
        height, number, _ = peaks(some.reshape(1, -1), delta.reshape(1, 1, -1), off.reshape(1, -1), near.reshape(1, -1))
        found.append((float(height[0, 0]), float(number[0, 0])))
    (height_here, number_here), (by_chance, _) = found
    return number_here, height_here - TIMES_CHANCE * by_chance
