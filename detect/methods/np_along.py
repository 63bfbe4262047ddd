"""Neural Phylogeny's clustering that looks for parents while it runs ("along"): KMeans and MeanShift (Yu & Wang, ICLR 2025).

At every update of the centres one number u ~ U(0, 1) is drawn for all of them. With u < alpha a centre becomes the mean of its models, and
its parent for the time being the model nearest to that mean; otherwise a fresh fake start is drawn and the centre becomes the model
nearest to it. The last such parent is the answer: after a last step to the mean it is the middle model, not the oldest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lineage.detect.methods.np_identify import FakeStart, identify

STEPS = 100
STILL = 1e-5  # squared movement of the centres at which KMeans ends


@dataclass(frozen=True, slots=True)
class ClusterParents:
    """
    Attributes:
        cluster: (m,) int64.
        parent: for each cluster the index of its parent among all models, -1 for a cluster without models.
        share: for each cluster, of the draws that chose its parent; 1 after a step to the mean.
    """

    cluster: Tensor
    parent: tuple[int, ...]
    share: tuple[float, ...]


def kmeans_along(values: Tensor, points: Tensor, seeds: Tensor, alpha: float, start: FakeStart) -> ClusterParents:
    """
    Args:
        values: (m, n) float64, what fake starts are compared with.
        points: (m, d) float64 with the same distances (`values.coordinates`), what is clustered.
        seeds: (k,) indices of the models that are the first centres.
    """
    centres = points[seeds].clone()  # (k, d)
    parent, share = seeds.tolist(), [1.0] * len(seeds)
    cluster = torch.cdist(points, centres).argmin(1)  # (m,)
    for _ in range(STEPS):
        to_mean = float(torch.rand((), generator=start.random)) < alpha
        moved = centres.clone()
        for k in range(len(seeds)):
            members = (cluster == k).nonzero().flatten().tolist()
            if not members:
                continue  # stays where it is
            parent[k], share[k] = _parent_of(values, points, members, to_mean, start)
            moved[k] = points[members].mean(0) if to_mean else points[parent[k]]
        movement = float((moved - centres).square().sum())
        centres = moved
        cluster = torch.cdist(points, centres).argmin(1)
        if movement <= STILL:
            break
    found = [p if bool((cluster == k).any()) else -1 for k, p in enumerate(parent)]
    return ClusterParents(cluster, tuple(found), tuple(share))


def meanshift_along(values: Tensor, points: Tensor, bandwidth: float, alpha: float, start: FakeStart) -> ClusterParents:
    """Flat kernel. Every model has a centre that wanders; centres are not merged, each model goes to the nearest one.

    Args:
        values, points: as for `kmeans_along`.
    """
    count = len(values)
    centres, parent, share = points.clone(), list(range(count)), [1.0] * count
    for _ in range(STEPS):
        to_mean = float(torch.rand((), generator=start.random)) < alpha
        inside = torch.cdist(centres, points) <= bandwidth  # (m centres, m models)
        moved, known = centres.clone(), {}
        for i in range(count):
            members = tuple(inside[i].nonzero().flatten().tolist())
            if not members:
                continue
            if members not in known:
                found = _parent_of(values, points, list(members), to_mean, start)
                known[members] = (*found, points[list(members)].mean(0) if to_mean else points[found[0]])
            parent[i], share[i], moved[i] = known[members]
        movement = float((moved - centres).square().sum())
        centres = moved
        if movement <= STILL:
            break
    cluster = torch.cdist(points, centres).argmin(1)
    return ClusterParents(cluster, tuple(parent), tuple(share))


def _parent_of(
    values: Tensor, points: Tensor, members: list[int], to_mean: bool, start: FakeStart
) -> tuple[int, float]:
    if not to_mean:
        found = identify(values, members, start)
        return found.parent, found.share
    own = points[members]
    return members[int((own - own.mean(0)).square().sum(1).argmin())], 1.0
