"""Merges that are, tensor by tensor, a weighted sum of their parents: linear, task arithmetic, Model Stock, SLERP, passthrough.

In: values and inner products of a family's models, tensor by tensor. Out: for each model that a few others explain up to the rounding
of its dtype, the smallest such set. Training never ends there: its steps have a direction of their own in every tensor.

- Screen: the inverse of the inner products holds the regression of every model on all others at once; what remains of a model after that
  is a lower bound for any set of parents, so only the few models of which nothing but rounding remains are searched.
- Search: all sets of two, three and four among the models with the largest partial correlations, then leaving out one after the other.
  A tensor's coefficients sum to one and are its own. Values are taken in units of their last digit, so that rounding is the same
  everywhere and small values count most. SLERP leaves the plane through its parents, so for two parents the origin is a third point.
- Which of several dependent models is the merge: the one whose coefficients are all positive; a base alone may have a negative one, as
  in task arithmetic, and it lies in the middle of the others.

All of it is computed by numpy. Dimension letters: m models, l tensors, v values, p members of the pool, s sets, n members of a set.
Source: the regression by an inverse matrix, Meinshausen and Bühlmann 2006, "High-dimensional graphs and variable selection with the Lasso";
mergekit (arXiv 2403.13257) for what the methods compute; Model Stock, arXiv 2403.19522.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lineage.detect.decode import round_to

ROUNDING_SQ = 0.18  # expected squared rounding error of a number of length 1, in squared units of its last digit
ROUNDED_IN_BETWEEN = (
    6.0  # what may remain over the expected rounding error of the sum, where products are rounded as well
)
OFF_SQ = 1e-6  # of the squared distance of the parents, beside rounding
TELLING = 4.0  # squared distance of the parents over what a tensor may be off, from which on its coefficients are read
FAR = 25.0  # squared distance over what rounding leaves: nearer models are copies
NEEDED = 8.0  # what remains when a parent is left out, over what remains with it
NEEDED_OF_TWO = 60.0  # the same of two: what was trained a little lies nearly on the way to what was trained more
RIDGE = 1e-12  # of the mean squared length, so that dependent models can be solved for
SCREENED_TENSORS, FIRST_TENSORS = 12, 3  # tensors that are screened; in which sets are tried before the others
POOL, POOL_OF_FOUR = 24, 12
FIRST_HUBS = (
    2  # models in the middle that are always tried: light siblings take the base's place among the partial correlations
)
SMALL_FAMILY = 64  # models that are all searched where a tensor has too few values to be screened
LEAST_SHARE = 0.02
LARGEST_WEIGHT = 1.5  # of a difference from the base
BETWEEN = 1.3  # a base is that much farther, squared, from all models than the merge is at most
AS_EXACT = 3.0  # remainders within this factor are equally good
AS_NEAR = 1.1  # the same where sets differ in one light sibling
SAME_EVERYWHERE = 0.02  # coefficients of all tensors lie that near to each other where one number holds for all
SCALED = 0.998  # cosine of the line and of the model from which on the parts differ by scaling alone
SMALLEST = 32.0  # values that much below the usual length count as that long
REFERENCES = 5  # relatives from which parts of a stack are seen
DERIVED, OVERSHOT = 0.6, 1.5  # slopes of one part's change on another's between which one was trained from the other
STILL = 0.1  # of a part's values: where fewer changed there is nothing to be found again
_DTYPES = {8: "BF16", 11: "F16"}


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """What one model is a sum of.

    Attributes:
        members: models with their coefficients, the base aside; base: the model whose differences are summed, or None;
            base_weight: its own.
        method: in words. off: root of what remains over the parents' distance.
    """

    members: tuple[tuple[int, float], ...]
    base: int | None
    base_weight: float
    method: str
    off: float

    @property
    def all(self) -> set[int]:
        return {m for m, _ in self.members} | ({self.base} if self.base is not None else set())


@dataclass(frozen=True, slots=True)
class FamilyValues:
    """
    Attributes:
        tensors: (m, v) float32 values of each tensor that inner products were made of; digits: (m,) binary digits that each model's have.
        central: (m,) mean squared distance of each model to all others; hubs: (m,), those nearest to most others first.
    """

    tensors: tuple[np.ndarray, ...]
    digits: np.ndarray
    central: np.ndarray
    hubs: np.ndarray

    def only(self, models: Sequence[int]) -> FamilyValues:
        """The same of some of the models, in the order given."""
        if list(models) == list(range(len(self.digits))):
            return self
        place = {model: i for i, model in enumerate(models)}
        hubs = np.array([place[h] for h in self.hubs.tolist() if h in place], np.int64)
        index = np.array(models, np.int64)
        return FamilyValues(tuple(t[index] for t in self.tensors), self.digits[index], self.central[index], hubs)

    def rank(self, model: int) -> int:
        """Place among the models in the middle."""
        return int(np.flatnonzero(self.hubs == model)[0])

    def rounded(self, models: Sequence[int], digits: int) -> list[np.ndarray]:
        """(k, v) float64 values of some models in each tensor, rounded to so many digits, as they are before they are merged in a dtype."""
        return [rounded(tensor[np.array(models, np.int64)], digits) for tensor in self.tensors]


def rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """Values in a coarser dtype, float64."""
    dtype = _DTYPES.get(digits)
    return (values if dtype is None else round_to(values, dtype)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Regression:
    """Each model as a sum of all others.

    Attributes:
        weight: (m, m), [model, other]: size of the partial correlation, the mean of all tensors; -1 on the diagonal.
        explained: models of which nothing but rounding remains.
    """

    weight: np.ndarray
    explained: tuple[int, ...]

    def pool(self, model: int, size: int) -> list[int]:
        """The models with the largest parts."""
        order = np.argsort(-self.weight[model], kind="stable")[: min(size, len(self.weight) - 1)]
        return [int(i) for i in order]


def regression(values: FamilyValues, inner: Sequence[np.ndarray]) -> Regression:
    """
    Args:
        inner: (m, m) inner products of the same m >= 2 models in each tensor, after a common point was taken off.
    """
    models = len(values.digits)
    weight = np.zeros((models, models))
    enough = [i for i, tensor in enumerate(values.tensors) if tensor.shape[1] > 2 * (models + 1)]
    explained = np.zeros(models)
    places = sorted({round(x) for x in np.linspace(0, len(enough) - 1, min(len(enough), SCREENED_TENSORS)).tolist()})
    for tensor in [enough[i] for i in places]:
        length = np.square(values.tensors[tensor], dtype=np.float64).sum(1)  # (m,)
        own_products = inner[tensor]
        near = _nearest_distance(own_products)
        seen = _with_origin(own_products, length)
        spread = float(np.trace(seen[:models, :models])) / models or 1.0
        precision = np.linalg.inv(seen + RIDGE * spread * np.eye(models + 1))
        own = np.clip(precision.diagonal()[:models], 1e-300, None)
        rounding = ROUNDING_SQ * 4.0 ** -values.digits.astype(np.float64) * length
        explained += 1 / own <= 2 * ROUNDED_IN_BETWEEN * rounding + 2 * OFF_SQ * near + 4 * RIDGE * spread
        weight -= precision[:models, :models] / np.sqrt(own[:, None] * own[None, :]) / len(places)
    weight = np.abs(weight)
    np.fill_diagonal(weight, -1.0)
    if not places:
        return Regression(weight, tuple(range(models)) if models <= SMALL_FAMILY else ())
    return Regression(weight, tuple(np.flatnonzero(explained >= 0.9 * len(places)).tolist()))


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


def _with_origin(inner: np.ndarray, length: np.ndarray) -> np.ndarray:
    """(m, m) inner products after a common point was taken off, and (m,) squared lengths before -> (m + 1, m + 1).

    Last comes a point on the way from the mean to the origin, as far off as the models are. One more coordinate, the same for all, makes
    coefficients sum to one: without it each model would be a sum of the others, since all of them sum to zero.
    """
    inner = inner - inner.mean(0, keepdims=True) - inner.mean(1, keepdims=True) + inner.mean()
    own = inner.diagonal()
    mean_sq = max(float((length - own).mean()), 1e-300)  # squared length of the mean
    along = (length - own - mean_sq) / 2  # (m,)
    spread = float(own.mean())
    scale = (spread / mean_sq) ** 0.5
    row = np.append(-scale * along, scale**2 * mean_sq)
    return np.block([[inner, row[:-1, None]], [row[None, :]]]) + 10 * spread


def _nearest_distance(inner: np.ndarray) -> np.ndarray:
    distance = apart(inner)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(1))


def apart(inner: np.ndarray) -> np.ndarray:
    """(..., n, n) inner products of differences to a point -> squared distances of the points."""
    length = np.diagonal(inner, axis1=-2, axis2=-1)
    return np.clip(length[..., :, None] + length[..., None, :] - 2 * inner, 0, None)


def affine(inner: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., n, n) inner products of differences to a point -> (...) squared distance of it to the plane through the n points, and the
    (..., n) coefficients of its foot, which sum to one. Equal points share what they have. floor: (...) numerical error of the products."""
    size = inner.shape[-1]
    scale = np.clip(np.diagonal(inner, axis1=-2, axis2=-1).max(-1), 1e-300, None)  # (...)
    scale = np.maximum(scale, 1e3 * floor)
    ridge = (RIDGE + 4 * floor / scale)[..., None, None] * np.eye(size)
    unit = inner / scale[..., None, None] + ridge
    solved = np.linalg.solve(unit, np.ones((*unit.shape[:-1], 1)))[..., 0]  # (..., n)
    coefficients = solved / solved.sum(-1, keepdims=True)
    remainder = np.einsum("...i,...ij,...j->...", coefficients, inner, coefficients)
    return np.clip(remainder, 0, None), coefficients


@dataclass(frozen=True, slots=True)
class _View:
    """One model seen from its pool.

    Attributes:
        inner: (l, p + 1, p + 1) inner products of the differences of the pool and the origin, last, to the model, each value in units of
            its last digit; floor: (l,) their numerical error.
        rounding: (l,) expected squared rounding error of the model; values: (l,) how many there are.
        off_sq: of the squared distance of the parents, what rounding of their differences adds.
    """

    model: int
    pool: tuple[int, ...]
    inner: np.ndarray
    floor: np.ndarray
    rounding: np.ndarray
    values: np.ndarray
    off_sq: float

    def allowed(self, sets: np.ndarray) -> np.ndarray:
        """(s, l): rounding expected of a sum, and what is nothing beside the distance of the parents in each set (s, n)."""
        own = np.diagonal(self.inner, axis1=1, axis2=2)  # (l, p + 1)
        return np.asarray(self.rounding + self.off_sq * own[:, sets].mean(2).T + self.floor)  # (s, l)

    def fit(self, sets: np.ndarray, origin: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(s, l) remainders and (s, l, n) coefficients that sum to one of each set (s, n) in each tensor; with the origin n + 1."""
        if origin:
            sets = np.concatenate([sets, np.full((len(sets), 1), len(self.pool))], 1)
        inner = self.inner[:, sets[:, :, None], sets[:, None, :]].swapaxes(0, 1)  # (s, l, n, n)
        return affine(inner, np.broadcast_to(self.floor, inner.shape[:2]))

    def among(self, some: Sequence[int]) -> _View:
        """With some of the pool, by place."""
        index = np.array([*some, len(self.pool)])
        return replace(
            self, pool=tuple(self.pool[i] for i in some), inner=self.inner[:, index[:, None], index[None, :]]
        )

    def only(self, tensors: np.ndarray) -> _View:
        return replace(
            self,
            inner=self.inner[tensors],
            floor=self.floor[tensors],
            rounding=self.rounding[tensors],
            values=self.values[tensors],
        )


def _view(values: FamilyValues, model: int, pool: Sequence[int]) -> _View:
    digits = int(values.digits[model])
    inner, floor, count = [], [], []
    for rows, mine in zip(values.rounded(pool, digits), values.rounded([model], digits), strict=True):
        unit = last_digit(mine[0], digits)  # (v,)
        moved = np.concatenate([rows - mine, -mine]) / unit  # (p + 1, v)
        inner.append(moved @ moved.T)
        floor.append(float(np.square(mine[0] / unit).sum()) * 1e-14)
        count.append(mine.shape[1])
    each = np.array(count, np.float64)
    small = np.array(floor) * 4.0**-digits
    return _View(model, tuple(pool), np.stack(inner), small, each / 12, each, OFF_SQ + 2 * ROUNDING_SQ * 4.0**-digits)


def last_digit(values: np.ndarray, digits: int) -> np.ndarray:
    """(v,) what one unit in the last place of each value is worth, that of the smallest ones taken larger: their parents were larger."""
    least = float(np.sqrt(np.square(values).mean())) / SMALLEST
    _, exponent = np.frexp(np.clip(np.abs(values), max(least, 1e-30), None))
    return np.ldexp(np.ones_like(values), exponent - digits)


def _explanations(values: FamilyValues, model: int, pool: Sequence[int]) -> list[WeightedSum]:
    """The smallest sets that explain a model, all of one size."""
    seen = _view(values, model, pool)
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


def _valid(seen: _View, sets: np.ndarray, values: FamilyValues, origin: bool) -> list[WeightedSum]:
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
        _span(seen, sets[i], coefficients[i], float(remainder[i].sum()), allowed[i], values, origin)
        for i in np.flatnonzero(good).tolist()
    )
    return [span for span in spans if span is not None]


def _by_leaving_out(seen: _View, values: FamilyValues) -> list[WeightedSum]:
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


def _span(
    seen: _View,
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
    if min(needed) < (NEEDED_OF_TWO if size == 2 else NEEDED) * max(remainder, float(allowed.sum())):
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
    whole, differ = distance.sum(0), _all_differ(distance[telling], allowed[telling])
    if size == 2 and _scaled(seen, chosen, float(whole[0, 1])):
        return None
    base, method = None, "linear" if constant else "slerp or linear, with shares of its own in each tensor"
    if not constant and _is_stack(each):
        if not _taken_as_they_are(own, telling, each) or not _really_stacked(
            values, seen, chosen, coefficients, telling
        ):
            return None
        method = "passthrough"
    elif origin:
        method = "slerp"
    elif size > 2 and not constant and (stock := _stocked(each[differ])) is not None:
        base, method = models[stock], "model stock"
        mean = np.full_like(mean, 1 / (size - 1))
    elif float(mean.min()) < -LEAST_SHARE / 2:
        negative = int(mean.argmin())
        if size < 3 or not _may_be_base(negative, mean, values.central, models, seen.model):
            return None
        base = models[negative]
        method = "task arithmetic" + ("" if constant else ", with weights of its own in each tensor")
    shares = [(m, float(a)) for m, a in zip(models, mean, strict=True) if m != base]
    if any(share < LEAST_SHARE for _, share in shares):
        return None
    own_weight = 0.0 if base is None else 1 - sum(share for _, share in shares)
    off = (remainder / max(1e-300, float(whole.max()))) ** 0.5
    return WeightedSum(tuple(sorted(shares, key=lambda pair: -pair[1])), base, own_weight, method, off)


def _spread_allowed(distance: np.ndarray, allowed: np.ndarray, values: np.ndarray) -> float:
    """How far coefficients of one tensor may lie from the mean by rounding alone."""
    nearest = (distance + np.where(np.eye(distance.shape[1], dtype=bool), np.inf, 0.0)).min((1, 2))
    return max(SAME_EVERYWHERE, 4 * float(np.sqrt(allowed / np.maximum(nearest, 1e-3 * allowed) / values).max()))


def _scaled(seen: _View, chosen: np.ndarray, distance: float) -> bool:
    """Whether two parts differ by scaling alone: then a third between them is one more of the same."""
    inner = seen.inner.sum(0)
    i, j = chosen.tolist()
    along = abs(float(inner[i, -1] - inner[j, -1]))  # of the line between them, times the model's length
    return along >= SCALED * (distance * float(inner[-1, -1])) ** 0.5


def _may_be_base(base: int, mean: np.ndarray, central: np.ndarray, models: Sequence[int], model: int) -> bool:
    """Whether the one with a negative coefficient can be the base whose differences were summed: it lies in the middle of the family
    rather than the merge does."""
    positive = all(0 < float(a) <= LARGEST_WEIGHT for i, a in enumerate(mean.tolist()) if i != base)
    return positive and float(central[models[base]]) < BETWEEN * float(central[model])


def _all_differ(distance: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(t,) tensors in which no two members (t, n, n) are equal; all where there are none, since equal ones share their coefficients."""
    nearest = (distance + np.where(np.eye(distance.shape[1], dtype=bool), np.inf, 0.0)).min((1, 2))
    differ = nearest > TELLING * allowed
    return differ if bool(differ.any()) else np.ones_like(differ)


def _stocked(each: np.ndarray) -> int | None:
    """The base of a Model Stock merge: in every tensor (t, n) the others have equal coefficients, and not the same in all tensors."""
    for base in range(each.shape[1]):
        others = np.delete(each, base, 1)
        even = float(np.abs(others - others.mean(1, keepdims=True)).max()) < SAME_EVERYWHERE
        if even and float(np.abs(others).mean()) > LEAST_SHARE / 4:
            return base
    return None


def _is_stack(each: np.ndarray) -> bool:
    """Whether every tensor is that of one member."""
    return bool((np.abs(each.max(1) - 1) < 1e-2).all() and (np.abs(each).sum(1) - 1 < 2e-2).all())


def _taken_as_they_are(inner: np.ndarray, telling: np.ndarray, each: np.ndarray) -> bool:
    """Whether every tensor that tells equals that of the part that gave it, bit for bit. inner: (l, n, n) of differences to the model."""
    squared = np.diagonal(inner, axis1=1, axis2=2)[telling]  # (t, n)
    return not bool(np.take_along_axis(squared, each.argmax(1)[:, None], 1).any())


def _really_stacked(
    values: FamilyValues, seen: _View, chosen: np.ndarray, coefficients: np.ndarray, telling: np.ndarray
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
