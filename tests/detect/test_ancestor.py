"""Whether one model was trained from another one, from what all signals say of the two."""

import pytest
import torch

from lineage.detect.ancestor import CLOSE, FEATURES, UNTOLD, PairOdds, at_its_end, features, log_odds, surely_in_line
from lineage.detect.signals.inheritance import Inheritance
from lineage.detect.signals.retention import Votes
from lineage.detect.signals.rooted_growth import RootedGrowth
from lineage.detect.steps import Steps

# a tuning for another task, which lost a quarter of what its parent had learned
LOSSY = {
    "low slope": 0.7, "nearer": 0.08, "kept": 0.55, "retention": 0.0, "lost": 0.24, "total slope": 0.95, "fell": 0.25, "rose": 0.24,
    "direction": 3.3, "certain": 0.0, "even": -1.2, "order": 0.99, "step": 11.0, "log of the number of models": 3.3,
}  # fmt: skip


def odds(**changed: float) -> float:
    at = {**LOSSY, **changed}
    return float(log_odds(torch.tensor([[at[name] for name in FEATURES]], dtype=torch.float64))[0])


def test_a_model_that_has_most_of_what_another_one_changed_is_perhaps_its_child():
    assert odds() == UNTOLD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low slope", 0.4),
        ("lost", 0.5),
        ("kept", 0.4),
        ("order", 0.5),
        ("step", 100.0),
        ("nearer", -0.1),
        ("certain", -2.0),
    ],
)
def test_no_child_is_taken_for_possible_that_lacks_one_of_these(name: str, value: float):
    assert odds(**{name: value}) < UNTOLD - 1


# a speech encoder seen from a child that moved a quarter of its way: it holds all that lies between that one and its parent, though some
# units that changed little there say less
AT_ITS_END = {**LOSSY, "low slope": 0.4, "total slope": 0.86, "lost": 0.22, "fell": 0.21, "order": 0.98}


@pytest.mark.parametrize(
    "changed", [{}, {"total slope": 0.6}, {"total slope": 1.4}, {"order": 0.5}, {"low slope": 0.0}]
)
def test_what_holds_all_that_lies_between_the_root_and_another_one_lies_at_the_end_of_that(changed: dict[str, float]):
    at = {**AT_ITS_END, **changed}
    found = torch.tensor([[at[name] for name in FEATURES]], dtype=torch.float64)
    assert at_its_end(found).tolist() == [not changed]
    assert float(log_odds(found)[0]) < UNTOLD, "alone it is no evidence that it comes from there"


# two sentence encoders, of which one was trained on from the other: part of its way goes on, part goes back
UNEVEN = {
    "low slope": 0.83, "nearer": 1.21, "kept": 0.63, "retention": 0.0, "lost": 0.12, "total slope": 0.89, "fell": 0.41, "rose": 0.69,
    "direction": 0.08, "certain": 0.0, "even": -1.2, "order": 0.79, "step": 0.34, "log of the number of models": 1.4,
}  # fmt: skip


def test_a_model_much_nearer_to_another_one_than_to_the_root_is_perhaps_its_child_though_units_differ():
    assert odds(**UNEVEN) == UNTOLD
    assert odds(**{**UNEVEN, "nearer": 0.9}) < UNTOLD - 1
    assert odds(**{**UNEVEN, "lost": 0.3}) < UNTOLD - 1


@pytest.mark.parametrize("apart", [1e-4, 0.1])
@pytest.mark.parametrize("retention", [0.0, 4.0])
def test_of_models_that_are_hardly_apart_only_what_is_no_chance_says_which_came_first(apart: float, retention: float):
    """A step of a hundredth of what the neighbour moved: growth along the weights and the lengths of the two tell nothing then."""

    def one(value: float) -> torch.Tensor:
        return torch.full((1, 1), value, dtype=torch.float64)

    seen = Inheritance(one(1.0), one(1.0), torch.ones(1, dtype=torch.float64))
    votes, steps = Votes(one(0.7), one(0.0), one(0.1), one(0.1)), Steps(one(1.0)[0], one(apart), one(1.0), one(-0.2))
    said = PairOdds(one(retention), direction=one(-0.6), upright=one(0.01), certain=one(0.0), even=one(-1.2))
    found = features(seen, votes, steps, said, RootedGrowth(one(0.1), one(0.2)))
    told = dict(zip(FEATURES, found[0, 0].tolist(), strict=True))
    chance = apart < 1e-3 and not retention
    assert (told["order"], told["direction"]) == ((0.0, 0.01) if chance else (-0.2, -0.6))


# a tuning that has all of what its parent had changed, and went a tenth as far
IN_LINE = {
    "low slope": 0.99, "nearer": 3.1, "kept": 0.98, "retention": 0.0, "lost": 0.01, "total slope": 1.0, "fell": 0.1, "rose": 0.1,
    "direction": 0.0, "certain": 0.0, "even": 0.0, "order": 0.8, "step": 0.05, "log of the number of models": 3.3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("order", 0.8, True), ("nearer", 1.5, False), ("rose", 0.4, False), ("order", 1.4, False), ("kept", 0.9, False)],
)
def test_two_trainings_on_the_same_data_and_points_of_one_run_are_not_surely_in_line(name, value, expected):
    at = {**IN_LINE, name: value}
    assert bool(surely_in_line(torch.tensor([at[n] for n in FEATURES], dtype=torch.float64))) is expected


# a classifier trained on from a classifier for another task, from families of DeBERTa that the trees did not learn from
CLOSE_BY = {
    "low slope": 0.94, "nearer": 2.38, "kept": 0.86, "retention": 0.0, "lost": 0.06, "total slope": 0.99, "fell": 0.34, "rose": 0.32,
    "direction": 0.8, "certain": 0.0, "even": -1.2, "order": 0.65, "step": 0.1, "log of the number of models": 3.1,
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"nearer": 1.2},
        {"total slope": 1.1},
        {"total slope": 0.9},
        {"kept": 0.7},
        {"fell": 0.5},
        {"rose": 0.5},
        {"order": -0.2},
    ],
)
def test_a_model_close_by_another_one_whose_units_hold_more_of_it_as_often_as_less_comes_from_it(
    changed: dict[str, float],
):
    assert (odds(**{**CLOSE_BY, **changed}) >= CLOSE) is not bool(changed)
