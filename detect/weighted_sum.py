"""What a set of models that explains another one means: the merge that it is, or none.

Training never ends in a sum of others: its steps have a direction of their own in every tensor. Still a part has to be needed, and weights
have to be some that a merge has. Weights beyond one and below nothing are some: a task vector added more than once, or taken away.
Source: mergekit (arXiv 2403.13257) for what the methods compute; Model Stock, arXiv 2403.19522.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.regression import ROUNDED_IN_BETWEEN, apart
from lineage.detect.span_fit import View, affine

TELLING = 4.0  # squared distance of the parents over what a tensor may be off, from which on its coefficients are read
NEEDED = 8.0  # what remains when a parent is left out, over what remains with it
NEEDED_OF_TWO = 60.0  # the same of two: what was trained a little lies nearly on the way to what was trained more
LEAST_SHARE = 0.02
LARGEST_WEIGHT = 4.0
BETWEEN = 1.3  # a base is that much farther, squared, from all models than the merge is at most
# members of a sum of which one is taken away: what has one parent that is not here in common with another merge is that one without its
# other parents
MOST_WITH_ONE_TAKEN = 3
HUBS = 2  # models in the middle, of which one is the base whose differences were added or taken away
SAME_EVERYWHERE = 0.02  # coefficients of all tensors lie that near to each other where one number holds for all
SCALED = 0.998  # cosine of the line and of the model from which on the parts differ by scaling alone


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """What one model is a sum of.

    Attributes:
        members: models with their coefficients, the base aside; base: the model whose differences are summed, or None;
            base_weight: its own.
        method: in words. off: root of what remains over the parents' distance.
        alike: models that may be the base as well: with them as much remains, but for chance.
    """

    members: tuple[tuple[int, float], ...]
    base: int | None
    base_weight: float
    method: str
    off: float
    alike: tuple[int, ...] = ()

    @property
    def beyond(self) -> bool:
        """Whether it lies beyond its parts: one was taken away, or the only one has more than its own weight."""
        return len(self.members) < 2 or any(weight < 0 for _, weight in self.members)

    @property
    def all(self) -> set[int]:
        return {m for m, _ in self.members} | ({self.base} if self.base is not None else set())


def weighted_sum(
    seen: View,
    chosen: np.ndarray,
    coefficients: np.ndarray,
    remainder: float,
    allowed: np.ndarray,
    values: FamilyValues,
    origin: bool,
) -> WeightedSum | None:
    """The set as a merge, or None where one member is not needed, or it is not one that a merge is made of."""
    size = len(chosen)
    needed = [float(seen.fit(np.delete(chosen, i)[None, :], origin)[0].sum()) for i in range(size)]
    of_two = size == 2
    least = max(remainder, float(allowed.sum() if of_two else seen.rounding.sum()))
    if min(needed) < (NEEDED_OF_TWO if of_two else NEEDED) * least:
        return None
    models = [seen.pool[i] for i in chosen.tolist()]
    own = seen.inner[:, chosen[:, None], chosen[None, :]]  # (l, n, n)
    distance = apart(own)  # (l, n, n)
    telling = distance.max((1, 2)) > TELLING * allowed
    if not bool(telling.any()):
        return None
    each = coefficients[telling][:, :size]  # (t, n)
    weights = seen.values[telling] / seen.values[telling].sum()
    mean = (weights[:, None] * each).sum(0)
    near = _spread_allowed(distance[telling], allowed[telling], seen.values[telling])
    constant = not origin and float(np.abs(each - mean).max()) < near
    total, coefficient = affine(own.sum(0), seen.floor.sum())
    if constant and float(total) <= ROUNDED_IN_BETWEEN * float(allowed.sum()):
        mean = coefficient
    else:
        constant = False
    whole, differ = distance.sum(0), all_differ(distance[telling], allowed[telling])
    if size == 2 and _scaled(seen, chosen, float(whole[0, 1])):
        return None
    base, method = None, "linear" if constant else "slerp or linear, with shares of its own in each tensor"
    if not constant and _is_stack(each):  # see stacks.py
        return None
    if origin:
        if float(mean.min()) < LEAST_SHARE:
            return None
        method = "slerp"
    elif size > 2 and not constant and (stock := _stocked(each[differ])) is not None:
        base, method = models[stock], "model stock"
        mean = np.full_like(mean, 1 / (size - 1))
    elif float(mean.min()) < -LEAST_SHARE / 2:
        if size == 2 and not constant:
            return None
        base = _base(models, mean, values, seen.model)
        method = "linear, with a negative weight" if base is None else "task arithmetic"
        method += "" if constant else ", with weights of its own in each tensor"
    shares = [(m, float(a)) for m, a in zip(models, mean, strict=True) if m != base]
    taken_away = sum(share < 0 for _, share in shares)
    if taken_away > 1 or (taken_away and size > MOST_WITH_ONE_TAKEN):
        return None
    if any(not LEAST_SHARE <= abs(share) <= LARGEST_WEIGHT for _, share in shares):
        return None
    own_weight = 0.0 if base is None else 1 - sum(share for _, share in shares)
    off = (remainder / max(1e-300, float(whole.max()))) ** 0.5
    return WeightedSum(tuple(sorted(shares, key=lambda pair: -pair[1])), base, own_weight, method, off)


def _is_stack(each: np.ndarray) -> bool:
    """Whether every tensor is that of one member."""
    return bool((np.abs(each.max(1) - 1) < 1e-2).all() and (np.abs(each).sum(1) - 1 < 2e-2).all())


def _spread_allowed(distance: np.ndarray, allowed: np.ndarray, values: np.ndarray) -> float:
    """How far coefficients of one tensor may lie from the mean by rounding alone."""
    nearest = _between_nearest(distance)
    return max(SAME_EVERYWHERE, 4 * float(np.sqrt(allowed / np.maximum(nearest, 1e-3 * allowed) / values).max()))


def _scaled(seen: View, chosen: np.ndarray, distance: float) -> bool:
    """Whether two parts differ by scaling alone: then a third between them is one more of the same."""
    inner = seen.inner.sum(0)
    i, j = chosen.tolist()
    along = abs(float(inner[i, -1] - inner[j, -1]))  # of the line between them, times the model's length
    return along >= SCALED * (distance * float(inner[-1, -1])) ** 0.5


def _base(models: Sequence[int], mean: np.ndarray, values: FamilyValues, model: int) -> int | None:
    """The member from which differences are taken where a coefficient is negative: one in the middle of the family; else the one with the
    negative coefficient, if it lies in the middle rather than the merge does."""
    middle = min(models, key=values.rank)
    if values.rank(middle) < HUBS:
        return middle
    negative = [m for m, a in zip(models, mean.tolist(), strict=True) if a < 0]
    central = values.central
    may_be = len(models) > 2 and len(negative) == 1 and float(central[negative[0]]) < BETWEEN * float(central[model])
    return negative[0] if may_be else None


def all_differ(distance: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(t,) tensors in which no two members (t, n, n) are equal; all where there are none, since equal ones share their coefficients."""
    differ = _between_nearest(distance) > TELLING * allowed
    return differ if bool(differ.any()) else np.ones_like(differ)


def _between_nearest(distance: np.ndarray) -> np.ndarray:
    """(t, n, n) squared distances -> (t,) those of the two nearest members."""
    return np.asarray((distance + np.where(np.eye(distance.shape[1], dtype=bool), np.inf, 0.0)).min((1, 2)))


def _stocked(each: np.ndarray) -> int | None:
    """The base of a Model Stock merge: in every tensor (t, n) the others have equal coefficients, and not the same in all tensors."""
    for base in range(each.shape[1]):
        others = np.delete(each, base, 1)
        even = float(np.abs(others - others.mean(1, keepdims=True)).max()) < SAME_EVERYWHERE
        if even and float(np.abs(others).mean()) > LEAST_SHARE / 4:
            return base
    return None
