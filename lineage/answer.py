"""The answer about one model, made from rows of the graph or from a decision: the same either way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lineage.detect.decision import parts_in
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Declaration, Model, Relation
from lineage.graphdb.schema.kept_reason import KeptReason, with_names

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.queries.claim_check import Comparison
    from lineage.queries.parent_query import ParentRows

NO_RELATIVES = "no other model of its backbone is known; `lineage sync --search NAME` makes some known"
ADAPTER = "an adapter: published methods compare the weights of models, of which it has none"


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent that was found, or one that is possible. share: of a merge, its part of the weights, 0 to 1; parts: paths of the parts of
    the model that come from it, the largest first; none where all of it does."""

    hub_id: str
    repo_id: str
    relation: str
    probability: float
    share: float | None = None
    parts: tuple[str, ...] = ()

    @property
    def part(self) -> str | None:
        """Its parts as one text, None for all of the model."""
        return ", ".join(self.parts) or None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one model.

    Attributes:
        answer: `parent`, `root` (older than the relatives it was compared with), `no_relatives` (compared and related to none, or
            nothing to compare it with), `undecided` (compared, not decided) or `unknown` (never compared).
        parents: accepted ones: one, or those of a merge, the larger share first; where the largest part is undecided, those of other parts.
        probability: of the parent, or of the answer `root`.
        reason: why, in one sentence made from template and numbers.
        decided_by: the kinds of evidence that decided, strongest first.
        evidence: numbers and sentences behind the decision.
        runners_up: ties and possible parents that were not asserted, the most probable first.
        declared: what the card and the configuration claim.
        agreement: claims beside weights.
        as_of: when this was last verified.
    """

    model: Model
    answer: str
    parents: tuple[Parent, ...] = ()
    probability: float | None = None
    reason: str | None = None
    decided_by: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    method_version: str | None = None
    runners_up: tuple[Parent, ...] = ()
    declared: tuple[Declaration, ...] = ()
    agreement: Comparison | None = None
    as_of: datetime | None = None

    @property
    def parent(self) -> str | None:
        """Name of the first parent."""
        return self._asserted[0].repo_id if self._asserted else None

    @property
    def parent_id(self) -> str | None:
        return self._asserted[0].hub_id if self._asserted else None

    @property
    def relation(self) -> str | None:
        return self._asserted[0].relation if self._asserted else None

    @property
    def other_parents(self) -> tuple[Parent, ...]:
        """Further ones, of a merge."""
        return self._asserted[1:]

    @property
    def of_parts(self) -> tuple[Parent, ...]:
        """Of a model whose largest part is undecided, the parents of other parts."""
        return () if self.answer == "parent" else self.parents

    @property
    def _asserted(self) -> tuple[Parent, ...]:
        return self.parents if self.answer == "parent" else ()


def from_rows(rows: ParentRows) -> Answer:
    """What the graph says of a model."""
    about = rows.about
    said = about.get("answer")
    found = Answer(
        rows.model,
        _said(said),
        probability=about.get("answer_probability"),
        reason=sentence_of(rows.reason),
        runners_up=tuple(_parent(row) for row in rows.possible),
        declared=rows.declared,
        agreement=rows.agreement,
        as_of=about.get("answered_at"),
    )
    if not rows.accepted:
        return found
    if found.answer == "undecided" and all(parent.part for parent in map(_parent, rows.accepted)):
        return replace(found, parents=tuple(map(_parent, rows.accepted)))
    about_models = set(_ids_in(rows.reason.values if rows.reason else None))
    accepted = sorted(
        rows.accepted, key=lambda row: row["hub_id"] not in about_models
    )  # the one that the reason is about first
    best = accepted[0]
    return replace(
        found,
        answer="parent",
        parents=tuple(_parent(row) for row in accepted),
        probability=best["probability"],
        decided_by=tuple(best["decided_by"] or ()),
        evidence=json.loads(best["evidence"] or "{}"),
        method=best["method"],
        method_version=best["method_version"],
        as_of=best["verified_at"],
    )


def from_decision(
    decision: Decision,
    model: Model,
    names: Mapping[str, str],
    *,
    method: str,
    method_version: str,
    declared: tuple[Declaration, ...] = (),
    agreement: Comparison | None = None,
) -> Answer:
    """
    Args:
        names: of the models that were compared, by the ids that the decision uses.
    """
    asserted = dict(decision.parents)
    relation = str(decision.relation or Relation.FINE_TUNED_FROM)
    parts = parts_in(decision.evidence)
    return Answer(
        model,
        "parent" if asserted else _said(str(decision.answer)),
        (
            *(Parent(p, names[p], relation, decision.probability, share, parts) for p, share in decision.parents),
            *(_of_part(other, names) for other in decision.other_parts if other.parent),
        ),
        decision.probability,
        decision.reason.text(names.get),
        decision.decided_by,
        decision.evidence,
        method,
        method_version,
        tuple(
            Parent(c.parent, names[c.parent], str(Relation.POSSIBLE_PARENT), c.probability)
            for c in decision.candidates
            if c.parent not in asserted
        ),
        declared,
        agreement,
        datetime.now(UTC),
    )


def sentence_of(kept: KeptReason | None) -> str | None:
    """What the graph keeps as the reason of an answer, for people."""
    if kept is None:
        return None
    if kept.values is None:
        return with_names(kept.key, kept.names.get)
    return Reason.from_json({"key": kept.key, **kept.values}).text(kept.names.get)


def _said(answer: str | None) -> str:
    """The answer where no parent is asserted."""
    return answer if answer in ("root", "undecided", "no_relatives") else "unknown"


def _of_part(decision: Decision, names: Mapping[str, str]) -> Parent:
    """The parent of one part of a model."""
    parent, relation = str(decision.parent), str(decision.relation or Relation.FINE_TUNED_FROM)
    return Parent(parent, names[parent], relation, decision.probability, None, parts_in(decision.evidence))


def _parent(row: Mapping[str, Any]) -> Parent:
    parts = parts_in(json.loads(row.get("evidence") or "{}"))
    return Parent(row["hub_id"], row["repo_id"], row["kind"], row["probability"], row["share"], parts)


def _ids_in(kept: Mapping[str, Any] | None) -> Iterator[str]:
    """Identities of models that a reason is about."""
    for models in (kept or {}).get("models", {}).values():
        yield from [models] if isinstance(models, str) else models
