"""Who is the parent of a model, as the graph knows it: two point lookups, a few milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from graphdb.records import claims_of
from graphdb.schema import ACCEPTED, Declaration, Model, Relation
from graphdb.store import Store
from queries import load
from queries.agreement import Comparison, compare


@dataclass(frozen=True, slots=True)
class Candidate:
    """A parent that was found or is possible."""

    hub_id: str
    repo_id: str
    relation: str
    probability: float


@dataclass(frozen=True, slots=True)
class ParentAnswer:
    """The answer for one model.

    Attributes:
        answer: `parent`, `root`, `undecided` (compared, not decided) or `unknown` (never compared).
        parent, parent_id, relation: the most probable accepted parent; None without one.
        probability: of the parent, or of the answer `root`.
        reason: one sentence of detection, mostly where there is no parent.
        decided_by: the kinds of evidence that decided, strongest first.
        evidence: numbers and sentences behind the decision.
        other_parents: further accepted ones, of a merge.
        runners_up: ties and possible parents that were not asserted, the most probable first.
        declared: what the card and the configuration claim.
        agreement: claims beside weights.
        as_of: when this was last verified.
    """

    model: Model
    answer: str
    parent: str | None = None
    parent_id: str | None = None
    relation: str | None = None
    probability: float | None = None
    reason: str | None = None
    decided_by: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    method_version: str | None = None
    other_parents: tuple[Candidate, ...] = ()
    runners_up: tuple[Candidate, ...] = ()
    declared: tuple[Declaration, ...] = ()
    agreement: Comparison | None = None
    as_of: datetime | None = None


def parent_of(store: Store, model: Model) -> ParentAnswer:
    """The answer for a model of the graph (see `queries.resolve` for how to get one from a name)."""
    about = store.read(load("answer").text, {"model": model.hub_id})[0]
    rows = store.read(load("parent").text, {"model": model.hub_id})
    accepted = [row for row in rows if row["kind"] in ACCEPTED]
    possible = [row for row in rows if row["kind"] == Relation.POSSIBLE_PARENT]
    declared = tuple(claims_of(model.hub_id, about["bases"], about["relations"], about["sources"]))
    agreement = next(compare(store, [model.hub_id]), None)
    others = tuple(_candidate(row) for row in possible)
    if not accepted:
        return ParentAnswer(
            model,
            answer=about["answer"] if about["answer"] in ("root", "undecided") else "unknown",
            probability=about["probability"],
            reason=about["reason"],
            runners_up=others,
            declared=declared,
            agreement=agreement,
            as_of=about["answered_at"],
        )
    best = accepted[0]
    return ParentAnswer(
        model,
        answer="parent",
        parent=best["repo_id"],
        parent_id=best["hub_id"],
        relation=best["kind"],
        probability=best["probability"],
        reason=about["reason"],
        decided_by=tuple(best["decided_by"] or ()),
        evidence=json.loads(best["evidence"] or "{}"),
        method=best["method"],
        method_version=best["method_version"],
        other_parents=tuple(_candidate(row) for row in accepted[1:]),
        runners_up=others,
        declared=declared,
        agreement=agreement,
        as_of=best["verified_at"],
    )


def _candidate(row: dict[str, Any]) -> Candidate:
    return Candidate(row["hub_id"], row["repo_id"], row["kind"], row["probability"])
