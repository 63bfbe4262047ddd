"""Fits boosted trees that may only rise, or fall, with what speaks for an answer; writes them as numbers for detect/boosted.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier


def fit(x: np.ndarray, y: np.ndarray, weight: np.ndarray, signs: Sequence[int]) -> HistGradientBoostingClassifier:
    """
    Args:
        x: (n, f); y: (n,) bool; weight: (n,), scaled to a mean of 1.
        signs: (f,): 1 where the answer may only rise with the feature, -1 where it may only fall, 0 where it is free.
    """
    trees = HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.1,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=5.0,
        monotonic_cst=list(signs),
        early_stopping=False,
        random_state=0,
    )
    return trees.fit(x, y, sample_weight=weight * len(weight) / weight.sum())


def as_json(model: HistGradientBoostingClassifier, features: Sequence[str], fitted_on: Mapping[str, int]) -> str:
    """Trees as lists of nodes, children after their parent; a leaf's children are itself."""
    trees = []
    for (predictor,) in model._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        place = np.arange(len(nodes))
        trees.append(
            {
                "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(int).tolist(),
                "threshold": [
                    float(t) if np.isfinite(t) else 1e300 for t in np.where(leaf, 0.0, nodes["num_threshold"])
                ],
                "left": np.where(leaf, place, nodes["left"]).astype(int).tolist(),
                "right": np.where(leaf, place, nodes["right"]).astype(int).tolist(),
                "value": [float(f"{v:.6g}") if end else 0.0 for v, end in zip(nodes["value"], leaf, strict=True)],
            }
        )
    baseline = float(np.ravel(model._baseline_prediction)[0])
    told = {"features": list(features), "baseline": baseline, "fitted_on": dict(fitted_on)}
    return json.dumps({**told, "trees": trees}) + "\n"


def write(
    path: Path, model: HistGradientBoostingClassifier, features: Sequence[str], fitted_on: Mapping[str, int]
) -> None:
    path.write_text(as_json(model, features, fitted_on))
