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
from math import log

import numpy as np

from lineage.detect.family_values import ROUNDING_SQ, FamilyValues
from lineage.detect.near_models import near_of
from lineage.detect.regression import ROUNDED_IN_BETWEEN, Regression
from lineage.detect.span_fit import View, view
from lineage.detect.stacks import stacks
from lineage.detect.weighted_sum import LEAST_SHARE, WeightedSum, weighted_sum

FAR = 25.0  # squared distance over what rounding leaves: nearer models are copies
FIRST_TENSORS = 3  # in which sets are tried before the others
POOL, POOL_OF_FOUR = 24, 12
# models in the middle that are always tried: light siblings take the base's place among the partial correlations
FIRST_HUBS = 2
MOST_NEAR = 32  # models near to a part that are tried in its place
AS_EXACT = 1.5  # remainders that are off the expected error of rounding by factors within this one are equally good
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
    return {model: _with_exactest_parts(values, model, span, set(found)) for model, span in found.items()}


def _with_exactest_parts(values: FamilyValues, model: int, span: WeightedSum, merged: set[int]) -> WeightedSum:
    """The same sum with each part replaced by the model near to it that leaves the least, since it was looked for among representatives."""
    chosen = values.nearest[int(values.digits[model])]
    parts = sorted(span.all)
    near = {part: [n for n in near_of(chosen, part) if n != model and n not in merged] for part in parts}
    if span.method == "passthrough" or not any(near.values()):
        return span
    seen = view(
        values, model, [*parts, *dict.fromkeys(n for some in near.values() for n in some[:MOST_NEAR] if n not in parts)]
    )
    place, origin = {part: i for i, part in enumerate(seen.pool)}, span.method == "slerp"
    best = np.array([[place[part] for part in parts]])
    for position, part in enumerate(parts):
        sets = np.repeat(best, 1 + len(near[part][:MOST_NEAR]), 0)
        sets[1:, position] = [place[n] for n in near[part][:MOST_NEAR]]
        sets = sets[[len(set(row)) == len(row) for row in sets.tolist()]]
        best = sets[[int(seen.fit(sets, origin)[0].sum(1).argmin())]]
    remainder, coefficients = seen.fit(best, origin)
    again = weighted_sum(seen, best[0], coefficients[0], float(remainder.sum()), seen.allowed(best)[0], values, origin)
    return again if again is not None and (again.base is None) == (span.base is None) else span


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
    """Which of two of the same models is the merge: one without a base first, then the one of which as much remains as its own rounding
    leaves (solved for a part, the merge's rounding is what remains, and grows or shrinks), then the one whose base lies in the middle."""
    base, its = mine[1].base, other[1].base
    if base is None or its is None:
        return base is None and its is not None
    left, others = _off_rounding(values, *mine), _off_rounding(values, *other)
    if abs(left - others) > log(AS_EXACT):
        return left < others
    return values.rank(base) < values.rank(its)


def _off_rounding(values: FamilyValues, model: int, span: WeightedSum) -> float:
    """How far what a set leaves of a model is from the model's rounding: size of the logarithm of the ratio of squared lengths."""
    first, *rest = sorted(span.all)
    left = 0.0
    for tensor in values.tensors:
        base = tensor[first].astype(np.float64)
        moved = tensor[rest].astype(np.float64) - base  # (n - 1, v)
        own = tensor[model] - base
        found, *_ = np.linalg.lstsq(moved.T, own, rcond=None)
        left += float(np.square(own - found @ moved).sum())
    length = sum(float(np.square(tensor[model], dtype=np.float64).sum()) for tensor in values.tensors)
    expected = ROUNDING_SQ * 4.0 ** -float(values.digits[model]) * length
    return abs(log(max(left, 1e-6 * expected, 1e-300) / max(expected, 1e-300)))


def _explanations(values: FamilyValues, model: int, pool: Sequence[int]) -> list[WeightedSum]:
    """The smallest sets that explain a model, all of one size."""
    seen = view(values, model, pool)
    if found := _stacks(seen, values):
        return found
    least = seen.allowed(np.arange(len(pool))[:, None]).sum(1)  # (p,)
    # the others are copies but for rounding
    far = np.diagonal(seen.inner, axis1=1, axis2=2).sum(0)[: len(pool)] > FAR * least
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


def _stacks(seen: View, values: FamilyValues) -> list[WeightedSum]:
    found = []
    for parts, shares in stacks(seen, values):
        if float(shares.min()) >= LEAST_SHARE:
            members = sorted(zip(parts, shares.tolist(), strict=True), key=lambda pair: -pair[1])
            found.append(WeightedSum(tuple(members), None, 0.0, "passthrough", 0.0))
    return found


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
