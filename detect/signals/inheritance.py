"""Inheritance: what a step of training changed is still there in everything trained later.

Seen from an earlier model p, for two others s and b and a group of values: slope = <b - p, s - p> / |s - p|^2. If b was trained from
s, and s from p, the slope is about 1 in *every* group. If b and s are siblings, b knows nothing of what was peculiar to s, and the
slope is far below 1 in some groups. So the low quantile over groups, weighted by |s - p|^2, tells ancestors from siblings.
A slope far above 1 over all groups says that both lie on one trajectory from p.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detect.gram import Gram

QUANTILE = 0.25


@dataclass(frozen=True, slots=True)
class Inheritance:
    """
    Attributes:
        low: (m, k) float64, for model b and its candidate s: low quantile over groups of the slope of s in b, seen from p; nan where s
            equals p.
        total: (m, k) float64: the slope over all values.
        moved: (m,) float64: |x - p|^2 of every model x.
    """

    low: Tensor
    total: Tensor
    moved: Tensor


def inheritance(gram: Gram, origin: int, candidates: Tensor) -> Inheritance:
    """Slopes seen from the model `origin`, which takes the place of p.

    Args:
        candidates: (m, k) int64: for each model b the models s to look for in it.
    """
    models, count = candidates.shape
    child = torch.arange(models)[:, None].expand(-1, count)  # (m, k)
    products = gram.products
    at_origin = products[:, origin]  # (g, m)
    constant = at_origin[:, origin]  # (g,)
    own = products.diagonal(dim1=1, dim2=2) - 2 * at_origin + constant[:, None]
    own = own.clamp(min=0)  # (g, m): |x - p|^2
    shared = products[:, child, candidates] - at_origin[:, child] - at_origin[:, candidates] + constant[:, None, None]
    moved = own[:, candidates]  # (g, m, k)
    low = weighted_quantile(shared / torch.where(moved > 0, moved, torch.nan), moved, QUANTILE)
    return Inheritance(low=low, total=shared.sum(0) / moved.sum(0).clamp(min=1e-300), moved=own.sum(0))


def weighted_quantile(values: Tensor, weights: Tensor, quantile: float) -> Tensor:
    """Smallest value at which the weights, summed in rising order along dim 0, reach `quantile` of their total.

    Args:
        values: (g, ...); entries that are nan count as missing. weights: the same, or broadcast to it, not negative.
    """
    missing = values.isnan()
    ordered, order = torch.where(missing, torch.inf, values).sort(0)
    weights = torch.where(missing, 0.0, weights.expand_as(values)).gather(0, order)
    summed = weights.cumsum(0)
    reached = (summed >= quantile * summed[-1:]) & (weights > 0)
    first = reached.to(torch.uint8).argmax(0, keepdim=True)
    found = ordered.gather(0, first)[0]
    return torch.where(summed[-1] > 0, found, torch.nan)
