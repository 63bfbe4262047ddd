"""A scanned folder as pages take it: out of the JSON that `lineage scan --json` prints, which is a contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lineage.graphdb.schema import ACCEPTED, Declaration, Relation, share_key
from lineage.pages.members import Brood, EdgeFacts, Member

AGREE, CONTRADICTS, MISSING, CANNOT_TELL = "agree", "contradicts", "missing", "cannot tell"


@dataclass(frozen=True, slots=True)
class ScannedFamilies:
    """
    Attributes:
        edges: accepted ones; possible: candidates of models that are undecided, the most probable first.
        groups: models that may all come from one that is not in the folder, and how probable that is.
    """

    members: Mapping[str, Member]
    edges: tuple[EdgeFacts, ...]
    possible: tuple[EdgeFacts, ...]
    groups: tuple[tuple[tuple[str, ...], float], ...]
    unreadable: tuple[tuple[str, str], ...]

    def roots(self) -> list[str]:
        """Models with children and without a parent, those with the largest families first."""
        with_parent = {edge.child for edge in self.edges}
        tops = {edge.parent for edge in self.edges} - with_parent
        return sorted(tops, key=lambda top: (-len(self.family(top)), top))

    def family(self, model: str) -> set[str]:
        """A model and everything below it."""
        below: dict[str, list[str]] = {}
        for edge in self.edges:
            below.setdefault(edge.parent, []).append(edge.child)
        found, waiting = {model}, [model]
        while waiting:
            new = [child for child in below.get(waiting.pop(), ()) if child not in found]
            found |= set(new)
            waiting += new
        return found


class ScanRelatives:
    """The edges of a scan, for `fold`."""

    def __init__(self, found: ScannedFamilies):
        self._found = found
        self._up: dict[str, list[EdgeFacts]] = {}
        self._down: dict[str, list[EdgeFacts]] = {}
        for edge in found.edges:
            self._up.setdefault(edge.child, []).append(edge)
            self._down.setdefault(edge.parent, []).append(edge)

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        return {i: self._found.members[i] for i in ids if i in self._found.members}

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        return [edge for i in ids for edge in self._up.get(i, ())]

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        found = {}
        for parent, limit in shown.items():
            counts = {edge.child: len(self._down.get(edge.child, ())) for edge in self._down.get(parent, ())}
            first = sorted(counts, key=lambda child: (-counts[child], child))[:limit]
            edges = [edge for child in first for edge in self._down[parent] if edge.child == child]
            found[parent] = Brood(tuple(edges), len(counts), counts)
        return found


class CardLike(Protocol):
    """What a card says."""

    @property
    def claims(self) -> tuple[Declaration, ...]: ...

    @property
    def license(self) -> str | None: ...


def scanned(
    document: Mapping[str, Any],
    cards: Mapping[str, CardLike] | None = None,
    ties: Mapping[str, str] | None = None,
) -> ScannedFamilies:
    """
    Args:
        document: what `lineage scan --json` prints.
        cards: id -> the card beside a model; the bases that it names are compared with ids of the folder by their last parts.
        ties: models that are undecided because another has the same values -> that one.
    """
    members = {
        row["id"]: Member(row["id"], row["id"], digest=row.get("digest"), architecture=row.get("signature"))
        for row in document["models"]
    }
    edges = tuple(_edge(row) for row in document["edges"])
    possible = tuple(
        EdgeFacts(row["child"], candidate["parent"], str(Relation.POSSIBLE_PARENT), candidate["probability"])
        for row in document["undecided"]
        for candidate in row["candidates"]
    )
    for row in document["edges"]:
        answer = {"answer": "parent", "probability": row["probability"], "reason": row["evidence"].get("reason")}
        members[row["child"]] = replace(members[row["child"]], **answer)
    for row in document.get("roots", ()):
        members[row["model"]] = replace(
            members[row["model"]], answer="root", probability=row["probability"], reason=row["reason"]
        )
    for row in document.get("no_relatives", ()):
        members[row["model"]] = replace(members[row["model"]], answer="no_relatives", reason=row["reason"])
    for row in document["undecided"]:
        members[row["child"]] = replace(members[row["child"]], answer="undecided", reason=row["reason"])
    equal = _equal(document, ties or {})
    for name, card in (cards or {}).items():
        if name in members:
            members[name] = replace(members[name], license=card.license)
            if card.claims:
                members[name] = _with_claims(members[name], card.claims, members, edges, possible, equal)
    return ScannedFamilies(
        members,
        edges,
        possible,
        tuple((tuple(row["models"]), row["probability"]) for row in document.get("siblings", ())),
        tuple((row["id"], row["reason"]) for row in document["unreadable"]),
    )


def _edge(row: Mapping[str, Any]) -> EdgeFacts:
    evidence = {name: value for name, value in row["evidence"].items() if name != "reason"}
    return EdgeFacts(
        child=row["child"],
        parent=row["parent"],
        relation=str(row["relation"]),
        probability=row["probability"],
        decided_by=tuple(row["decided_by"]),
        share=row.get("share"),
        evidence=evidence,
    )


def _with_claims(
    member: Member,
    claims: Sequence[Declaration],
    members: Mapping[str, Member],
    edges: Sequence[EdgeFacts],
    possible: Sequence[EdgeFacts],
    equal: Mapping[str, frozenset[str]],
) -> Member:
    """A model with what its card says, and whether the parents that were found agree.

    Args:
        equal: id -> ids of models with the same weights.
    """
    above = _above(member.id, edges)
    named = {claim.base: same_model(claim.base, members) for claim in claims}
    known = {base: found for base, found in named.items() if found is not None and found != member.id}
    parents = [edge.parent for edge in edges if edge.child == member.id and edge.relation in ACCEPTED]
    agreeing = next((base for base, found in known.items() if found in above), None)
    twin = next((base for base, found in known.items() if not above.isdisjoint(equal[found])), None)
    decided = {edge.child for edge in edges}
    candidates = {edge.parent for edge in possible if edge.child in above - decided}
    candidates |= {higher for model in candidates for higher in _above(model, edges)}
    perhaps = next((base for base, found in known.items() if not candidates.isdisjoint({found} | equal[found])), None)
    apart = next(
        (b for b, found in known.items() if not share_key(members[found].architecture, member.architecture)), None
    )
    if agreeing is not None:
        outcome, reason = AGREE, f"{agreeing} is declared and found in the weights"
    elif twin is not None:
        outcome, reason = AGREE, f"{twin} is declared and has the same weights as a model that was found, {parents[0]}"
    elif len(known) < len(named):
        absent = next(base for base in named if base not in known)
        outcome, reason = CANNOT_TELL, f"{absent} is declared and not in this folder"
    elif apart is not None:
        outcome, reason = CANNOT_TELL, f"{apart} is declared and cannot be compared value by value"
    elif perhaps is not None:
        outcome = CANNOT_TELL
        reason = f"{perhaps} is declared; the weights come from {parents[0]}, which may come from it"
    elif parents:
        outcome, reason = CONTRADICTS, f"{next(iter(named))} is declared; the weights come from {parents[0]}"
    elif member.answer in ("root", "no_relatives"):
        outcome, reason = CONTRADICTS, f"{next(iter(named))} is declared; the weights show no parent"
    else:
        outcome, reason = CANNOT_TELL, "no parent was decided"
    return replace(member, claims=tuple(claims), outcome=outcome, outcome_reason=reason)


def _equal(document: Mapping[str, Any], ties: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Id -> ids of models with the same weights: files, copies, and ties between equal models."""
    import networkx as nx

    alike: nx.Graph[str] = nx.Graph()
    first: dict[str, str] = {}
    for row in document["models"]:
        alike.add_edge(row["id"], first.setdefault(row["digest"], row["id"]))
    copies = [edge for edge in document["edges"] if edge["relation"] == Relation.COPY_OF]
    alike.add_edges_from((edge["child"], edge["parent"]) for edge in copies)
    alike.add_edges_from(ties.items())
    groups = (frozenset(members) for members in nx.connected_components(alike))
    return {model: group for group in groups for model in group}


def _above(model: str, edges: Sequence[EdgeFacts]) -> set[str]:
    found: set[str] = set()
    waiting = [model]
    while waiting:
        at = waiting.pop()
        new = [edge.parent for edge in edges if edge.child == at and edge.parent not in found]
        found |= set(new)
        waiting += new
    return found


def same_model(base: str, members: Mapping[str, Member]) -> str | None:
    """The model of a folder that a name means: its id, or the only one whose last parts are the name's or whose last part is."""
    if base in members:
        return base
    for wanted in (base.casefold(), base.rpartition("/")[2].casefold()):
        found = [i for i in members if i.casefold() == wanted or i.casefold().endswith("/" + wanted)]
        if len(found) == 1:
            return found[0]
    return None
