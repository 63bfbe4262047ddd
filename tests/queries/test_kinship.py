"""Whether a declared base is a stranger, surely on another branch, or perhaps on the line of descent."""

from __future__ import annotations

import pytest

from lineage.queries.kinship import ClaimedKin, ParentEdge, kinship

TUNED, QUANTIZED, MAYBE = "FINE_TUNED_FROM", "QUANTIZED_FROM", "POSSIBLE_PARENT"
FAMILY = {
    "child": [ParentEdge("base", TUNED, 0.98)],
    "unsure": [ParentEdge("base", TUNED, 0.88)],
    "sister": [ParentEdge("base", TUNED, 0.98)],
    "niece": [ParentEdge("sister", TUNED, 0.99)],
    "likely-sister": [ParentEdge("base", TUNED, 0.88)],
    "undecided": [ParentEdge("base", MAYBE, 0.6)],
    "packed-base": [ParentEdge("base", QUANTIZED, 0.99)],
    "grandchild": [ParentEdge("child", TUNED, 0.99)],
    "below-unsure": [ParentEdge("unsure", TUNED, 0.99)],
}


@pytest.mark.parametrize(
    ("model", "base", "lies"),
    [
        ("child", "stranger", ClaimedKin.STRANGER),
        ("base", "stranger", ClaimedKin.STRANGER),
        ("child", "sister", ClaimedKin.OTHER_BRANCH),
        ("child", "niece", ClaimedKin.OTHER_BRANCH),
        ("unsure", "sister", ClaimedKin.RELATED),  # its parent may be the sister
        ("child", "likely-sister", ClaimedKin.RELATED),  # which may be above the base
        ("child", "undecided", ClaimedKin.RELATED),
        ("child", "packed-base", ClaimedKin.RELATED),  # the values of the parent
        ("child", "grandchild", ClaimedKin.OTHER_BRANCH),
        ("unsure", "below-unsure", ClaimedKin.RELATED),
        ("base", "child", ClaimedKin.RELATED),
        ("base", "undecided", ClaimedKin.RELATED),
    ],
)
def test_only_sure_edges_put_a_relative_on_another_branch(model: str, base: str, lies: ClaimedKin) -> None:
    assert kinship(model, base, frozenset({base}), lambda at: FAMILY.get(at, ())) is lies


def test_a_possible_parent_above_the_one_that_was_found_is_related() -> None:
    family = {"child": [ParentEdge("parent", TUNED, 0.98)], "parent": [ParentEdge("top", MAYBE, 0.5)]}
    assert kinship("child", "top", frozenset({"top"}), lambda at: family.get(at, ())) is ClaimedKin.RELATED


def test_other_evidence_may_stand_in_for_the_edge_of_the_model() -> None:
    found = kinship("unsure", "sister", frozenset({"sister"}), lambda at: FAMILY.get(at, ()), least=0.0)
    assert found is ClaimedKin.OTHER_BRANCH
