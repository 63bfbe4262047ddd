"""Between the dataclasses of `lineage.graphdb.schema` and the rows that the statements take and give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lineage.graphdb.schema import Declaration, Edge, Model, Run, Status
from lineage.graphdb.schema.rows import QUANTIZATION, name_key, short_key

Row = dict[str, Any]

TEMPORAL = frozenset(
    {
        "answered_at",
        "changed_at",
        "created_at",
        "finished_at",
        "first_seen",
        "first_verified_at",
        "last_modified",
        "last_seen",
        "last_verified_at",
        "started_at",
        "superseded_at",
        "until",
        "weights_since",
    }
)


def displaced_name(repo_id: str, hub_id: str) -> str:
    """Name of a model whose repository name now belongs to another model."""
    return f"{repo_id}#{hub_id}"


def iso(moment: datetime | None) -> str | None:
    """A moment as the stores take it. A datetime without a time zone is a bug, not a guess."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"a datetime needs a time zone: {moment!r}")
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat()


def model_row(model: Model) -> Row:
    """A row of model_upsert.cypher. Of a model that is gone, what was known before stays."""
    props: Row = {
        "repo_id": model.repo_id,
        "name_key": name_key(model.repo_id, model.hub_id),
        "short_key": short_key(model.repo_id),
        "status": str(model.status),
        "reason": model.reason,
        "revision": model.revision,
        "weights_digest": model.weights_digest,
        "signature": model.signature,
        "downloads": model.downloads,
        "license": model.license,
        "library": model.library,
        QUANTIZATION: model.quantization,
        "path": model.path,
        "aliases": list(model.aliases) or None,
    }
    gone = model.status is Status.GONE
    if gone:
        props = {key: value for key, value in props.items() if value is not None or key == "reason"}
    return {
        "hub_id": model.hub_id,
        "props": props,
        "created_at": iso(model.created_at),
        "last_modified": iso(model.last_modified),
        "weights_since": iso(model.weights_since),
        "seen": not gone,
    }


class Element(dict[str, Any]):
    """A node or a relationship that a statement returned: its properties, and beside them what it is.

    Attributes:
        type: of a relationship its type, of a node None. labels: of a node.
        key: what the engine knows it by, for as long as the store is open.
        start, end: names of the nodes that a relationship lies between; see elements.py.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        type: str | None = None,
        labels: Iterable[str] = (),
        key: str | None = None,
    ):
        super().__init__(properties)
        self.type = type
        self.labels = tuple(labels)
        self.key = key
        self.start: str | None = None
        self.end: str | None = None


def described(value: Any) -> Any:
    """A value of a row with what each node and relationship in it is among its properties: `labels`, or `type`, `start` and `end`."""
    if isinstance(value, Element):
        said: dict[str, Any] = {"labels": list(value.labels)}
        if value.type:
            said = {"type": value.type, "start": value.start, "end": value.end}
        return said | {name: described(item) for name, item in value.items()}
    if isinstance(value, dict):
        return {name: described(item) for name, item in value.items()}
    return [described(item) for item in value] if isinstance(value, list) else value


def claims_row(child: str, claims: Iterable[Declaration]) -> Row:
    """A row of declarations_set.cypher: parallel lists in the order given, each claim once, '' where no relation is said."""
    unique = dict.fromkeys((claim.base, claim.relation or "", claim.source) for claim in claims)
    columns: list[Any] = [list(column) for column in zip(*unique, strict=True)] or [None, None, None]
    return {"hub_id": child, "bases": columns[0], "relations": columns[1], "sources": columns[2]}


def edge_row(edge: Edge, run_id: str) -> Row:
    """A row of edge_upsert.cypher."""
    if edge.child == edge.parent:
        raise ValueError(f"a model cannot be its own parent: {edge.child}")
    if not 0.0 <= edge.probability <= 1.0:
        raise ValueError(f"a probability lies between 0 and 1, not {edge.probability}: {edge.child} -> {edge.parent}")
    return {
        "child": edge.child,
        "parent": edge.parent,
        "props": {
            "probability": float(edge.probability),
            "method": edge.method,
            "method_version": edge.method_version,
            "decided_by": list(edge.decided_by),
            "evidence": json.dumps(edge.evidence, ensure_ascii=False, sort_keys=True),
            "child_revision": edge.child_revision,
            "parent_revision": edge.parent_revision,
            "share": edge.share,
            "parts": list(edge.parts) or None,
            "run_id": run_id,
        },
    }


def run_row(run: Run) -> Row:
    """The parameters of run_upsert.cypher."""
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "summary": json.dumps(run.summary, ensure_ascii=False, sort_keys=True),
    }


def run_of(row: Mapping[str, Any]) -> Run:
    """The run of a row of runs.cypher."""
    return Run(
        run_id=row["run_id"],
        command=row["command"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        summary=json.loads(row["summary"] or "{}"),
    )
