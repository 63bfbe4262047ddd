"""The graph keeps why a model has its answer as a template's key and what fills it; models by identity, so that renames do not matter."""

from __future__ import annotations

from lineage.answer import sentence_of
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Verdict
from lineage.graphdb.schema.kept_reason import identities_in, models_in, with_names
from lineage.graphdb.store import Store
from lineage.queries.parent_query import parent_of
from tests.graphs import a_model, an_edge

INHERITED = Reason(
    "grew", {"z": 4.25}, {"parent": "id-a"}, then=(Reason("inherited", {"slope": 0.98}, {"parent": "id-a"}),)
)


def verdict(reason: Reason) -> Verdict:
    kept = reason.as_json()
    return Verdict("id-b", "parent", kept.pop("key"), 0.9, kept)


def test_a_sentence_is_made_when_it_is_shown_with_the_name_that_a_model_has_then(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    store.replace_edges(["id-b"], [an_edge("b", "a")], [verdict(INHERITED)], "run")
    child = store.model("id-b")
    assert child is not None
    said = "its units grew out of those of org/a (growth z = +4.2); what org/a had learned before is still in it (slope 0.98)"
    assert sentence_of(parent_of(store, child).reason) == said
    store.upsert_models([a_model("a", repo_id="org/renamed")])
    assert sentence_of(parent_of(store, child).reason) == said.replace("org/a", "org/renamed")


def test_the_graph_holds_key_and_numbers_and_neither_sentence_nor_name(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    store.replace_edges(["id-b"], [an_edge("b", "a")], [verdict(INHERITED)], "run")
    (row,) = store.read(
        "MATCH (m:Model {hub_id: 'id-b'}) RETURN m.answer_reason AS key, m.answer_reason_values AS filled"
    )
    assert row["key"] == "grew" and "org/a" not in row["filled"] and '"z": 4.25' in row["filled"]
    store.replace_edges(["id-b"], [an_edge("b", "a")], [Verdict("id-b", "parent", "a text of its own", 0.9)], "run-2")
    (row,) = store.read(
        "MATCH (m:Model {hub_id: 'id-b'}) RETURN m.answer_reason AS key, m.answer_reason_values AS filled"
    )
    assert row == {"key": "a text of its own", "filled": None}


def test_a_sentence_that_an_earlier_version_kept_is_shown_with_the_names_of_today(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    former = Verdict("id-b", "parent", "inherits from {model:id-a}, not from {model:gone}", 0.9)
    store.replace_edges(["id-b"], [an_edge("b", "a")], [former], "run")
    child = store.model("id-b")
    assert child is not None and sentence_of(parent_of(store, child).reason) == "inherits from org/a, not from gone"
    assert identities_in(former.reason) == ["id-a", "gone"]
    assert with_names("{model:gone} {other}", lambda identity: None) == "gone {other}"


def test_models_are_found_in_every_clause() -> None:
    inner = Reason("two_candidates", models={"first": "id-c", "second": "id-d"})
    reason = INHERITED.and_then(
        Reason("parent_of_both", reasons={"reason": inner}), Reason("equal_bodies", models={"models": ("e", "f")})
    )
    kept = reason.as_json()
    assert set(models_in(kept)) == {"id-a", "id-c", "id-d", "e", "f"}
    assert Reason.from_json(kept) == reason
