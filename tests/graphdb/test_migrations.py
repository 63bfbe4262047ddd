"""Graphs of older versions are opened and brought up to date on both stores, and lose nothing by it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lineage.graphdb import claims, migrations
from lineage.graphdb.connection import Connection
from lineage.graphdb.digest import graph_digest
from lineage.graphdb.schema import SCHEMA_VERSION, Declaration, Relation
from lineage.graphdb.store import Store, open_store
from tests.graphs import a_model, an_edge, fill, random_graph

AT = {"now": datetime(2026, 11, 1, tzinfo=UTC).isoformat()}
# what the first version wrote for a model with a claim, and for its version
CLAIM_OF_VERSION_1 = """
MATCH (m:Model {hub_id: $hub_id})
SET m.declared_bases = $bases, m.declared_relations = $relations, m.declared_sources = $sources
"""
VERSION_1 = "MATCH (s:LineageSchema {name: 'lineage'}) SET s.version = 1, s.changed_at = datetime($now)"
NOT_IN_VERSION_1 = ("MATCH (n:ClaimedName) DETACH DELETE n", "MATCH (d:LinkDue) DELETE d")


def make_version_1(url: str) -> str:
    """A graph as the first version left it: history, former names, ties, linked claims and one not linked; its digest."""
    with open_store(url) as store:
        graph = random_graph(5)
        fill(store, graph.models, graph.edges)
        store.upsert_models([a_model(0, repo_id="org/renamed")])
        store.replace_edges(["id-8"], [an_edge(8, 0)], [], "run-2")
        store.upsert_declarations(["id-3"], [Declaration("id-3", "org/0", "finetune", "card")])
        store.link_declarations()
        later = {"hub_id": "id-4", "bases": ["later/base"], "relations": [""], "sources": ["card"]}
        for text in (CLAIM_OF_VERSION_1, *NOT_IN_VERSION_1, VERSION_1):
            store.transact(lambda execute, text=text: execute(text, later | AT))  # type: ignore[misc]
        return graph_digest(store)


def counted(store: Store) -> dict[str, int]:
    return {name: count for name, count in store.counts().items() if name in set(Relation) or name == "models"}


def test_an_older_graph_is_opened_and_migrated_and_keeps_everything(store_url: str) -> None:
    digest = make_version_1(store_url)
    with open_store(store_url) as store:
        assert store.check() == SCHEMA_VERSION
        assert graph_digest(store) == digest
        assert counted(store)["SUPERSEDED"] > 0
        assert store.link_declarations() == 1  # nothing new: the base that is not linked is still not there
        assert graph_digest(store) == digest


def test_an_upgrade_says_what_the_graph_holds_before_and_after(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_version_1(store_url)
    with caplog.at_level("INFO", logger="lineage.graphdb.graph"), open_store(store_url) as store:
        counts = {name: count for name, count in store.counts().items() if count}
    (said,) = [line for line in caplog.messages if "upgraded from schema version 1 to" in line]
    assert said.partition(": ")[2].endswith(", ".join(f"{name} {count}" for name, count in counts.items()))
    assert "->" not in said and counts["models"] == 9


def test_claims_of_an_older_graph_are_linked_by_what_changes_from_then_on(store_url: str) -> None:
    make_version_1(store_url)
    with open_store(store_url) as store:
        store.link_declarations()
        store.upsert_models([a_model("late", repo_id="Later/Base")])
        assert store.link_declarations() == 2
        rows = store.read("MATCH (c:Model)-[:DECLARES_BASE]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p ORDER BY c")
        assert [(row["c"], row["p"]) for row in rows] == [("id-3", "id-0"), ("id-4", "id-late")]


@pytest.mark.slow
def test_a_migration_that_dies_is_finished_by_the_next_opening(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = make_version_1(store_url)

    def dies(connection: Connection) -> None:
        claims.index_names(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(migrations.STEPS, 1, dies)
        open_store(store_url)
    with open_store(store_url) as store:
        assert store.check() == SCHEMA_VERSION
        assert graph_digest(store) == digest
        tied = store.read("MATCH (m:Model)-[c:CLAIMS]->(n:ClaimedName) RETURN m.hub_id AS m, n.key AS n ORDER BY m")
        assert [(row["m"], row["n"]) for row in tied] == [("id-3", "org/0"), ("id-4", "later/base")]


def test_there_is_a_step_from_every_version(store: Store) -> None:
    assert set(migrations.STEPS) == set(range(1, SCHEMA_VERSION))
