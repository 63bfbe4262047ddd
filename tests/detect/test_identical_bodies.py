"""How sure the choice among models of equal body is weighs on every edge that touches one of them."""

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.identical_bodies import IdenticalBodies, decide_equals, same_bodies, spread
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, start, tune


def edge(child, parent, probability):
    return Decision(
        child,
        AnswerKind.PARENT,
        probability,
        parent,
        Relation.FINE_TUNED_FROM,
        (Candidate(parent, probability),),
        ("growth",),
    )


def group(*probability):
    return IdenticalBodies((("x", "x"), ("y", "y")), 0, probability)


def test_an_edge_to_one_of_two_equal_bodies_is_a_tie_where_nothing_tells_them_apart():
    found = spread([edge("child", "x", 0.96)], [group(0.5, 0.5)], 0.8)[0]
    assert (found.answer, found.parent) == (AnswerKind.UNDECIDED, None)
    assert {c.parent: c.probability for c in found.candidates} == pytest.approx({"x": 0.48, "y": 0.48})
    assert "cannot tell which" in str(found.reason)


def test_the_one_that_stands_for_both_may_come_from_the_other():
    found = spread([edge("x", "root", 0.96)], [group(0.6, 0.4)], 0.8)[0]
    assert found.answer is AnswerKind.UNDECIDED
    assert {c.parent: c.probability for c in found.candidates} == pytest.approx({"root": 0.576, "y": 0.4})


def test_candidates_that_cannot_be_told_apart_are_the_first_ones_equal_bodies_among_them():
    candidates = (Candidate("one", 0.45), Candidate("two", 0.41))
    reason = Reason("two_candidates", models={"first": "one", "second": "two"})
    found = spread(
        [Decision("x", AnswerKind.UNDECIDED, 0.45, candidates=candidates, reason=reason)], [group(0.5, 0.5)], 0.8
    )[0]
    assert [c.parent for c in found.candidates] == ["y", "one", "two"]
    assert "cannot tell y and one apart" in str(found.reason)


def test_a_sure_choice_changes_nothing_but_the_probability():
    found = spread([edge("x", "root", 0.96), edge("other", "root", 0.9)], [group(0.98, 0.02)], 0.8)
    assert [(d.answer, d.parent) for d in found] == [(AnswerKind.PARENT, "root")] * 2
    assert found[0].probability == pytest.approx(0.96 * 0.98) and found[1].probability == 0.9


def test_those_that_do_not_stand_in_the_tree_come_from_the_one_that_does_if_that_is_sure():
    sure, unsure = decide_equals(group(0.95, 0.05), 0.8), decide_equals(group(0.5, 0.5), 0.8)
    assert [(d.model, d.parent) for d in sure] == [("y", "x")]
    assert [(d.model, d.answer, d.parent) for d in unsure] == [("y", AnswerKind.UNDECIDED, None)]


def test_of_equal_bodies_the_one_that_saw_fewer_batches_came_first():
    """A head trained on a frozen body: batch norms count on."""
    relative, layers = torch.zeros(2, 2), [Layer("head", 1.0, Part.REST, 8, torch.randn(2, 2, 4))]
    (found,) = same_bodies(relative, layers, counts=[410.0, 350.0])
    assert found.chosen == 1 and found.probability[1] > 0.9
    assert decide_equals(IdenticalBodies((("x", "x"), ("y", "y")), 1, found.probability, found.counted), 0.8)[
        0
    ].decided_by == (
        "exact sharing",
        "counters",
    )
    for counts in ([350.0, 350.0], [None, 350.0], []):
        assert same_bodies(relative, layers, counts=counts)[0].probability == (0.5, 0.5)


def test_of_equal_bodies_one_that_saw_more_batches_than_another_is_not_its_origin():
    """Two heads trained on one frozen body, one of them with batch norm counting on: both come from what is not at hand."""
    heads = torch.cat(
        [torch.zeros(1, 2, 4), torch.ones(1, 2, 4), torch.zeros(6, 2, 4)]
    )  # six others keep the head of the first
    relative = torch.ones(8, 8) - torch.eye(8)
    relative[0, 1] = relative[1, 0] = 0.0
    layers = [Layer("head", 1.0, Part.REST, 8, heads + 1e-3 * torch.arange(8.0)[:, None, None])]
    (found,) = same_bodies(relative, layers, counts=[314.0, 294.0, *[320.0] * 6])
    assert found.chosen == 0 and max(found.probability) <= 0.5 and not found.counted
    group = IdenticalBodies((("x", "x"), ("y", "y")), 0, found.probability, found.counted)
    (other,) = decide_equals(group, 0.8)
    (child,) = spread([edge("child", "x", 0.99)], [group], 0.8)
    for decision in other, child:
        assert decision.answer is AnswerKind.UNDECIDED and decision.parent is None
        assert "x is likeliest, but batch norm had counted more batches" in str(decision.reason)


def test_the_probability_of_several_nearly_equal_models_stays_where_the_choice_among_equals_is_sure():
    """What a decision says may be about its parent and others that are nearly equal to it, each with a share of its own."""
    near = (Candidate("x", 0.6), Candidate("near", 0.3))
    decision = Decision("child", AnswerKind.PARENT, 0.9, "x", Relation.FINE_TUNED_FROM, near, ("growth",))
    assert spread([decision], [group(0.98, 0.02)], 0.8)[0].probability == pytest.approx(0.9 * 0.98)
    assert spread([decision], [group(0.6, 0.4)], 0.8)[0].answer is AnswerKind.UNDECIDED


BODY = {f"layers.{i}.weight": (64, 96) for i in range(3)}
random = np.random.default_rng(3)


def with_head(body, head, name="score.weight"):
    return body | {name: head.astype(np.float32)}


def new_head(rows=10):
    return random.normal(0, 0.05, (rows, 96))


@pytest.mark.parametrize("others_kept", ["base", "probe"])
def test_of_equal_bodies_others_come_from_the_one_whose_head_they_kept(others_kept):
    """The trees of three tunings cannot part a model from one whose head alone was trained; what they kept of the heads can."""
    body = start(11, BODY)
    heads = {"base": new_head(), "probe": new_head()}
    models = {name: with_head(body, head) for name, head in heads.items()}
    for i in range(3):
        kept = heads[others_kept] + random.normal(0, 0.01, (10, 96))
        models[f"m{i}"] = with_head(tune(body, 20 + i, 0.1), kept)
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    found = {d.model: d for d in decide(subjects, Options(dates=False, declared=False))}
    assert {found[f"m{i}"].parent for i in range(3)} == {others_kept}


def test_others_whose_heads_agree_with_one_another_do_not_come_from_a_probe_with_other_classes():
    """The base is not at hand; of two probes on its body the one that counted fewer batches has a head of other classes."""
    body, head, bias = start(11, BODY), new_head(), random.normal(0, 0.05, 10)

    def tuned(weights, rows, bias, batches):
        classes = with_head(with_head(weights, rows, "classifier.weight"), bias, "classifier.bias")
        return classes | {"norm.num_batches_tracked": np.array(batches)}

    def kept(drift):  # biases are soon another task's
        return head + random.normal(0, 0.01, head.shape), drift * bias

    models = {
        "few": tuned(body, new_head(40), np.zeros(40), 700),
        "more": tuned(body, *kept(-0.3), 750),
        **{f"m{i}": tuned(tune(body, 20 + i, 0.1), *kept(1.0), 760) for i in range(3)},
    }
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    assert {d.parent for d in decide(subjects, Options(dates=False, declared=False))} == {None}


@pytest.mark.parametrize("classifiers", [3, 0])
def test_a_decode_head_that_was_put_onto_a_frozen_body_is_not_the_older_head(classifiers):
    """Heads for the same classes have like rows of these whatever they began with; their inner layers tell whether one was kept."""
    body, own, classes = start(11, BODY), new_head(), new_head()

    def segmenter(weights):
        rows = with_head(weights, classes + random.normal(0, 0.03, classes.shape), "decode_head.classifier.weight")
        return with_head(rows, new_head(64), "decode_head.linear_fuse.weight")

    models = {"frozen": segmenter(body), "base": with_head(body, own, "classifier.weight")}
    for i in range(3):
        models[f"s{i}"] = segmenter(tune(body, 30 + i, 0.1))
    for i in range(classifiers):
        kept = own + random.normal(0, 0.01, own.shape)
        models[f"c{i}"] = with_head(tune(body, 20 + i, 0.1), kept, "classifier.weight")
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    found = {d.model: d for d in decide(subjects, Options(dates=False, declared=False))}
    assert found["frozen"].parent == "base" and found["base"].parent is None
    assert {d.parent for name, d in found.items() if name[0] in "cs"} <= {"base", None}


def test_of_equal_bodies_the_one_with_the_head_of_its_pretraining_came_first():
    body = start(11, BODY) | {"embed_tokens.weight": random.normal(0, 0.1, (32, 96)).astype(np.float32)}
    told = with_head(body, new_head(32), "lm_head.weight"), with_head(body, new_head(2))
    relative, layers = torch.zeros(2, 2), [Layer("rest", 1.0, Part.REST, 8, torch.randn(2, 2, 4))]
    for order, first in ((0, 1), 0), ((1, 0), 1):
        (found,) = same_bodies(relative, layers, [sketch_of(told[i]) for i in order])
        assert found.chosen == first and found.probability[first] > 0.95
