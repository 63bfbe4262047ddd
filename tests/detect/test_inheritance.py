import numpy as np
import pytest
import torch

from lineage.detect.align import align, blocks_of_units
from lineage.detect.gram import gram
from lineage.detect.signals.inheritance import inheritance
from tests.builders import sketch_of, three_generations

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def family():
    models, parents = three_generations()
    return list(models), parents, align([sketch_of(m, n) for n, m in models.items()], CPU)


def low_slopes(layers, origin):
    """Low slopes of every model in every other, [child, parent]."""
    models = layers[0].values.shape[0]
    return inheritance(gram(layers), origin, torch.arange(models).expand(models, models)).low


def test_it_agrees_with_the_obvious_float64_reference(family):
    _, _, layers = family
    low = low_slopes(layers, 0)
    blocks = [b.double().numpy() for layer in layers for b in blocks_of_units(layer)]
    for s, b in ((1, 4), (4, 1), (2, 3), (6, 7)):
        slopes = [((x[b] - x[0]) @ (x[s] - x[0])) / ((x[s] - x[0]) @ (x[s] - x[0])) for x in blocks]
        weights = [((x[s] - x[0]) ** 2).sum() for x in blocks]
        order = np.argsort(slopes)
        reached = np.cumsum(np.array(weights)[order]) >= 0.25 * sum(weights)
        assert float(low[b, s]) == pytest.approx(np.array(slopes)[order][reached.argmax()], rel=1e-6)


def test_what_an_ancestor_changed_is_in_its_descendants_and_not_in_its_siblings(family):
    names, parents, layers = family
    low = low_slopes(layers, names.index("a"))

    def ancestors(name):
        while name in parents:
            name = parents[name]
            yield name

    for s in names[1:]:
        for b in names[1:]:
            if s in ancestors(b):
                assert low[names.index(b), names.index(s)] > 0.8, (s, b)
            elif s != b and b not in ancestors(s):
                assert low[names.index(b), names.index(s)] < 0.5 or s[0] == b[0], (s, b)


def test_slopes_of_few_candidates_are_those_among_all(family):
    _, _, layers = family
    products = gram(layers)
    models = layers[0].values.shape[0]
    everyone = torch.arange(models).expand(models, models)
    few = (torch.arange(models)[:, None] + torch.tensor([1, 3])) % models
    whole, part = inheritance(products, 0, everyone), inheritance(products, 0, few)
    expected = whole.low.gather(1, few).flatten().tolist()
    assert part.low.flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)
    assert torch.equal(part.moved, whole.moved)
    moved = whole.moved[few] > 0
    assert part.total[moved].tolist() == pytest.approx(whole.total.gather(1, few)[moved].tolist())
