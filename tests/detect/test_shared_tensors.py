"""Whole tensors that were left as they were say which models are next to each other in the tree."""

import numpy as np
import pytest

from lineage.detect import missing_parent
from lineage.detect.align import align
from lineage.detect.arrays import torch
from lineage.detect.decision import AnswerKind
from lineage.detect.identical_bodies import same_bodies
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.signals.shared_tensors import SharedTensors, shared_tensors
from tests.builders import sketch_of, start, tune

SHAPES = {f"layers.{i}.weight": (64, 96) for i in range(4)}
BASE = start(1, SHAPES)


def trained(parent, seed, *layers, moved=0.05):
    """A tuning of some layers only."""
    return parent | {f"layers.{i}.weight": tune(parent, seed, moved)[f"layers.{i}.weight"] for i in layers}


MODELS = {
    "base": BASE,
    "lower": trained(BASE, 2, 0, 1),
    "upper": trained(BASE, 3, 2, 3),
    "last": trained(BASE, 4, 3),
    "whole": tune(BASE, 5, 0.05),
}


def shared(models) -> SharedTensors:
    layers = align([sketch_of(weights, name) for name, weights in models.items()], torch.device("cpu"))
    return shared_tensors(layers, [24] * len(models), [False] * len(models))


def crossed(models) -> list[bool]:
    return [shared(models).crossed(place) for place in range(len(models))]


def said(models):
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    return {d.model: d for d in decide(subjects, Options(threshold=0.5))}


def test_a_model_without_a_tensor_of_its_own_lies_between_the_others():
    found = shared(MODELS)
    assert found.inner().tolist() == [True, False, False, False, False]
    assert found.undone(0)[1].tolist() == [False, False, True, True, True]  # what lower has of the base they have not
    apart = 2 * torch.ones(5, 5).double().fill_diagonal_(
        0.0
    )  # a star: others are one step from the base and two from each other
    apart[0, 1:] = apart[1:, 0] = 1
    sides = found.side_of_tree(apart)
    assert sides[[0, 4]].tolist() == [0, 0] and (sides[1:4] < -1).all()


def test_no_model_is_inner_where_a_tensor_is_never_the_same():
    models = {name: trained(weights, 10 + i, 0, moved=0.01) for i, (name, weights) in enumerate(MODELS.items())}
    assert shared(models).parted and not shared(models).inner().any()


def test_a_model_of_which_two_others_left_unlike_parts_as_they_are_lies_where_they_met():
    """Also where every model has a tensor of its own, as attention that all of them trained."""
    own = "layers.4.weight"
    models = {
        name: weights | {own: start(50 + i, {own: (64, 96)})[own]} for i, (name, weights) in enumerate(MODELS.items())
    }
    assert shared(models).parted and crossed(models) == [True, False, False, False, False]
    del models[
        "upper"
    ]  # what last left holds what lower left: of the two alone, either may be a training of an unseen model
    assert not any(crossed({name: models[name] for name in ("base", "lower", "whole")}))


def test_siblings_that_left_unlike_parts_of_an_unseen_model_are_none_of_them_where_they_met():
    siblings = {f"only{i}": trained(BASE, 60 + i, i, moved=0.02) for i in range(4)}
    assert not any(crossed(siblings))
    assert crossed({"base": BASE, **siblings}) == [True, False, False, False, False]


def test_the_model_where_others_met_is_their_parent_although_all_steps_have_a_part_in_common():
    models = {"base": BASE, **{f"only{i}": trained(BASE, 60 + i, i, moved=0.02) for i in range(2)}}
    found = {}
    for name, odds in (("as it is", missing_parent.CROSSED), ("without", 0.0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(missing_parent, "CROSSED", odds)
            patch.setattr(missing_parent, "INNER", 0.0)
            found[name] = said(models)["only0"].probability
    assert found["as it is"] > found["without"] + 0.05


def test_what_is_stored_in_fewer_digits_has_the_tensors_of_its_base():
    half = {name: {k: v.astype(np.float16).astype(np.float32) for k, v in w.items()} for name, w in MODELS.items()}
    layers = align([sketch_of(w, n) for n, w in ({**half, "base": BASE}).items()], torch.device("cpu"))
    found = shared_tensors(layers, [24, 11, 11, 11, 11], [False] * 5)
    assert found.inner().tolist()[0] and float(found.shared()[0, 1]) == 2 * 64 * 96


def test_a_few_values_that_moved_alike_are_no_tensor_of_two():
    few = {name: weights["layers.0.weight"].copy() for name, weights in MODELS.items()}
    for rows in (few["lower"], few["upper"]):
        rows[:] = BASE["layers.0.weight"]
        rows[0, :3] += 0.1
    found = shared({name: {**MODELS[name], "layers.0.weight": few[name]} for name in MODELS})
    assert not found.by_two()[1, 2]


def test_a_base_of_which_two_children_hold_every_tensor_is_no_merge_of_them():
    found = said(MODELS)
    assert not any(decision.merged_from for decision in found.values())
    assert found["lower"].parent == found["last"].parent == found["upper"].parent == "base"
    assert found["base"].answer is not AnswerKind.PARENT


@pytest.mark.parametrize("frozen", [(0, 1, 2), (1, 2, 3)])
def test_an_edited_model_comes_from_the_one_whose_other_tensors_it_has(frozen):
    near = tune(MODELS["whole"], 20, 0.01, decay=0.0)  # nearer than its parent, and another one everywhere
    edited = trained(MODELS["whole"], 21, *(i for i in range(4) if i not in frozen), moved=0.2)
    found = said({**MODELS, "near": near, "edited": edited})
    assert found["edited"].parent == "whole"
    assert {c.parent: c.probability for c in found["edited"].candidates}.get("near", 0.0) < 0.02


def test_of_equal_bodies_the_one_with_the_vocabulary_of_the_others_came_first():
    layers = align([sketch_of(BASE, "a"), sketch_of(BASE, "b"), sketch_of(MODELS["whole"], "c")], torch.device("cpu"))
    relative = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]).double()
    long, short = ({"embed_tokens.weight": np.ones((rows, 8), np.float32)} for rows in (50, 40))
    for tables, chosen in ((long, short, short), 1), ((short, long, short), 0):
        (group,) = same_bodies(relative, layers, [sketch_of({**BASE, **table}) for table in tables])
        assert group.chosen == chosen and max(group.probability) > 0.8


def test_of_a_model_and_one_with_its_last_layer_tuned_the_others_come_from_the_one_whose_last_layer_they_moved_from():
    """Seen from the second, all others go the same way in the last layer; nothing else parts the two."""
    models = {"base": BASE, "last": trained(BASE, 4, 3, moved=0.1)} | {
        f"m{i}": tune(BASE, 20 + i, 0.1) for i in range(5)
    }
    decisions = said(models)
    assert {decisions[f"m{i}"].parent for i in range(5)} == {"base"} and decisions["last"].parent == "base"
