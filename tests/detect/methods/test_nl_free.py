"""Neural Lineage's learning-free methods against slow, obvious references, and what they say to bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lineage.detect.decision import AnswerKind
from lineage.detect.methods.nl_approximation import Approximation, NoFeatures, movable, similarities
from lineage.detect.methods.nl_similarity import LP_POWER, LSE_TEMPERATURE, SIMILARITIES, reported
from lineage.detect.methods.registry import MethodInputs, NeedsMore, decide_with
from lineage.detect.methods.to_decisions import CannotTake
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from tests.builders import sketch_of
from tests.detect.methods import networks


def slow_similarity(name: str, f: np.ndarray, g: np.ndarray) -> float:
    """Number by number in float64, as the papers write them."""
    samples, width = f.shape
    pairs = [(float(f[i, j]), float(g[i, j])) for i in range(samples) for j in range(width)]
    if name == "l1":
        return -sum(abs(a - b) for a, b in pairs) / len(pairs)
    if name == "l2":
        return -sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    if name == "lp":
        return -sum(abs(a - b) ** LP_POWER for a, b in pairs) / len(pairs)
    if name == "lse":
        mean = sum(math.exp(abs(a - b) / LSE_TEMPERATURE - 300) for a, b in pairs) / len(pairs)
        return -LSE_TEMPERATURE * (math.log(mean) + 300)
    if name == "cka":
        centring = np.eye(samples) - np.ones((samples, samples)) / samples
        k, m = centring @ f @ f.T @ centring, centring @ g @ g.T @ centring
        return float(np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m)))
    tables = []
    for x in (f, g):
        a = np.array([[math.sqrt(sum((x[i] - x[j]) ** 2)) for j in range(samples)] for i in range(samples)])
        tables.append(a - a.mean(0)[None, :] - a.mean(1)[:, None] + a.mean())
    a, b = tables
    return math.sqrt((a * b).mean() / math.sqrt((a * a).mean() * (b * b).mean()))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_similarity_is_what_its_formula_says(name: str) -> None:
    dice = np.random.default_rng(0)
    f, g = dice.standard_normal((12, 5)), dice.standard_normal((12, 5))
    fast = float(SIMILARITIES[name](torch.from_numpy(f), torch.from_numpy(g)))
    assert fast == pytest.approx(slow_similarity(name, f, g), rel=1e-9)


@pytest.mark.parametrize("name", ["cka", "dc"])
def test_kernel_similarities_do_not_depend_on_scale_and_take_other_widths(name: str) -> None:
    f = torch.randn(20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(SIMILARITIES[name](f, 3 * f)) == pytest.approx(1, abs=1e-6)
    assert 0 < float(SIMILARITIES[name](f, torch.cat([f, f[:, :2]], 1))) < 1


def family() -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    parent = {n: t.double() for n, t in networks.start(1).items()}
    return parent, [{n: t.double() for n, t in networks.moved(parent, seed).items()} for seed in (2, 3)]


def features(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return networks.layers(tensors, {"x": networks.inputs().double()})["layer2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l1", "l2", "lp", "cka", "dc"])
def test_the_taylor_step_is_the_gradient_taken_value_by_value(name: str) -> None:
    parent, children = family()
    fast = similarities(parent, children, features, [name], Approximation("taylor", 0.5))[0]
    for child, found in zip(children, fast.tolist(), strict=True):
        theirs, total, step = features(child), 0.0, 1e-6
        for key, value in parent.items():
            for place in range(value.numel()):
                ends = []
                for sign in (step, -step):
                    nudged = value.clone()
                    nudged.view(-1)[place] += sign
                    ends.append(float(SIMILARITIES[name](features({**parent, key: nudged}), theirs)))
                total += (ends[0] - ends[1]) / (2 * step) * float((child[key] - value).view(-1)[place])
        plain = float(SIMILARITIES[name](features(parent), theirs))
        expected = reported(name, torch.tensor(plain + 0.5 * total, dtype=torch.float64))
        assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-7)


@pytest.mark.slow
def test_several_similarities_at_once_are_what_each_is_alone() -> None:
    parent, children = family()
    names = list(SIMILARITIES)
    together = similarities(parent, children, features, names, Approximation("taylor", 0.1))
    for row, name in zip(together, names, strict=True):
        alone = similarities(parent, children, features, [name], Approximation("taylor", 0.1))[0]
        torch.testing.assert_close(row, alone)


def test_the_explicit_linearisation_moves_the_features_along_the_difference() -> None:
    parent, children = family()
    fast = similarities(parent, children, features, ["l1"], Approximation("linear"))[0]
    for child, found in zip(children, fast.tolist(), strict=True):
        step = 1e-6
        ahead = features({n: v + step * (child[n] - v) for n, v in parent.items()})
        moved = features(parent) + (ahead - features(parent)) / step
        assert found == pytest.approx(-float((moved - features(child)).abs().mean()), rel=1e-4)


def test_without_approximation_it_is_the_plain_similarity() -> None:
    parent, children = family()
    plain = similarities(parent, children, features, ["l2"], Approximation("none"))[0]
    expected = [-float((features(parent) - features(c)).square().mean().sqrt()) for c in children]
    assert plain.tolist() == pytest.approx(expected)


def test_the_approximation_leaves_out_heads_of_other_widths_and_statistics() -> None:
    parent = {
        "a": torch.zeros(2, 2),
        "head": torch.zeros(3, 2),
        "bn.running_mean": torch.zeros(2),
        "n": torch.tensor(1),
    }
    child = {**parent, "head": torch.zeros(5, 2)}
    assert movable(parent, [child], frozenset({"bn.running_mean"})) == ["a"]


def world(children: int = 3) -> tuple[list[Subject], dict[str, dict[str, torch.Tensor]], dict[str, str]]:
    models = {f"parent{i}": networks.start(i) for i in range(3)}
    truth = {}
    for i in range(children):
        truth[f"child{i}"] = f"parent{i % 3}"
        models[f"child{i}"] = networks.moved(models[truth[f"child{i}"]], 100 + i, 0.02)
    subjects = [Subject(n, sketch_of({k: v.numpy() for k, v in m.items()}, n)) for n, m in models.items()]
    return subjects, models, truth


def given_of(models: dict[str, dict[str, torch.Tensor]], forward: object = networks.layers) -> MethodInputs:
    return MethodInputs(forward, {"x": networks.inputs()}, models.__getitem__)  # type: ignore[arg-type]


def options(name: str, **settings: str) -> Options:
    return Options(method=name, settings={"parents": "parent*", **settings})


@pytest.mark.parametrize("name", ["nl-l1", "nl-l2", "nl-cka", "nl-dc"])
@pytest.mark.parametrize("approximation", ["taylor", "linear", "none"])
def test_each_child_gets_the_parent_whose_features_it_kept(name: str, approximation: str) -> None:
    subjects, models, truth = world()
    chosen = options(name, approximation=approximation, scale="0.01")
    decisions = decide_with(name, subjects, chosen, torch.device("cpu"), given_of(models))
    assert {d.model: d.parent for d in decisions if d.answer is AnswerKind.PARENT} == truth
    assert {d.model for d in decisions if d.answer is AnswerKind.ROOT} == {"parent0", "parent1", "parent2"}
    assert all(d.decided_by == (name,) for d in decisions)


@pytest.mark.parametrize("name", ["nl-l1", "nl-l2"])
def test_differences_of_weights_need_no_forward_pass(name: str) -> None:
    subjects, _, truth = world()
    decisions = decide_with(name, subjects, options(name), torch.device("cpu"))
    assert {d.model: d.parent for d in decisions if d.answer is AnswerKind.PARENT} == truth


def test_features_that_are_not_given_are_asked_for() -> None:
    subjects, _, _ = world()
    with pytest.raises(NeedsMore, match="nl-cka needs forward passes"):
        decide_with("nl-cka", subjects, options("nl-cka"), torch.device("cpu"))


def test_bad_input_is_said_in_one_line() -> None:
    subjects, models, _ = world()
    cpu, chosen = torch.device("cpu"), options("nl-l1")

    def run(subjects: list[Subject], options: Options, forward: object = networks.layers) -> None:
        decide_with("nl-l1", subjects, options, cpu, given_of(models, forward))

    with pytest.raises(CannotTake, match="needs 2 models"):
        run(subjects[:1], chosen)
    with pytest.raises(CannotTake, match="named like nobody"):
        run(subjects, options("nl-l1", parents="nobody"))
    with pytest.raises(NoFeatures, match="no layer 'deep'"):
        run(subjects, options("nl-l1", layer="deep"))
    with pytest.raises(NoFeatures, match="KeyError"):
        run(subjects, chosen, lambda tensors, batch: {"x": tensors["missing"]})
    with pytest.raises(NoFeatures, match="gave torch"):
        run(subjects, chosen, lambda tensors, batch: {"x": torch.ones(3, 2, dtype=torch.int64)})
    with pytest.raises(NoFeatures, match="NaN"):
        run(subjects, chosen, lambda tensors, batch: {"x": torch.full((3, 2), torch.nan)})
    with pytest.raises(NoFeatures, match="cannot be subtracted"):
        wide = {id(m["layers.0.weight"]): i for i, m in enumerate(models.values())}
        run(subjects, chosen, lambda t, b: {"x": torch.ones(4, 2 + wide.get(id(t["layers.0.weight"]), 0))})
