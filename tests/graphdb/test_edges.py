"""Edges, claims and runs in the graph, on both stores: what is current, what is history, what is out of scope."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineage.graphdb.edges import EdgeCounts, UnknownModel
from lineage.graphdb.schema import Declaration, Edge, Relation, Run, Verdict
from lineage.graphdb.store import Store
from tests.graphs import KINDS, a_model, an_edge, fill

CURRENT = """
MATCH (c:Model)-[r]->(p:Model)
WHERE NOT type(r) IN ['SUPERSEDED', 'DECLARES_BASE']
RETURN c.hub_id AS child, p.hub_id AS parent, type(r) AS kind, r.probability AS probability
ORDER BY child, parent, kind
"""
HISTORY = """
MATCH (c:Model)-[r:SUPERSEDED]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, r
ORDER BY r.superseded_at, child, parent
"""
VERDICT = """
MATCH (m:Model {hub_id: 'id-b'})
RETURN m.answer AS answer, m.answer_reason AS reason, m.answer_probability AS p, m.answered_by_run AS run
"""
LINKED = """
MATCH (c:Model)-[r:DECLARES_BASE]->(p:Model)
RETURN c.hub_id AS c, p.hub_id AS p, r.relation AS relation, r.sources AS sources
"""


def current(store: Store) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.read(CURRENT)]


def as_rows(edges: list[Edge]) -> list[tuple[Any, ...]]:
    return sorted((edge.child, edge.parent, str(edge.kind), edge.probability) for edge in edges)


def test_an_edge_names_the_parts_that_it_is_about_as_long_as_it_is_about_them(store: Store) -> None:
    of_parts = (
        "MATCH (c:Model)-[r:FINE_TUNED_FROM]->() WHERE 'vision' IN r.parts RETURN c.hub_id AS child, r.parts AS parts"
    )
    store.upsert_models([a_model("a"), a_model("b"), a_model("c")])
    edges = [an_edge("b", "a", parts=("text", "vision")), an_edge("b", "c", parts=("language",)), an_edge("c", "a")]
    store.replace_edges(["id-b", "id-c"], edges, [], "run-1")
    assert store.read(of_parts) == [{"child": "id-b", "parts": ["text", "vision"]}]
    store.replace_edges(["id-b"], [an_edge("b", "a")], [], "run-2")
    assert store.read(of_parts) == []
    (kept,) = [row["r"] for row in store.read(HISTORY)]
    assert kept["parts"] == ["language"]


def test_an_edge_keeps_its_evidence_revisions_and_moments(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    edge = an_edge(
        "b",
        "a",
        0.97,
        kind=Relation.MERGED_FROM,
        decided_by=("inheritance", "growth"),
        evidence={"growth_z": 12.5, "why": "it \"grew\" `so` 'much' 🤗", "none": None},
        child_revision="1" * 40,
        parent_revision="0" * 40,
        share=0.25,
    )
    before = datetime.now(UTC)
    assert store.replace_edges(["id-b"], [edge], [], "run-1") == EdgeCounts(added=1)
    kept = store.read("MATCH (:Model)-[r:MERGED_FROM]->(:Model) RETURN r")[0]["r"]
    assert kept["first_verified_at"] == kept["last_verified_at"]
    assert before <= kept.pop("first_verified_at") <= kept.pop("last_verified_at") <= datetime.now(UTC)
    assert json.loads(kept.pop("evidence")) == edge.evidence
    assert kept == {
        "probability": 0.97,
        "method": "test",
        "method_version": "1",
        "decided_by": ["inheritance", "growth"],
        "child_revision": "1" * 40,
        "parent_revision": "0" * 40,
        "child_digest": "digest-b",
        "parent_digest": "digest-a",
        "share": 0.25,
        "run_id": "run-1",
    }


def test_finding_an_edge_again_verifies_it_and_what_is_not_found_becomes_history(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abc"])
    first = [
        an_edge("b", "a"),
        an_edge("c", "a", evidence={"z": 1}),
        an_edge("c", "b", 0.4, kind=Relation.POSSIBLE_PARENT),
    ]
    assert store.replace_edges(["id-b", "id-c"], first, [], "run-1") == EdgeCounts(added=2, possible=1)
    second = [an_edge("b", "a", 0.95), an_edge("c", "b", 0.85)]
    assert store.replace_edges(["id-b", "id-c"], second, [], "run-2") == EdgeCounts(added=1, verified=1, superseded=1)
    assert current(store) == as_rows(second)
    history = store.read(HISTORY)
    assert [(row["child"], row["parent"], row["r"]["kind"]) for row in history] == [
        ("id-c", "id-a", "FINE_TUNED_FROM"),
        ("id-c", "id-b", "POSSIBLE_PARENT"),
    ]
    assert json.loads(history[0]["r"]["evidence"]) == {"z": 1}
    assert history[0]["r"]["run_id"] == "run-1"
    assert history[0]["r"]["superseded_by_run"] == "run-2"
    verified = store.read("MATCH (:Model {hub_id: 'id-b'})-[r:FINE_TUNED_FROM]->() RETURN r")[0]["r"]
    assert verified["first_verified_at"] < verified["last_verified_at"]


def test_the_same_run_again_changes_nothing(store: Store) -> None:
    fill(store, [a_model(name) for name in "abc"], [an_edge("b", "a"), an_edge("c", "b")])
    counts = store.counts()
    again = store.replace_edges(["id-a", "id-b", "id-c"], [an_edge("b", "a"), an_edge("c", "b")], [], "run-1")
    assert again == EdgeCounts(verified=2)
    assert store.counts() == counts


def test_every_model_of_a_large_batch_gets_its_answer(store: Store) -> None:
    """None of them has an edge yet; on the embedded store only the first 200 got theirs."""
    names = [a_model(number).hub_id for number in range(450)]
    store.upsert_models([a_model(number) for number in range(450)])
    verdicts = [Verdict(name, "parent" if name == names[1] else "root", "oldest", 0.9) for name in names]
    store.replace_edges(names, [an_edge(1, 0)], verdicts, "run-1")
    rows = store.read("MATCH (m:Model) WHERE m.answer = 'root' RETURN count(m) AS count")
    assert rows == [{"count": 449}]
    assert current(store) == as_rows([an_edge(1, 0)])


def test_children_outside_the_scope_keep_their_edges(store: Store) -> None:
    fill(store, [a_model(name) for name in "abc"], [an_edge("b", "a"), an_edge("c", "a")])
    assert store.replace_edges(["id-b"], [], [], "half-a-crawl") == EdgeCounts(superseded=1)
    assert current(store) == as_rows([an_edge("c", "a")])
    assert store.replace_edges([], [], [], "nothing-seen") == EdgeCounts()
    assert current(store) == as_rows([an_edge("c", "a")])


def test_an_edge_outside_the_scope_is_refused(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "ab"])
    with pytest.raises(ValueError, match="outside the scope"):
        store.replace_edges(["id-a"], [an_edge("b", "a")], [], "run")
    with pytest.raises(ValueError, match="outside the scope"):
        store.replace_edges(["id-a"], [], [Verdict("id-b", "root", "why", 0.9)], "run")
    with pytest.raises(ValueError, match="not found by detection"):
        store.replace_edges(["id-b"], [an_edge("b", "a", kind=Relation.DECLARES_BASE)], [], "run")


def test_an_edge_to_an_unknown_model_fails_and_changes_nothing(store: Store) -> None:
    fill(store, [a_model(name) for name in "ab"], [an_edge("b", "a")])
    with pytest.raises(UnknownModel, match="id-ghost"):
        store.replace_edges(["id-a", "id-b"], [an_edge("b", "ghost"), an_edge("a", "b")], [], "run-2")
    assert current(store) == as_rows([an_edge("b", "a")])


def test_an_edge_between_other_weights_is_a_new_edge_and_the_old_one_is_history(store: Store) -> None:
    fill(store, [a_model(name) for name in "ab"], [an_edge("b", "a")])
    store.upsert_models([a_model("b", revision="new readme")])
    assert store.replace_edges(["id-b"], [an_edge("b", "a")], [], "run-2") == EdgeCounts(verified=1)
    store.upsert_models([a_model("b", weights_digest="other weights")])
    assert store.replace_edges(["id-b"], [an_edge("b", "a")], [], "run-3") == EdgeCounts(added=1, superseded=1)
    assert store.read(HISTORY)[0]["r"]["child_digest"] == "digest-b"
    kept = store.read("MATCH (:Model)-[r:FINE_TUNED_FROM]->(:Model) RETURN r")
    assert [row["r"]["child_digest"] for row in kept] == ["other weights"]


def test_a_verdict_is_kept_on_the_model_and_replaced_by_the_next_run(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "ab"])
    store.replace_edges(["id-b"], [], [Verdict("id-b", "undecided", "two are as near", 0.5)], "run-1")
    assert list(store.read(VERDICT)[0].values()) == ["undecided", "two are as near", 0.5, "run-1"]
    store.replace_edges(["id-b"], [an_edge("b", "a", 0.8)], [], "run-2")
    assert list(store.read(VERDICT)[0].values()) == ["parent", None, 0.8, "run-2"]
    store.replace_edges(["id-b"], [], [], "run-3")
    assert list(store.read(VERDICT)[0].values()) == [None, None, None, "run-3"]


@pytest.mark.parametrize("seed", range(4))
def test_random_runs_leave_exactly_what_the_last_run_of_each_child_found(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    store.upsert_models([a_model(number) for number in range(8)])
    expected: dict[int, dict[tuple[int, Relation], float]] = {number: {} for number in range(8)}
    superseded = 0
    for run in range(12):
        scope = rng.sample(range(8), rng.randrange(1, 8))
        edges = []
        for child in scope:
            found = {}
            for _ in range(rng.randrange(4)):
                parent, kind = rng.choice([n for n in range(8) if n != child]), rng.choice(KINDS)
                found[parent, kind] = rng.randrange(1, 20) / 20
            edges += [an_edge(child, parent, p, kind=kind) for (parent, kind), p in found.items()]
            superseded += len(expected[child].keys() - found.keys())
            expected[child] = found
        rng.shuffle(edges)
        store.replace_edges([f"id-{child}" for child in scope], edges, [], f"run-{run}")
    assert current(store) == as_rows(
        [an_edge(c, p, q, kind=kind) for c, found in expected.items() for (p, kind), q in found.items()]
    )
    assert store.counts()["SUPERSEDED"] == superseded


def test_claims_are_replaced_for_exactly_the_models_seen(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abc"])
    claims = [
        Declaration("id-a", "org/x", "finetune", "card"),
        Declaration("id-a", "org/x", "finetune", "card"),
        Declaration("id-a", "org/y", None, "config"),
        Declaration("id-b", "org/z", "merge", "tag"),
    ]
    assert store.upsert_declarations(["id-a", "id-b"], claims) == 3
    assert store.upsert_declarations(["id-a", "id-c"], []) == 0
    rows = store.read(
        "MATCH (m:Model) RETURN m.hub_id AS id, m.declared_bases AS bases, m.declared_relations AS r, m.declared_sources AS s ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("id-a", None, None, None),
        ("id-b", ["org/z"], ["merge"], ["tag"]),
        ("id-c", None, None, None),
    ]
    with pytest.raises(ValueError, match="not among the models seen"):
        store.upsert_declarations(["id-a"], [Declaration("id-b", "org/x", None, "card")])


def test_claims_become_edges_where_the_base_is_known_under_any_of_its_names(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abcd"])
    store.upsert_models([a_model("a", repo_id="org/renamed")])
    seen = [f"id-{name}" for name in "abcd"]
    claims = [
        Declaration("id-b", "Org/A", None, "config"),
        Declaration("id-b", "org/renamed", "finetune", "card"),
        Declaration("id-c", "ORG/c", "finetune", "card"),  # names itself
        Declaration("id-d", "org/unknown", "finetune", "card"),
    ]
    store.upsert_declarations(seen, claims)
    assert store.link_declarations() == 1
    assert [tuple(row.values()) for row in store.read(LINKED)] == [("id-b", "id-a", "finetune", ["card", "config"])]

    store.upsert_models([a_model("new", repo_id="org/UNKNOWN")])  # a base may arrive after the claim
    assert store.link_declarations() == 2
    assert store.link_declarations() == 2
    assert store.counts()["DECLARES_BASE"] == 2

    store.upsert_declarations(["id-b"], [])
    assert store.link_declarations() == 1
    history = store.read(HISTORY)
    assert [(row["child"], row["parent"], row["r"]["kind"]) for row in history] == [("id-b", "id-a", "DECLARES_BASE")]


def test_runs_come_back_newest_first(store: Store) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [Run(f"run-{n}", "sync", start + timedelta(days=n), summary={"models": n}) for n in range(3)]
    for run in runs:
        store.record_run(run)
    done = Run("run-2", "sync", start + timedelta(days=2), start + timedelta(days=3), {"models": 9, "ü": [1, None]})
    store.record_run(done)
    assert store.runs() == [done, runs[1], runs[0]]
    assert store.runs(limit=1) == [done]


def test_what_an_architecture_was_decided_from_is_kept_until_the_next_decision(store: Store) -> None:
    store.upsert_models([a_model("a", signature="one"), a_model("b", signature="two")])
    assert store.decided() == {}
    store.set_decided("one", "first")
    store.set_decided("one", "second")
    store.set_decided("never seen", "third")
    assert store.decided() == {"one": "second"}


def test_heads_of_an_architecture_are_those_without_a_parent_at_its_last_decision_with_their_answers_of_now(
    store: Store,
) -> None:
    store.upsert_models([a_model(n, signature="one+two") for n in "abcdef"] + [a_model("x", signature="two")])
    root = Verdict("id-d", "root", "", 0.9)
    store.replace_edges([f"id-{n}" for n in "bd"], [an_edge("b", "d", 0.9)], [root], "run-1")

    def heads(key: str, at_most: int = 2) -> list[tuple[str, str | None]]:
        return [(model.hub_id, answer) for model, answer in store.heads(key, at_most)]

    assert heads("one") == [("id-d", "root"), ("id-a", None)], "nothing was decided yet"
    store.set_decided("one", "digest")
    store.upsert_models([a_model("0", signature="one")])
    assert heads("one", 9) == [("id-d", "root"), *((f"id-{n}", "parent" if n == "b" else None) for n in "abcef")]
    store.replace_edges(["id-d", "id-f"], [an_edge("d", "f")], [Verdict("id-f", "root", "", 0.9)], "run-2")
    assert heads("one") == [("id-f", "root"), ("id-a", None)]
    store.set_decided("one", "another")
    assert ("id-0", None) in heads("one", 9)
    assert heads("never seen") == []
