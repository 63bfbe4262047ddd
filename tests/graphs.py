"""Small lineage graphs for tests: models and edges named by a letter or a number, and random ones with cycles and merges."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineage.graphdb.schema import Edge, Model, Relation, Status
from lineage.graphdb.store import Store

KINDS = (Relation.FINE_TUNED_FROM, Relation.MERGED_FROM, Relation.COPY_OF, Relation.POSSIBLE_PARENT)


def a_model(name: object, **fields: Any) -> Model:
    """`org/<name>` with the identity `id-<name>`, sketched, of one architecture."""
    values: dict[str, Any] = {
        "hub_id": f"id-{name}",
        "repo_id": f"org/{name}",
        "status": Status.SKETCHED,
        "signature": "sig",
        "weights_digest": f"digest-{name}",
        **fields,
    }
    return Model(**values)


def an_edge(child: object, parent: object, probability: float = 0.9, **fields: Any) -> Edge:
    """A fine-tuning between two models of `a_model`."""
    values: dict[str, Any] = {"kind": Relation.FINE_TUNED_FROM, "method": "test", "method_version": "1", **fields}
    return Edge(f"id-{child}", f"id-{parent}", probability=probability, **values)


def fill(store: Store, models: Sequence[Model], edges: Sequence[Edge]) -> None:
    """Stores models and edges as one run that saw all of them."""
    store.upsert_models(models)
    store.replace_edges([model.hub_id for model in models], edges, [], "run-1")


@dataclass(frozen=True)
class Graph:
    """A random graph: its models and edges."""

    models: list[Model]
    edges: list[Edge]


def random_graph(seed: int, size: int = 9) -> Graph:
    """Merges, cycles, parallel edges of different relations, ties, several families and lonely models."""
    rng = random.Random(seed)
    edges: dict[tuple[int, int, Relation], Edge] = {}
    for _ in range(rng.randrange(size, int(size * 1.8))):
        child, parent = rng.randrange(size), rng.randrange(size)
        if child < parent and rng.random() < 0.85:  # mostly towards smaller numbers: a few cycles only
            child, parent = parent, child
        if child != parent:
            kind = rng.choices(KINDS, (6, 3, 1, 2))[0]
            edges[child, parent, kind] = an_edge(child, parent, rng.randrange(1, 21) / 20, kind=kind)
    return Graph([a_model(number) for number in range(size)], list(edges.values()))
