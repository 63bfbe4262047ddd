"""Both stores answer the 63 statements of `tests/graphdb/language.py`, and a handful of random graphs, as they should."""

from __future__ import annotations

from lineage.graphdb.store import Store
from tests.graphdb.fuzz import check_graph
from tests.graphdb.language import READS, SCHEMA, UPSERTS, WRITES, Check, Rows


def answer(store: Store, check: Check) -> Rows:
    if not check.writes:
        return store.read(check.text, check.params)
    return store.transact(lambda execute: execute(check.text, check.params))


def test_every_statement_gives_its_answer(store: Store) -> None:
    assert len(SCHEMA) + len(UPSERTS) + len(READS) + len(WRITES) == 63
    for text in SCHEMA:
        store.connection.define(text)
    wrong = []
    for check in (*UPSERTS, *READS, *WRITES):
        found = answer(store, check)
        if found != check.rows:
            wrong.append((check.name, found, check.rows))
    assert wrong == []


def test_random_graphs_are_answered_as_a_plain_walk_answers_them(store: Store) -> None:
    checks, wrong = 0, []
    for seed in range(4):
        count, mismatches = check_graph(store, seed)
        checks += count
        wrong += mismatches
    assert wrong == []
    assert checks > 60
