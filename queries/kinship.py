"""How a model that a card names lies to the model of the card: a stranger, surely on another branch of the family, or perhaps on its line.

A card may name the grandparent, or a model that detection took for a child or a sibling of the parent: weights of one family are near
each other, and the order of two neighbours is the least certain of all that is found. So a relative contradicts a claim only where every
edge that puts it on another branch is nearly certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from lineage.graphdb.schema import ACCEPTED, Relation

SURE = 0.95  # probability of each edge that puts a relative on another branch
SAME_VALUES = (Relation.COPY_OF, Relation.QUANTIZED_FROM)


class ClaimedKin(StrEnum):
    """See the module's first lines."""

    STRANGER = "stranger"
    OTHER_BRANCH = "other branch"
    RELATED = "related"


@dataclass(frozen=True, slots=True)
class ParentEdge:
    """An edge to a parent, or to a possible one."""

    parent: str
    relation: str
    probability: float


ParentsOf = Callable[[str], Iterable[ParentEdge]]


def kinship(model: str, base: str, equal: Set[str], parents_of: ParentsOf, least: float = SURE) -> ClaimedKin:
    """
    Args:
        model, base: ids of the model of the card and of the one that it names; equal: ids of those with the weights of `base`.
        parents_of: id -> edges to its parents, possible ones included.
        least: probability that each edge above the model of the card must have where a relative contradicts it.
    """
    mine = _reached([model], parents_of)
    theirs = _reached([base, *equal], parents_of)
    if mine.isdisjoint(theirs):
        return ClaimedKin.STRANGER
    if not mine.isdisjoint({base, *equal, *originals(base, parents_of, least=0.0)}):
        return ClaimedKin.RELATED
    sure, beside = _reached([model], parents_of, least), _reached([base], parents_of, SURE)
    found = {edge.parent for edge in parents_of(model) if edge.relation in ACCEPTED}
    below = model in theirs
    apart = found and found <= sure and (model in beside if below else not sure.isdisjoint(beside))
    return ClaimedKin.OTHER_BRANCH if apart else ClaimedKin.RELATED


def _reached(starts: Iterable[str], parents_of: ParentsOf, least: float | None = None) -> set[str]:
    """The models and what they come from; least: of accepted edges alone, those with this probability."""
    found = set(starts)
    waiting = list(found)
    while waiting:
        for edge in parents_of(waiting.pop()):
            if least is not None and (edge.probability < least or edge.relation not in ACCEPTED):
                continue
            if edge.parent not in found:
                found.add(edge.parent)
                waiting.append(edge.parent)
    return found


def originals(
    model: str, parents_of: ParentsOf, kinds: Sequence[Relation] = SAME_VALUES, least: float = SURE
) -> list[str]:
    """The models whose values a model has, nearest first, itself left out. least: probability of each edge on the way."""
    found, waiting = [model], [model]
    while waiting:
        edges = parents_of(waiting.pop(0))
        new = [e.parent for e in edges if e.relation in kinds and e.probability >= least and e.parent not in found]
        found += new
        waiting += new
    return found[1:]
