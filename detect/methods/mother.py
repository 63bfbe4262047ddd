"""MoTHer: model trees from weight distance, kurtosis and a minimum spanning arborescence (Horwitz, Shul, Hoshen, ICLR 2025,
https://arxiv.org/abs/2405.18432).

1. Models into trees: Ward linkage on the distance between square matrices, cut at the number of trees, which the paper knows
   (`trees=0`: the silhouette chooses). 2. In a tree, the distance of two fully tuned models is the largest entry of the signed difference
   of a matrix (in one fixed order of the pair), scaled to 0 to 1 by the extremes of all such differences of that matrix in the tree; then
   the largest over matrices. For low-rank tuning it is the summed rank of the differences. 3. An edge against the direction of kurtosis
   costs 0.3 of the mean distance more: in specialisation (tuning) the parent has the higher kurtosis, in generalisation (pre-training) the
   lower; which stage it is, the user says. 4. The cheapest arborescence (networkx) is the tree.
The paper takes square matrices only; `layers=all` takes every layer, for models that have none that are square. Models sampled in part
have the rows that were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from lineage.detect.align import Layer, Part
from lineage.detect.decision import Decision
from lineage.detect.methods.plain import kurtosis
from lineage.detect.methods.registry import BadSetting, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions
from lineage.detect.methods.values import layers_of
from lineage.detect.model_input import Subject
from lineage.detect.options import Options

NAME = "mother"
AGAINST = 0.3  # lambda: share of the mean distance that an edge against kurtosis costs more


def decide(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    settings = settings_of(NAME, options.settings)
    if settings["trees"] < 0 or settings["trees"] > len(subjects) >= 2:
        raise BadSetting(
            f"{NAME}: trees is between 1 and the number of models ({len(subjects)}), or 0: found from the data"
        )
    found = layers_of(NAME, subjects, device)
    shapes = {name: shape for s in subjects for name, shape in s.sketch.layout.items()}
    layers = [layer for layer in found if layer.part is Part.BODY]
    if settings["layers"] == "square":
        layers = [layer for layer in layers if _is_square(shapes[layer.name])]
    if not layers:
        raise CannotTake(
            f"method {NAME} compares square matrices, and these models have none", "--method-option layers=all"
        )
    chosen = [layer for layer in layers if settings["kurtosis_of"] in layer.name]
    if not chosen:
        raise BadSetting(f"{NAME}: no matrix that is compared has {settings['kurtosis_of']!r} in its name")
    low_rank = settings["tuning"] == "lora"
    outliers = torch.stack([kurtosis(layer.values) for layer in chosen]).sum(0).cpu()  # (m,)
    if settings["stage"] == "generalisation":
        outliers = -outliers
    parents: list[int | None] = [None] * len(subjects)
    apart = rank_distance(layers) if low_rank else mean_distance(layers)
    for members in trees(apart, settings["trees"]):
        index = torch.tensor(members)
        between = apart[index][:, index] if low_rank else extreme_distance([layer.of(index) for layer in layers])
        for child, parent in arborescence(between, outliers[index], settings["against"]).items():
            parents[members[child]] = members[parent]
    return as_decisions(NAME, subjects, parents)


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] == shape[1]


def mean_distance(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64: sum over matrices of the mean absolute difference."""
    flat = [layer.values.flatten(1) for layer in layers]
    return torch.stack([torch.cdist(v, v, p=1).double() / v.shape[1] for v in flat]).sum(0).cpu()


def rank_distance(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64: sum over matrices of the numerical rank of the difference."""
    models = layers[0].values.shape[0]
    total = torch.zeros(models, models, dtype=torch.float64)
    for layer in layers:
        for i in range(models - 1):
            difference = layer.values[i + 1 :] - layer.values[i]  # (rest, u, w)
            total[i, i + 1 :] += torch.linalg.matrix_rank(difference).cpu()
    return total + total.T


def extreme_distance(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64: the largest entry of the scaled difference over all matrices, see the top of this file."""
    models = layers[0].values.shape[0]
    result = torch.zeros(models, models, dtype=torch.float64)
    for layer in layers:
        flat = layer.values.flatten(1)  # (m, v)
        largest = torch.zeros(models, models, dtype=torch.float64)
        low, high = torch.inf, -torch.inf
        for i in range(models - 1):
            difference = flat[i] - flat[i + 1 :]  # (rest, v)
            most = difference.amax(1).double().cpu()
            largest[i, i + 1 :] = most
            low, high = min(low, float(difference.min())), max(high, float(most.max()))
        if high > low:
            result = torch.maximum(result, (largest - low) / (high - low))
    return result.triu(1) + result.triu(1).T


def trees(apart: Tensor, count: int) -> list[list[int]]:
    """Ward linkage of the distances, cut at `count` trees; at the best silhouette for 0. All members in rising order."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    models = len(apart)
    matrix = apart.numpy()
    joined = linkage(squareform(matrix, checks=False), "ward")
    labels = np.ones(models, dtype=np.int64)
    best = -1.0
    for wanted in [count] if count else range(2, models):
        cut = fcluster(joined, wanted, "maxclust")
        score = silhouette_score(matrix, cut, metric="precomputed") if 1 < len(set(cut)) < models else -1.0
        if count or score > best:
            best, labels = score, cut
    return [np.flatnonzero(labels == label).tolist() for label in sorted(set(labels.tolist()))]


def arborescence(apart: Tensor, outliers: Tensor, against: float = AGAINST) -> dict[int, int]:
    """
    Args:
        apart: (m, m) float64, symmetric. outliers: (m,): a parent has more of them than its child.
        against: what an edge against that costs more, over the mean distance.
    Returns:
        child -> parent of the cheapest arborescence; all but its root.
    """
    models = len(apart)
    if models < 2:
        return {}
    more = against * float(apart.mean())
    graph: nx.DiGraph[int] = nx.DiGraph()
    for parent in range(models):
        for child in range(models):
            if parent != child:
                wrong = float(outliers[child]) > float(outliers[parent])
                graph.add_edge(parent, child, weight=float(apart[parent, child]) + more * wrong)
    return {child: parent for parent, child in nx.minimum_spanning_arborescence(graph).edges}
