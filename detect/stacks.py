"""Stacks: models whose every tensor is that of one of several others, bit for bit (passthrough).

Where the parts are known to have been there first, nothing else leaves that. Else a third relative separates them from what was trained
from one of the parts with the other tensors frozen, and from a parent of which the parts trained each what the other had frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.span_fit import View

PARTS = (2, 3, 4)  # how many a stack may have
LEAST_PARTED = 64.0  # squared distance of a part's own tensors from every other part, in units of the last digit
REFERENCES = 5  # relatives from which parts of a stack are seen
DERIVED, OVERSHOT = 0.8, 1.5  # slopes of one part's change on another's between which one was trained from the other
FROZEN = 0.02  # share of the values in which relatives differ, of those that several parts have
STILL = 0.1  # of a part's values: where fewer changed there is nothing to be found again
ONE_WAY = 0.45  # cosine; of true stacks 0.49 and more, of tunings of one parent 0.15 to 0.36 in nine of ten
STRANGERS = 0.5  # squared distance of two models' units over their squared lengths, from which on a tensor was not trained on but replaced


def stacks(seen: View, values: FamilyValues, blocks: np.ndarray) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """The smallest sets of the pool of which the model is a stack.

    Args:
        blocks: (l,) whether a tensor is of the body, not an embedding.
    Returns:
        (models, (n,) shares of the values) of each.
    """
    apart = np.diagonal(seen.inner, axis1=1, axis2=2)[:, :-1]  # (l, p)
    equal = apart == 0
    if equal.all(0).any() or not equal.any(1).all():
        return []
    telling = ~equal.all(1)  # (l,)
    places = np.flatnonzero(equal[telling].any(0)).tolist()
    for size in PARTS:
        found = []
        for chosen in map(list, combinations(places, size)):
            if not equal[:, chosen].any(1).all() or not _all_needed(apart[:, chosen]):
                continue
            parts = tuple(seen.pool[place] for place in chosen)
            if _all_needed(apart[_related(values, seen.model, parts)][:, chosen]):
                given = equal[:, chosen] / equal[:, chosen].sum(1, keepdims=True)  # (l, n)
                if values.came_first(parts, seen.model) or (
                    not _frozen_alike(equal[:, chosen], seen.values, telling)
                    and _really_stacked(values, seen.model, parts, given, telling, blocks)
                ):
                    found.append((parts, seen.values[telling] @ given[telling] / seen.values[telling].sum()))
        if found:
            return found
    return []


def _frozen_alike(equal: np.ndarray, values: np.ndarray, telling: np.ndarray) -> bool:
    """Whether parts have tensors in common that others have not: then they were trained from the model with these frozen, each with others.

    Args:
        equal: (l, n) whether a part has the model's tensor; values: (l,) how many it has; telling: (l,) where relatives differ.
    """
    common = telling & (equal.sum(1) > 1)
    return float(values[common].sum()) > FROZEN * float(values[telling].sum())


def _all_needed(apart: np.ndarray) -> bool:
    """Whether each part gave tensors that are clearly no other part's. apart: (l, n) squared distances to the model."""
    for part in range(apart.shape[1]):
        others = np.delete(apart, part, 1).min(1)  # (l,)
        if float(others[apart[:, part] == 0].sum()) < LEAST_PARTED:
            return False
    return True


def _related(values: FamilyValues, model: int, parts: Sequence[int]) -> np.ndarray:
    """(l,) whether the model and all parts trained a tensor on from the same values.

    Where a part has others, as rows of a vocabulary cut to a smaller one and tensors made anew, the model's own say nothing about it.
    """
    found = np.zeros(len(values.tensors), bool)
    for place, (tensor, units) in enumerate(zip(values.tensors, values.units, strict=True)):
        rows = tensor[[model, *parts]].reshape(1 + len(parts), units, -1).astype(np.float64)  # (1 + n, u, w)
        rows -= rows.mean(1, keepdims=True)
        length = np.square(rows).sum(2)  # (1 + n, u)
        apart = np.square(rows[1:] - rows[0]).sum(2) / np.clip(length[1:] + length[0], 1e-300, None)  # (n, u)
        found[place] = bool((np.median(apart, 1) < STRANGERS).all())
    return found


def _really_stacked(
    values: FamilyValues,
    model: int,
    parts: Sequence[int],
    given: np.ndarray,
    telling: np.ndarray,
    blocks: np.ndarray,
) -> bool:
    """Whether tensors of several models were put together, and not one of them trained from the model with the other tensors frozen.

    Seen from a third relative, what one part learned in the tensors that it gave is not in the other part. The nearest ones are asked: from
    afar all that parts have in common, such as their base, looks like something that they learned.
    """
    others = [i for i in _nearest(values, parts) if i not in (*parts, model)][:REFERENCES]
    trained = sum(_one_from_another(values, third, parts, telling, given) for third in others)
    aside = sum(_one_way(values, model, third, parts, telling & blocks, given) > ONE_WAY for third in others)
    return 2 * trained < len(others) < 2 * aside


def _one_way(
    values: FamilyValues,
    model: int,
    third: int,
    parts: Sequence[int],
    telling: np.ndarray,
    given: np.ndarray,
) -> float:
    """Largest cosine of a third model and of a part, seen from the model, in the tensors that another part gave; what all of them shrank by
    is taken off.

    From a parent what was trained goes ways of its own. What was put together lies in these tensors where one part went, and all others are
    on the way back: half a right angle and more, unless the third model went farther than each part.
    """
    own, *others = zip(*values.rounded([model, third, *parts], 24), strict=True)
    largest = 0.0
    for giver in range(len(parts)):
        cosines = []
        for tensor in np.flatnonzero(telling & (given[:, giver] > 0.5)).tolist():
            start = own[tensor]  # (v,)
            moved = np.stack([other[tensor] for other in others]) - start  # (1 + n, v)
            moved -= np.outer(moved @ start, start) / max(float(start @ start), 1e-300)
            length = np.linalg.norm(moved, axis=1)  # (1 + n,)
            cosines.append(moved[1:] @ moved[0] / np.clip(length[1:] * length[0], 1e-300, None))
        if cosines:
            largest = max(largest, *np.delete(np.median(cosines, 0), giver).tolist())
    return largest


def _nearest(values: FamilyValues, parts: Sequence[int]) -> list[int]:
    """All models, those with the least squared distance to the parts first."""
    index = np.array(parts, np.int64)
    away = np.zeros(len(values.digits))
    for tensor in values.tensors:
        middle = tensor[index].mean(0, dtype=np.float32)  # (v,)
        away += np.square(tensor - middle).sum(1, dtype=np.float64)
    return [int(i) for i in np.argsort(away, kind="stable")]


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
