"""Inheritance: what a step of training changed is still there in everything trained later.

Seen from an earlier model p, for two others s and b and a group of values: slope = <b - p, s - p> / |s - p|^2. If b was trained from
s, and s from p, the slope is about 1 in *every* group. If b and s are siblings, b knows nothing of what was peculiar to s, and the
slope is far below 1 in some groups. So the low quantile over groups, weighted by |s - p|^2, tells ancestors from siblings.
A slope far above 1 over all groups says that both lie on one trajectory from p.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.detect.arrays import Tensor, torch
from lineage.detect.gram import Gram
from lineage.detect.weighted_quantile import weighted_quantile

QUANTILE = 0.25
_CHUNK = 1 << 18  # groups times pairs at a time: they stay in the cache


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
    if 2 * candidates.shape[1] < len(candidates):
        return _slopes(gram, origin, candidates)
    every = _slopes(gram, origin, None)  # reading every row as it stands is quicker than picking most of it
    return Inheritance(every.low.gather(1, candidates), every.total.gather(1, candidates), every.moved)


def _slopes(gram: Gram, origin: int, candidates: Tensor | None) -> Inheritance:
    """`inheritance` of the candidates, or of all models in their order."""
    products = gram.products
    groups, models = products.shape[:2]
    at_origin = products[:, origin]  # (g, m)
    constant = at_origin[:, origin, None]  # (g, 1)
    own = (products.diagonal(dim1=1, dim2=2) - 2 * at_origin + constant).clamp(min=0)  # (g, m): |x - p|^2
    before = at_origin - constant  # (g, m)
    low, total = [], []
    step = max(1, _CHUNK // (groups * (models if candidates is None else candidates.shape[1])))
    for start in range(0, models, step):
        children = slice(start, start + step)
        if candidates is None:
            to_child, to_origin, moved = products[:, children], before[:, None], own[:, None]
        else:
            sought = candidates[children]  # (c, k)
            to_child = products[:, children].gather(2, sought.expand(groups, -1, -1))  # (g, c, k)
            to_origin, moved = before[:, sought], own[:, sought]  # (g, c, k) each
        shared = (to_child - to_origin).sub_(at_origin[:, children, None])  # (g, c, k)
        total.append(shared.sum(0) / moved.sum(0).clamp(min=1e-300))
        low.append(weighted_quantile(shared.div_(moved), moved, QUANTILE))  # 0 / 0 is nan
    return Inheritance(low=torch.cat(low), total=torch.cat(total), moved=own.sum(0))
