"""Models of the graph that hold the same weights as one: by the digest of their files, over copies, and over ties between equal models."""

from __future__ import annotations

import json

from lineage.graphdb.schema import TIED, Relation
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import Limits, ancestors, descendants

COPIES = Limits(kinds=(Relation.COPY_OF,))


def same_weights(store: GraphReader, model: str) -> frozenset[str]:
    """Identities of a model and of all that have the same weights."""
    found = {model}
    for row in store.read(load("facts").text, {"models": [model]}):
        found |= _equal_files(store, row["weights_digest"])
        if row["answer_reason"] in TIED:
            original = json.loads(row["answer_reason_values"] or "{}").get("models", {}).get("original")
            found |= {original} if isinstance(original, str) else set()
    for start in list(found):
        found |= {relative.hub_id for relative in ancestors(store, start, COPIES)}
    for start in list(found):
        found |= {relative.hub_id for relative in descendants(store, start, COPIES)}
    return frozenset(found)


def _equal_files(store: GraphReader, digest: str | None) -> set[str]:
    return {model.hub_id for model in store.models_of_weights(digest)} if digest else set()
