"""One pair explained: its numbers are those of the decision."""

from dataclasses import replace

import numpy as np
import pytest

from lineage.detect.arrays import torch
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.explain import explain, with_decision
from lineage.detect.groups import GroupMember
from lineage.detect.model_input import Subject
from lineage.detect.no_relatives import by_blocks
from lineage.detect.options import Options
from lineage.detect.reasons import Reason
from lineage.detect.report import explanation_as_text
from tests.builders import sketch_of, three_generations


def test_the_distance_is_that_of_the_decision_also_beside_long_vectors_that_did_not_move():
    models, _ = three_generations()
    subjects = {
        name: Subject(name, sketch_of(values | {"norm.weight": np.full(4096, 3.0, np.float32)}, name))
        for name, values in models.items()
    }
    found = explain(
        subjects["b"], subjects["a"], [subjects[n] for n in ("c", "d", "ba")], Options(), torch.device("cpu")
    )
    assert found.decision.parent == "a"
    assert found.relative_distance == pytest.approx(found.decision.evidence["relative_distance"], abs=1e-6)


def explained(child: str = "b", parent: str = "a"):
    models, _ = three_generations()
    here, there = (Subject(name, sketch_of(models[name], name)) for name in (child, parent))
    return explain(here, there, [], Options(), torch.device("cpu"))


def test_of_two_with_a_start_in_common_the_page_says_nothing_else():
    start = Reason("common_start", {"cosine": 0.28}, {"nearest": "a"})
    root = Decision("b", AnswerKind.ROOT, 0.99, reason=Reason("unrelated", {"count": 1}).and_then(start))
    found = replace(with_decision(explained(), root), growth_z=-9.8, growth_gamma=-0.8)
    said = explanation_as_text(found, ())
    assert said.startswith("b and a are no near relatives: they had a start in common, or one is a long training of")
    assert "came first)" in said and "(the child came first)" not in said and "not related" not in said
    assert not found.tells and "is not related" not in str(found.decision.reason)


def test_nothing_is_said_of_two_that_share_too_little_to_measure():
    root = Decision("b", AnswerKind.ROOT, 0.99, reason=Reason("unrelated", {"count": 1}))
    found = with_decision(replace(explained(), related=0.0), root)
    assert not found.tells and "too few to say whether they are related" in explanation_as_text(found, ())


def test_the_oldest_of_a_family_is_taken_for_it_and_not_said_to_have_no_parent():
    root = Decision(
        "b", AnswerKind.ROOT, 0.9, candidates=(Candidate("a", 0.07),), reason=Reason("oldest", {"count": 2})
    )
    said = explanation_as_text(with_decision(explained(), root), ()).splitlines()[0]
    assert (
        said
        == "b is taken for the oldest of 2 related models that are known; that a is its parent has probability 0.07"
    )


def test_a_model_that_was_compared_alone_is_named_to_the_one_that_it_had_a_start_in_common_with():
    models, _ = three_generations()
    members = [GroupMember(Subject(n, sketch_of(models[n], n)), (), 1000, ()) for n in ("a", "b")]
    alone = [(m, Decision(m.model, AnswerKind.ROOT, 0.99, reason=Reason("alone"))) for m in members]
    for (member, found), other in zip(by_blocks(alone, 0.8, lambda some: []), ("b", "a"), strict=True):
        assert found.answer is AnswerKind.NO_RELATIVES and found.reason.key == "no_near_relatives", member.model
        assert found.reason.then[0].models == {"nearest": other}
