import numpy as np
import pytest
import torch

from detect.align import align, blocks_of_units
from detect.gram import gram
from detect.signals.inheritance import inheritance, weighted_quantile
from tests.builders import sketch_of, three_generations

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def family():
    models, parents = three_generations()
    return list(models), parents, align([sketch_of(m, n) for n, m in models.items()], CPU)


def low_slopes(layers, origin):
    """Low slopes of every model in every other, [s, b]."""
    models = layers[0].values.shape[0]
    return inheritance(gram(layers), origin, torch.arange(models).expand(models, models)).low.T


def test_it_agrees_with_the_obvious_float64_reference(family):
    _, _, layers = family
    low = low_slopes(layers, 0)
    blocks = [b.double().numpy() for layer in layers for b in blocks_of_units(layer)]
    for s, b in ((1, 4), (4, 1), (2, 3), (6, 7)):
        slopes = [((x[b] - x[0]) @ (x[s] - x[0])) / ((x[s] - x[0]) @ (x[s] - x[0])) for x in blocks]
        weights = [((x[s] - x[0]) ** 2).sum() for x in blocks]
        order = np.argsort(slopes)
        reached = np.cumsum(np.array(weights)[order]) >= 0.25 * sum(weights)
        assert float(low[s, b]) == pytest.approx(np.array(slopes)[order][reached.argmax()], rel=1e-6)


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
                assert low[names.index(s), names.index(b)] > 0.8, (s, b)
            elif s != b and b not in ancestors(s):
                assert low[names.index(s), names.index(b)] < 0.5 or s[0] == b[0], (s, b)


def test_a_weighted_quantile_reaches_its_share_of_the_weight_and_skips_what_is_missing():
    values = torch.tensor([3.0, 1.0, torch.nan, 2.0])
    assert weighted_quantile(values, torch.tensor([1.0, 1.0, 50.0, 8.0]), 0.10) == 1.0
    assert weighted_quantile(values, torch.tensor([1.0, 1.0, 50.0, 8.0]), 0.15) == 2.0
    assert weighted_quantile(torch.full((3,), torch.nan), torch.ones(3), 0.5).isnan()
