"""Stacks: models whose every tensor is that of one of several others (passthrough).

A third relative separates them from what was trained from one of the parts with the other tensors frozen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.span_fit import View

REFERENCES = 5  # relatives from which parts of a stack are seen
DERIVED, OVERSHOT = 0.6, 1.5  # slopes of one part's change on another's between which one was trained from the other
STILL = 0.1  # of a part's values: where fewer changed there is nothing to be found again


def is_stack(each: np.ndarray) -> bool:
    """Whether every tensor is that of one member."""
    return bool((np.abs(each.max(1) - 1) < 1e-2).all() and (np.abs(each).sum(1) - 1 < 2e-2).all())


def taken_as_they_are(inner: np.ndarray, telling: np.ndarray, each: np.ndarray) -> bool:
    """Whether every tensor that tells equals that of the part that gave it, bit for bit. inner: (l, n, n) of differences to the model."""
    squared = np.diagonal(inner, axis1=1, axis2=2)[telling]  # (t, n)
    return not bool(np.take_along_axis(squared, each.argmax(1)[:, None], 1).any())


def really_stacked(
    values: FamilyValues, seen: View, chosen: np.ndarray, coefficients: np.ndarray, telling: np.ndarray
) -> bool:
    """Whether tensors of two models were put together, and not one of them trained from the model with the other tensors frozen.

    Seen from a third relative, what one part learned in the tensors that it gave is not in the other part.
    """
    parts = [seen.pool[i] for i in chosen.tolist()]
    others = [i for i in values.central.argsort(kind="stable").tolist() if i not in (*parts, seen.model)][:REFERENCES]
    trained = sum(_one_from_another(values, third, parts, telling, coefficients) for third in others)
    return bool(others) and 2 * trained < len(others)


def _one_from_another(
    values: FamilyValues, third: int, parts: Sequence[int], telling: np.ndarray, coefficients: np.ndarray
) -> bool:
    """Whether the model may lie between its parts, trained from one and continued to the others, with tensors frozen: then what a part
    learned in the tensors that it gave, as seen from a third model, is in all others, one aside from which the model came; or is nothing.
    """
    moved = [rows[1:] - rows[0] for rows in values.rounded([third, *parts], 24)]  # (n, v) each
    kept: set[tuple[int, int]] = set()
    places = range(len(parts))
    for giver in places:
        own = np.flatnonzero(telling & (coefficients[:, giver] > 0.5)).tolist()
        if not own or not _moved([moved[i][giver] for i in own]):
            return True
        inner = np.stack([moved[i] @ moved[i].T for i in own])  # (t, n, n)
        for other in places:
            share = inner[:, giver, other] / np.clip(inner[:, giver, giver], 1e-300, None)  # (t,)
            if other != giver and float(np.quantile(share, 0.1)) > DERIVED and float(np.median(share)) < OVERSHOT:
                kept.add((giver, other))
    return any(
        all((giver, other) in kept for giver in places for other in places if other not in (giver, parent))
        for parent in places
    )


def _moved(changes: Sequence[np.ndarray]) -> bool:
    """Whether training changed most values."""
    return sum(int(np.count_nonzero(change)) for change in changes) > STILL * sum(map(len, changes))
