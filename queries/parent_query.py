"""Who is the parent of a model, as the graph knows it: one statement, from the name on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lineage.graphdb.records import claims_of, model_of, name_key
from lineage.graphdb.schema import ACCEPTED, Declaration, Model, Relation
from lineage.graphdb.store import Store
from lineage.queries import load
from lineage.queries.claim_check import Comparison, compare_row
from lineage.queries.resolve import keys


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


def parent_named(store: Store, text: str) -> ParentAnswer | None:
    """The answer for a model as a person names it; None if the graph does not know it."""
    return next((answer for key in keys(text) if (answer := _answer(store, key, name_key(key))) is not None), None)


def parent_of(store: Store, model: Model) -> ParentAnswer:
    """The answer for a model of the graph."""
    answer = _answer(store, model.hub_id, "")
    if answer is None:
        raise ValueError(f"{model.hub_id} is not in the graph")
    return answer


def _answer(store: Store, hub_id: str, key: str) -> ParentAnswer | None:
    """The answer for the model of an identity, else of a name's key."""
    found = store.read(load("who_is_parent").text, {"hub_id": hub_id, "name_key": key})
    if not found:
        return None
    about, model = found[0]["model"], model_of(found[0]["model"])
    near = [row for row in found[0]["near"] if row["hub_id"] is not None]
    near.sort(key=lambda row: (-(row["probability"] or 0.0), row["repo_id"], row["hub_id"], row["kind"]))
    accepted = [row for row in near if row["kind"] in ACCEPTED]
    possible = [row for row in near if row["kind"] == Relation.POSSIBLE_PARENT]
    claims = {name: about.get(f"declared_{name}") for name in ("bases", "relations", "sources")}
    declared = tuple(claims_of(model.hub_id, **claims))
    beside = {**about, "answer": about.get("answer"), "signature": model.signature, **claims}
    beside["known"] = [row for row in near if row["kind"] == Relation.DECLARES_BASE]
    agreement = compare_row(store, beside | {"parents": accepted})
    others = tuple(_candidate(row) for row in possible)
    if not accepted:
        return ParentAnswer(
            model,
            answer=about["answer"] if about.get("answer") in ("root", "undecided") else "unknown",
            probability=about.get("answer_probability"),
            reason=about.get("answer_reason"),
            runners_up=others,
            declared=declared,
            agreement=agreement,
            as_of=about.get("answered_at"),
        )
    best = accepted[0]
    return ParentAnswer(
        model,
        answer="parent",
        parent=best["repo_id"],
        parent_id=best["hub_id"],
        relation=best["kind"],
        probability=best["probability"],
        reason=about.get("answer_reason"),
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
