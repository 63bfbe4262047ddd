"""One number for a whole graph: equal content, equal digest, on whatever store and in whatever order it was written.

Each node and each edge is hashed by itself as canonical JSON, and the hashes are added up: nothing needs sorting or memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lineage.graphdb.graph import LineageGraph
from lineage.graphdb.records import Row
from lineage.graphdb.schema import Relation
from lineage.graphdb.statements import statement

PASSING = frozenset(  # what a rerun that finds the same changes all the same: moments and runs, and counters of the Hub
    {
        "answered_at",
        "answered_by_run",
        "downloads",
        "first_seen",
        "first_verified_at",
        "last_seen",
        "last_verified_at",
        "run_id",
        "superseded_at",
        "superseded_by_run",
        "until",
    }
)


def graph_digest(store: LineageGraph, *, passing: bool = True) -> str:
    """sha256-like hex of everything in the graph.

    Args:
        passing: with moments, runs and download counts. Without them, a run that finds the same again leaves the digest
            as it is.
    """
    total = 0
    for kind, row in contents(store):
        if not passing and kind == "Run":
            continue
        props = {name: value for name, value in row.get("props", {}).items() if passing or name not in PASSING}
        ends = [row.get("child"), row.get("parent")]
        text = json.dumps([kind, ends, props], sort_keys=True, ensure_ascii=False, default=_moment)
        total += int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return f"{total % 2**256:064x}"


def contents(store: LineageGraph) -> Iterator[tuple[str, Row]]:
    """(label or type, row) of every node and then every edge."""
    for kind, name in (("Model", "all_models"), ("Architecture", "all_architectures"), ("Run", "all_runs")):
        for row in store.stream(statement(name)):
            yield kind, row
    for kind, name in (("FORMERLY", "all_former_names"), ("HAS_ARCHITECTURE", "all_ties")):
        for row in store.stream(statement(name)):
            yield kind, row
    for relation in Relation:
        for row in store.stream(statement("all_edges", relation)):
            yield str(relation), row


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"cannot digest {value!r}")
