"""All edges below some models at once, where there are not too many of them: one statement instead of one a generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import Relative

WAYS = 400  # that descent.cypher follows at most in a statement
FEWEST_WAYS = 40  # of one model, of however many it is asked


@dataclass(frozen=True, slots=True)
class Descent:
    """Accepted edges below some models.

    Attributes:
        edges: model -> the edges to its children, for each of the models and everything below it; a model with too many ways down is
            not among them, nor what is below it alone.
        claimants: models among the children whose cards name a base.
    """

    edges: Mapping[str, Sequence[Relative]]
    claimants: frozenset[str]


def edges_below(store: GraphReader, models: Sequence[str]) -> Descent:
    """Everything below some models, as far as it is not too much."""
    if not models:
        return Descent({}, frozenset())
    ways = max(FEWEST_WAYS, WAYS // len(models))
    (lists,) = store.read(load("descent").text, {"models": list(models), "ways": ways})
    by_top: dict[str, list[Relative]] = {model: [] for model in models}
    names = ("top", "via", "hub_id", "repo_id", "kind", "probability")
    for top, via, hub_id, repo_id, kind, probability in zip(*(lists[name] for name in names), strict=True):
        by_top[top].append(Relative(hub_id, repo_id, 1, kind, probability, via))
    claimants = frozenset(compress(lists["hub_id"], lists["claims"]))
    found: dict[str, list[Relative]] = {}
    for top, edges in by_top.items():
        if len(edges) == ways:
            continue
        below: dict[str, list[Relative]] = {top: []}
        for edge in dict.fromkeys(edges):
            below.setdefault(edge.via or "", []).append(edge)
            below.setdefault(edge.hub_id, [])
        found |= below
    return Descent(found, claimants)
