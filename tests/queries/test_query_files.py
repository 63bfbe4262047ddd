"""Every question file says what it asks, what it takes and what it answers, and keeps its word on both stores."""

from __future__ import annotations

import re
from typing import Any

import pytest

from graphdb.schema import Declaration, Relation
from graphdb.store import Store
from queries import load, names
from tests.graphs import a_model, an_edge, fill

VALUES: dict[str, Any] = {
    "model": "id-b",
    "signature": "sig",
    "models": ["id-a", "id-b", "id-c"],
    "kinds": ["FINE_TUNED_FROM", "DECLARES_BASE"],
    "min_probability": 0.0,
    "limit": 10,
    "at": "2100-01-01",
    "since": "2020-01-01",
    "name_prefix": "org",
    "short_prefix": "b",
}


@pytest.mark.parametrize("name", names())
def test_a_question_says_what_it_takes_and_takes_nothing_else(name: str) -> None:
    query = load(name)
    assert query.question.endswith((".", "?", ":"))
    assert set(query.params) == set(re.findall(r"\$(\w+)", query.text))
    assert "ORDER BY" in query.text or name == "answer" or name == "claimed_or_found"


@pytest.mark.parametrize("name", names())
def test_a_question_answers_with_its_columns(store: Store, name: str) -> None:
    fill(store, [a_model(letter) for letter in "abc"], [an_edge("b", "a"), an_edge("c", "b", kind=Relation.COPY_OF)])
    store.upsert_declarations(["id-b"], [Declaration("id-b", "org/a", "finetune", "card")])
    store.link_declarations()
    query = load(name)
    rows = store.read(query.text, {param: VALUES[param] for param in query.params})
    assert rows or name in ("absent_parents", "copies", "orphans", "stale")
    for row in rows:
        assert tuple(row) == query.columns
