"""What is said of models that nothing was decided about, and that have relatives all the same."""

from __future__ import annotations

import pytest

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.groups import GroupMember
from lineage.detect.model_input import Subject
from lineage.detect.nearest_relative import nearest_relative, not_alone, with_relatives_of_copies
from lineage.detect.packed_claims import settle
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, start, three_generations

MODELS, _ = three_generations()
MODELS["stranger"] = start(77)


def member(name: str) -> GroupMember:
    return GroupMember(Subject(name, sketch_of(MODELS[name], name)), (), 1000, ())


def undecided(name: str, reason: str, *candidates: Candidate) -> tuple[GroupMember, Decision]:
    return member(name), Decision(name, AnswerKind.UNDECIDED, 0.0, candidates=candidates, reason=Reason(reason))


def test_the_nearest_is_found_and_a_stranger_has_none() -> None:
    everyone = [member(name) for name in ("a", "b", "ba", "stranger")]
    assert nearest_relative(everyone[2], everyone)[0] == "b"  # type: ignore[index]
    assert nearest_relative(everyone[3], everyone) is None


def test_quantized_copies_without_a_known_original_are_named_to_each_other() -> None:
    said = [undecided(name, "packed_unknown") for name in ("a", "b", "stranger")]
    (_, first), (_, second), (_, third) = with_relatives_of_copies(said)
    assert str(first.reason).startswith(
        "a quantized copy; its original is not known; b is nearest to it: the relatedness"
    )
    assert second.reason.then[0].models == {"nearest": "a"} and not third.reason.then
    assert settle(first, said[0][0].subject.sketch, []).reason == first.reason


def test_a_model_with_a_copy_that_may_be_its_own_is_not_said_to_be_the_only_one() -> None:
    root = (member("a"), Decision("a", AnswerKind.ROOT, 0.99, reason=Reason("alone")))
    copy = undecided("b", "packed_unseen", Candidate("a", 0.02))
    (_, found), _ = with_relatives_of_copies([root, copy])
    assert found.reason == Reason("only_copies", {"count": 1}) and "only relative known" in str(found.reason)
    assert with_relatives_of_copies([root])[0][1].reason.key == "alone"


@pytest.mark.parametrize(
    "relation, key, count", [(Relation.COPY_OF, "original", 1), (Relation.FINE_TUNED_FROM, "oldest", 2)]
)
def test_a_root_with_a_child_under_other_names_is_not_alone(relation: Relation, key: str, count: int) -> None:
    root = Decision("a", AnswerKind.ROOT, 0.99, reason=Reason("alone"))
    child = Decision("b", AnswerKind.PARENT, 0.99, "a", relation)
    assert [d.reason for d in not_alone([root, child])] == [Reason(key, {"count": count}), child.reason]
    assert not_alone([root]) == [root]


@pytest.mark.parametrize("key", ["alone", "unrelated", "no_relatives"])
def test_a_model_that_equals_one_of_other_names_is_not_unrelated(key: str) -> None:
    answer = AnswerKind.NO_RELATIVES if key == "no_relatives" else AnswerKind.ROOT
    first = Decision("a", answer, 0.99, reason=Reason(key, {"count": 3}))
    tied = Decision("b", AnswerKind.UNDECIDED, 0.5, reason=Reason("tie_equal_values", {"values": 9}, {"original": "a"}))
    found, _ = not_alone([first, tied])
    assert (found.answer, found.reason) == (AnswerKind.ROOT, Reason("same_weights", {"count": 1}))


def test_what_is_far_away_is_not_called_near() -> None:
    near, far = (str(Reason("unseen_parent", {"distance": d}, {"parent": "a"})) for d in (0.1, 1.9))
    assert "an unseen model near it (they are 0.1 of its length apart)" in near
    assert "near" not in far and "a is 1.9 of its length away" in far


def test_of_models_with_equal_bodies_none_is_a_root_while_another_may_be_the_first() -> None:
    reason = Reason("equal_bodies", models={"models": ("one", "two")})
    one = Decision("one", AnswerKind.UNDECIDED, 0.5, candidates=(Candidate("two", 0.5),), reason=reason)
    two = Decision("two", AnswerKind.ROOT, 0.92, reason=Reason("oldest", {"count": 2}))
    found = {d.model: d for d in not_alone([one, two])}
    assert found["one"] == one and (found["two"].answer, found["two"].reason) == (AnswerKind.UNDECIDED, reason)
    assert (found["two"].candidates, found["two"].probability) == ((Candidate("one", 0.5),), 0.5)
