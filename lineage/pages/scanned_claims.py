"""What the card of a model says, weighed with what was found in the folder that was scanned; as queries/claim_check.py does in a graph.

contradicts  the weights come from another model, and the declared one is a stranger, or is surely on another branch of the family
             and what it had learned is not in the model; or they come from none, or it is undecided from which, and the declared one is a
             stranger, in the second case one that has nothing in common with any model of the family in any part
cannot tell  the declared model was not compared, or is a relative that may lie on the line of descent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from lineage.graphdb.schema import ACCEPTED, Declaration, Relation, share_key
from lineage.pages.members import EdgeFacts, Member
from lineage.queries.claim_check import Agreement
from lineage.queries.claim_words import (
    below_words,
    contradicted_words,
    is_part,
    other_values_words,
    related_words,
    start_words,
)
from lineage.queries.kinship import SAME_VALUES, SURE, ClaimedKin, ParentEdge, kinship, originals
from lineage.queries.same_values import one_model
from lineage.queries.several_bases import (
    JudgedBase,
    claims_by_base,
    is_merge,
    joined,
    other_relation,
    says_quantized,
    with_strangers,
)

MOST_COMPARED = 256  # models of a family that are compared with a base


class ClaimMeasures(Protocol):
    """What the samples say of a model and the one that its card names."""

    def related(self, model: str, base: str) -> bool | None:
        """Whether two models have anything in common; None where they cannot be compared."""
        ...

    def lacks(self, model: str, base: str, since: str) -> bool | None:
        """Whether a model lacks what `base` had learned since their common ancestor; None where they cannot be compared."""
        ...

    def strangers(self, model: str, base: str) -> bool:
        """Whether all parts of a model were compared with a base, and have surely nothing in common with it, in another order neither."""
        ...


class ScannedClaims:
    """The claims of a folder's cards."""

    def __init__(
        self,
        members: Mapping[str, Member],
        edges: Sequence[EdgeFacts],
        possible: Sequence[EdgeFacts],
        equal: Mapping[str, frozenset[str]],
        measures: ClaimMeasures | None,
    ):
        """
        Args:
            members: of the folder, by id; edges: accepted ones; possible: of undecided models.
            equal: id -> ids of models with the same weights.
        """
        self._members, self._equal, self._measures = members, equal, measures
        self._up: dict[str, list[ParentEdge]] = {}
        for edge in (*edges, *possible):
            of_part = edge.relation in SAME_VALUES and edge.part is not None
            relation = str(Relation.FINE_TUNED_FROM) if of_part else edge.relation
            self._up.setdefault(edge.child, []).append(ParentEdge(edge.parent, relation, edge.probability or 0.0))

    def outcome(
        self, member: Member, named: Mapping[str, str | None], claims: Sequence[Declaration] = ()
    ) -> tuple[str, str]:
        """`agree`, `contradicts` or `cannot tell`, and a sentence.

        Args:
            named: what the card names -> the id that it means here. claims: of the card, with their relations.
        """
        agreement, reason = self._outcome(member, named, claims)
        if len(claims_by_base(claims)) < 2 or agreement == Agreement.CONTRADICTS:
            return agreement, reason
        others = []
        for base, found in named.items():
            one, why = self._outcome(member, {base: found}, claims)
            against = one == Agreement.CONTRADICTS
            if one != Agreement.AGREE:
                apart = found is not None and self._lies(member.id, found) is ClaimedKin.STRANGER
                others.append(JudgedBase(base, against, against and apart, why))
        if agreement == Agreement.CANNOT_TELL:
            return agreement, with_strangers(reason, others)
        known = {found for found in named.values() if found is not None}
        holds, reason = joined(reason, others, self._no_merge(member.id, known) if is_merge(claims) else None)
        return (Agreement.AGREE if holds else Agreement.CANNOT_TELL), reason

    def _no_merge(self, model: str, bases: set[str]) -> str | None:
        """The one model whose values a model has, where it is one of the declared bases or was fine-tuned from one model."""
        values = list(dict.fromkeys([*originals(model, self._accepted), *sorted(self._equal[model] - {model})]))
        return one_model([self._row(one) for one in values], bases)

    def _row(self, model: str) -> dict[str, Any]:
        """What a model claims and was found to come from, as `one_model` takes it."""
        parents = [{"hub_id": edge.parent, "kind": edge.relation} for edge in self._accepted(model)]
        bases = list(claims_by_base(self._members[model].claims))
        return {"hub_id": model, "repo_id": model, "bases": bases, "parents": parents}

    def _outcome(
        self, member: Member, named: Mapping[str, str | None], claims: Sequence[Declaration]
    ) -> tuple[str, str]:
        above = self._above(member.id)
        known = {base: found for base, found in named.items() if found is not None and found != member.id}
        parents = [edge.parent for edge in self._accepted(member.id)]
        for base, found in known.items():
            if found in above:
                if says_quantized(claim for claim in claims if claim.base == base) and self._other_values(
                    member.id, found
                ):
                    lone = len(claims_by_base(claims)) == 1
                    return (Agreement.CONTRADICTS if lone else Agreement.CANNOT_TELL), other_values_words(
                        base, parents[0]
                    )
                how = {edge.relation for edge in self._accepted(member.id) if edge.parent == found}
                other = other_relation([claim for claim in claims if claim.base == base], how)
                return Agreement.AGREE, f"{base} is declared and found in the weights{other}"
        for base in named:
            part = next((model for model in sorted(above) if is_part(model, base)), None)
            if part is not None:
                return Agreement.AGREE, f"{base} is declared, and {part} is a part of it"
        for base, found in known.items():
            if not self._equal[found].isdisjoint(above):
                same = f"has the same weights as a model that was found, {parents[0]}"
                return Agreement.AGREE, f"{base} is declared and {same}"
        for base, found in known.items():
            if member.id in self._equal[found]:
                return Agreement.AGREE, f"{base} is declared and has the same weights as it"
        for base in named:
            if base not in known:
                return Agreement.CANNOT_TELL, f"{base} is declared and not in this folder"
        for base, found in known.items():
            if not share_key(self._members[found].architecture, member.architecture):
                return Agreement.CANNOT_TELL, f"{base} is declared and cannot be compared value by value"
        if not parents and member.answer not in ("root", "no_relatives"):
            if known and all(self._surely_strange(member.id, found) for found in known.values()):
                return Agreement.CONTRADICTS, contradicted_words(" and ".join(known), None)
            return Agreement.CANNOT_TELL, "no parent was decided"
        parent = parents[0] if parents else None
        for base, found in known.items():
            if (against := self._against(member.id, found, parent)) is None:
                return Agreement.CANNOT_TELL, f"{base} is declared and cannot be compared value by value"
            if not against and member.id in self._above(found):
                return Agreement.CANNOT_TELL, below_words(base)
            if not against:
                strange = self._lies(member.id, found) is ClaimedKin.STRANGER
                return Agreement.CANNOT_TELL, start_words(base, parent) if strange else related_words(base, parent)
        return Agreement.CONTRADICTS, contradicted_words(" and ".join(known), parent)

    def _against(self, model: str, base: str, parent: str | None) -> bool | None:
        """Whether a declared base contradicts what was found; None where it was not compared."""
        lies = self._lies(model, base)
        if lies is ClaimedKin.STRANGER:
            related = self._related(model, base)
            return None if related is None else not related
        if lies is ClaimedKin.RELATED or parent is None or model in self._line(base):
            return False
        if self._measures is None:
            return True
        mine = self._above(model)
        since = next((at for at in self._line(base) if at in mine), None)
        return since is not None and self._measures.lacks(model, base, since) is True

    def _surely_strange(self, model: str, base: str) -> bool:
        """Whether an undecided model is a stranger to a base, and what is, or may be, of its family has nothing in common with that, as
        far as it can be compared."""
        if self._measures is None or self._lies(model, base) is not ClaimedKin.STRANGER:
            return False
        family = self._families[model]
        if base in family or len(family) > MOST_COMPARED:
            return False
        if not self._measures.strangers(model, base):
            return False
        return not any(self._measures.related(one, base) for one in sorted(family))

    @cached_property
    def _families(self) -> dict[str, set[str]]:
        """Model -> the models that edges, possible ones too, connect with it, itself included."""
        import networkx as nx

        together: nx.Graph[str] = nx.Graph()
        together.add_nodes_from(self._members)
        together.add_edges_from((child, edge.parent) for child, up in self._up.items() for edge in up)
        return {model: family for family in nx.connected_components(together) for model in family}

    def _other_values(self, model: str, base: str) -> bool:
        """Whether the values of a model are surely those of one that has other values than a base."""
        mine = originals(model, self._accepted)
        own = {base, *self._equal[base], *originals(base, self._accepted, least=0.0)}
        return bool(mine) and own.isdisjoint(other for one in mine for other in self._equal[one])

    def _lies(self, model: str, base: str) -> ClaimedKin:
        least = 0.0 if self._measures else SURE  # what the samples say counts more
        return kinship(model, base, self._equal[base], lambda at: self._up.get(at, ()), least)

    def _related(self, model: str, base: str) -> bool | None:
        """Whether a model, or what it comes from, has anything in common with a model of another family; None where not compared."""
        if self._measures is None:
            return False
        of_line = [self._measures.related(one, base) for one in self._line(model)]
        return None if of_line[0] is None else any(of_line)

    def _accepted(self, model: str) -> list[ParentEdge]:
        return [edge for edge in self._up.get(model, ()) if edge.relation in ACCEPTED]

    def _line(self, model: str) -> list[str]:
        """A model and its ancestors, nearest first."""
        found = [model]
        for at in found:
            found += [edge.parent for edge in self._accepted(at) if edge.parent not in found]
        return found

    def _above(self, model: str) -> set[str]:
        return set(self._line(model)[1:])
