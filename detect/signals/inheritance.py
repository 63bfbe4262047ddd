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

QUANTILE = 0.10


@dataclass(frozen=True, slots=True)
class Inheritance:
    """
    Attributes:
        low: (m, m) float64, [s, b]: low quantile over groups of the slope of s in b, seen from p; nan where s equals p.
        total: (m, m) float64, [s, b]: slope over all values.
        moved: (m,) float64: |s - p|^2.
    """

    low: Tensor
    total: Tensor
    moved: Tensor


def inheritance(gram: Gram, origin: int, quantile: float = QUANTILE) -> Inheritance:
    """All slopes seen from the model `origin`, which takes the place of p."""
    products = gram.seen_from(origin)  # (g, s, b)
    moved = products.diagonal(dim1=1, dim2=2).clamp(min=0)  # (g, s)
    slopes = products / torch.where(moved > 0, moved, torch.nan)[:, :, None]  # (g, s, b)
    total = products.sum(0) / torch.where(moved.sum(0) > 0, moved.sum(0), torch.nan)[:, None]  # (s, b)
    return Inheritance(low=weighted_quantile(slopes, moved[:, :, None], quantile), total=total, moved=moved.sum(0))


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
