"""Merges that are, tensor by tensor, a weighted sum of their parents: linear, task arithmetic, Model Stock, SLERP, passthrough.

In: values of a family's models and the regression of each on all others. Out: for each model that a few others explain up to the rounding
of its dtype, the smallest such set.

- Search: all sets of two, three and four among the models with the largest partial correlations, then leaving out one after the other.
- Which of several dependent models is the merge: the one that was rounded last (rounded_one.py); where that does not tell, the one whose
  coefficients are all positive, or whose base lies in the middle of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import isfinite

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.near_models import near_of
from lineage.detect.regression import ROUNDED_IN_BETWEEN, Regression
from lineage.detect.rounded_one import rounded_last
from lineage.detect.span_fit import View, view
from lineage.detect.stacks import stacks
from lineage.detect.stock_sums import stock_sum
from lineage.detect.weighted_sum import LEAST_SHARE, WeightedSum, weighted_sum

FAR = 25.0  # squared distance over what rounding leaves: nearer models are copies
FIRST_TENSORS = 3  # in which sets are tried before the others
POOL, POOL_OF_FOUR = 24, 16
# models in the middle that are always tried: light siblings take the base's place among the partial correlations
FIRST_HUBS = 2
NEARS, NEAR_IN_POOL = 12, 4  # models whose near ones are tried as well, and how many of these
MOST_NEAR = 128  # models near to a part that are tried in its place
CHANCE = 3.0  # standard errors of what remains, by which models near to a base do as well as it does
SETTLED = ("passthrough", "slerp", "model stock")  # methods that a model itself shows
CLEARLY = 40.0  # log-odds from which on digits tell which of dependent models was rounded last
AS_NEAR = 1.1  # the same where sets differ in one light sibling


def span_merges(
    values: FamilyValues, regressed: Regression, blocks: np.ndarray, known: Mapping[int, WeightedSum] | None = None
) -> dict[int, WeightedSum]:
    """
    Args:
        blocks: (l,) whether a tensor is of the body, not an embedding; known: merges that are not looked at again.
    Returns:
        model -> what it is a sum of, for those that are one.
    """
    known = known or {}
    hubs = values.hubs[:FIRST_HUBS].tolist()
    choices = {
        m: _explanations(values, m, _with_near(values, m, [*hubs, *regressed.likely(values, m, POOL)]), blocks)
        for m in regressed.explained
        if m not in known
    }
    dependent: dict[frozenset[int], dict[int, WeightedSum]] = {}
    for model, some in choices.items():
        for span in some:
            dependent.setdefault(frozenset(span.all | {model}), {})[model] = span
    of_model: dict[int, list[WeightedSum]] = {}
    for models, spans in dependent.items():
        likeliest = _likeliest(values, models, spans)
        if likeliest is not None:
            of_model.setdefault(likeliest[0], []).append(likeliest[1])
    merged = {*of_model, *known}
    chosen = {model: _nearest_parts(some, merged, values) for model, some in of_model.items()}
    order = sorted(
        chosen,
        key=lambda m: (
            chosen[m].method not in SETTLED,
            len(chosen[m].all & chosen.keys()),
            -values.digits[m],
            chosen[m].base is not None,
            chosen[m].off,
        ),
    )
    found: dict[int, WeightedSum] = dict(known)
    for model in order:
        near = near_of(values.nearest[int(values.digits[model])], model)
        if not _made_of({model, *near}, chosen[model].all - set(near), found) and not _stands_in(
            chosen[model].all, found
        ):
            found[model] = chosen[model]
    return {
        model: span if model in known else _with_exactest_parts(values, model, span, set(found))
        for model, span in found.items()
    }


def claimed_sum(values: FamilyValues, model: int, claimed: Sequence[int], blocks: np.ndarray) -> WeightedSum | None:
    """What a model is a sum of, if it is one of those that its card names."""
    return min(_explanations(values, model, claimed, blocks), key=lambda span: span.off, default=None)


def _with_near(values: FamilyValues, model: int, pool: Sequence[int]) -> list[int]:
    """The pool and what is near to the first ones in it: where weights are large, a model near to a part does not do in its place."""
    chosen = values.nearest[int(values.digits[model])]
    near = [sorted(near_of(chosen, first), key=values.rank)[:NEAR_IN_POOL] for first in pool[:NEARS]]
    of_first, others = near[0], [m for some in near[1:] for m in some]
    return values.possible(model, dict.fromkeys([pool[0], *of_first, *pool[1:], *others]))


def _with_exactest_parts(values: FamilyValues, model: int, span: WeightedSum, merged: set[int]) -> WeightedSum:
    """The same sum with each part replaced by the model near to it that leaves the least, since it was looked for among representatives."""
    chosen = values.nearest[int(values.digits[model])]
    parts = sorted(span.all)
    near = {part: [n for n in values.possible(model, near_of(chosen, part)) if n not in merged] for part in parts}
    if span.method in ("passthrough", "model stock") or not any(near.values()):
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
    if again is None or (again.base is None, again.beyond) != (span.base is None, span.beyond):
        return span
    if again.base is None:
        return again
    position = best[0].tolist().index(place[again.base])
    others = [*near[parts[position]][:MOST_NEAR], *([] if span.base is None else [span.base])]
    alike = _as_good(seen, best[0], position, [place[n] for n in others], origin)
    return replace(again, alike=tuple(seen.pool[i] for i in alike))


def _as_good(seen: View, chosen: np.ndarray, position: int, others: Sequence[int], origin: bool) -> list[int]:
    """Those others (places) with which as much remains as with the member at a position, but for chance."""
    others = [i for i in dict.fromkeys(others) if i not in chosen]
    if not others:
        return []
    sets = np.repeat(chosen[None, :], 1 + len(others), 0)  # (s, n)
    sets[1:, position] = others
    remainder, coefficients = seen.fit(sets, origin)  # (s, l), (s, l, n)
    own = np.diagonal(seen.inner, axis1=1, axis2=2)  # (l, p + 1)
    mine = chosen[position]
    apart = own[:, others] + own[:, [mine]] - 2 * seen.inner[:, mine, others]  # (l, s - 1)
    share = np.square(coefficients[0, :, position])  # (l,)
    usual = 2 * (share[:, None] * np.clip(apart, 0, None) * (remainder[0] / seen.values)[:, None]).sum(0) ** 0.5
    more = (remainder[1:] - remainder[0]).sum(1)  # (s - 1,)
    return [other for other, good in zip(others, (more <= CHANCE * usual).tolist(), strict=True) if good]


def _nearest_parts(some: Sequence[WeightedSum], merged: set[int], values: FamilyValues) -> WeightedSum:
    """Means of the same parts lie between each other, so parts that are no merges come first, then what fits best; of a base and its
    light siblings, which fit alike, the base."""
    fewest = min(len(span.all & merged) for span in some)
    some = [span for span in some if len(span.all & merged) == fewest]
    least = min(span.off for span in some)
    return min((span for span in some if span.off <= AS_NEAR * least), key=lambda s: sum(map(values.rank, s.all)))


def _made_of(models: set[int], parts: set[int], found: Mapping[int, WeightedSum]) -> bool:
    """Whether a model, or one near to it, is among its own parts, once those that are merges are taken apart: the relation is known."""
    seen, left = set[int](), list(parts)
    while left:
        part = left.pop()
        if part not in seen:
            seen.add(part)
            left += found[part].all if part in found else ()
    return bool(models & seen)


def _stands_in(parts: set[int], found: Mapping[int, WeightedSum]) -> bool:
    """Whether the parts are a merge and all its own parts but one, so that what they make lies near that one: in coarser digits alike."""
    return any(part in found and parts - {part} <= found[part].all for part in parts)


def _likeliest(
    values: FamilyValues, models: frozenset[int], spans: Mapping[int, WeightedSum]
) -> tuple[int, WeightedSum] | None:
    """Which of dependent models is the merge, and of what: the one that was rounded last, where its own sum is one that a merge is."""
    settled = [(model, span) for model, span in spans.items() if span.method in SETTLED]
    if settled:  # of a base and its Model Stock either lies beyond the other; the base lies in the middle
        return min(settled, key=lambda one: -1 if one[1].base is None else values.rank(one[1].base))
    found = next(iter(spans.items()))
    may_be = [m for m in models if len(values.possible(m, models)) == len(models) - 1]
    odds = {m: one for m, one in rounded_last(values, models).items() if m in may_be}
    if odds:
        first, *others = sorted(odds, key=lambda m: -odds[m])
        if not isfinite(odds[first]):
            return None
        if not others or odds[first] - odds[others[0]] > CLEARLY:
            span = spans.get(first) or _sum_of(values, first, sorted(models - {first}))
            return None if span is None else (first, span)
    for mine in spans.items():
        if _likelier(values, mine, found):
            found = mine
    return found


def _sum_of(values: FamilyValues, model: int, parts: Sequence[int]) -> WeightedSum | None:
    seen = view(values, model, parts)
    found = _valid(seen, np.arange(len(parts))[None, :], values, origin=False)
    return found[0] if found else None


def _likelier(values: FamilyValues, mine: tuple[int, WeightedSum], other: tuple[int, WeightedSum]) -> bool:
    """Which of two of the same models is the merge, where digits do not tell: one that adds nothing to or takes nothing from a base first,
    then the one whose base lies in the middle."""
    if mine[1].beyond != other[1].beyond:
        return other[1].beyond
    base, its = mine[1].base, other[1].base
    if base is None or its is None:
        return base is None and its is not None
    return values.rank(base) < values.rank(its)


def _explanations(values: FamilyValues, model: int, pool: Sequence[int], blocks: np.ndarray) -> list[WeightedSum]:
    """The smallest sets that explain a model, all of one size."""
    seen = view(values, model, pool)
    if found := _stacks(seen, values, blocks):
        return found
    if (stock := stock_sum(values, model, pool)) is not None:
        return [stock]
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
            spans = _not_refuted(values, model, _valid(seen, sets, values, origin=False))
            if size < 4 and not spans:
                spans = _not_refuted(values, model, _valid(seen, sets, values, origin=True))
            if spans:
                return spans
    return _by_leaving_out(seen, values)


def _not_refuted(values: FamilyValues, model: int, spans: Sequence[WeightedSum]) -> list[WeightedSum]:
    """Those that leave no more than rounding does in one of the models: a light sibling on the way to a part may do for both of them in
    coarse digits, and hides the larger set."""
    return [span for span in spans if span.method in SETTLED or _left_by_rounding(values, span.all | {model})]


def _left_by_rounding(values: FamilyValues, models: set[int]) -> bool:
    odds = rounded_last(values, models)
    return not odds or isfinite(max(odds.values()))


def _stacks(seen: View, values: FamilyValues, blocks: np.ndarray) -> list[WeightedSum]:
    found = []
    for parts, shares in stacks(seen, values, blocks):
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
