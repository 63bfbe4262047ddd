"""Boosted decision trees as numbers: what scikit-learn fitted, asked without it and without unpickling anything.

The trees of a `HistGradientBoostingClassifier` are written as JSON by `bench/boosted.py`; here they are only walked. Constraints of the fit
(an answer may only rise with what speaks for it) hold for every input, also far from what was fitted on.
Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; https://scikit-learn.org/stable/modules/ensemble.html.

Dimension letters: n rows, f features, t trees, d nodes of the largest tree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from lineage.detect.arrays import Tensor, cached, torch

_ROWS = 1 << 14  # at a time, so that they stay in the cache


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """
    Attributes:
        feature, left, right: (t, d) int64; leaves point to themselves. threshold, value: (t, d) float64.
        baseline: what no tree has said yet; depth: steps from a root to its deepest leaf.
        features: names of the columns, in order.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    baseline: float
    depth: int
    features: tuple[str, ...]

    def log_odds(self, rows: Tensor) -> Tensor:
        """(n, f) float64 without nan -> (n,) float64."""
        parts = [self._some(part) for part in rows.split(_ROWS)]
        return torch.cat(parts) if parts else rows.new_zeros(0)

    def _some(self, rows: Tensor) -> Tensor:
        trees, nodes = self.feature.shape
        base = torch.arange(trees)[:, None] * nodes  # (t, 1)
        at = base.expand(trees, len(rows))  # (t, n), places in the flattened trees
        place = torch.arange(len(rows))[None, :] * rows.shape[1]
        feature, threshold = self.feature.flatten(), self.threshold.flatten()
        left, right = (self.left + base).flatten(), (self.right + base).flatten()
        flat = rows.flatten()
        for _ in range(self.depth):
            lower = flat[place + feature[at]] <= threshold[at]
            at = torch.where(lower, left[at], right[at])
        return self.baseline + self.value.flatten()[at].sum(0)


@cached
def shipped(name: str) -> BoostedTrees:
    """The one in `lineage/detect/<name>.json`."""
    return from_json(json.loads(files("lineage.detect").joinpath(f"{name}.json").read_text()))


def from_json(data: dict[str, object]) -> BoostedTrees:
    """Trees of unequal size are filled up with leaves that no row reaches."""
    trees: list[dict[str, list[float]]] = data["trees"]  # type: ignore[assignment]
    nodes = max(len(tree["value"]) for tree in trees)

    def column(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor([tree[name] + [0] * (nodes - len(tree[name])) for tree in trees], dtype=dtype)

    return BoostedTrees(
        feature=column("feature", torch.int64),
        threshold=column("threshold", torch.float64),
        left=column("left", torch.int64),
        right=column("right", torch.int64),
        value=column("value", torch.float64),
        baseline=float(data["baseline"]),  # type: ignore[arg-type]
        depth=int(data["depth"]),  # type: ignore[call-overload]
        features=tuple(data["features"]),  # type: ignore[arg-type]
    )
