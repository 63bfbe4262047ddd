"""Models and edges out of the graph, as pages take them, now or as of an earlier moment."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lineage.answer import sentence_of
from lineage.graphdb.schema.rows import claims_of
from lineage.pages.members import EdgeFacts, Member
from lineage.queries import load
from lineage.queries.claim_check import common_start
from lineage.queries.parent_query import reasons_in

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

BATCH = 1_000  # models a statement


def members(store: Store, ids: Collection[str]) -> list[Member]:
    """Models of the graph, by their hub_ids; what cards claim is with them, but not compared."""
    found = []
    wanted = list(ids)
    for start in range(0, len(wanted), BATCH):
        rows = store.read(load("facts").text, {"models": wanted[start : start + BATCH]})
        reasons = reasons_in(store, rows)
        found += [replace(_member(row), reason=sentence_of(why)) for row, why in zip(rows, reasons, strict=True)]
    return found


def edges_above(store: Store, ids: Collection[str], at: str | None = None) -> list[EdgeFacts]:
    """Every edge of some models to parents and possible parents, the most probable first; with `at` those of that moment."""
    found = []
    wanted = list(ids)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        if at is None:
            rows = store.read(load("evidence").text, {"models": part})
        else:
            rows = store.read(load("parents_as_of").text, {"models": part, "at": at})
        found += [edge_of(row) for row in rows]
    return found


def edges_between(store: Store, child: str, parent: str) -> list[EdgeFacts]:
    """Every relation between two models, those of now first, then history, the latest first."""
    rows = store.read(load("edge").text, {"child": child, "parent": parent})
    return [edge_of(row) for row in rows]


def edge_of(row: Mapping[str, Any]) -> EdgeFacts:
    """An edge of a row of evidence.cypher, edge.cypher, parents_as_of.cypher; columns that it lacks are not known."""
    digests = [(row.get(name), row.get(f"{name}_now")) for name in ("child_digest", "parent_digest")]
    known = all(then and now for then, now in digests)
    return EdgeFacts(
        child=row["child"],
        parent=row["parent"],
        relation=row["kind"],
        probability=row["probability"],
        decided_by=tuple(row.get("decided_by") or ()),
        method=row.get("method"),
        method_version=row.get("method_version"),
        share=row.get("share"),
        evidence=_evidence(row.get("evidence")),
        run_id=row.get("run_id"),
        first_verified_at=row.get("first_verified_at"),
        last_verified_at=row.get("last_verified_at"),
        superseded_at=row.get("superseded_at"),
        child_revision=row.get("child_revision"),
        parent_revision=row.get("parent_revision"),
        digests_now=all(then == now for then, now in digests) if known else None,
    )


def _evidence(text: str | None) -> Mapping[str, Any]:
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def answer_of(text: str | None) -> str:
    """The answer that the graph keeps, `unknown` where a model was never compared."""
    return text if text in ("parent", "root", "undecided", "no_relatives") else "unknown"


def _member(row: Mapping[str, Any]) -> Member:
    return Member(
        id=row["hub_id"],
        name=row["repo_id"],
        answer=answer_of(row["answer"]),
        probability=row["answer_probability"],
        status=row["status"],
        status_reason=row["reason"],
        revision=row["revision"],
        digest=row["weights_digest"],
        license=row["license"],
        library=row["library"],
        architecture=row["signature"],
        created_at=row["created_at"],
        downloads=row["downloads"],
        answered_at=row["answered_at"],
        claims=tuple(claims_of(row["hub_id"], row["bases"], row["relations"], row["sources"])),
        started_with=tuple(common_start(row["answer_reason_values"])),
    )
