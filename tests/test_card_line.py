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


def test_a_card_that_names_its_own_model_says_nothing() -> None:
    claims = (Declaration("id-m", "Org/M", None, "card"), Declaration("id-m", "Org/M", "finetune", "tag"))
    parents = (Parent("id-o", "org", "FINE_TUNED_FROM", 0.99),)
    found = Comparison("id-m", "org/m", Agreement.MISSING, "nothing is declared; the weights", (), ("org",))
    for agreement in (found, None):
        answer = Answer(a_model("m"), "parent", parents, 0.99, declared=claims, agreement=agreement)
        assert "card says  nothing but its own name\n" in as_text(answer, stored=True) + "\n"


@pytest.mark.parametrize(
    ("answer", "probability", "evidence", "runner_up", "line"),
    [
        ("parent", 0.96, {"nearly_equal": ["id-b"]}, 0.3, "if not that   org/b (0.30 of the 0.96)"),
        ("parent", 0.97, {}, 0.05, "if not that   org/b (0.03)"),
        ("undecided", 0.7996, {}, 0.7996, "perhaps       org/b (0.79)"),
    ],
)
def test_probabilities_that_are_printed_together_add_up_and_do_not_reach_the_threshold_by_rounding(
    answer: str, probability: float, evidence: dict[str, list[str]], runner_up: float, line: str
) -> None:
    parents = (Parent("id-a", "org/a", "FINE_TUNED_FROM", probability),) if answer == "parent" else ()
    other = (Parent("id-b", "org/b", "POSSIBLE_PARENT", runner_up),)
    found = Answer(a_model("m"), answer, parents, probability, evidence=evidence, runners_up=other)
    assert " ".join(line.split()) in " ".join(as_text(found, stored=True).split())
