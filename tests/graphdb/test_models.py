"""Models in the graph, on both stores: identity, names that move, what is kept and what is replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lineage.graphdb.schema import Declaration, Model, Status
from lineage.graphdb.store import Store
from tests.graphs import a_model

FULL = Model(
    hub_id="64f0000000000000000000aa",
    repo_id="Acme/Digits-MLP",
    status=Status.SKETCHED,
    revision="0" * 40,
    weights_digest="ab" * 32,
    signature="cd" * 16,
    reason="because",
    created_at=datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=UTC),
    last_modified=datetime(2025, 1, 1, tzinfo=UTC),
    downloads=2**40,
    license="apache-2.0",
    library="transformers",
)


def node(store: Store, hub_id: str) -> dict[str, Any]:
    found: dict[str, Any] = store.read("MATCH (m:Model {hub_id: $id}) RETURN m", {"id": hub_id})[0]["m"]
    return found


def test_a_model_comes_back_as_it_went_in(store: Store) -> None:
    bare = a_model("bare", signature=None, weights_digest=None)
    assert store.upsert_models([FULL, bare]) == 2
    assert store.model(FULL.hub_id) == FULL
    assert store.model(bare.hub_id) == bare
    assert sorted(store.models(), key=lambda model: model.hub_id) == [FULL, bare]


def test_names_are_found_in_any_letter_case_but_paths_only_as_they_are(store: Store) -> None:
    local = Model(hub_id="local:1", repo_id="/home/me/Models/A", status=Status.SKETCHED)
    store.upsert_models([FULL, local])
    assert store.model("ACME/digits-mlp") == FULL
    assert store.model("/home/me/Models/A") == local
    assert store.model("/home/me/models/a") is None
    assert store.model("nobody/nothing") is None


def test_storing_the_same_models_again_changes_no_count_and_no_first_moment(store: Store) -> None:
    models = [a_model(number) for number in range(5)]
    store.upsert_models(models)
    counts, first = store.counts(), node(store, "id-1")
    store.upsert_models(models)
    again = node(store, "id-1")
    assert store.counts() == counts
    assert again["first_seen"] == first["first_seen"]
    assert again["last_seen"] > first["last_seen"]


def test_a_fact_that_is_no_longer_stated_is_removed(store: Store) -> None:
    store.upsert_models([FULL])
    store.upsert_models([replace(FULL, reason=None, license=None)])
    assert store.model(FULL.hub_id) == replace(FULL, reason=None, license=None)
    assert "license" not in node(store, FULL.hub_id)


def test_a_model_that_is_gone_keeps_what_was_known(store: Store) -> None:
    store.upsert_models([FULL])
    seen = node(store, FULL.hub_id)["last_seen"]
    store.upsert_models([Model(FULL.hub_id, FULL.repo_id, Status.GONE, reason="the Hub said so twice")])
    assert store.model(FULL.hub_id) == replace(FULL, status=Status.GONE, reason="the Hub said so twice")
    assert node(store, FULL.hub_id)["last_seen"] == seen


def test_a_renamed_model_is_found_under_both_names(store: Store) -> None:
    store.upsert_models([FULL])
    renamed = replace(FULL, repo_id="acme/numbers")
    store.upsert_models([renamed])
    store.upsert_models([renamed])
    assert store.model("acme/numbers") == renamed
    assert store.model("acme/digits-mlp") == renamed
    assert node(store, FULL.hub_id)["former_names"] == ["Acme/Digits-MLP"]


def test_a_name_that_only_changes_its_letter_case_is_not_a_former_name(store: Store) -> None:
    store.upsert_models([FULL])
    store.upsert_models([replace(FULL, repo_id="acme/digits-mlp")])
    assert node(store, FULL.hub_id).get("former_names") is None
    assert store.model("Acme/Digits-MLP") == replace(FULL, repo_id="acme/digits-mlp")


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
def test_a_name_belongs_to_the_model_that_bears_it_last_and_the_other_is_kept(store: Store, together: bool) -> None:
    old, new = a_model("old", repo_id="org/name"), a_model("new", repo_id="org/Name")
    batches = [[old, new]] if together else [[old], [new]]
    for batch in batches:
        store.upsert_models(batch)
    assert store.model("org/name") == new
    kept = store.model("id-old")
    assert kept is not None
    assert kept.repo_id == "org/name#id-old"
    assert store.model("org/name#id-old") == kept
    assert node(store, "id-old")["former_names"] == ["org/name"]
    assert store.counts()["models"] == 2

    moved = replace(old, repo_id="org/elsewhere")  # the Hub says under which name the old one lives on
    store.upsert_models([moved])
    assert store.model("org/elsewhere") == moved
    assert node(store, "id-old")["former_names"] == ["org/name"]


def test_two_models_can_swap_their_names_in_one_batch(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    store.upsert_models([a_model("a", repo_id="org/b"), a_model("b", repo_id="org/a")])
    assert {name: model.hub_id for name in ("org/a", "org/b") if (model := store.model(name))} == {
        "org/a": "id-b",
        "org/b": "id-a",
    }


def test_of_several_who_had_a_name_the_last_one_is_found(store: Store) -> None:
    for number in range(3):
        store.upsert_models([a_model(number, repo_id="org/name")])
        store.upsert_models([a_model(number)])
    found = store.model("org/name")
    assert found is not None
    assert found.hub_id == "id-2"


def test_models_of_an_architecture_and_their_number_follow_a_changed_signature(store: Store) -> None:
    store.upsert_models([a_model(number, signature="big" if number < 3 else "small") for number in range(5)])
    store.upsert_models([a_model(9, signature=None)])
    assert list(store.signatures()) == [("big", 3), ("small", 2)]
    store.upsert_models([a_model(0, signature="small"), a_model(1, signature=None)])
    assert list(store.signatures()) == [("small", 3), ("big", 1)]
    assert [model.hub_id for model in store.models("small")] == ["id-0", "id-3", "id-4"]
    tied = store.read(
        "MATCH (m:Model)-[:HAS_ARCHITECTURE]->(a:Architecture) RETURN m.hub_id AS id, a.signature AS s ORDER BY id, s"
    )
    assert [(row["id"], row["s"]) for row in tied] == [
        ("id-0", "small"),
        ("id-2", "big"),
        ("id-3", "small"),
        ("id-4", "small"),
    ]


HOSTILE = [
    "o'brien/it's",
    'a"quote/b"c',
    "back`tick/``",
    "dollar/$rows",
    "brace/{x: 1})//",
    "semi/;MATCH (n) DETACH DELETE n",
    "slash\\/back\\n",
    "ünï/模型-🤗",
    "nul/\u2028line",
    "org/" + "n" * 96,
    "1234-56-78T00:00/2024-01-01T00:00:00Z",
]


def test_hostile_names_are_only_names(store: Store) -> None:
    models = [a_model(name, hub_id=f"id'`\"{number}", repo_id=name) for number, name in enumerate(HOSTILE)]
    store.upsert_models([*models, FULL])
    store.upsert_models(models)
    assert store.counts()["models"] == len(HOSTILE) + 1
    for model in models:
        assert store.model(model.repo_id) == model
        assert store.model(model.hub_id) == model


def test_models_are_streamed_while_the_graph_is_written(store: Store) -> None:
    store.upsert_models(a_model(number) for number in range(300))
    seen = 0
    for model in store.models():
        seen += 1
        if seen % 100 == 0:
            store.upsert_models([replace(model, license="mit")])
    assert seen == 300
    assert len(store.read("MATCH (m:Model) WHERE m.license = 'mit' RETURN m.hub_id AS id")) == 3


def due(store: Store) -> set[str]:
    return {row["id"] for row in store.read("MATCH (d:LinkDue) RETURN d.hub_id AS id")}


def test_only_claims_that_changed_are_looked_at_again(store: Store) -> None:
    store.upsert_models([a_model("a"), a_model("b"), a_model("c")])
    claims = [Declaration("id-b", "org/a", None, "card"), Declaration("id-c", "org/later", None, "card")]
    store.upsert_declarations(["id-a", "id-b", "id-c"], claims)
    assert due(store) == {"id-b", "id-c"}
    assert store.link_declarations() == 1
    store.upsert_models([a_model("a"), a_model("b"), a_model("c")])
    store.upsert_declarations(["id-a", "id-b", "id-c"], claims)
    assert due(store) == set()  # the same again is no change
    store.upsert_models([a_model("x", repo_id="Org/Later")])
    assert due(store) == {"id-c"}  # the name that it claims is there now
    assert store.link_declarations() == 2
    store.upsert_models([a_model("y", repo_id="org/a")])  # another model takes the name
    assert due(store) == {"id-b"}
    assert store.link_declarations() == 2
    rows = store.read("MATCH (c:Model)-[:DECLARES_BASE]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p ORDER BY c")
    assert [(row["c"], row["p"]) for row in rows] == [("id-b", "id-y"), ("id-c", "id-x")]
    store.upsert_declarations(["id-b"], [])
    assert store.link_declarations() == 1
    assert due(store) == set()


def test_models_come_with_their_claims_in_one_transaction(store: Store) -> None:
    first = [Declaration("id-b", "org/a", "finetune", "card"), Declaration("id-c", "org/later", None, "tag")]
    assert store.upsert_with_claims([a_model("a"), a_model("b"), a_model("c")], first) == 2
    assert len(due(store)) == 1  # one mark for all that were made together
    assert store.link_declarations() == 1
    assert due(store) == set()
    assert store.upsert_with_claims([a_model("a"), a_model("b"), a_model("c")], first) == 2
    assert due(store) == set()  # the same again is no change

    gone = replace(a_model("c"), status=Status.GONE)
    then = [Declaration("id-a", "org/x", None, "card"), Declaration("id-x", "org/b", None, "card")]
    store.upsert_with_claims([gone, a_model("x", repo_id="org/later"), a_model("a"), a_model("b")], then)
    assert due(store) == {"id-a", "id-b", "id-c", "id-x"}
    assert store.link_declarations() == 2
    rows = store.read("MATCH (c:Model)-[:DECLARES_BASE]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p ORDER BY c")
    # b claims nothing any more, c is gone and keeps its claim, whose base is there now; a's base is not known
    assert [(row["c"], row["p"]) for row in rows] == [("id-c", "id-x"), ("id-x", "id-b")]
    ties = store.read("MATCH (m:Model)-[:CLAIMS]->(n:ClaimedName) RETURN m.hub_id AS m, n.key AS name ORDER BY m")
    assert [tuple(row.values()) for row in ties] == [("id-a", "org/x"), ("id-c", "org/later"), ("id-x", "org/b")]
    with pytest.raises(ValueError, match="not among the models seen"):
        store.upsert_with_claims([a_model("a")], [Declaration("id-b", "org/x", None, "card")])
