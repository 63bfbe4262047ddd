"""All that the page of one model says, read from the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lineage.graphdb.schema import counted
from lineage.pages.folding import FITTING, SHOWN, FoldedFamily, fold
from lineage.pages.graph_relatives import GraphRelatives, KeptBroods
from lineage.pages.graph_source import edges_above, members
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.words import percent, relation_phrase, visible
from lineage.queries import load
from lineage.queries.claim_check import compare
from lineage.queries.licences import judge
from lineage.queries.walk import ancestors

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

LISTED = 12  # children of one relation that are named
HISTORY = 20


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a model on the chain; outcome: `own` for the model itself, else `fits`, `conflict`, `cannot tell`."""

    id: str
    depth: int
    license: str | None
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class DerivedModels:
    """The children of a model over one relation: how many, and the first of them by name (ids)."""

    relation: str
    total: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """
    Attributes:
        facts: every model that is mentioned, by id.
        parents, possible: edges to accepted parents and to candidates that were not asserted, the most probable first.
        doubts: open questions, a sentence each.
        claimed: claims by the base that they name -> id of that model, where the graph knows it.
    """

    id: str
    facts: Mapping[str, Member]
    parents: tuple[EdgeFacts, ...]
    possible: tuple[EdgeFacts, ...]
    folded: FoldedFamily
    licences: tuple[Licence, ...]
    derived: tuple[DerivedModels, ...]
    history: tuple[EdgeFacts, ...]
    doubts: tuple[str, ...]

    @property
    def member(self) -> Member:
        return self.facts[self.id]

    @property
    def sentence(self) -> str:
        return sentence(self.member, self.parents, self.facts)

    @property
    def copies(self) -> tuple[str, ...]:
        """Ids of models with the same weights, as far as edges say so."""
        above = tuple(edge.parent for edge in self.parents if edge.relation == "COPY_OF")
        return above + tuple(i for group in self.derived if group.relation == "COPY_OF" for i in group.first)

    @property
    def conflicts(self) -> tuple[Licence, ...]:
        return tuple(link for link in self.licences if link.outcome == "conflict")


@dataclass(frozen=True, slots=True)
class FamilyView:
    """Which part of a family is drawn, and as of when.

    Attributes:
        at: as of that moment (ISO); None: now. min_probability: edges less probable are left out. kept: see `KeptBroods`.
        opened, more, fitting, shown: see `fold`.
    """

    at: str | None = None
    min_probability: float = 0.0
    opened: Collection[str] = ()
    more: Mapping[str, int] | None = None
    fitting: int = FITTING
    shown: int = SHOWN
    kept: KeptBroods | None = None

    def of(self, store: Store, hub_id: str) -> tuple[GraphRelatives, FoldedFamily]:
        """The family of a model as far as it is drawn, and where it was read."""
        source = GraphRelatives(store, self.at, self.min_probability, self.kept)
        return source, fold(source, hub_id, opened=self.opened, more=self.more, fitting=self.fitting, shown=self.shown)


def family_of(store: Store, hub_id: str, view: FamilyView) -> tuple[FoldedFamily, dict[str, Member]]:
    """The family of a model as far as it is shown, and what its drawing says of the members."""
    source, folded = view.of(store, hub_id)
    return folded, source.drawn(folded.ids)


def sheet_of(store: Store, hub_id: str, view: FamilyView) -> Sheet:
    """Everything about one model of the graph. view: of its family; the rest is of now."""
    _, folded = view.of(store, hub_id)
    up = edges_above(store, [hub_id])
    licences = licence_rows(store, hub_id)
    derived = _derived(store, hub_id)
    history = _history(store, hub_id)
    wanted = {
        hub_id,
        *folded.ids,
        *(edge.parent for edge in (*up, *history)),
        *(link.id for link in licences),
        *(i for group in derived for i in group.first),
    }
    facts = compared(store, members(store, wanted))
    accepted = tuple(edge for edge in up if edge.accepted)
    possible = tuple(edge for edge in up if edge.possible)
    doubts = tuple(doubts_about(facts[hub_id], accepted, possible, facts))
    return Sheet(hub_id, facts, accepted, possible, folded, licences, derived, history, doubts)


def compared(store: Store, some: Iterable[Member]) -> dict[str, Member]:
    """Models with the comparison of what they claim and what was found."""
    known = {member.id: member for member in some}
    for found in compare(store, known):
        outcome = None if found.agreement is None else str(found.agreement)
        known[found.hub_id] = replace(known[found.hub_id], outcome=outcome, outcome_reason=found.reason)
    return known


def licence_rows(store: Store, hub_id: str) -> tuple[Licence, ...]:
    """The model's own licence, then those of its ancestors, nearest first, each beside its own."""
    above = ancestors(store, hub_id)
    depth = {hub_id: 0, **{relative.hub_id: relative.depth for relative in above}}
    rows = store.read(load("licences").text, {"models": list(depth)})
    found = {row["hub_id"]: row["license"] for row in rows}
    own = found.get(hub_id)
    rest = (Licence(i, depth[i], found.get(i), *judge(own, found.get(i))) for i in depth if i != hub_id)
    return (Licence(hub_id, 0, own, "own", "the model's own"), *rest)


def _derived(store: Store, hub_id: str) -> tuple[DerivedModels, ...]:
    rows = store.read(load("derived").text, {"model": hub_id, "limit": LISTED})
    return tuple(DerivedModels(row["kind"], row["total"], tuple(row["first"])) for row in rows)


def _history(store: Store, hub_id: str) -> tuple[EdgeFacts, ...]:
    rows = store.read(load("history").text, {"model": hub_id, "limit": HISTORY})
    return tuple(
        EdgeFacts(
            child=hub_id,
            parent=row["parent"],
            relation=row["kind"],
            probability=row["probability"],
            method=row["method"],
            method_version=row["method_version"],
            first_verified_at=row["first_verified_at"],
            superseded_at=row["superseded_at"],
        )
        for row in rows
    )


def sentence(member: Member, parents: Collection[EdgeFacts], facts: Mapping[str, Member]) -> str:
    """The answer in one sentence."""
    name = visible(member.name)
    accepted = list(parents)
    if accepted and member.answer == "undecided" and all(edge.part for edge in accepted):
        of_parts = "; ".join(
            f"its {visible(edge.part or '')} {relation_phrase(edge.relation)} {visible(facts[edge.parent].name)}"
            for edge in accepted
        )
        return f"{name}: its parent is undecided; {of_parts}"
    if accepted:
        how = relation_phrase(accepted[0].relation)
        named = [
            f"{visible(facts[edge.parent].name)} ({_part(edge)}{_share(edge)}{percent(edge.probability)})"
            for edge in accepted
        ]
        if len(named) == 1:
            part = f" (its {visible(accepted[0].part)})" if accepted[0].part else ""
            return f"{name} {how} {visible(facts[accepted[0].parent].name)}{part}"
        return f"{name} {how} {', '.join(named[:-1])} and {named[-1]}"
    if member.answer == "root":
        return f"{name} is a root: no known model is its parent"
    if member.answer == "no_relatives":
        return f"{name}: no relatives known"
    if member.answer == "undecided":
        return f"{name}: its parent is undecided"
    return f"{name}: its parent is not known"


def _part(edge: EdgeFacts) -> str:
    return f"its {visible(edge.part)}, " if edge.part else ""


def _share(edge: EdgeFacts) -> str:
    return f"{edge.share:.0%} of the weights, " if edge.share is not None else ""


def doubts_about(
    member: Member, parents: Collection[EdgeFacts], possible: Collection[EdgeFacts], facts: Mapping[str, Member]
) -> list[str]:
    """Open questions about a model; a sentence each."""
    found: list[str] = []
    if member.status == "adapter":
        found.append(
            "It is an adapter: what it declares and the shapes that fit name its base, and no values are compared."
        )
    elif member.status == "gone":
        why = f" ({visible(member.status_reason)})" if member.status_reason else ""
        found.append(f"It is gone from the Hub{why}. What was found of it before stays.")
    elif member.status in ("unreadable", "gated") and member.status_reason:
        found.append(f"Its weights could not be read ({visible(member.status_reason)}).")
    if member.answer == "root":
        found.append("A root is the oldest of the models known here. A parent that was never crawled cannot be named.")
    if member.answer == "no_relatives" and member.status != "adapter":
        found.append("None of the models known here is related to it. Its parent may be one that was never crawled.")
    if member.answer == "undecided":
        named = ", ".join(f"{visible(facts[e.parent].name)} {percent(e.probability)}" for e in list(possible)[:3])
        found.append(
            f"No parent is asserted{': ' + named if named else ''}. More relatives, dates or a card may settle it."
        )
    for edge in parents:
        evidence = edge.evidence
        parent = visible(facts[edge.parent].name)
        if edge.digests_now is False:
            found.append(
                "The weights have changed since this was decided; the next `lineage detect` compares them again."
            )
        unseen = evidence.get("unseen_parent")
        if isinstance(unseen, (int, float)) and unseen >= 0.02:
            found.append(f"The true parent may be a model that is not known here (probability {percent(unseen)}).")
        if evidence.get("family_size") == 2:
            found.append(f"Only two related models are known: {parent} may also be a sibling that hardly moved.")
        run = evidence.get("same_run")
        if isinstance(run, (int, float)) and run >= 0.5:
            found.append(f"Both may be checkpoints of one training run (probability {percent(run)}).")
        if edge.relation == "COPY_OF":
            found.append("Equal weights have no direction: which is the copy is known from dates or cards only.")
        if edge.probability is not None and edge.probability < 0.9:
            found.append(
                f"The probability is {percent(edge.probability)}: one answer in {round(1 / (1 - edge.probability))} like this is wrong."
            )
    if member.outcome == "cannot tell" and member.outcome_reason:
        found.append(f"The card could not be checked: {visible(member.outcome_reason)}.")
    if possible and parents:
        found.append(f"{counted(len(possible), 'other candidate')} had a smaller probability.")
    return list(dict.fromkeys(found))
