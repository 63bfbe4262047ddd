"""Blast radius: who inherits a flaw of a model, and how sure is the weakest edge on the way.

Of all ways down to a descendant the one counts whose weakest edge is the most probable, then the shortest, then by name. Found as
Dijkstra finds shortest ways, with the least probability on the way in place of its length (the widest path: Pollack 1960,
"The maximum capacity through a network"), so merges of merges and cycles cost no more than their edges.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

from lineage.graphdb.schema import Model
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import EVERYTHING, Limits, Relative, step


@dataclass(frozen=True, slots=True)
class Heir:
    """A model that inherits.

    Attributes:
        way: repo_ids from the model asked about down to this one, both included.
        weakest: probability of the weakest edge on it.
        kind: of the last edge.
    """

    hub_id: str
    repo_id: str
    way: tuple[str, ...]
    weakest: float
    kind: str | None


def blast_radius(store: GraphReader, model: Model, limits: Limits = EVERYTHING) -> list[Heir]:
    """Everything that comes from a model, the surest first. `limits.depth` bounds the fewest generations to each."""
    children = _edges_below(store, model.hub_id, limits)
    settled: dict[str, Heir] = {}
    queue: list[tuple[float, int, tuple[str, ...], str, str]] = [(-1.0, 0, (model.repo_id,), model.hub_id, "")]
    while queue:
        weakest, length, way, hub_id, kind = heapq.heappop(queue)
        if hub_id in settled:
            continue
        settled[hub_id] = Heir(hub_id, way[-1], way, -weakest, kind or None)
        for edge in children.get(hub_id, ()):
            if edge.hub_id not in settled:
                least = min(-weakest, 1.0 if edge.probability is None else edge.probability)
                heapq.heappush(queue, (-least, length + 1, (*way, edge.repo_id), edge.hub_id, edge.kind or ""))
    del settled[model.hub_id]
    return sorted(settled.values(), key=lambda heir: (-heir.weakest, len(heir.way), heir.repo_id, heir.hub_id))


def _edges_below(store: GraphReader, model: str, limits: Limits) -> dict[str, list[Relative]]:
    """Every edge below a model, by the parent's hub_id."""
    children: dict[str, list[Relative]] = defaultdict(list)
    seen, frontier, depth = {model}, [model], 0
    while frontier and (limits.depth is None or depth < limits.depth):
        depth += 1
        found: set[str] = set()
        for edge in step(store, frontier, limits, "children"):
            children[edge.via or ""].append(edge)
            found.add(edge.hub_id)
        frontier = sorted(found - seen)
        seen |= found
    return children
