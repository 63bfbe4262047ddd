"""Of models that lie nearly together, the one that others were trained from is in their middle."""

import numpy as np
import pytest

from lineage.detect.arrays import by_numpy
from lineage.detect.arrays import torch as seam
from lineage.detect.common_step import held_by_the_others
from lineage.detect.geometry import Geometry
from lineage.detect.gram import Gram
from lineage.detect.middle import in_the_middle, lie_together, middle, of_neighbours, of_those_together
from lineage.detect.root import root_evidence

VALUES = 40_000


def geometry(points, digits=None):
    """(m, v) models -> where they lie."""
    points = seam.from_numpy(points)
    products = points @ points.T
    own = products.diagonal()
    distance = (own[:, None] + own[None, :] - 2 * products).clamp(min=0)
    count = len(points)
    digits = seam.tensor(digits or [24] * count, dtype=seam.int64)
    gram = Gram(products[None], seam.tensor([float(VALUES)], dtype=seam.float64), (0,))
    return Geometry(gram, distance, own, seam.zeros_like(products), distance.argsort(1)[:, 1:], digits)


def star(lengths, same_way=0.0):
    """A base and children that moved by these lengths, a part of each the same way; the base comes first."""
    dice = np.random.default_rng(0)
    base, way = dice.normal(size=(2, VALUES))
    steps = same_way * way + (1 - same_way**2) ** 0.5 * dice.normal(size=(len(lengths), VALUES))
    return np.concatenate([base[None], base + np.array(lengths)[:, None] * steps])


LENGTHS = [1e-4, 1.2e-4, 2e-4, 3e-4, 5e-4, *[3e-2] * 8]


@pytest.mark.parametrize("small", [False, True], ids=["torch", "numpy"])
@pytest.mark.parametrize("same_way", [0.0, 0.3])
def test_the_base_wins_against_children_that_hardly_moved_also_where_all_go_the_same_way(small, same_way):
    with by_numpy(small):
        found = geometry(star(LENGTHS, same_way))
        together = lie_together(found.distance, seam.arange(len(LENGTHS) + 1))
        assert together[0].tolist() == [True] * 6 + [False] * 8 and bool((together == together.T).all())
        assert all(in_the_middle(found, 0, child) > 1 for child in range(1, 6))
        assert in_the_middle(found, 0, 1) == pytest.approx(-in_the_middle(found, 1, 0))
        lost = middle(found, seam.arange(len(LENGTHS) + 1), together).tolist()
        assert lost[0] == 0 and max(lost[1:6]) < -1 and lost[6:] == [0.0] * 8


def test_trainings_that_all_begin_with_the_same_step_say_once_that_it_is_the_base():
    """Seen from the true base: the child that hardly moved went the way that all others took at first."""
    dice = np.random.default_rng(1)
    base, way = dice.normal(size=(2, VALUES))
    child = base + 1e-2 * way
    others = base + 1e-2 * way + 6e-2 * (0.95 * dice.normal(size=VALUES) + 0.3 * dice.normal(size=(12, VALUES)))
    apart = base + 1e-2 * way + 6e-2 * dice.normal(size=(12, VALUES))
    together = in_the_middle(geometry(np.concatenate([[base], [child], others])), 0, 1)
    alone = in_the_middle(geometry(np.concatenate([[base], [child], apart])), 0, 1)
    assert -1 < together < 0 and alone < 4 * together


def test_what_rounding_made_of_a_model_is_no_step_that_others_in_its_dtype_hold():
    points = star([1e-5, *[2e-4] * 4, *[2e-3] * 3])
    points[1:6] = np.round(points[1:6] * 256) / 256
    assert in_the_middle(geometry(points), 0, 1) < 0 < in_the_middle(geometry(points, [24, *[8] * 5, *[24] * 3]), 0, 1)


def test_nothing_is_said_of_equal_models_or_of_two_alone():
    points = star([1e-3])
    assert in_the_middle(geometry(points), 0, 1) == 0
    points = points[[0, 0, 1]]
    assert in_the_middle(geometry(points), 0, 1) == 0


@pytest.mark.parametrize(("small", "counts"), [(2e-3, False), (2e-2, True)])
def test_a_step_against_all_others_opposes_the_base_unless_it_hardly_moved(small, counts):
    dice = np.random.default_rng(0)
    base, way = dice.normal(size=(2, VALUES))
    others = [base + 3e-2 * (0.6 * way + 0.8 * dice.normal(size=VALUES)) for _ in range(6)]
    found = geometry(np.stack([base, base - small * way, *others]))
    nothing = seam.zeros_like(found.distance)
    assert (float(root_evidence(found, nothing, nothing, {}, seam.tensor([0])).opposed[0]) > 0) == counts


def test_models_that_lie_together_have_the_best_of_their_scores():
    together = seam.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert of_those_together(seam.tensor([1.0, 3.0, -2.0]).double(), together).tolist() == [3.0, 3.0, -2.0]


def test_what_the_others_hold_of_the_nearest_steps_tells_a_stand_in_from_a_parent():
    points = star([1e-2, *[2e-2] * 4, *[5e-2] * 8])
    children = seam.arange(1, len(points))
    assert held_by_the_others(0, children, geometry(points)) == 0
    without = points[1:]
    assert held_by_the_others(0, seam.arange(1, len(without)), geometry(without)) > 4
    assert held_by_the_others(0, seam.arange(1, 7), geometry(without)) == 0, "fewer may all be akin"


def test_of_neighbours_that_are_in_line_it_is_the_one_that_others_come_from_and_is_asked_once():
    found, known = geometry(star(LENGTHS)), {}
    asked = seam.zeros(len(LENGTHS) + 1, len(LENGTHS)) > 0
    for model in (1, 2):
        asked[model, found.neighbours[model].tolist().index(0)] = True
    asked[0, found.neighbours[0].tolist().index(1)] = True
    odds = of_neighbours(found, asked, known)
    assert (
        odds.tolist() == [known[1, 0], known[0, 1], known[0, 2]] and float(odds[0]) < -1 and bool((odds[1:] > 1).all())
    )
    known[0, 1] = 0.5
    assert float(of_neighbours(found, asked, known)[1]) == 0.5
