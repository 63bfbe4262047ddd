"""Bare decay: piles of equal ratios, against an obvious count and with its guarantees."""

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.signals.decay import LOG_ODDS, WINDOW, decay, fits_another, logs_of, piles
from lineage.detect.signals.pairs import by_child_and_parent

PAIRS = torch.tensor([[0, 1], [1, 0]])


def layer_of(*models: np.ndarray) -> Layer:
    values = torch.from_numpy(np.stack(models).astype(np.float32))
    return Layer("fc.weight", 0.5, Part.BODY, values[0].numel(), values)


def trained_on(parent: np.ndarray, seed: int, factor: float, bare: int) -> np.ndarray:
    """The parent shrunk by a factor, and moved by training everywhere but in its last `bare` columns."""
    rng = np.random.default_rng(seed)
    moved = 0.05 * rng.standard_normal(parent.shape)
    moved[:, parent.shape[1] - bare :] = 0
    return parent * factor + moved


@pytest.fixture
def parent() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((32, 64))


def test_the_model_whose_bare_weights_shrank_came_later_whichever_way_it_is_asked(parent):
    child = trained_on(parent, 2, factor=0.97, bare=4)
    assert decay([layer_of(parent, child)], PAIRS)[0].tolist() == [LOG_ODDS, -LOG_ODDS]


def test_a_height_of_a_pile_is_what_counting_finds(parent):
    child = trained_on(parent, 2, factor=0.97, bare=4).astype(np.float32)
    first = parent.astype(np.float32)
    count, place = piles(*(logs_of(torch.from_numpy(values.reshape(1, -1))) for values in (first, child)))
    floor = 1e-3 * np.sqrt(np.square(first.astype(np.float64)).mean())
    kept = (first * child > 0) & (np.abs(first) > floor)
    ratios = np.log(child[kept].astype(np.float64) / first[kept].astype(np.float64))
    heights = [((ratios >= r) & (ratios <= r + WINDOW)).sum() for r in ratios]
    assert int(count) == max(heights)
    assert float(place) == pytest.approx(np.log(0.97), abs=WINDOW)


def test_units_scaled_both_ways_do_not_tell_which_came_first(parent):
    """As merged IA3 and norms folded into the next matrix leave them: each row has a factor of its own, and its inverse fits as well."""
    factors = np.exp(np.random.default_rng(4).normal(0, 0.05, len(parent)))
    scaled = parent * factors[:, None]
    for layers in ([layer_of(parent, scaled)], [layer_of(parent, scaled), layer_of(parent.T, scaled.T)]):
        assert decay(layers, PAIRS)[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "why", ["no decay", "every weight trained", "stored in half precision", "too few bare weights"]
)
def test_nothing_is_said_where(parent, why):
    factor = 1.0 if why == "no decay" else 0.97
    bare = {"every weight trained": 0, "too few bare weights": 0}.get(why, 4)
    child = trained_on(parent, 2, factor, bare)
    if why == "too few bare weights":
        child[0, :8] = parent[0, :8] * factor
    if why == "stored in half precision":
        parent, child = parent.astype(np.float16), child.astype(np.float16)
    assert decay([layer_of(parent, child)], PAIRS)[0].tolist() == [0.0, 0.0]


def test_piles_that_contradict_each_other_say_nothing(parent):
    child = trained_on(parent, 2, factor=0.97, bare=4)
    assert decay([layer_of(parent, child), layer_of(child, parent)], PAIRS)[0].tolist() == [0.0, 0.0]


def found_in(layers: list[Layer]) -> torch.Tensor:
    """(m, m), [child, parent]."""
    models = len(layers[0].values)
    pairs = torch.combinations(torch.arange(models))
    return by_child_and_parent(decay(layers, pairs)[1], pairs, models)


def test_weights_that_a_sibling_left_as_they_were_may_be_shrunk_from_either(parent):
    """The parent, a child trained without decay, and one with it: what the second has shrunk is both of the others', bit for bit."""
    layers = [layer_of(parent, trained_on(parent, 2, 1.0, bare=8), trained_on(parent, 3, 0.97, bare=8))]
    found = found_in(layers)
    assert found[2].tolist() == [LOG_ODDS, LOG_ODDS, 0]
    assert fits_another(layers, found).tolist() == [[False] * 3, [False] * 3, [True, True, False]]


def test_weights_that_the_sibling_moved_are_the_parents_alone(parent):
    layers = [layer_of(parent, trained_on(parent, 2, 1.0, bare=4), trained_on(parent, 3, 0.97, bare=8))]
    assert fits_another(layers, found_in(layers))[2].tolist() == [False, True, False]


def test_scaled_units_do_not_shrink_by_one_factor(parent):
    """As where the weights of a norm are folded into the next matrix."""
    factors = np.random.default_rng(4).uniform(0.5, 0.9, (4, 1, 64))
    layers = [layer_of(parent, parent * factor) for factor in factors]
    odds, one_factor = decay(layers, PAIRS)
    assert odds.tolist() == [LOG_ODDS, -LOG_ODDS] and one_factor.tolist() == [0, 0]
    assert decay([layer_of(parent, 0.97 * parent)], PAIRS)[1].tolist() == [LOG_ODDS, -LOG_ODDS]
