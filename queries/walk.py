"""Walking the lineage graph generation by generation: up to the ancestors, down to the descendants.

Each model is reached once, on a shortest way; of several equally short ones, over the most probable last edge. So cycles,
parallel edges and merges of merges cost no more than their edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.graphdb.schema import ACCEPTED, Relation
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader

BATCH = 2_000  # models a statement
WAYS = 500  # that ancestry.cypher follows at most in a statement
FEWEST_WAYS = 50  # of one model, of however many it is asked
ORDER = {str(relation): rank for rank, relation in enumerate(Relation)}


@dataclass(frozen=True, slots=True)
class Relative:
    """A model as seen from another.

    Attributes:
        depth: generations away; 0 is the model itself.
        kind, probability: of the edge over which it is reached: the last one on the way from the other model.
        via: hub_id of the model at the other end of that edge, None at depth 0.
    """

    hub_id: str
    repo_id: str
    depth: int
    kind: str | None = None
    probability: float | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Which edges a walk follows: relations, the least probability of each, and how many generations (None: all)."""

    kinds: tuple[Relation, ...] = ACCEPTED
    min_probability: float = 0.0
    depth: int | None = None


EVERYTHING = Limits()


def ancestors(
    store: GraphReader, model: str, limits: Limits = EVERYTHING, above: AncestorEdges | None = None
) -> list[Relative]:
    """What a model (hub_id) was derived from, nearest first, then by name. above: edges that were read already."""
    return walk(store, [Relative(model, "", 0)], limits, question="parents", above=above)[1:]


def descendants(
    store: GraphReader, model: str, limits: Limits = EVERYTHING, limit: int | None = None
) -> list[Relative]:
    """What was derived from a model (hub_id), nearest first, then by name; no more than `limit`."""
    return walk(store, [Relative(model, "", 0)], limits, question="children", limit=limit)[1:]


def walk(
    store: GraphReader,
    starts: Sequence[Relative],
    limits: Limits,
    question: str,
    limit: int | None = None,
    above: AncestorEdges | None = None,
) -> list[Relative]:
    """Everything reached from `starts`, which come first, by depth and then by name.

    Args:
        question: `parents` to go up, `children` to go down.
        limit: models wanted besides the starts; no generation is looked at that is not needed for them.
        above: edges to parents that were read already.
    """
    reached = {start.hub_id: start for start in starts}
    if question != "parents" or not set(limits.kinds) <= set(ACCEPTED):
        above = None
    elif above is None and limits.depth != 1:
        above = AncestorEdges(store)
    frontier = list(reached)
    depth = 0
    while frontier and (limits.depth is None or depth < limits.depth) and not _enough(reached, starts, limit):
        depth += 1
        best: dict[str, Relative] = {}
        for row in above.step(frontier, limits) if above else step(store, frontier, limits, question):
            if row.hub_id in reached:
                continue
            rival = best.get(row.hub_id)
            if rival is None or _preference(row, reached) < _preference(rival, reached):
                best[row.hub_id] = row
        reached.update(
            {
                hub_id: Relative(hub_id, row.repo_id, depth, row.kind, row.probability, row.via)
                for hub_id, row in best.items()
            }
        )
        frontier = sorted(best)
    found = sorted((r for r in reached.values() if r.via is not None), key=lambda r: (r.depth, r.repo_id, r.hub_id))
    return [*starts, *found[:limit]]


def step(store: GraphReader, models: Iterable[str], limits: Limits, question: str) -> Iterable[Relative]:
    """Every edge to the next generation, its far end as a `Relative` of depth 1."""
    ids = list(models)
    for start in range(0, len(ids), BATCH):
        params = {
            "models": ids[start : start + BATCH],
            "kinds": [str(kind) for kind in limits.kinds],
            "min_probability": limits.min_probability,
        }
        if question == "children":
            yield from _children(store, params)
            continue
        for row in store.read(load(question).text, params):
            yield Relative(row["hub_id"], row["repo_id"], 1, row["kind"], row["probability"], row["via"])


def _children(store: GraphReader, params: Mapping[str, Any]) -> list[Relative]:
    """What children.cypher answers, in its order: there may be many of them, and as lists they come in two thirds of the time."""
    return _rows_of_lists(store.read(load("children_at_once").text, params)[0])


def _rows_of_lists(lists: Mapping[str, Any]) -> list[Relative]:
    """Edges that come as parallel lists, in order."""
    rows = sorted(zip(*(lists[name] for name in ("via", "hub_id", "kind", "repo_id", "probability")), strict=True))
    return [
        Relative(hub_id, repo_id, 1, kind, None if probability < 0 else probability, via)
        for via, hub_id, kind, repo_id, probability in rows
    ]


class AncestorEdges:
    """Accepted edges above some models, read ten generations at a time where there are not too many ways."""

    def __init__(self, store: GraphReader):
        self._store = store
        self._edges: dict[str, list[Relative]] = {}  # model -> its edges to its parents, empty for a root

    def step(self, models: Sequence[str], limits: Limits) -> Iterable[Relative]:
        """As the function `step`, upwards."""
        unread = [model for model in models if model not in self._edges]
        for start in range(0, len(unread), BATCH):
            self._read(unread[start : start + BATCH])
        for model in models:
            for edge in self._edges[model]:
                if edge.kind in limits.kinds and (edge.probability or 0.0) >= limits.min_probability:
                    yield edge

    def _read(self, models: Sequence[str]) -> None:
        params = {"models": list(models), "ways": max(FEWEST_WAYS, WAYS // len(models))}
        read: dict[str, list[Relative]] = {model: [] for model in models}
        for row in _rows_of_lists(self._store.read(load("ancestry").text, params)[0]):
            edges = read.setdefault(row.via or "", [])
            if row.hub_id:
                edges.append(row)
        self._edges.update(read)


def _enough(reached: dict[str, Relative], starts: Sequence[Relative], limit: int | None) -> bool:
    return limit is not None and len(reached) - len(starts) >= limit


def _preference(row: Relative, reached: dict[str, Relative]) -> tuple[float, int, str, str]:
    """Smaller is better: more probable, then by relation, then by the name of the model it is reached from."""
    via = reached[row.via or ""]
    return (-(row.probability or 0.0), ORDER[row.kind or ""], via.repo_id, via.hub_id)
