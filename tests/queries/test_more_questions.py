"""Questions about history, families, copies and staleness, on both stores, against networkx or a small graph one can check by eye."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import networkx as nx
import pytest

from lineage.graphdb.schema import ACCEPTED, Declaration, Relation
from lineage.graphdb.store import Store
from lineage.queries import load
from tests.graphs import a_model, an_edge, fill, random_graph


def ask(store: Store, name: str, **params: Any) -> list[tuple[Any, ...]]:
    query = load(name)
    return [tuple(row.values()) for row in store.read(query.text, {"limit": 100} | params)]


def at_day(store: Store, day: int) -> None:
    store.connection.clock = lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)


@pytest.mark.parametrize("seed", range(4))
def test_leaves_and_families_are_those_of_networkx(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    up = nx.MultiDiGraph()
    up.add_edges_from((edge.child, edge.parent, str(edge.kind)) for edge in graph.edges if edge.kind in ACCEPTED)
    name = {model.hub_id: model.repo_id for model in graph.models}
    leaves = [(name[c], name[p], kind) for c, p, kind in up.edges(keys=True) if not up.in_degree(c)]
    assert [row[:3] for row in ask(store, "leaves")] == sorted(leaves)
    roots = [node for node in up if not up.out_degree(node)]
    families = [(name[root], len(set(up.predecessors(root))), len(nx.ancestors(up, root))) for root in roots]
    assert ask(store, "families") == sorted(families, key=lambda row: (-row[2], row[0]))


def test_history_is_told_as_it_was_at_each_moment(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abc"])
    at_day(store, 1)
    store.replace_edges(["id-c"], [an_edge("c", "a", 0.8)], [], "run-1")
    at_day(store, 3)
    store.replace_edges(["id-c"], [an_edge("c", "b", 0.9, kind=Relation.COPY_OF)], [], "run-2")
    at_day(store, 5)
    store.replace_edges(["id-c"], [an_edge("c", "b", 0.95, kind=Relation.COPY_OF)], [], "run-3")

    def parents(at: str) -> list[tuple[Any, ...]]:
        return [row[:3] for row in ask(store, "as_of", model="id-c", at=at)]

    assert parents("2025-12-31") == []
    assert parents("2026-01-02") == [("org/a", "FINE_TUNED_FROM", 0.8)]
    assert parents("2026-01-03T00:00:00Z") == [("org/b", "COPY_OF", 0.95)]
    assert parents("2030-01-01") == [("org/b", "COPY_OF", 0.95)]
    changes = [(row[0].day, *row[1:]) for row in ask(store, "changes", since="2026-01-02")]
    assert sorted(changes) == [
        (3, "new", "org/c", "COPY_OF", "org/b", 0.95, "run-3"),
        (3, "superseded", "org/c", "FINE_TUNED_FROM", "org/a", 0.8, "run-2"),
    ]
    assert ask(store, "changes", since="2026-01-04") == []


def test_copies_are_models_with_equal_weights(store: Store) -> None:
    digests = {"a": "1", "b": "1", "c": "2", "d": None, "e": None, "f": "1"}
    store.upsert_models([a_model(name, weights_digest=digest) for name, digest in digests.items()])
    assert ask(store, "copies") == [("1", 3, ["org/a", "org/b", "org/f"])]


def test_orphans_claim_a_base_that_nobody_knows(store: Store) -> None:
    fill(store, [a_model(name) for name in "abcd"], [an_edge("d", "a")])
    claims = [
        Declaration(f"id-{name}", base, None, "card") for name, base in (("b", "org/a"), ("c", "x/y"), ("d", "x/y"))
    ]
    store.upsert_declarations([f"id-{name}" for name in "abcd"], claims)
    store.link_declarations()
    assert ask(store, "orphans") == [("org/c", None, ["x/y"])]


def test_evidence_about_other_weights_is_stale_until_it_is_looked_at_again(store: Store) -> None:
    fill(store, [a_model(name) for name in "abc"], [an_edge("b", "a"), an_edge("c", "b")])
    assert ask(store, "stale") == []
    store.upsert_models([a_model("b", weights_digest="other")])
    assert [(row[0], row[2], row[5]) for row in ask(store, "stale")] == [
        ("org/b", "org/a", "child"),
        ("org/c", "org/b", "parent"),
    ]
    store.replace_edges(["id-b", "id-c"], [an_edge("b", "a")], [], "run-2")
    assert ask(store, "stale") == []
