"""What a model holds bit for bit, or as a head, and its tree's parent lacks, comes from a model between the two."""

import numpy as np
import pytest
import torch

from lineage.detect.align import align
from lineage.detect.gram import gram
from lineage.detect.handed_down import with_handed_down
from lineage.detect.signals.shared_tensors import shared_tensors
from tests.builders import sketch_of

random = np.random.default_rng(5)
NAMES = [f"layers.{i}.weight" for i in range(4)]
BASE, MIDDLE, CHILD, SIBLING = range(4)


def noise(length, shape=(32, 48)):
    return random.normal(0, length, shape).astype(np.float32)


def after(models):
    """Where the probability of each model's parent is once the tree said that all come from the base."""
    sketches = [sketch_of(weights, str(i)) for i, weights in enumerate(models)]
    layers = align(sketches, torch.device("cpu"))
    parent = torch.zeros(len(models), len(models), dtype=torch.float64)
    parent[1:, BASE] = 0.97
    tensors = shared_tensors(layers, [24] * len(models), [False] * len(models))
    return with_handed_down(parent, gram(layers).distances(), tensors, sketches).argmax(1).tolist()


def moved(weights, length, names=NAMES):
    return {name: w + noise(length) if name in names else w for name, w in weights.items()}


def test_a_child_with_tensors_of_its_parent_that_the_base_lacks_does_not_come_from_the_base():
    """As a merged adapter does, that changed a few modules far more than its parent had changed."""
    base = {name: noise(1) for name in NAMES}
    middle = moved(base, 0.1)
    models = [base, middle, moved(middle, 0.3, NAMES[:2]), moved(base, 0.1)]
    assert after(models)[MIDDLE:] == [BASE, MIDDLE, BASE]


def test_a_child_that_kept_its_parents_head_does_not_come_from_a_model_without_it():
    base = {name: noise(1) for name in NAMES}
    middle = moved(base, 0.1)
    child = moved(middle, 0.1)
    bias = noise(0.1, (96,))
    kept, weight = "classification_head.dense.bias", "classification_head.dense.weight"
    models = [base, middle | {kept: bias}, child | {kept: bias + noise(0.03, (96,))}, moved(base, 0.1)]
    assert after(models)[CHILD] == MIDDLE
    seeded = noise(0.1, (96, 48))
    for model, weights in enumerate(models[1:], 1):
        models[model] = weights | {weight: seeded + noise(0.01, (96, 48)), kept: noise(0.1, (96,))}
    assert after(models)[CHILD] == BASE


@pytest.mark.parametrize("shared", [True, False])
def test_siblings_that_left_the_same_tensor_as_it_was_in_the_base_stay_siblings(shared):
    base = {name: noise(1) for name in NAMES}
    one, other = moved(base, 0.1), moved(base, 0.1, NAMES[1:] if shared else NAMES)
    assert after([base, one, other, moved(base, 0.1, NAMES[1:])])[MIDDLE:] == [BASE] * 3
