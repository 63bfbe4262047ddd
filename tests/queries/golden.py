"""A graph of which the answers to all questions are kept, and the writing of them."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lineage.graphdb.schema import Declaration, Relation, Run, Status, Verdict
from lineage.graphdb.store import Store, open_store
from lineage.queries import load, names
from tests.graphs import a_model, an_edge

FILE = Path(__file__).parent / "golden.json"
PARAMS: dict[str, Any] = {
    "model": "id-e",
    "a": "id-e",
    "b": "id-a",
    "generation": 2,
    "models": ["id-a", "id-b", "id-c", "id-e"],
    "signature": "sig",
    "kinds": [str(kind) for kind in Relation if kind is not Relation.SUPERSEDED],
    "min_probability": 0.5,
    "limit": 50,
    "at": "2026-01-02T12:00:00Z",
    "since": "2026-01-02",
    "name_prefix": "org",
    "short_prefix": "b",
    "hub_id": "org/e",
    "name_key": "org/e",
    "ways": 100,
    "child": "id-b",
    "parent": "id-a",
    "shown": 2,
    "prefix": "org/",
    "last_parts": ["packed"],
    "licenses": ["llama3", "cc-by-nc-4.0"],
    "until": "2026-01-02T12:00:00Z",
    "base": "id-b",
}
TOP = {"model": "id-a"}  # questions that look down
OVERRIDES = {
    "descendants": TOP,
    "blast_radius": TOP,
    "derived": TOP,
    "history": {"model": "id-c"},
    "superseded_edge": {"model": "id-c"},
}
SCOPE = [f"id-{name}" for name in "abcdefg"]


def tell(store: Store) -> None:
    """a -> b -> d, a -> c, (b, c) -> e by merging, e -> f; g apart, a copy of f that nobody knew; c was once thought to be from b."""

    def day(number: int) -> None:
        store.connection.clock = lambda: datetime(2026, 1, number, tzinfo=UTC)

    day(1)
    store.record_run(Run("run-1", "sync", store.connection.clock(), store.connection.clock()))
    licences = {"a": "llama3", "b": "apache-2.0", "c": "cc-by-nc-4.0", "e": "mit"}
    made = datetime(2025, 1, 1, tzinfo=UTC)
    models = [
        a_model(name, license=licences.get(name), created_at=made + timedelta(days=place), revision=f"{place:040x}")
        for place, name in enumerate("abcdef")
    ]
    store.upsert_models([*models, a_model("g", weights_digest="digest-f"), a_model("gone", signature=None)])
    store.upsert_models(
        [a_model("packed", weights_digest="digest-packed", quantization="gptq 4 bits", path="/disk/packed")]
    )
    edges = [
        an_edge("b", "a", 0.9, decided_by=("growth",), evidence={"z": 7}),
        an_edge("d", "b", 0.95, kind=Relation.COPY_OF),
        an_edge("e", "b", 0.7, kind=Relation.MERGED_FROM, share=0.6, decided_by=("inheritance", "growth")),
        an_edge("e", "c", 0.6, kind=Relation.MERGED_FROM, share=0.4),
        an_edge("f", "e", 0.8),
        an_edge("g", "gone", 0.55, kind=Relation.POSSIBLE_PARENT),
    ]
    verdicts = [Verdict("id-a", "root", "nothing is older", 0.9), Verdict("id-e", "parent", "a merge of two", 0.7)]
    store.replace_edges(SCOPE, [*edges, an_edge("c", "b", 0.6)], verdicts, "run-1")
    day(2)
    store.replace_edges(["id-c"], [an_edge("c", "a", 0.85)], [], "run-2")
    claims = [
        Declaration("id-e", "org/a", "merge", "card"),
        Declaration("id-e", "org/b", None, "config"),
        Declaration("id-g", "nobody/knows", None, "card"),
        Declaration("id-b", "org/a", "finetune", "tag"),
        Declaration("id-packed", "org/gone", "quantized", "card"),
    ]
    store.upsert_declarations(["id-b", "id-e", "id-g", "id-packed"], claims)
    store.link_declarations()
    day(3)
    store.upsert_models([a_model("c", license="cc-by-nc-4.0", weights_digest="other")])
    store.upsert_models(
        [
            a_model(
                "c",
                weights_digest="other",
                status=Status.GONE,
                reason="the Hub said on 2026-01-02 and on 2026-01-03: gone",
            )
        ]
    )


def answer(store: Store, name: str) -> list[dict[str, Any]]:
    """The rows, moments as text."""
    query = load(name)
    values = PARAMS | OVERRIDES.get(name, {})
    rows = store.read(query.text, {param: values[param] for param in query.params})
    if name in (
        "claimed_or_found",
        "declared_vs_detected",
        "who_is_parent",
    ):  # these say nothing of an order, the second not within its lists
        rows.sort(key=lambda row: str(row.get("hub_id")))
        for row in rows:
            for value in row.values():
                if isinstance(value, list) and value and isinstance(value[0], dict):
                    value.sort(key=lambda item: (str(item.get("hub_id")), str(item.get("kind"))))
    if name in ("named_like", "close_names", "licensed_parents"):  # in the order of an index
        rows.sort(key=lambda row: str(sorted(row.items(), key=str)))
    if name in ("ancestry", "children_at_once", "descent"):  # parallel lists in no order
        (lists,) = rows
        ordered = sorted(zip(*lists.values(), strict=True))
        rows = [dict(zip(lists, map(list, zip(*ordered, strict=True)), strict=True))]
    found: list[dict[str, Any]] = json.loads(json.dumps(rows, default=lambda moment: moment.isoformat()))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, open_store(folder + "/store") as opened:
        tell(opened)
        answers = {name: answer(opened, name) for name in names()}
    FILE.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
