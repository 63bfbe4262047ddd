"""Blast radius: who inherits a flaw of a model, and how sure is the weakest edge on the way.

Of all ways down to a descendant the one counts whose weakest edge is the most probable, then the shortest, then by name. Found as
Dijkstra finds shortest ways, with the least probability on the way in place of its length (the widest path: Pollack 1960,
"The maximum capacity through a network"), so merges of merges and cycles cost no more than their edges.

A model whose weight files have the same bytes as those of one with the flaw has it too, whichever of them was copied: from a model to
its byte-identical ones leads a step of certainty, of the relation SAME_FILES, which is no edge of the graph.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

from lineage.graphdb.schema import SAME_FILES, Model, Relation
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import BATCH, EVERYTHING, Limits, Relative, step


@dataclass(frozen=True, slots=True)
class Heir:
    """A model that inherits.

    Attributes:
        way: repo_ids from the model asked about down to this one, both included.
        weakest: probability of the weakest edge on it; 1 where there is none.
        kind: of the last edge, or SAME_FILES.
    """

    hub_id: str
    repo_id: str
    way: tuple[str, ...]
    weakest: float
    kind: str | None


def blast_radius(store: GraphReader, model: Model, limits: Limits = EVERYTHING) -> list[Heir]:
    """Everything that comes from a model or from one with the same files, and these, the surest first.

    Args:
        limits: `depth` bounds the fewest generations to each; the same files count wherever copies do.
    """
    children, same = _edges_below(store, model.hub_id, limits)
    settled: dict[str, Heir] = {}
    queue: list[tuple[float, int, tuple[str, ...], str, str]] = [(-1.0, 0, (model.repo_id,), model.hub_id, "")]
    while queue:
        weakest, length, way, hub_id, kind = heapq.heappop(queue)
        if hub_id in settled:
            continue
        settled[hub_id] = Heir(hub_id, way[-1], way, -weakest, kind or None)
        copies = {edge.hub_id for edge in children.get(hub_id, ()) if edge.kind == Relation.COPY_OF}
        for twin, name in same.leave(hub_id):
            if twin not in settled and twin not in copies:
                heapq.heappush(queue, (weakest, length + 1, (*way, name), twin, SAME_FILES))
        for edge in children.get(hub_id, ()):
            if edge.hub_id not in settled:
                least = min(-weakest, 1.0 if edge.probability is None else edge.probability)
                heapq.heappush(queue, (-least, length + 1, (*way, edge.repo_id), edge.hub_id, edge.kind or ""))
    del settled[model.hub_id]
    return sorted(settled.values(), key=lambda heir: (-heir.weakest, len(heir.way), heir.repo_id, heir.hub_id))


def same_files(store: GraphReader, model: Model) -> list[tuple[str, str]]:
    """The other models whose weight files have the same bytes: (hub_id, repo_id), by name."""
    rows = store.read(load("same_files").text, {"models": [model.hub_id]})
    return [(row["hub_id"], row["repo_id"]) for row in rows if row["hub_id"] != model.hub_id]


class _SameFiles:
    """The models of each content of weight files that was met."""

    def __init__(self) -> None:
        self._digest: dict[str, str] = {}
        self._models: dict[str, list[tuple[str, str]]] = {}

    def meet(self, store: GraphReader, models: list[str]) -> set[str]:
        """Identities of the models with the same files as some, of contents that are new."""
        new: set[str] = set()
        models = [model for model in models if model not in self._digest]
        for start in range(0, len(models), BATCH):
            for row in store.read(load("same_files").text, {"models": models[start : start + BATCH]}):
                self._digest[row["hub_id"]] = row["weights_digest"]
                self._models.setdefault(row["weights_digest"], []).append((row["hub_id"], row["repo_id"]))
                new.add(row["hub_id"])
        return new

    def leave(self, model: str) -> list[tuple[str, str]]:
        """What has the same files as a model, for the first model of a content: none is reached on a surer way than from it."""
        return self._models.pop(self._digest.get(model, ""), [])


def _edges_below(store: GraphReader, model: str, limits: Limits) -> tuple[dict[str, list[Relative]], _SameFiles]:
    """Every edge below a model and those of the same files, by the parent's hub_id."""
    children: dict[str, list[Relative]] = defaultdict(list)
    same = _SameFiles()

    def with_same(models: set[str]) -> set[str]:
        return models | same.meet(store, sorted(models)) if Relation.COPY_OF in limits.kinds else models

    seen, depth = with_same({model}), 0
    frontier = sorted(seen)
    while frontier and (limits.depth is None or depth < limits.depth):
        depth += 1
        found: set[str] = set()
        for edge in step(store, frontier, limits, "children"):
            children[edge.via or ""].append(edge)
            found.add(edge.hub_id)
        frontier = sorted(with_same(found - seen) - seen)
        seen.update(frontier)
    return children, same
