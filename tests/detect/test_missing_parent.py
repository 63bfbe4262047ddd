"""A part that all steps from a root share speaks for a parent that is not at hand, and so do cards that name one."""

from dataclasses import replace

import pytest
import torch

from lineage.detect.common_step import shared_by_all
from lineage.detect.measurement import measure
from lineage.detect.missing_parent import stood_still
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide, families_of
from lineage.detect.tree import COMMON_STEP_AT_MOST, decide_tree
from tests.builders import sketch_of, start, tune


def star(children: int, together: float = 0.0, values: int = 20_000) -> torch.Tensor:
    """(c + 1, c + 1) inner products of a parent and its children, which moved about as far; `together`: of what they moved in common."""
    dice = torch.Generator().manual_seed(3)
    moved = torch.randn(children, values, generator=dice, dtype=torch.float64)
    moved = moved * torch.linspace(1, 2, children, dtype=torch.float64)[:, None]
    moved = moved + together * torch.randn(values, generator=dice, dtype=torch.float64)
    models = torch.cat([torch.zeros(1, values, dtype=torch.float64), moved])
    return models @ models.T


def test_children_seen_from_one_of_them_share_its_own_step_and_those_of_a_parent_at_hand_share_little():
    products = star(12)
    assert shared_by_all(0, torch.arange(1, 13), products) == 0.0
    assert shared_by_all(1, torch.arange(2, 13), products) > 5.0
    assert shared_by_all(0, torch.arange(1, 13), star(12, together=0.25)) == 0.0


def test_two_children_that_have_nothing_in_common_are_enough_against_it_and_a_handful_may_all_be_akin():
    products = star(12)
    apart = torch.cat([products, -products[2:3]])  # one more, opposite to another
    apart = torch.cat([apart, torch.cat([-products[2], products[2, 2:3]])[:, None]], 1)
    assert shared_by_all(1, torch.arange(2, 14), apart) == 0.0
    assert shared_by_all(1, torch.arange(2, 8), products) == 0.0


def test_a_step_of_nothing_but_rounding_says_nothing():
    products = star(12)
    copied = torch.cat([products, products[1:2]])
    copied = torch.cat([copied, torch.cat([products[:, 1], products[1, 1:2]])[:, None]], 1) + 1e-9
    assert shared_by_all(1, torch.arange(2, 14), copied) == 0.0


def test_beside_a_child_that_hardly_moved_a_common_direction_of_the_others_is_no_step_of_a_stand_in():
    models = star(12, together=1.0)
    assert shared_by_all(0, torch.arange(1, 13), models) > 3.0
    short = torch.ones(13, dtype=torch.float64)
    short[1] = 0.02
    assert shared_by_all(0, torch.arange(1, 13), models * short[:, None] * short[None, :]) == 0.0


def of_steps(*sizes: float, values: int = 20_000) -> torch.Tensor:
    """Inner products of a parent and children that moved so far each, into directions of their own."""
    dice = torch.Generator().manual_seed(4)
    moved = torch.randn(len(sizes), values, generator=dice, dtype=torch.float64) * torch.tensor(sizes)[:, None]
    models = torch.cat([torch.zeros(1, values, dtype=torch.float64), moved])
    return models @ models.T


def test_a_root_from_which_all_moved_alike_and_apart_is_no_child_that_hardly_moved():
    alike = of_steps(1.0, 1.1, 0.9)
    assert stood_still(0, torch.tensor([1, 2, 3]), alike) == -2.0
    assert stood_still(1, torch.tensor([2, 3]), alike) > -0.7, "a child in the place of its parent"
    assert stood_still(0, torch.tensor([1]), alike) == 0.0, "of two models nothing tells"


def test_where_children_moved_unlike_far_one_more_may_have_hardly_moved():
    unlike = of_steps(1.0, 0.1, 0.01, 3.0, 0.3, 0.03)
    assert stood_still(0, torch.arange(1, 7), unlike) > -1.5


@pytest.mark.slow
def test_a_star_that_lost_its_base_is_given_no_parent_and_keeps_its_answers_where_the_base_is_at_hand():
    base = start(5)
    models = {"base": base} | {f"c{i:02}": tune(base, 100 + i, moved=0.2 + 0.02 * i) for i in range(12)}
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    whole, lost = (list(decide(some)) for some in (subjects, subjects[1:]))
    assert sum(d.parent == "base" for d in whole) >= 11
    assert not any(d.parent for d in lost)


def test_models_whose_cards_name_one_base_that_is_not_at_hand_are_no_parent_and_child():
    base = start(5)
    moved = {"still": 0.02, "one": 0.3, "two": 0.25, "three": 0.35, "four": 0.3}
    siblings = [Subject(n, sketch_of(tune(base, 100 + i, moved=m), n)) for i, (n, m) in enumerate(moved.items())]
    silent = decide(siblings)
    assert {d.parent for d in silent if d.parent} == {"still"}  # what moved least passes for the parent
    named = [replace(subject, declared=frozenset({"gone/base"})) for subject in siblings]
    said = decide(named)
    assert not any(d.parent for d in said)
    assert any("names the same base as that of still" in str(d.reason) for d in said)
    assert [d.parent for d in decide(named, Options(declared=False))] == [d.parent for d in silent]
    at_hand = [*named, Subject("gone/base", sketch_of(base, "gone/base"))]
    assert {d.parent for d in decide(at_hand) if d.model != "gone/base"} == {"gone/base"}
    # whose child names the base of its parent is still its child where the weights say so
    child = Subject("child", sketch_of(tune(tune(base, 101, moved=0.3), 7, moved=0.1), "child"))
    assert decide([*at_hand, replace(child, declared=frozenset({"gone/base"}))])[-1].parent == "one"


@pytest.mark.slow
def test_a_step_that_all_others_share_speaks_against_a_root_up_to_a_bound():
    base = start(1)
    children = {f"c{seed}": tune(base, seed) for seed in range(2, 13)}
    for models, at_hand in (({"base": base, **children}, True), (children, False)):
        subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
        (family,) = families_of(subjects, Options(detector=False), torch.device("cpu"))
        found = measure(family, Options(detector=False))
        tree = decide_tree(found.geometry, found.units, found.roots, found.evidence, found.characters, found.tensors)
        said = tree.scores["common step"]
        if at_hand:
            assert float(said[0]) == 0.0 and tree.best_root == 0
        else:
            assert float(said.min()) == -COMMON_STEP_AT_MOST and float(tree.common_step.max()) > COMMON_STEP_AT_MOST
