import numpy as np
import pytest
import torch

from lineage.detect.align import align
from lineage.detect.pipeline import decide
from lineage.detect.signals.direction import direction
from lineage.detect.signals.growth import at_right_angles, growth
from tests.builders import Weights, sketch_of, start, three_generations, tune
from tests.detect.golden_decisions import subjects

CPU = torch.device("cpu")


def reference(a: Weights, b: Weights) -> tuple[float, float]:
    """z and gamma, one tensor and one unit at a time, float64, by the normal equations as they stand in the text."""
    weighted = precision = 0.0
    for name in a:
        if a[name].ndim < 2:
            continue
        rows = []
        for u, v in zip(a[name].astype(np.float64), b[name].astype(np.float64), strict=True):
            d, m = ((v - u) ** 2).sum(), (((u + v) / 2) ** 2).sum()
            rows.append((m, d, (v**2).sum() - (u**2).sum(), 1 / (m * d)))
        m, d, y, w = np.array(rows).T
        design = np.stack([m, d], 1)
        normal = design.T @ (w[:, None] * design)
        coefficients = np.linalg.solve(normal, design.T @ (w * y))
        left = (w * (y - design @ coefficients) ** 2).sum() / (len(y) - 2)
        variance = left * np.linalg.inv(normal)[1, 1]
        weighted += coefficients[1] / variance
        precision += 1 / variance
    return weighted / np.sqrt(precision), weighted / precision


def measured(models: list[Weights], pairs: list[tuple[int, int]]) -> tuple[list[float], list[float]]:
    found = growth(align([sketch_of(m, str(i)) for i, m in enumerate(models)], CPU), torch.tensor(pairs))
    return found.z.tolist(), found.gamma.tolist()


def test_it_agrees_with_the_obvious_float64_reference():
    a = start(1)
    b = tune(a, 2)
    (z,), (gamma,) = measured([a, b], [(0, 1)])
    assert (z, gamma) == pytest.approx(reference(a, b), rel=1e-4)


def test_swapping_the_pair_swaps_the_sign_exactly():
    a = start(1)
    z, gamma = measured([a, tune(a, 2)], [(0, 1), (1, 0)])
    assert z[0] == -z[1]
    assert gamma[0] == -gamma[1]


def test_parents_come_first_although_decay_makes_their_children_smaller():
    models, parents = three_generations()
    names = list(models)
    pairs = [(names.index(p), names.index(c)) for c, p in parents.items()]
    z, _ = measured(list(models.values()), pairs)
    assert min(z) > 4
    light = tune(models["a"], 99, moved=0.3, decay=0.1)
    assert np.linalg.norm(light["layers.1.weight"]) < np.linalg.norm(models["a"]["layers.1.weight"])
    assert measured([models["a"], light], [(0, 1)])[0][0] > 4


def test_equal_models_and_frozen_tensors_say_nothing():
    a = start(1)
    assert measured([a, a], [(0, 1)]) == ([0.0], [0.0])
    part = tune(a, 2)
    part["layers.0.weight"] = a["layers.0.weight"]
    frozen = {n: part[n] for n in part if n != "layers.0.weight"}
    whole = {n: a[n] for n in a if n != "layers.0.weight"}
    assert measured([a, part], [(0, 1)])[0] == pytest.approx(measured([whole, frozen], [(0, 1)])[0])


def undoing(base: Weights, seed: int) -> Weights:
    """A child that shrinks where it moves: some units give back much of what they are, most little, and all learn a bit of their own."""
    dice = np.random.default_rng(seed)
    child = tune(base, seed, moved=0.05, decay=0.0)
    return {
        name: (child[name] - 0.1 * dice.random((len(old),) + (1,) * (old.ndim - 1)) ** 4 * old).astype(np.float32)
        for name, old in base.items()
    }


def test_what_goes_along_the_weights_says_little_of_the_order():
    base = start(1)
    child = undoing(base, 2)
    (z,), (gamma,) = measured([base, child], [(0, 1)])
    assert z < -4
    assert gamma < -1.5
    counts = at_right_angles(torch.tensor([gamma, -1.0, 0.3, 2.0], dtype=torch.float64))
    assert counts.tolist() == pytest.approx([gamma**-2, 1.0, 1.0, 0.25])


def test_a_child_that_undoes_what_its_base_had_learned_is_not_taken_for_the_parent_of_all():
    models = {"base": start(1)} | {f"tuned{i}": tune(start(1), 10 + i, moved=0.05, decay=0.0) for i in range(3)}
    models["undone"] = undoing(models["base"], 2)
    parents = {decision.model: decision.parent for decision in decide(subjects(models))}
    assert parents == dict.fromkeys(models, "base") | {"base": None}


def test_units_that_only_turned_tell_no_order() -> None:
    """As merged OFT and BOFT turn them: exactly, but for rounding."""
    before = start(3)
    random = np.random.default_rng(4)
    after = {}
    for name, values in before.items():
        step = random.standard_normal((values.shape[-1],) * 2) if values.ndim == 2 else None
        turn = np.linalg.qr(np.eye(values.shape[-1]) + 0.03 * (step - step.T))[0] if step is not None else None
        after[name] = values if turn is None else (values @ turn).astype(np.float32)
    both = align([sketch_of(m, str(i)) for i, m in enumerate((before, after))], CPU)
    pair = torch.tensor([[0, 1]])
    assert growth(both, pair).z.tolist() == [0.0]
    assert direction(both, pair).tolist() == [0.0]
