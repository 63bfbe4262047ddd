"""The demo's comparison of found and true lineage: its verdicts and its drawing."""

from __future__ import annotations

import pytest

from bench.side_by_side import Origin, Verdict, draw, judge

TRUE = {
    "root": Origin(None, None),
    "a": Origin("root", "FINE_TUNED_FROM"),
    "b": Origin("root", "FINE_TUNED_FROM"),
    "a/copy": Origin("a", "COPY_OF"),
    "alone": Origin(None, None),
}


@pytest.mark.parametrize(
    "model, answer, verdict",
    [
        ("a", Origin("root", "FINE_TUNED_FROM", 0.9), Verdict.RIGHT),
        ("a", Origin("b", "FINE_TUNED_FROM", 0.9), Verdict.WRONG),
        ("a", Origin(None, None, decided=False), Verdict.MISSED),
        ("a", Origin(None, None), Verdict.MISSED),
        ("root", Origin("a", "FINE_TUNED_FROM", 0.9), Verdict.WRONG),  # the right pair, the wrong direction
        ("a/copy", Origin("a", "FINE_TUNED_FROM", 0.9), Verdict.WRONG),
        ("alone", Origin(None, None), Verdict.RIGHT),
        ("alone", Origin(None, None, decided=False), Verdict.MISSED),
    ],
)
def test_each_answer_gets_the_verdict_it_deserves(model: str, answer: Origin, verdict: Verdict) -> None:
    verdicts = judge(TRUE, {**TRUE, model: answer})
    assert verdicts.pop(model) is verdict
    assert set(verdicts.values()) == {Verdict.RIGHT}


def test_model_that_was_not_found_is_missed() -> None:
    found = {model: origin for model, origin in TRUE.items() if model != "alone"}
    assert judge(TRUE, found)["alone"] is Verdict.MISSED


def test_trees_are_drawn_largest_first_and_each_model_once() -> None:
    assert [line for _, line in draw(TRUE)] == ["root", "├── a", "│   └── a/copy", "└── b", "alone"]
    assert [line for _, line in draw(TRUE, narrow=True)] == ["root", "├ a", "│ └ a/copy", "└ b", "alone"]
    assert [model for model, _ in draw(TRUE)] == ["root", "a", "a/copy", "b", "alone"]
