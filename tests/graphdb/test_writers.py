"""Two writers at once, and a Neo4j that dies in the middle of a batch: nothing twice, nothing half."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from lineage.graphdb.errors import NotReachable
from lineage.graphdb.schema import Declaration
from lineage.graphdb.store import Store, open_store
from tests.graphs import a_model, an_edge
from tests.neo4j_server import free_port, neo4j_server
from tests.stores import jars_or_skip

CHILDREN = [f"c{n}" for n in range(12)]
BATCH = 40


def at_once(*work: Callable[[], None]) -> list[BaseException]:
    """Runs each in its thread; what they raised."""
    raised: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as problem:
            raised.append(problem)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.slow
def test_two_writers_of_the_same_models_write_nothing_twice(store: Store, store_url: str) -> None:
    second = open_store(store_url) if "://" in store_url else store  # a folder has one owner
    store.upsert_models(a_model(name) for name in ("p0", "p1"))

    def writer(mine: Store, number: int) -> None:
        for round_number in range(5):
            ids = [f"id-{child}" for child in CHILDREN]
            claims = [Declaration(id, f"org/p{number}", None, "card") for id in ids]
            mine.upsert_with_claims((a_model(name) for name in CHILDREN), claims)
            edges = [an_edge(child, f"p{number}") for child in CHILDREN]
            mine.replace_edges(ids, edges, [], f"run-{number}-{round_number}")
            mine.upsert_declarations(ids, claims)
            mine.link_declarations()

    try:
        assert at_once(lambda: writer(store, 0), lambda: writer(second, 1)) == []
    finally:
        if second is not store:
            second.close()
    store.link_declarations()
    rows = store.read(
        "MATCH (c:Model)-[r:FINE_TUNED_FROM|DECLARES_BASE]->() RETURN c.hub_id AS c, type(r) AS t, count(r) AS n ORDER BY c, t"
    )
    expected = [(f"id-{child}", kind, 1) for child in sorted(CHILDREN) for kind in ("DECLARES_BASE", "FINE_TUNED_FROM")]
    assert [(row["c"], row["t"], row["n"]) for row in rows] == expected
    twice = store.read("MATCH (m:Model)-[:CLAIMS]->(n) WITH m, n, count(*) AS ties WHERE ties > 1 RETURN count(*) AS n")
    assert twice == [{"n": 0}]
    assert store.counts()["models"] == len(CHILDREN) + 2
    assert store.read("MATCH (m:Model)-[h:HAS_ARCHITECTURE]->() RETURN count(h) AS n") == [{"n": len(CHILDREN) + 2}]


def write_until_it_fails(url: str, acknowledged: list[int], first: int) -> None:
    with open_store(url) as store:
        number = first
        while True:
            names = [f"{number}-{n}" for n in range(BATCH)]
            store.upsert_models(a_model(name, reason="x" * 200) for name in names)
            edges = [an_edge(child, parent) for parent, child in pairwise(names)]
            store.replace_edges([f"id-{name}" for name in names], edges, [], f"run-{number}")
            acknowledged.append(number)
            number += 1


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_neo4j_killed_in_the_middle_of_a_batch_has_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars_or_skip()
    port, acknowledged = free_port(), list[int]()
    with neo4j_server(home=tmp_path, port=port) as server:
        monkeypatch.setenv("NEO4J_USER", server.user)
        monkeypatch.setenv("NEO4J_PASSWORD", server.password)
        monkeypatch.delenv("NEO4J_DATABASE", raising=False)

        def kill_when_it_is_busy() -> None:
            while len(acknowledged) < 4:
                time.sleep(0.01)
            server.process.kill()

        (problem,) = at_once(lambda: write_until_it_fails(server.url, acknowledged, 0), kill_when_it_is_busy)
        assert isinstance(problem, NotReachable)
        assert "\n" not in problem.message and server.url in problem.message
    with neo4j_server(home=tmp_path, port=port) as server, open_store(server.url) as store:
        rows = store.read("MATCH (m:Model) RETURN split(split(m.repo_id, '/')[1], '-')[0] AS batch, count(*) AS n")
        models = {int(row["batch"]): row["n"] for row in rows}
        rows = store.read("MATCH (:Model)-[r:FINE_TUNED_FROM]->(:Model) RETURN r.run_id AS run, count(*) AS n")
        edges = {int(row["run"].removeprefix("run-")): row["n"] for row in rows}
        assert set(acknowledged) <= edges.keys() <= models.keys() <= {*acknowledged, len(acknowledged)}
        assert set(models.values()) == {BATCH}
        assert set(edges.values()) == {BATCH - 1}
        store.upsert_models([a_model("after")])
