"""A scanned folder as pages take it: out of the JSON that `lineage scan --json` prints, which is a contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lineage.graphdb.schema import MAIN_PARTS, Declaration, Relation
from lineage.pages.members import Brood, EdgeFacts, Member
from lineage.pages.scanned_claims import ClaimMeasures, ScannedClaims


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
    measures: ClaimMeasures | None = None,
) -> ScannedFamilies:
    """
    Args:
        document: what `lineage scan --json` prints.
        cards: id -> the card beside a model; the bases that it names are compared with ids of the folder by their last parts.
        ties: models that are undecided because another has the same values -> that one.
        measures: of the samples of the models, where they are at hand.
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
    for name in members.keys() & (cards or {}).keys():
        card = (cards or {})[name]
        members[name] = replace(members[name], license=card.license, claims=tuple(card.claims))
    weighed = ScannedClaims(members, edges, possible, _equal(document, ties or {}), measures)
    for name, card in (cards or {}).items():
        if name in members and card.claims:
            found = {claim.base: _meant(claim.base, members) for claim in card.claims}
            outcome, reason = weighed.outcome(members[name], found, card.claims)
            members[name] = replace(members[name], outcome=outcome, outcome_reason=reason)
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


def _equal(document: Mapping[str, Any], ties: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Id -> ids of models with the same weights: files, copies, and ties between equal models; a copy of a part alone, such as a frozen
    encoder, is no copy of the model."""
    import networkx as nx

    alike: nx.Graph[str] = nx.Graph()
    first: dict[str, str] = {}
    for row in document["models"]:
        alike.add_edge(row["id"], first.setdefault(row["digest"], row["id"]))
    copies = [e for e in document["edges"] if e["relation"] == Relation.COPY_OF and _edge(e).part is None]
    alike.add_edges_from((edge["child"], edge["parent"]) for edge in copies)
    alike.add_edges_from(ties.items())
    groups = (frozenset(members) for members in nx.connected_components(alike))
    return {model: group for group in groups for model in group}


def _meant(base: str, members: Mapping[str, Member]) -> str | None:
    """The model that a card names: one of the folder, or the main part of the only pipeline of that name there."""
    if (model := same_model(base, members)) is not None:
        return model
    parts = tuple(f"/{base.rpartition('/')[2]}/{part}".casefold() for part in MAIN_PARTS)
    found = [i for i in members if f"/{i}".casefold().endswith(parts)]
    return found[0] if len(found) == 1 else None


def same_model(base: str, members: Mapping[str, Member]) -> str | None:
    """The model of a folder that a name means: its id, or the only one whose last parts are the name's or whose last part is."""
    if base in members:
        return base
    for wanted in (base.casefold(), base.rpartition("/")[2].casefold()):
        found = [i for i in members if i.casefold() == wanted or i.casefold().endswith("/" + wanted)]
        if len(found) == 1:
            return found[0]
    return None
