"""Reading, on both stores: only reading, what comes back, limits, and a graph that is not ours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lineage.graphdb.errors import CypherError, TooSlow, WriteRefused
from lineage.graphdb.graph import NotOurGraph
from lineage.graphdb.schema import Failure
from lineage.graphdb.store import Store, open_store
from tests.graphs import a_model, an_edge, fill

WRITES = [
    "CREATE (m:Model {hub_id: 'x'})",
    "MATCH (m:Model) SET m.license = 'stolen' RETURN m.hub_id AS id",
    "MATCH (m:Model) DETACH DELETE m",
    "MERGE (m:Model {hub_id: 'x'}) RETURN m",
    "MATCH (m:Model) REMOVE m.signature",
    "CREATE INDEX sneaky IF NOT EXISTS FOR (m:Model) ON (m.license)",
    "UNWIND [1] AS x CALL (x) { CREATE (n:Bad) } RETURN x",
    "/* MATCH */ MATCH (m:Model) FOREACH (x IN [1] | SET m.x = x)",
]


@pytest.mark.parametrize("statement", WRITES)
def test_a_statement_that_writes_is_refused_and_changes_nothing(store: Store, statement: str) -> None:
    fill(store, [a_model("a"), a_model("b")], [an_edge("b", "a")])
    before = store.counts(), store.model("id-a")
    with pytest.raises(WriteRefused) as refused:
        store.read(statement)
    assert "\n" not in refused.value.message
    assert (store.counts(), store.model("id-a")) == before
    assert store.read("MATCH (n:Bad) RETURN count(n) AS n") == [{"n": 0}]


def test_a_mistyped_statement_gets_the_engines_words_and_a_caret(store: Store) -> None:
    with pytest.raises(CypherError) as typo:
        store.read("MATCH (m:Model) RETRUN m")
    assert "RETRUN" in typo.value.message
    assert "line 1" in typo.value.message
    assert "\n" not in typo.value.message
    assert typo.value.detail is not None
    assert typo.value.detail.splitlines()[-1].strip() == "^"


@pytest.mark.parametrize(("statement", "named"), [("RETURN y AS y", "y"), ("RETURN $lost AS x", "lost")])
def test_an_undefined_name_is_named(store: Store, statement: str, named: str) -> None:
    with pytest.raises(CypherError, match=named):
        store.read(statement)


@pytest.mark.slow
def test_a_statement_that_takes_too_long_is_given_up_and_the_next_one_is_not(store: Store) -> None:
    endless = (
        "UNWIND range(1, 30000) AS a UNWIND range(1, 30000) AS b WITH a, b WHERE (a * b) % 7 = 8 RETURN count(*) AS n"
    )
    with pytest.raises(TooSlow):
        store.read(endless, timeout_seconds=0.3)
    assert store.read("RETURN 1 AS one", timeout_seconds=5) == [{"one": 1}]
    assert store.read("UNWIND range(1, 300000) AS a WITH a WHERE a % 7 = 3 RETURN count(*) AS n") == [{"n": 42857}]


def test_no_more_rows_than_the_limit_are_fetched(store: Store) -> None:
    assert store.read("UNWIND range(1, 10) AS x RETURN x", limit=3) == [{"x": 1}, {"x": 2}, {"x": 3}]
    assert store.read("UNWIND range(1, 10) AS x RETURN x", limit=0) == []
    assert len(store.read("UNWIND range(1, 5000) AS x RETURN x")) == 5000


def test_values_come_back_the_same_from_both_stores(store: Store) -> None:
    fill(store, [a_model("a", created_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)), a_model("b")], [an_edge("b", "a")])
    row = store.read(
        "MATCH p = (b:Model {hub_id: 'id-b'})-[r:FINE_TUNED_FROM]->(a:Model) "
        "RETURN a.created_at AS moment, {x: [1, 2.5, null, 'ü'], y: a.created_at} AS map, labels(a) AS labels, "
        "a.created_at.year AS year, true AS yes, r.decided_by AS none"
    )[0]
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert row == {
        "moment": moment,
        "map": {"x": [1, 2.5, None, "ü"], "y": moment},
        "labels": ["Model"],
        "year": 2024,
        "yes": True,
        "none": [],
    }
    assert row["moment"].tzinfo is UTC
    node = store.read("MATCH (m:Model {hub_id: 'id-b'}) RETURN m")[0]["m"]
    assert list(node) == sorted(node)
    assert node["repo_id"] == "org/b"


def test_parameters_are_values_and_never_cypher(store: Store) -> None:
    store.upsert_models([a_model("a")])
    nasty = "x'}) DETACH DELETE m //"
    assert store.read("MATCH (m:Model {hub_id: $id}) RETURN m", {"id": nasty}) == []
    assert store.read("RETURN $v AS v", {"v": {"list": [nasty, None, 1.5]}}) == [{"v": {"list": [nasty, None, 1.5]}}]
    assert store.counts()["models"] == 1


def test_an_empty_place_is_a_failure_where_nothing_may_be_made(store_url: str) -> None:
    with pytest.raises(Failure, match="no lineage graph") as missing:
        open_store(store_url, create=False)
    assert missing.value.try_next is not None


def test_making_a_graph_twice_is_making_it_once(store_url: str) -> None:
    with open_store(store_url) as store:
        store.upsert_models([a_model("a")])
        store.init()
    with open_store(store_url) as store:
        assert store.counts()["models"] == 1
        assert store.read("MATCH (s:LineageSchema) RETURN count(s) AS n") == [{"n": 1}]


def test_a_graph_of_a_newer_version_is_refused(store_url: str) -> None:
    with open_store(store_url) as store:
        store.transact(lambda execute: execute("MATCH (s:LineageSchema) SET s.version = 99", {}))
    with pytest.raises(NotOurGraph, match="newer lineage"):
        open_store(store_url)


def test_a_graph_of_another_program_is_refused(store_url: str) -> None:
    with open_store(store_url) as store:
        store.transact(lambda execute: execute("MATCH (s:LineageSchema) DELETE s CREATE (:Person {name: 'x'})", {}))
    with pytest.raises(NotOurGraph, match="not a lineage graph"):
        open_store(store_url)


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def work(execute):  # type: ignore[no-untyped-def]
        execute("CREATE (m:Model {hub_id: 'half'})", {})
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.transact(work)
    assert store.counts()["models"] == 0


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Failure, match="http://"):
        open_store("http://127.0.0.1:7474")
