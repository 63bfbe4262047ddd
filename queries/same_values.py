"""Claims about a model whose values are those of another one, bit for bit or quantized: which model that is, and what comes from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lineage.graphdb.schema import ACCEPTED, Relation
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.kinship import SURE, ParentsOf


def surely_below(base: str, models: Iterable[str], parents_of: ParentsOf, declares: Callable[[str, str], bool]) -> bool:
    """Whether a base comes from one of some models, over edges that are nearly certain or that the child's own card confirms."""
    above, waiting, wanted = {base}, [base], set(models)
    while waiting:
        child = waiting.pop()
        for edge in parents_of(child):
            if edge.relation not in ACCEPTED or edge.parent in above:
                continue
            if edge.probability >= SURE or declares(child, edge.parent):
                above.add(edge.parent)
                waiting.append(edge.parent)
    return not wanted.isdisjoint(above)


def one_model(rows: Sequence[Mapping[str, Any]], bases: Iterable[str]) -> str | None:
    """Name of the model whose values a declared merge has, where it is surely none: it is one of the declared bases, or it has one parent.

    Args:
        rows: as of declared_vs_detected.cypher, about the models whose values it has; bases: identities of those that are declared.
    """
    wanted = set(bases)
    kinds = {edge["kind"] for row in rows for edge in row["parents"] if edge["hub_id"] is not None}
    if Relation.MERGED_FROM in kinds or any(len(set(row["bases"] or ())) > 1 for row in rows):
        return None
    named = [row["repo_id"] for row in rows if row["hub_id"] in wanted]
    tuned = [row["repo_id"] for row in rows if any(e["kind"] == Relation.FINE_TUNED_FROM for e in row["parents"])]
    return next(iter([*named, *tuned]), None)


def rows_of(store: GraphReader, models: Sequence[str]) -> list[Mapping[str, Any]]:
    """What some models claim beside what was found, in their order."""
    found = {row["hub_id"]: row for row in store.read(load("declared_vs_detected").text, {"models": list(models)})}
    return [found[model] for model in models if model in found]
