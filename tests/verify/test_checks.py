"""Each check: what holds, what contradicts, what is undecided; and the exit code of all together."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.graphdb.schema import Declaration, NoSuchModel
from lineage.pages.members import EdgeFacts, Member
from lineage.verify.checks import (
    Check,
    ModelChecked,
    Outcome,
    check_declared,
    check_origin,
    check_parent,
    check_quantized,
    overall,
    strict,
)
from lineage.verify.gather import Expectation, verify_folder


def subject(
    relation: str = "FINE_TUNED_FROM", parent: str | None = "base", answer: str = "parent", **fields: object
) -> ModelChecked:
    parents = (EdgeFacts("child", parent, relation, 0.95),) if parent else ()
    facts = {name: Member(name, f"org/{name}") for name in ("base", "child", "copy", "grand")}
    values = {"above": ("base", "grand"), "facts": facts, **fields}
    return ModelChecked(Member("child", "org/child", answer=answer), parents, **values)  # type: ignore[arg-type]


def test_the_parent_holds() -> None:
    assert check_parent(subject(), "base", "org/base").outcome is Outcome.HOLDS


def test_a_copy_of_the_parent_holds_as_well() -> None:
    copies = frozenset({"base", "copy"})
    found = check_parent(subject(same_as=dict.fromkeys(copies, copies)), "copy", "org/copy")
    assert found.outcome is Outcome.HOLDS and "same weights as org/copy" in found.message


def test_another_parent_contradicts_and_an_ancestor_is_said_to_be_one() -> None:
    found = check_parent(subject(), "copy", "org/copy")
    assert found.outcome is Outcome.CONTRADICTED and "it was fine-tuned from org/base" in found.message
    found = check_parent(subject(), "grand", "org/grand")
    assert found.outcome is Outcome.CONTRADICTED and "an ancestor, and not the parent" in found.message


def test_a_root_contradicts_any_parent_and_undecided_cannot_tell() -> None:
    assert check_parent(subject(parent=None, answer="root"), "base", "org/base").outcome is Outcome.CONTRADICTED
    assert check_parent(subject(parent=None, answer="undecided"), "base", "org/base").outcome is Outcome.CANNOT_TELL
    maybe = subject(parent=None, answer="undecided", possible=(EdgeFacts("child", "base", "POSSIBLE_PARENT", 0.5),))
    assert "possible parent (probability 0.50)" in check_parent(maybe, "base", "org/base").message


def test_a_root_that_may_be_a_long_training_of_a_model_cannot_tell() -> None:
    root = Member("child", "org/child", answer="root", reason="had a start in common", started_with=("base",))
    facts = {name: Member(name, f"org/{name}") for name in ("base", "copy")}
    found = check_parent(ModelChecked(root, facts=facts), "base", "org/base")
    assert found.outcome is Outcome.CANNOT_TELL and "had a start in common" in found.message
    assert check_parent(ModelChecked(root, facts=facts), "copy", "org/copy").outcome is Outcome.CONTRADICTED


@pytest.mark.parametrize(("architecture", "outcome"), [("a+b", Outcome.CONTRADICTED), ("c", Outcome.CANNOT_TELL)])
def test_what_was_never_compared_does_not_contradict(architecture: str, outcome: Outcome) -> None:
    facts = {"base": Member("base", "org/base", architecture="b")}
    found = ModelChecked(Member("child", "org/child", answer="root", architecture=architecture), (), facts=facts)
    assert check_parent(found, "base", "org/base").outcome is outcome


def test_the_expected_parent_itself_contradicts() -> None:
    same = {"child": frozenset({"child", "copy"}), "copy": frozenset({"child", "copy"})}
    assert check_parent(subject(parent=None, answer="root", same_as=same), "copy", "x").outcome is Outcome.CONTRADICTED


def test_a_fine_tuned_model_is_no_quantized_copy() -> None:
    assert check_quantized(subject("QUANTIZED_FROM"), "base", "org/base").outcome is Outcome.HOLDS
    assert check_quantized(subject("FINE_TUNED_FROM"), "base", "org/base").outcome is Outcome.CONTRADICTED
    assert check_quantized(subject(parent=None, answer="undecided"), "base", "b").outcome is Outcome.CANNOT_TELL


def test_a_copy_of_a_quantized_copy_holds_for_its_original_and_for_no_other() -> None:
    above = (EdgeFacts("copy", "base", "QUANTIZED_FROM", 0.97),)
    copied = subject("COPY_OF", "copy", above=("copy", "base", "grand"), of_copied=above)
    found = check_quantized(copied, "base", "org/base")
    assert (
        found.outcome is Outcome.HOLDS and "the weights of org/copy, which was quantized from org/base" in found.message
    )
    assert check_quantized(copied, "grand", "org/grand").outcome is Outcome.CONTRADICTED
    tuned = subject(
        "COPY_OF", "copy", above=("copy", "base"), of_copied=(EdgeFacts("copy", "base", "FINE_TUNED_FROM", 0.97),)
    )
    assert check_quantized(tuned, "base", "org/base").outcome is Outcome.CONTRADICTED


@pytest.mark.parametrize(
    "outcome, expected",
    [
        ("agree", Outcome.HOLDS),
        ("contradicts", Outcome.CONTRADICTED),
        ("cannot tell", Outcome.CANNOT_TELL),
        ("missing", Outcome.HOLDS),
        (None, Outcome.HOLDS),
    ],
)
def test_the_card(outcome: str | None, expected: Outcome) -> None:
    member = Member("child", "org/child", outcome=outcome, outcome_reason="because")
    assert check_declared(ModelChecked(member)).outcome is expected


def test_a_claim_that_nothing_was_compared_with_cannot_be_told_about() -> None:
    claimed = Declaration("child", "org/base", None, "card"), Declaration("child", "org/child", None, "card")
    found = check_declared(ModelChecked(Member("child", "org/child", claims=claimed, reason="it is alone")))
    assert (
        found.outcome is Outcome.CANNOT_TELL
        and found.message == "org/base is declared and was not compared: it is alone"
    )
    itself = check_declared(ModelChecked(Member("child", "org/child", claims=claimed[1:])))
    assert itself.outcome is Outcome.HOLDS and itself.message == "nothing is declared"


def test_an_unknown_origin_cannot_be_told() -> None:
    assert check_origin(subject()).outcome is Outcome.HOLDS
    assert check_origin(subject(parent=None, answer="root")).outcome is Outcome.HOLDS
    assert check_origin(subject(parent=None, answer="unknown")).outcome is Outcome.CANNOT_TELL


def test_the_worst_outcome_counts() -> None:
    checks = [Check("declared", "m", outcome, "") for outcome in (Outcome.HOLDS, Outcome.CANNOT_TELL)]
    assert overall([]).exit_code == 0
    assert overall(checks).exit_code == 3
    assert overall([*checks, Check("parent", "m", Outcome.CONTRADICTED, "")]).exit_code == 5
    assert overall(map(strict, checks)).exit_code == 5


@pytest.mark.parametrize("inside", ["", "m"])
def test_a_folder_of_which_nothing_can_be_read_says_why(inside: str, tmp_path: Path) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "model.safetensors").symlink_to("/nowhere")
    expected = Expectation(declared=True, origin=False, parent=None, quantized_from=None, policy=None)
    why = r"can be read: (m: )?model\.safetensors is a link that leads nowhere \(/nowhere\)"
    with pytest.raises(NoSuchModel, match=why):
        verify_folder(tmp_path, lambda name: pytest.fail("nothing is looked up"), None, expected, None, None)
