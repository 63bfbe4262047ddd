"""A whole graph from one store into another, empty one, checked by digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING

from lineage.graphdb.claims import index_names
from lineage.graphdb.digest import contents, graph_digest
from lineage.graphdb.records import TEMPORAL, Row, iso
from lineage.graphdb.schema import Failure, Relation, counted
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    from lineage.graphdb.connection import Execute
    from lineage.graphdb.graph import LineageGraph

BATCH = 2_000  # rows a transaction
STATEMENTS = {
    "Model": "copy_models",
    "Architecture": "copy_architectures",
    "Run": "copy_runs",
    "FORMERLY": "copy_former_names",
    "HAS_ARCHITECTURE": "copy_ties",
}


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """What a copy moved; `digest` is that of both graphs."""

    nodes: int
    edges: int
    digest: str


class CopyFailed(Failure):
    """The target is not empty, or came out different."""


def copy_graph(source: LineageGraph, target: LineageGraph) -> CopyCounts:
    """Copies everything.

    Raises:
        CopyFailed: if the target holds something already, or its digest differs afterwards.
    """
    held = target.counts()
    if held["models"] or held["runs"] or held["architectures"]:
        raise CopyFailed(
            f"{target.url} holds a graph already: {counted(held['models'], 'model')}", "copy into an empty store"
        )
    before = graph_digest(source)
    nodes = edges = 0
    for kind, rows in groupby(contents(source), key=lambda pair: pair[0]):
        text = statement(STATEMENTS[kind]) if kind in STATEMENTS else statement("copy_edges", Relation(kind))
        moved = _write(target, text, (row for _, row in rows))
        if kind in ("Model", "Architecture", "Run"):
            nodes += moved
        else:
            edges += moved
    index_names(target.connection)
    after = graph_digest(target)
    if after != before:
        raise CopyFailed(
            f"the copy differs from {source.url}: digest {after[:12]}… instead of {before[:12]}…",
            "empty the target, let nothing write to the source meanwhile, and copy again",
        )
    return CopyCounts(nodes, edges, after)


def _write(target: LineageGraph, text: str, rows: Iterable[Row]) -> int:
    source = (_row(row) for row in rows)
    count = 0
    while batch := list(islice(source, BATCH)):
        count += len(batch)
        target.transact(partial(_one, text=text, batch=batch))
    return count


def _one(execute: Execute, text: str, batch: list[Row]) -> None:
    execute(text, {"rows": batch})


def _row(row: Row) -> Row:
    """A row with its moments apart, as text: Cypher makes moments of them, the same on both stores."""
    props = row.get("props", {})
    return {
        "child": row.get("child"),
        "parent": row.get("parent"),
        "props": {name: value for name, value in props.items() if name not in TEMPORAL},
        "moments": {name: iso(value) for name, value in props.items() if name in TEMPORAL},
    }
