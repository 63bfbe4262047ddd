"""What a page knows of models and edges, wherever it is from: the graph, or the scan of a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lineage.graphdb.schema import ACCEPTED, Declaration, Relation


@dataclass(frozen=True, slots=True)
class Member:
    """A model on a page.

    Attributes:
        id: hub_id, or the path under a scanned folder.
        answer: `parent`, `root`, `undecided`, or `unknown` where it was never compared.
        reason: one sentence of detection.
        claims: what its card and its configuration name as its base; outcome: `agree`, `contradicts`, `missing`, `cannot tell`, or None
            where it was not compared with the weights; outcome_reason: one sentence.
        started_with: ids of models of other families with which it had a start in common, or one is a long training of the other.
    """

    id: str
    name: str
    answer: str = "unknown"
    probability: float | None = None
    reason: str | None = None
    status: str | None = None
    status_reason: str | None = None
    revision: str | None = None
    digest: str | None = None
    license: str | None = None
    library: str | None = None
    architecture: str | None = None
    created_at: datetime | None = None
    downloads: int | None = None
    answered_at: datetime | None = None
    claims: tuple[Declaration, ...] = ()
    outcome: str | None = None
    outcome_reason: str | None = None
    started_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeFacts:
    """An edge on a page, from child to parent (ids).

    Attributes:
        relation: name in the graph; of a superseded edge what it was, and `superseded_at` is set.
        evidence: numbers behind the decision, by name.
        digests_now: False where one of the models has other weights now than those that were compared; None where not known.
    """

    child: str
    parent: str
    relation: str
    probability: float | None = None
    decided_by: tuple[str, ...] = ()
    method: str | None = None
    method_version: str | None = None
    share: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    first_verified_at: datetime | None = None
    last_verified_at: datetime | None = None
    superseded_at: datetime | None = None
    child_revision: str | None = None
    parent_revision: str | None = None
    digests_now: bool | None = None

    @property
    def accepted(self) -> bool:
        return self.relation in ACCEPTED

    @property
    def possible(self) -> bool:
        return self.relation == Relation.POSSIBLE_PARENT

    @property
    def part(self) -> str | None:
        """Path of the part of the child that the edge is about; None for all of it."""
        part = self.evidence.get("part")
        return part if isinstance(part, str) else None


@dataclass(frozen=True, slots=True)
class Brood:
    """The children of one model: the edges to the first of them, how many there are, and how many children each of the first has."""

    edges: tuple[EdgeFacts, ...]
    total: int
    below: Mapping[str, int]


class Relatives(Protocol):
    """Where a family is read from."""

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        """Some models by their ids; unknown ids are left out."""
        ...

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        """The edges from some models to their parents."""
        ...

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        """The children of some models, a limited number of edges of each."""
        ...
