"""Merges that are, tensor by tensor, a weighted sum of their parents: linear, task arithmetic, Model Stock, SLERP, passthrough.

In: values of a family's models and the regression of each on all others. Out: for each model that a few others explain up to the rounding
of its dtype, the smallest such set.

- Search: all sets of two, three and four among the models with the largest partial correlations, then leaving out one after the other.
- Which of several dependent models is the merge: the one whose coefficients are all positive; a base alone may have a negative one, as
  in task arithmetic, and it lies in the middle of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.regression import ROUNDED_IN_BETWEEN, Regression
from lineage.detect.span_fit import View, view
from lineage.detect.weighted_sum import WeightedSum, weighted_sum

FAR = 25.0  # squared distance over what rounding leaves: nearer models are copies
FIRST_TENSORS = 3  # in which sets are tried before the others
POOL, POOL_OF_FOUR = 24, 12
FIRST_HUBS = (
    2  # models in the middle that are always tried: light siblings take the base's place among the partial correlations
)
AS_EXACT = 3.0  # remainders within this factor are equally good
AS_NEAR = 1.1  # the same where sets differ in one light sibling


def span_merges(values: FamilyValues, regressed: Regression) -> dict[int, WeightedSum]:
    """
    Returns:
        model -> what it is a sum of, for those that are one.
    """
    hubs = values.hubs[:FIRST_HUBS].tolist()
    choices = {
        m: _explanations(values, m, [*dict.fromkeys([*(h for h in hubs if h != m), *regressed.pool(m, POOL)])])
        for m in regressed.explained
    }
    likeliest: dict[frozenset[int], tuple[int, WeightedSum]] = {}
    for model, some in choices.items():
        for span in some:
            dependent = frozenset(span.all | {model})
            known = likeliest.get(dependent)
            if known is None or _likelier(values, (model, span), known):
                likeliest[dependent] = model, span
    of_model: dict[int, list[WeightedSum]] = {}
    for model, span in likeliest.values():
        of_model.setdefault(model, []).append(span)
    chosen = {model: _nearest_parts(some, set(of_model), values) for model, some in of_model.items()}
    order = sorted(
        chosen, key=lambda m: (chosen[m].base is not None, len(chosen[m].all & chosen.keys()), chosen[m].off)
    )
    found: dict[int, WeightedSum] = {}
    for model in order:
        if not _made_of(model, chosen[model].all, found):
            found[model] = chosen[model]
    return found


def _nearest_parts(some: Sequence[WeightedSum], merged: set[int], values: FamilyValues) -> WeightedSum:
    """Means of the same parts lie between each other, so parts that are no merges come first, then what fits best; of a base and its
    light siblings, which fit alike, the base."""
    fewest = min(len(span.all & merged) for span in some)
    some = [span for span in some if len(span.all & merged) == fewest]
    least = min(span.off for span in some)
    return min((span for span in some if span.off <= AS_NEAR * least), key=lambda s: sum(map(values.rank, s.all)))


def _made_of(model: int, parts: set[int], found: Mapping[int, WeightedSum]) -> bool:
    """Whether a model is among its own parts, once those that are merges are taken apart: the relation is known already."""
    seen, left = set[int](), list(parts)
    while left:
        part = left.pop()
        if part not in seen:
            seen.add(part)
            left += found[part].all if part in found else ()
    return model in seen


def _likelier(values: FamilyValues, mine: tuple[int, WeightedSum], other: tuple[int, WeightedSum]) -> bool:
    """Which of two of the same models is the merge: one without a base first, then the one that is a sum most exactly (solved for a
    part, the error of rounding grows), then the one whose base lies in the middle."""
    base, its = mine[1].base, other[1].base
    if base is None or its is None:
        return base is None and its is not None
    left, others = _left(values, *mine), _left(values, *other)
    if left > AS_EXACT * others or others > AS_EXACT * left:
        return left < others
    return values.rank(base) < values.rank(its)


def _left(values: FamilyValues, model: int, span: WeightedSum) -> float:
    """Squared length of what a set leaves of a model, from the values themselves."""
    first, *rest = sorted(span.all)
    left = 0.0
    for tensor in values.tensors:
        base = tensor[first].astype(np.float64)
        moved = tensor[rest].astype(np.float64) - base  # (n - 1, v)
        own = tensor[model] - base
        found, *_ = np.linalg.lstsq(moved.T, own, rcond=None)
        left += float(np.square(own - found @ moved).sum())
    return left


def _explanations(values: FamilyValues, model: int, pool: Sequence[int]) -> list[WeightedSum]:
    """The smallest sets that explain a model, all of one size."""
    seen = view(values, model, pool)
    least = seen.allowed(np.arange(len(pool))[:, None]).sum(1)  # (p,)
    far = (
        np.diagonal(seen.inner, axis1=1, axis2=2).sum(0)[: len(pool)] > FAR * least
    )  # the others are copies but for rounding
    if int(far.sum()) < 2:
        return []
    seen = seen.among(np.flatnonzero(far).tolist())
    everything = np.arange(len(seen.pool))[None, :]
    whole, _ = seen.fit(everything, origin=True)
    if not bool((whole <= ROUNDED_IN_BETWEEN * seen.allowed(everything)).all()):
        return []
    for size in (2, 3, 4):
        candidates = range(len(seen.pool)) if size < 4 else range(min(len(seen.pool), POOL_OF_FOUR))
        sets = np.array(list(combinations(candidates, size)), np.int64)
        if len(sets):
            spans = _valid(seen, sets, values, origin=False)
            if size == 2 and not spans:
                spans = _valid(seen, sets, values, origin=True)
            if spans:
                return spans
    return _by_leaving_out(seen, values)


def _valid(seen: View, sets: np.ndarray, values: FamilyValues, origin: bool) -> list[WeightedSum]:
    telling = np.diagonal(seen.inner, axis1=1, axis2=2).mean(1) / seen.rounding
    first = seen.only(np.argsort(-telling)[:FIRST_TENSORS])
    remainder, _ = first.fit(sets, origin)
    sets = sets[(remainder <= ROUNDED_IN_BETWEEN * first.allowed(sets)).all(1)]
    allowed = seen.allowed(sets)
    if origin:  # what lies between two models without it was looked at before
        between = (seen.fit(sets)[0] <= ROUNDED_IN_BETWEEN * allowed).all(1)
        sets, allowed = sets[~between], allowed[~between]
    remainder, coefficients = seen.fit(sets, origin)
    good = (remainder <= ROUNDED_IN_BETWEEN * allowed).all(1)
    spans = (
        weighted_sum(seen, sets[i], coefficients[i], float(remainder[i].sum()), allowed[i], values, origin)
        for i in np.flatnonzero(good).tolist()
    )
    return [span for span in spans if span is not None]


def _by_leaving_out(seen: View, values: FamilyValues) -> list[WeightedSum]:
    """Sets of five and more: the pool without one after the other, as long as the rest explains the model."""
    stay = list(range(len(seen.pool)))
    if len(stay) < 5:
        return []
    while len(stay) > 5:
        sets = np.array([[i for i in stay if i != left] for left in stay])
        remainder, _ = seen.fit(sets)
        worst = (remainder / seen.allowed(sets)).max(1)
        if float(worst.min()) > ROUNDED_IN_BETWEEN:
            break
        stay = sets[int(worst.argmin())].tolist()
    return _valid(seen, np.array([stay]), values, origin=False)
