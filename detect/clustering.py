"""Relatedness -> families: the connected parts of the graph of related models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lineage.detect.arrays import Tensor
from lineage.detect.signals.shared_start import APART

RELATED = 0.12  # excess cosine of matching units; bench/NOTES.md says where families and strangers lie


def families(relatedness: Tensor, shared: Tensor, related: float = RELATED) -> list[list[int]]:
    """
    Args:
        relatedness: (m, m), symmetric; shared: (m, m), see signals/shared_start.py.
    Returns:
        Every model in exactly one family, families and members in rising order; a family of one is a model without relatives.
    """
    pairs = ((relatedness >= related) & (shared >= APART)).triu(1).nonzero().tolist()
    return connected(relatedness.shape[0], pairs)


def connected(models: int, pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """Connected parts of the graph of `models` nodes and these edges, parts and members in rising order."""
    above = list(range(models))  # the first member of a part is above itself

    def first(model: int) -> int:
        while above[model] != model:
            above[model] = above[above[model]]
            model = above[model]
        return model

    for a, b in pairs:
        a, b = sorted((first(a), first(b)))
        above[b] = a
    parts: dict[int, list[int]] = {}
    for model in range(models):
        parts.setdefault(first(model), []).append(model)
    return list(parts.values())
