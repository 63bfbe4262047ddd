"""Plain rules and MoTHer against formulas written out."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import stats

from lineage.detect.align import Layer, Part
from lineage.detect.methods import mother
from lineage.detect.methods.plain import effective_rank, kurtosis, squared_length
from lineage.detect.methods.registry import BadSetting
from lineage.detect.methods.to_decisions import CannotTake
from tests.builders import start, tune
from tests.detect.methods.models import SMALL, asked, parents, subjects_of, two_families


def layers(models: int = 5, seed: int = 0) -> list[Layer]:
    random = torch.Generator().manual_seed(seed)
    return [
        Layer(f"l{i}", i / 2, Part.BODY, 72, torch.randn(models, 9, 8, generator=random) * (1 + i)) for i in range(3)
    ]


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    found = effective_rank(layers())
    for model in range(5):
        ranks = []
        for layer in layers():
            s = np.linalg.svd(layer.values[model].double().numpy(), compute_uv=False)
            p = s / s.sum()
            ranks.append(np.exp(-(p * np.log(p)).sum()))
        assert float(found[model]) == pytest.approx(np.mean(ranks), rel=1e-5)


def test_kurtosis_is_fishers() -> None:
    values = layers()[0].values
    expected = [stats.kurtosis(values[m].double().numpy().ravel()) for m in range(5)]
    assert kurtosis(values).tolist() == pytest.approx(expected)


def test_length_counts_every_value() -> None:
    expected = [sum(float((layer.values[m].double() ** 2).sum()) for layer in layers()) for m in range(5)]
    assert squared_length(layers()).tolist() == pytest.approx(expected)


def test_nearest_of_smaller_norm_finds_children_that_grew() -> None:
    models, truth = two_families()
    assert parents(asked("min-norm", subjects_of(models))) == truth


def test_the_nearest_of_a_child_is_its_parent_and_of_a_parent_a_child() -> None:
    models, truth = two_families()
    found = parents(asked("nearest", subjects_of(models)))
    assert all(found[child] == parent for child, parent in truth.items() if parent)
    assert truth[found["a"] or ""] == "a"


def test_strangers_are_candidates_only_if_asked() -> None:
    models = {name: start(seed, SMALL) for seed, name in enumerate("ab")}
    assert parents(asked("nearest", subjects_of(models))) == {"a": None, "b": None}
    assert parents(asked("nearest", subjects_of(models), among="all")) == {"a": "b", "b": "a"}


def test_kurtosis_rules_are_each_other_turned() -> None:
    models = {"a": start(0, SMALL), "b": tune(start(0, SMALL), 1)}
    higher = parents(asked("kurtosis", subjects_of(models)))
    lower = parents(asked("kurtosis", subjects_of(models), parent="lower"))
    assert sorted([higher, lower], key=str) == [{"a": "b", "b": None}, {"a": None, "b": "a"}]


def test_mothers_distances_are_written_out() -> None:
    found = layers()
    mean = mother.mean_distance(found)
    largest = mother.extreme_distance(found)
    ranks = mother.rank_distance(found)
    for i in range(5):
        for j in range(i + 1, 5):
            assert float(mean[i, j]) == pytest.approx(
                sum(float((x.values[i] - x.values[j]).abs().double().mean()) for x in found), rel=1e-5
            )
            assert float(ranks[i, j]) == sum(np.linalg.matrix_rank((x.values[i] - x.values[j]).numpy()) for x in found)
            by_layer = []
            for x in found:
                every = [x.values[p] - x.values[q] for p in range(5) for q in range(p + 1, 5)]
                low, high = min(float(d.min()) for d in every), max(float(d.max()) for d in every)
                by_layer.append((float((x.values[i] - x.values[j]).max()) - low) / (high - low))
            assert float(largest[i, j]) == pytest.approx(max(by_layer), rel=1e-5)
    assert torch.equal(largest, largest.T) and torch.equal(ranks, ranks.T)


def test_the_arborescence_is_the_cheapest_of_all() -> None:
    random = np.random.default_rng(4)
    apart = random.random((4, 4)) + 0.1
    apart = torch.from_numpy(apart + apart.T)
    outliers = torch.from_numpy(random.random(4))

    def cost(parent: int, child: int) -> float:
        return float(apart[parent, child]) + 0.3 * float(apart.mean()) * bool(outliers[child] > outliers[parent])

    best = np.inf
    for choice in np.ndindex(5, 5, 5, 5):  # every model has one of four parents or none
        edges = [(p, c) for c, p in enumerate(choice) if p < 4]
        graph = nx.DiGraph(edges)
        if len(edges) == 3 and len(graph) == 4 and nx.is_arborescence(graph):
            best = min(best, sum(cost(p, c) for p, c in edges))
    found = mother.arborescence(apart, outliers)
    assert sum(cost(parent, child) for child, parent in found.items()) == pytest.approx(best)


def test_mother_turns_with_the_stage_and_needs_square_matrices() -> None:
    models = {"a": start(0, SMALL), "b": tune(start(0, SMALL), 1)}
    settings = {"trees": "1", "kurtosis_of": "layers.1"}
    one = parents(asked("mother", subjects_of(models), stage="specialisation", **settings))
    other = parents(asked("mother", subjects_of(models), stage="generalisation", **settings))
    assert sorted([one, other], key=str) == [{"a": "b", "b": None}, {"a": None, "b": "a"}]
    wide = {n: {"w.weight": m["layers.0.weight"]} for n, m in models.items()}
    with pytest.raises(CannotTake, match="square"):
        asked("mother", subjects_of(wide))
    assert len(asked("mother", subjects_of(wide), layers="all")) == 2
    with pytest.raises(BadSetting, match="in its name"):
        asked("mother", subjects_of(models), kurtosis_of="o_proj")


def test_mother_finds_the_trees_by_itself() -> None:
    models, _ = two_families()
    found = parents(asked("mother", subjects_of(models)))
    for child, parent in found.items():
        assert parent is None or parent[0] == child[0]
    assert sum(parent is None for parent in found.values()) == 2
