"""Each model of a family as a sum of all others: of which nothing but rounding remains, and which others have the largest parts in it.

In: values and inner products of a family, tensor by tensor. The inverse of the inner products holds the regression of every model on all
others at once; what remains of a model after that is a lower bound for any set of parents.
Source: Meinshausen and Bühlmann 2006, "High-dimensional graphs and variable selection with the Lasso".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.family_values import ROUNDING_SQ, FamilyValues
from lineage.detect.near_models import near_of

# what may remain over the expected rounding error of the sum, where products are rounded as well
ROUNDED_IN_BETWEEN = 6.0
OFF_SQ = 1e-6  # of the squared distance of the parents, beside rounding
RIDGE = 1e-12  # of the mean squared length, so that dependent models can be solved for
SCREENED_TENSORS = 12
SMALL_FAMILY = 64  # models that are all searched where a tensor has too few values to be screened


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

    def likely(self, values: FamilyValues, model: int, size: int) -> list[int]:
        """The same of those that it could have been made from; in the place of another one, one that is near to that."""
        if values.sources is None:
            return self.pool(model, size)
        chosen, found = values.nearest[int(values.digits[model])], dict[int, None]()
        for other in self.pool(model, len(self.weight)):
            if len(found) < size and (some := values.possible(model, (other, *near_of(chosen, other)))):
                found[some[0]] = None
        return [*found]


def regression(values: FamilyValues, inner: Sequence[np.ndarray]) -> Regression:
    """Every model on those that are representatives in its own dtype; a model that is near to one of these as that one.

    Args:
        inner: (m, m) inner products of the same m >= 2 models in each tensor, after a common point was taken off.
    """
    models = len(values.digits)
    weight, explained = np.zeros((models, models)), np.zeros(models, bool)
    known: dict[bytes, Regression] = {}
    for digits, chosen in values.nearest.items():
        some = np.unique(chosen)
        if len(some) < 2:
            continue
        if some.tobytes() not in known:
            known[some.tobytes()] = _on_all_others(
                values.only(some.tolist()), [tensor[np.ix_(some, some)] for tensor in inner]
            )
        found = known[some.tobytes()]
        own = np.flatnonzero(values.digits == digits)
        place = np.searchsorted(some, chosen[own])
        weight[np.ix_(own, some)] = found.weight[place]
        explained[own] = np.isin(place, found.explained)
    np.fill_diagonal(weight, -1.0)
    return Regression(weight, tuple(np.flatnonzero(explained).tolist()))


def _on_all_others(values: FamilyValues, inner: Sequence[np.ndarray]) -> Regression:
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
