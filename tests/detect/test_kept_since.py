"""What a candidate changed since its own parent has to be in its children once: siblings on the same data have more of it, others less."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.gram import gram
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.signals.kept_since import TRAINED_ON, kept_since_parent
from tests.builders import Weights, sketch_of, start, tune

OLDEST, PARENT, FIRST = 0, 1, 2


def towards(origin: Weights, target: Weights, share: float) -> Weights:
    """A model on the way from one to the other, or beyond it."""
    return {
        name: (values + share * (target[name] - values)).astype(np.float32) if values.ndim == 2 else values
        for name, values in origin.items()
    }


def family(further: float) -> list[Weights]:
    """Oldest, its child, a first child of that, and one that holds `further` of the first one's step, and a step of its own."""
    oldest = start(0)
    parent = tune(oldest, 1, 0.5)
    first = tune(parent, 2, 0.1, decay=0.0)
    return [oldest, parent, first, tune(towards(parent, first, further), 3, 0.1, decay=0.0)]


def layers_of(models: list[Weights]) -> list[Layer]:
    matrices = [name for name, values in models[0].items() if values.ndim == 2]
    stacked = [np.stack([model[name] for model in models]) for name in matrices]
    return [Layer(n, 0.0, Part.BODY, v[0].size, torch.from_numpy(v)) for n, v in zip(matrices, stacked, strict=True)]


@pytest.mark.parametrize(
    ("further", "kept"), [(0.0, 0.0), (0.3, 0.0), (1.0, 1.0), (1.2, 1.0), (2.2, TRAINED_ON), (3.0, TRAINED_ON)]
)
def test_a_child_holds_what_its_parent_changed_once(further: float, kept: float) -> None:
    products = gram(layers_of(family(further)))
    neighbours = products.distances().fill_diagonal_(torch.inf).topk(3, largest=False).indices
    share = torch.zeros(4, 4, dtype=torch.float64)
    share[PARENT, 3] = 1.0  # from the root
    share[FIRST, neighbours[FIRST].tolist().index(PARENT)] = 1.0
    found = kept_since_parent(products, neighbours, share)
    assert float(found[3, neighbours[3].tolist().index(FIRST)]) == pytest.approx(kept, abs=0.08)
    assert float(found[3, neighbours[3].tolist().index(PARENT)]) == 1.0, "what was changed since the root is not asked"


def test_a_sibling_that_has_the_step_in_some_parts_alone_does_not_come_from_it() -> None:
    models = family(1.0)
    for name in list(models[3])[: len(models[3]) // 2]:  # twice in the others: the slope over all values is about 1
        models[3][name] = models[PARENT][name]
    rest = [name for name in models[3] if models[3][name] is not models[PARENT][name]]
    models[3] |= {n: models[3][n] + (models[FIRST][n] - models[PARENT][n]) for n in rest}
    products = gram(layers_of(models))
    neighbours = products.distances().fill_diagonal_(torch.inf).topk(3, largest=False).indices
    share = torch.zeros(4, 4, dtype=torch.float64)
    share[FIRST, neighbours[FIRST].tolist().index(PARENT)] = 1.0
    found = kept_since_parent(products, neighbours, share)
    assert float(found[3, neighbours[3].tolist().index(FIRST)]) < 0.1


def test_of_two_trainings_on_the_same_data_none_comes_from_the_other_though_both_hold_all_that_lies_behind_them() -> (
    None
):
    models = family(2.6)
    models += [tune(models[PARENT], seed, 0.15) for seed in (7, 8)] + [
        tune(models[OLDEST], seed, 0.2) for seed in (20, 21, 22)
    ]
    said = decide([Subject(str(i), sketch_of(model, str(i))) for i, model in enumerate(models)], Options())
    assert said[PARENT].parent == str(OLDEST)
    assert said[FIRST].parent == said[3].parent == str(PARENT)
