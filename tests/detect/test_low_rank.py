"""Merged adapters are named: the rank of the change and the matrices that it is in."""

from __future__ import annotations

import numpy as np
import pytest

import lineage
from lineage.detect.signals.low_rank import LowRankChange, low_rank_change
from tests.builders import Weights, sketch_of, start, three_generations, tune

TARGETS = ("layers.1.weight", "layers.2.weight")


def merged(parent: Weights, rank: int, size: float = 0.1, seed: int = 5) -> Weights:
    """A model with an adapter merged into two of its matrices, in the dtype that it has."""
    random = np.random.default_rng(seed)
    child = dict(parent)
    for name in TARGETS:
        values = parent[name].astype(np.float64)
        change = random.standard_normal((len(values), rank)) @ random.standard_normal((rank, values.shape[1]))
        change *= size * np.linalg.norm(values) / np.linalg.norm(change)
        child[name] = (values + change).astype(parent[name].dtype)
    return child


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_rank_of_a_merged_adapter_and_its_matrices_are_found(rank: int, dtype: type) -> None:
    parent = {name: values.astype(dtype) for name, values in start(1).items()}
    found = low_rank_change(sketch_of(merged(parent, rank)), sketch_of(parent))
    assert found == LowRankChange(rank, ("1", "2"), 2, 4)


def test_other_changes_are_none() -> None:
    parent = start(1)
    whole = {name: values if name.startswith("layers.0") else tune(parent, 3)[name] for name, values in parent.items()}
    matrices = {name: tune(parent, 3)[name] if name in TARGETS else values for name, values in parent.items()}
    biases = merged(parent, 4) | {"layers.1.bias": parent["layers.1.bias"] + 1}
    rounded = {name: values.astype(np.float16).astype(np.float32) for name, values in parent.items()}
    for child in (parent, tune(parent, 2), whole, matrices, biases, rounded, merged(parent, 60)):
        assert low_rank_change(sketch_of(child), sketch_of(parent)) is None


@pytest.mark.slow
def test_a_family_names_the_adapter_that_was_merged() -> None:
    models, _ = three_generations()
    models["merged"] = merged(models["b"], 8)
    found = lineage.detect(models)["merged"]
    assert found.parent == "b" and found.evidence["low_rank"]["rank"] == 8
    assert "the change has rank 8 in 1, 2 and is zero elsewhere" in str(found.reason)
    assert not any("low_rank" in answer.evidence for name, answer in lineage.detect(models).items() if name != "merged")
