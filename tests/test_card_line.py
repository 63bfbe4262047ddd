"""What `who-is-parent` says of a card with several bases: where one of them is not confirmed, which."""

from __future__ import annotations

import pytest

from lineage.answer import Answer, Parent
from lineage.graphdb.schema import Declaration
from lineage.queries.claim_check import Agreement, Comparison
from lineage.render_answer import as_text
from tests.graphs import a_model


@pytest.mark.parametrize(
    ("bases", "reason", "line"),
    [
        (
            ["a", "b"],
            "org/a is declared and fits; its card names org/b",
            "agree: org/a is declared and fits; its card names",
        ),
        (["a", "b"], "org/a is declared and fits", "org/a, org/b; the weights agree\n"),
        (
            ["a"],
            "org/a is declared and fits; its card says finetune, and it is",
            "agree: org/a is declared and fits; its card",
        ),
        (["a"], "org/a is declared and fits", "card says   org/a; the weights agree\n"),
    ],
)
def test_a_base_that_is_not_confirmed_is_named(bases: list[str], reason: str, line: str) -> None:
    claims = tuple(Declaration("id-m", f"org/{base}", None, "card") for base in bases)
    found = Comparison("id-m", "org/m", Agreement.AGREE, reason, claims, ("org/a",))
    parents = (Parent("id-a", "org/a", "ADAPTER_OF", 0.99),)
    answer = Answer(a_model("m"), "parent", parents, 0.99, decided_by=("declared",), declared=claims, agreement=found)
    assert line in as_text(answer, stored=True) + "\n"
