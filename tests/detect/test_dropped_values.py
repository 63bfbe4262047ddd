"""Values that were dropped are told from values that training moved, in 16 bits as well and without the parents."""

import numpy as np
import pytest

from lineage.detect.align import align
from lineage.detect.arrays import torch
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.dropped_values import kept_values
from lineage.detect.family_values import rounded
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.unknown_merges import _two_with_own_values, with_unknown_merges
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, start, tune

BFLOAT16, FULL = 8, 24
SHAPES = {"layers.0.weight": (192, 256), "layers.1.weight": (256, 192)}


def tuned(moved=0.05, seed=2):
    """A base and a tuning of it, (r, w) each."""
    base = start(1, SHAPES)
    return [*base.values()], [*tune(base, seed, moved, decay=0.0).values()]


def with_dropped(base, child, density, seed=0):
    random = np.random.default_rng(seed)
    return [b + (c - b) * (random.random(b.shape) < density) / density for b, c in zip(base, child, strict=True)]


@pytest.mark.parametrize("digits", [BFLOAT16, FULL])
def test_training_leaves_next_to_no_value_where_it_was_and_dropping_leaves_its_share(digits):
    base, child = tuned()
    merged = with_dropped(base, child, 0.7)
    trained, dropped = (
        kept_values([rounded(tensor.astype(np.float32), digits) for tensor in some], base, digits)
        for some in (child, merged)
    )
    assert trained.telling.sum() > 500 and not trained.dropped and trained.share < 0.015
    assert dropped.dropped and dropped.share == pytest.approx(0.3, abs=0.05)


def test_units_without_a_gradient_are_no_dropped_values():
    base, child = tuned()
    for before, after in zip(base, child, strict=True):
        after[:40], after[:, :30] = before[:40], before[:, :30]
    kept = kept_values(child, base, FULL)
    assert kept.telling.sum() > 500 and not kept.dropped


def test_values_without_a_gradient_in_one_layer_are_no_dropped_values():
    """Of units that are seldom active together."""
    base, child = tuned()
    kept = kept_values([child[0], with_dropped(base, child, 0.5)[1]], base, FULL)
    assert kept.share > 0.2 and not kept.dropped
    assert kept_values(with_dropped(base, child, 0.5), base, FULL).dropped


def test_steps_in_proportion_to_the_values_tell_nothing():
    random = np.random.default_rng(4)
    base = [tensor.astype(np.float16) for tensor in tuned()[0]]
    child = [
        np.where(random.random(b.shape) < 0.4, b * (1 + 0.02 * random.normal(size=b.shape)), b).astype(np.float16)
        for b in base
    ]
    kept = kept_values(child, [b.astype(np.float32) for b in base], 11)
    assert kept.share > 0.5 and not kept.dropped


def test_a_few_values_tell_nothing():
    base, child = ([tensor[:6, :10] for tensor in tensors] for tensors in tuned())
    kept = kept_values(with_dropped(base, child, 0.5), base, FULL)
    assert kept.share > 0.3 and not kept.dropped


def said(models) -> dict[str, Decision]:
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    return {decision.model: decision for decision in decide(subjects, Options(detector=False))}


def test_an_edge_is_not_asserted_to_a_model_whose_values_were_dropped():
    base, child = start(1, SHAPES), tune(start(1, SHAPES), 2, 0.05, decay=0.0)
    merged = dict(zip(base, with_dropped([*base.values()], [*child.values()], 0.6), strict=True))
    for weights, answer in ((child, AnswerKind.PARENT), (merged, AnswerKind.UNDECIDED)):
        layers = align([sketch_of(base, "base"), sketch_of(weights, "child")], torch.device("cpu"))
        edge = Decision("child", AnswerKind.PARENT, 0.9, "base", Relation.FINE_TUNED_FROM)
        root, found = with_unknown_merges([Decision("base", AnswerKind.ROOT, 0.9), edge], layers, 0)
        assert (root.answer, found.answer, found.parent is None) == (AnswerKind.ROOT, answer, weights is merged)


@pytest.mark.slow
def test_a_merge_of_models_that_are_not_at_hand_is_no_tuning_of_the_base():
    base = start(1, SHAPES)
    models = {"base": base} | {f"t{i}": tune(base, 10 + i, 0.03 * (1 + i), decay=0.0) for i in range(5)}
    gone, also_gone = tune(base, 50, 0.05, decay=0.0), tune(base, 51, 0.07, decay=0.0)
    random = np.random.default_rng(3)
    models["merge"] = {
        name: sum(
            ((tuning[name] - b) * (random.random(b.shape) < 0.6) / 1.2 for tuning in (gone, also_gone)), start=b
        ).astype(np.float32)
        for name, b in base.items()
    }
    found = said(models)["merge"]
    assert (found.answer, found.parent, found.reason.key) == (AnswerKind.UNDECIDED, None, "merge_unknown")
    assert found.evidence["dropped_values"] == pytest.approx(0.16, abs=0.03)
    models["merge"] = tune(base, 52, 0.06, decay=0.0)
    assert said(models)["merge"].relation is Relation.FINE_TUNED_FROM


def test_values_of_two_models_in_turn_are_told_from_those_that_two_merges_took():
    random = np.random.default_rng(6)
    base, one, other, child = random.normal(size=(4, 4096)).astype(np.float32)
    half = random.random((3, 4096)) < 0.5
    merge, again = np.where(half[0], one, other), np.where(half[1], one, other)
    assert set(_two_with_own_values(np.stack([base, one, other, merge]), 3, 0)) == {1, 2}
    assert _two_with_own_values(np.stack([base, one, other, merge, again]), 1, 0) == ()
    assert _two_with_own_values(np.stack([base, one, other, child]), 3, 0) == ()
