"""Growth seen from a root: who grew out of whom, also on the way back, and by the rows of tokens that only one of two saw."""

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.signals.retention import unit_distances
from lineage.detect.signals.rooted_growth import rooted_growth
from tests.builders import sketch_of, start, tune

ROOT, PARENT, CHILD, SIBLING = range(4)
NEAR = torch.tensor([[j for j in range(4) if j != i] for i in range(4)])


def moved(values: torch.Tensor, seed: int, size: float) -> torch.Tensor:
    """Every unit by an amount of its own."""
    dice = torch.Generator().manual_seed(seed)
    amounts = torch.exp(torch.randn(len(values), 1, generator=dice, dtype=torch.float64))
    return values + size * amounts * torch.randn(values.shape, generator=dice, dtype=torch.float64)


def told(*models: torch.Tensor, part: Part = Part.BODY):
    """gamma and z as functions of (child, parent), seen from the first model."""
    values = torch.stack(models).float()
    layer = Layer("layer", 0.5, part, values[0].numel(), values)
    found = rooted_growth(unit_distances([layer], NEAR, torch.tensor([ROOT])), NEAR, 0)

    def of(pairs: torch.Tensor, child: int, parent: int) -> float:
        return float(pairs[child, NEAR[child].tolist().index(parent)])

    return (lambda *pair: of(found.gamma, *pair)), (lambda *pair: of(found.z, *pair))


def family(back: float) -> list[torch.Tensor]:
    """Root, parent, its child that goes `back` by that share of what the parent had changed, and a child of the root."""
    root = torch.randn(200, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parent = moved(root, 2, 0.02)
    return [root, parent, moved(root + (1 - back) * (parent - root), 3, 0.008), moved(root, 4, 0.02)]


@pytest.mark.parametrize("back", [-0.2, 0.0, 0.2])
def test_a_child_grew_out_of_its_parent_whether_it_goes_on_or_back_towards_the_root(back):
    models = family(back)
    gamma, z = told(*models)
    assert gamma(CHILD, PARENT) == pytest.approx(1, abs=0.15)
    assert z(CHILD, PARENT) > 10
    assert gamma(PARENT, CHILD) == pytest.approx(-gamma(CHILD, PARENT), abs=1e-6)
    if back > 0:
        nearer = (models[CHILD] - models[ROOT]).norm() < (models[PARENT] - models[ROOT]).norm()
        assert nearer, "by its distance from the root it would be the parent"


def test_of_siblings_both_moved():
    gamma, _ = told(*family(0.0))
    assert abs(gamma(SIBLING, PARENT)) < 0.5


def test_rows_that_only_the_child_saw_tell_the_order_of_an_embedding():
    root = torch.randn(200, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parent, child = root.clone(), root.clone()
    parent[:100] = moved(root[:100], 2, 0.02)
    child[:100] = root[:100] + 0.9 * (parent[:100] - root[:100])
    child[50:150] = moved(child[50:150], 3, 0.008)
    gamma, z = told(root, parent, child, moved(root, 4, 0.02), part=Part.EMBEDDING)
    assert gamma(CHILD, PARENT) > 0.8
    assert z(CHILD, PARENT) > 10


def test_equal_models_say_nothing():
    root, parent, _, sibling = family(0.0)
    gamma, z = told(root, parent, parent.clone(), sibling)
    assert gamma(CHILD, PARENT) == z(CHILD, PARENT) == 0


def gone_back(root, parent, back: float, moved_by: float, seed: int):
    """A child that goes back by that share of what its parent had changed, and moves by an amount of its own in every unit."""
    dice = np.random.default_rng(seed)
    child = {}
    for name, values in parent.items():
        step = values - root[name]
        amounts = np.exp(dice.normal(size=(len(values),) + (1,) * (values.ndim - 1)))
        new = moved_by * np.abs(step).mean() * amounts * dice.normal(size=values.shape)
        child[name] = (root[name] + (1 - back) * step + new).astype(np.float32)
    return child


def test_a_child_that_goes_back_is_neither_its_parents_parent_nor_its_sibling():
    root = start(1)
    tuned = {f"tuned{i}": tune(root, 2 + i) for i in range(4)}
    models = {"root": root, **tuned, "back": gone_back(root, tuned["tuned0"], 0.1, 0.2, 9)}
    said = {d.model: d for d in decide([Subject(name, sketch_of(m, name)) for name, m in models.items()], Options())}
    assert {said[name].parent for name in tuned} == {"root"}
    assert said["back"].parent is None
    assert {c.parent for c in said["back"].candidates} == {"root", "tuned0"}
