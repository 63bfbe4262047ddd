"""Sentences that the graph keeps name models by identity, so that they outlive renames."""

from __future__ import annotations

from lineage.graphdb.named_text import identities_in, with_identities, with_names
from lineage.graphdb.schema import Verdict
from lineage.graphdb.store import Store
from lineage.queries.parent_query import parent_of
from tests.graphs import a_model, an_edge

NAMES = {"id-a": "org/a", "id-ab": "org/a-b", "id-p": "/models/a.safetensors"}


def test_names_become_identities_and_names_again() -> None:
    kept = with_identities("nearest to org/a-b, and org/a (0.9) names /models/a.safetensors.", NAMES)
    assert kept == "nearest to {model:id-ab}, and {model:id-a} (0.9) names {model:id-p}."
    assert identities_in(kept) == ["id-ab", "id-a", "id-p"]
    renamed = {"id-a": "new/name", "id-ab": "org/a-b", "id-p": "p"}
    assert with_names(kept, renamed.get) == "nearest to org/a-b, and new/name (0.9) names p."


def test_words_that_only_hold_a_name_stay_words() -> None:
    assert (
        with_identities("a name, aorg/a, org/a/b and org/ab", {"id": "org/a"}) == "a name, aorg/a, org/a/b and org/ab"
    )
    assert with_names("{model:gone} {other}", lambda identity: None) == "gone {other}"


def test_a_reason_is_told_with_the_name_that_a_model_has_now(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    reason = with_identities("inherits from org/a", {"id-a": "org/a"})
    store.replace_edges(["id-b"], [an_edge("b", "a")], [Verdict("id-b", "parent", reason, 0.9)], "run")
    child = store.model("id-b")
    assert child is not None and parent_of(store, child).reason == "inherits from org/a"
    store.upsert_models([a_model("a", repo_id="org/renamed")])
    assert parent_of(store, child).reason == "inherits from org/renamed"
