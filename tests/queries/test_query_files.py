"""Every question file says what it asks, what it takes and what it answers. That it keeps its word, the golden answers show."""

from __future__ import annotations

import re

import pytest

from lineage.queries import load, names

UNORDERED = (
    "answer",
    "ancestry",
    "claimed_or_found",
    "children_at_once",
    "descent",
    "named_like",
    "close_names",
    "licensed_parents",
)


@pytest.mark.parametrize("name", names())
def test_a_question_says_what_it_takes_and_takes_nothing_else(name: str) -> None:
    query = load(name)
    assert query.question.endswith((".", "?", ":"))
    assert set(query.params) == set(re.findall(r"\$(\w+)", query.text))
    assert "ORDER BY" in query.text or name in UNORDERED
