"""A model whose step from another one is a weighted sum of a few others' was merged; one that learned what they learned was not."""

import numpy as np
import pytest

from lineage.detect.arrays import torch
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.merges import Merge
from lineage.detect.sums_of_steps import sum_of_steps, with_sums_of_steps
from lineage.detect.tuned_merges import trained_from
from lineage.graphdb.schema import Relation

VALUES = 4096


def steps(*sizes: float) -> list[np.ndarray]:
    """Directions at right angles, but for chance."""
    random = np.random.default_rng(5)
    return [size * random.normal(size=VALUES) for size in sizes]


def distances(*models: np.ndarray) -> np.ndarray:
    points = np.stack(models)
    return np.square(points[:, None] - points[None, :]).sum(2)


def family() -> dict[str, np.ndarray]:
    """Two tunings of a base that is away, the sum of their differences from it, and a model near to it."""
    first, second, near, own = steps(1.0, 0.9, 0.2, 0.7)
    return {
        "first": first,
        "second": second,
        "near the base": near,
        "merge": 0.7 * first + 0.7 * second,
        "tuned": first + own,
    }


def test_the_parts_are_named_with_their_weights_beside_a_model_near_to_the_base():
    distance = distances(*family().values())
    found = sum_of_steps(3, 0, [1, 2, 4], distance)
    assert found == {1: pytest.approx(0.7, abs=0.05), 2: pytest.approx(-0.4, abs=0.05)}
    assert sum_of_steps(4, 0, [1, 2, 3], distance) == {}


def test_what_learned_as_a_twin_did_or_came_before_two_others_is_no_sum():
    shared, first, second, own = steps(1.0, 0.6, 0.6, 0.1)
    base = np.zeros(VALUES)
    assert sum_of_steps(1, 0, [2, 3], distances(base, shared, shared + own, first)) == {}
    assert sum_of_steps(1, 0, [2, 3], distances(base, shared, shared + first, shared + second)) == {}


def test_a_model_between_two_checkpoints_or_beside_one_that_hardly_moved_is_no_sum():
    way, noise, other = steps(1.0, 0.01, 1e-3)
    base = np.zeros(VALUES)
    assert sum_of_steps(1, 0, [2, 3], distances(base, way, 0.8 * way + noise, 1.2 * way - noise)) == {}
    child = 0.5 * way + 40 * other
    assert sum_of_steps(3, 0, [1, 2], distances(base, way, other, child)) == {}


def test_an_edge_to_one_of_the_parts_is_withdrawn_and_the_sum_named():
    models = family()
    decisions = [Decision(name, AnswerKind.ROOT, 0.9) for name in models]
    for child in (3, 4):
        name = decisions[child].model
        decisions[child] = Decision(name, AnswerKind.PARENT, 0.9, "first", Relation.FINE_TUNED_FROM)
    distance = distances(*models.values())
    found = with_sums_of_steps(decisions, distance)
    assert (found[3].answer, found[3].parent, found[3].reason.key) == (AnswerKind.UNDECIDED, None, "merge_near")
    assert found[3].evidence["sum_of"] == pytest.approx({"first": 0.7, "second": 0.7, "near the base": -0.4}, abs=0.05)
    assert "a sum of those of first and second and near the base, times 0.68, 0.68, -0.36" in str(found[3].reason)
    assert found[4] == decisions[4]
    assert with_sums_of_steps(decisions, distance, merges={1}) == decisions
    later = np.ones(distance.shape, bool)
    later[3, 1] = False
    assert with_sums_of_steps(decisions, distance, sources=later) == decisions


def test_a_sum_of_others_is_no_tuning_of_a_mean_of_other_models():
    """Its parts are tunings of those of the mean, so that it goes to none of these alone."""
    one, other, first, second, near, new = steps(1.0, 1.0, 0.5, 0.5, 0.1, 0.5)
    mean, parts = (one + other) / 2, (one + first, other + second)
    models = [one, other, mean, *parts, near]
    found = {2: Merge(2, ((0, 0.5), (1, 0.5)), None, "linear", 0.0)}
    for last, merge in ((0.7 * parts[0] + 0.7 * parts[1], {}), (mean + new, {6: 2})):
        assert trained_from(found, torch.tensor(distances(*models, last))) == merge
