"""Neural Phylogeny without learning: clusters of models, one parent each, everyone else its child (Yu & Wang, ICLR 2025,
https://openreview.net/forum?id=jv2zHOalpL).

"After": cluster first (scikit-learn), then the parent of a cluster is its model nearest to a fake start (`np_identify`). "Along", for
alpha < 1 with KMeans and MeanShift: see `np_along`. The paper looks at the first 1,024 values of one tensor; `tensor=all` takes all that
were sampled. In the paper the number of clusters is an input; `clusters=0` chooses it by the silhouette.
Where paper and released code differ: the paper lets many fake starts vote (`draws=100`), the code draws one (`draws=1`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lineage.detect.decision import Decision
from lineage.detect.methods.np_along import kmeans_along, meanshift_along
from lineage.detect.methods.np_identify import FakeStart, identify
from lineage.detect.methods.registry import BadSetting, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions
from lineage.detect.methods.values import coordinates, distances, layers_of, some_values
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.graphdb.schema import counted

NOISE = -1
MOST_CLUSTERS = 64  # tried where the number is not given

Clustering = Callable[[Tensor, dict[str, Any]], "np.ndarray[Any, Any]"]


def kmeans(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("np-kmeans", subjects, options, device, _kmeans_labels)


def meanshift(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("np-meanshift", subjects, options, device, _meanshift_labels)


def dbscan(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("np-dbscan", subjects, options, device, _dbscan_labels)


def gmm(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("np-gmm", subjects, options, device, _gmm_labels)


def _decide(
    name: str, subjects: Sequence[Subject], options: Options, device: torch.device, cluster: Clustering
) -> list[Decision]:
    settings = settings_of(name, options.settings)
    _check(name, settings, len(subjects))
    layers = layers_of(name, subjects, device)
    values = some_values(name, layers, settings["tensor"], settings["first"])  # (m, n)
    start = FakeStart(settings["start"], settings["draws"], torch.Generator().manual_seed(settings["seed"]))
    if settings.get("alpha", 1.0) < 1:
        parent_of, share_of = _along(name, values, settings, start)
    else:
        labels = cluster(coordinates(values), settings)
        parent_of, share_of = _after(values, labels, start)
    parents = [None if parent in (i, NOISE) else parent for i, parent in enumerate(parent_of)]
    return as_decisions(name, subjects, parents, share_of)


def _check(name: str, settings: dict[str, Any], models: int) -> None:
    if settings["draws"] < 1 or settings["first"] < 1:
        raise BadSetting(f"{name}: draws and first are at least 1")
    if not 0 <= settings.get("alpha", 1.0) <= 1:
        raise BadSetting(f"{name}: alpha lies between 0 and 1, not {settings['alpha']}")
    if settings.get("clusters", 0) < 0 or settings.get("clusters", 0) > models >= 2:
        raise BadSetting(
            f"{name}: clusters is between 1 and the number of models ({models}), or 0: found from the data"
        )


def _after(values: Tensor, labels: np.ndarray[Any, Any], start: FakeStart) -> tuple[list[int], list[float]]:
    """For every model its parent (itself for one, NOISE without cluster) and the share of the draws that say so."""
    parent, share = [NOISE] * len(labels), [1.0] * len(labels)
    for label in sorted({int(x) for x in labels} - {NOISE}):
        members = np.flatnonzero(labels == label).tolist()
        found = identify(values, members, start)
        for member in members:
            parent[member], share[member] = found.parent, found.share
    return parent, share


def _along(name: str, values: Tensor, settings: dict[str, Any], start: FakeStart) -> tuple[list[int], list[float]]:
    points = coordinates(values)
    if name == "np-kmeans":
        count = settings["clusters"] or int(_kmeans_labels(points, settings).max()) + 1
        found = kmeans_along(values, points, _seeds(values, count, settings, start.random), settings["alpha"], start)
    else:
        found = meanshift_along(values, points, _bandwidth(points, settings), settings["alpha"], start)
    own = found.cluster.tolist()
    return [found.parent[k] for k in own], [found.share[k] for k in own]


def _seeds(values: Tensor, count: int, settings: dict[str, Any], random: torch.Generator) -> Tensor:
    """(count,) indices: each next seed with a chance in proportion to its squared distance from those before (k-means++), among
    models whose norm is small enough.

    Raises:
        BadSetting: too few models are.
    """
    norm = values.square().sum(1).sqrt()
    allowed = (
        (norm <= settings["norm_at_most"]) if settings["norm_at_most"] > 0 else torch.ones_like(norm, dtype=torch.bool)
    )
    if int(allowed.sum()) < count:
        raise BadSetting(
            f"np-kmeans: {counted(int(allowed.sum()), 'model')} with a norm of at most {settings['norm_at_most']}"
        )
    apart = distances(values).square().cpu()
    chance = allowed.double().cpu()
    chosen: list[int] = []
    for _ in range(count):
        if float(chance.sum()) <= 0:  # all that is left equals a seed
            chance = allowed.double().cpu()
            chance[chosen] = 0
        chosen.append(int(torch.multinomial(chance, 1, generator=random)))
        chance = apart[chosen].min(0).values * allowed.cpu()
    return torch.tensor(chosen)


def _kmeans_labels(points: Tensor, settings: dict[str, Any]) -> np.ndarray[Any, Any]:
    from sklearn.cluster import KMeans

    def run(clusters: int) -> np.ndarray[Any, Any]:
        model = KMeans(clusters, init="k-means++", n_init=1, max_iter=100, random_state=settings["seed"])
        return _fitted(model, points)

    return _with_count(run, points, settings["clusters"])


def _gmm_labels(points: Tensor, settings: dict[str, Any]) -> np.ndarray[Any, Any]:
    from sklearn.mixture import GaussianMixture

    def run(clusters: int) -> np.ndarray[Any, Any]:
        model = GaussianMixture(clusters, covariance_type="full", random_state=settings["seed"])
        return _fitted(model, points)

    try:
        return _with_count(run, points, settings["clusters"])
    except ValueError as error:  # scikit-learn's: an invalid covariance, where models coincide
        raise CannotTake(f"method np-gmm: {str(error).splitlines()[0]}", "try np-kmeans") from None


def _fitted(model: Any, points: Tensor) -> np.ndarray[Any, Any]:
    """(m,) labels. That there are fewer different models than clusters, or too few steps, is no one's business but the method's."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit_predict(points.cpu().numpy()))


def _with_count(run: Callable[[int], np.ndarray[Any, Any]], points: Tensor, clusters: int) -> np.ndarray[Any, Any]:
    """Labels for the given number of clusters; without one, for the number whose silhouette is best (Rousseeuw 1987)."""
    from sklearn.metrics import silhouette_score

    if clusters:
        return run(clusters)
    apart = distances(points).cpu().numpy()
    best, chosen = -1.0, np.zeros(len(points), dtype=np.int64)
    for count in range(2, min(len(points) - 1, MOST_CLUSTERS) + 1):
        labels = run(count)
        if 1 < len(set(labels.tolist())) < len(points):
            score = float(silhouette_score(apart, labels, metric="precomputed"))
            if score > best:
                best, chosen = score, labels
    return chosen


def _meanshift_labels(points: Tensor, settings: dict[str, Any]) -> np.ndarray[Any, Any]:
    from sklearn.cluster import MeanShift

    return _fitted(MeanShift(bandwidth=_bandwidth(points, settings), max_iter=100), points)


def _bandwidth(points: Tensor, settings: dict[str, Any]) -> float:
    """The one given; without one, scikit-learn's estimate (mean distance to the farthest of the nearest 30 % of models)."""
    from sklearn.cluster import estimate_bandwidth

    if settings["bandwidth"] > 0:
        return float(settings["bandwidth"])
    estimate = float(estimate_bandwidth(points.cpu().numpy(), random_state=settings["seed"]))
    return estimate if estimate > 0 else 1e-12


def _dbscan_labels(points: Tensor, settings: dict[str, Any]) -> np.ndarray[Any, Any]:
    from sklearn.cluster import DBSCAN

    if settings["eps"] <= 0 or settings["neighbours"] < 1:
        raise BadSetting("np-dbscan: eps is above 0 and neighbours at least 1")
    model = DBSCAN(eps=settings["eps"], min_samples=settings["neighbours"], metric="precomputed")
    return np.asarray(model.fit_predict(distances(points).cpu().numpy()))
