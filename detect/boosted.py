"""Boosted decision trees as numbers: what scikit-learn fitted, asked without it and without unpickling anything.

The trees of a `HistGradientBoostingClassifier` are written as JSON by `bench/boosted.py`. No tree is walked here: it has eight leaves at
most, and a table says for each feature's value which leaves of every tree can still be reached, as the bits of one byte. All features
together leave one. Constraints of the fit (an answer may only rise with what speaks for it) hold for every input, also far from what was
fitted on.
Sources: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; https://scikit-learn.org/stable/modules/ensemble.html;
Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees".

Dimension letters: n rows, f features, t trees, k thresholds of one feature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from lineage.detect.arrays import Tensor, cached, torch

_ROWS = 1 << 12  # at a time, so that they stay in the cache
_LEAVES = 8  # of a tree, at most: as many as a byte has bits


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """
    Attributes:
        thresholds: (k,) float64 of each feature, rising.
        reached: (k + 1, t) uint8 of each feature: leaves of each tree that a value above so many thresholds can reach.
        value: (t, 256) float64: of each leaf, at the bit that it has.
        baseline: what no tree has said yet.
        features: names of the columns, in order.
    """

    thresholds: Sequence[np.ndarray]
    reached: Sequence[np.ndarray]
    value: np.ndarray
    baseline: float
    features: tuple[str, ...]

    def log_odds(self, rows: Tensor) -> Tensor:
        """(n, f) float64 on the CPU, without nan -> (n,) float64."""
        given = rows.numpy()
        found = np.empty(len(given))
        for start in range(0, len(given), _ROWS):
            found[start : start + _ROWS] = self._some(given[start : start + _ROWS])
        return torch.from_numpy(found)

    def _some(self, rows: np.ndarray) -> np.ndarray:
        leaves = np.full((len(rows), len(self.value)), 255, np.uint8)  # (n, t)
        for column, thresholds, reached in zip(rows.T, self.thresholds, self.reached, strict=True):
            leaves &= reached.take(np.searchsorted(thresholds, column), axis=0)
        places = leaves + 256 * np.arange(len(self.value))
        return np.asarray(self.baseline + self.value.ravel().take(places).sum(1))


@cached
def shipped(name: str) -> BoostedTrees:
    """The one in `lineage/detect/<name>.json`."""
    return from_json(json.loads(files("lineage.detect").joinpath(f"{name}.json").read_text()))


def from_json(data: Mapping[str, Any]) -> BoostedTrees:
    """Trees as `bench/boosted.py` writes them: nodes in columns, children after their parent, leaves point to themselves.

    Raises ValueError for a tree of more than eight leaves.
    """
    names, trees = tuple(data["features"]), data["trees"]
    value = np.zeros((len(trees), 256))
    every = np.zeros(len(trees), np.uint8)  # all leaves of a tree
    asked: list[list[tuple[int, float, int, int]]] = [[] for _ in names]  # tree, threshold, leaves up to it and above
    for place, tree in enumerate(trees):
        leaves = _leaves_below(tree)
        every[place] = leaves[0]
        for node, (left, right) in enumerate(zip(tree["left"], tree["right"], strict=True)):
            if left == node:
                value[place, leaves[node]] = tree["value"][node]
            else:
                asked[tree["feature"][node]].append((place, tree["threshold"][node], leaves[left], leaves[right]))
    thresholds = [np.unique([threshold for _, threshold, _, _ in nodes]) for nodes in asked]
    reached = [np.tile(every, (len(own) + 1, 1)) for own in thresholds]
    for own, table, nodes in zip(thresholds, reached, asked, strict=True):
        for place, threshold, low, high in nodes:
            first_above = int(np.searchsorted(own, threshold)) + 1
            table[:first_above, place] &= 255 - high
            table[first_above:, place] &= 255 - low
    return BoostedTrees(thresholds, reached, value, float(data["baseline"]), names)


def _leaves_below(tree: Mapping[str, Any]) -> list[int]:
    """Of each node the leaves below it, as bits."""
    leaves = [node for node, left in enumerate(tree["left"]) if left == node]
    if len(leaves) > _LEAVES:
        raise ValueError(f"a tree of {len(leaves)} leaves, where {_LEAVES} are the most")
    below = [0] * len(tree["left"])
    for node in reversed(range(len(below))):
        left, right = tree["left"][node], tree["right"][node]
        below[node] = 1 << leaves.index(node) if left == node else below[left] | below[right]
    return below
