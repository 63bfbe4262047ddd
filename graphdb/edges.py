"""Replacing the edges of the children that a run looked at, and nothing else.

An edge is current as long as a run that looks at its child finds it again. One that is not found again, and one whose child or
parent has other weights now, becomes `SUPERSEDED` with all it knew, when, and by which run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lineage.graphdb.records import Row, edge_row
from lineage.graphdb.schema import ACCEPTED, Edge, Failure, Relation, Verdict, counted
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    from lineage.graphdb.connection import Connection, Execute

BATCH = 1_000  # children a transaction
DETECTED = (*ACCEPTED, Relation.POSSIBLE_PARENT)

Key = tuple[str, str, str]  # child, parent, kind


class UnknownModel(Failure):
    """An edge names a model that is not in the graph."""


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """What a replacement did. Ties are counted apart: nothing is asserted by them.

    Attributes:
        added: accepted edges that were not current before, or are about other weights than before.
        verified: accepted edges found again.
        superseded: accepted edges that became history.
        possible: ties (`POSSIBLE_PARENT`) that are current now.
    """

    added: int = 0
    verified: int = 0
    superseded: int = 0
    possible: int = 0

    def __add__(self, other: EdgeCounts) -> EdgeCounts:
        return EdgeCounts(
            self.added + other.added,
            self.verified + other.verified,
            self.superseded + other.superseded,
            self.possible + other.possible,
        )


def replace(
    connection: Connection, scope: Iterable[str], new_edges: Iterable[Edge], verdicts: Iterable[Verdict], run_id: str
) -> EdgeCounts:
    """See `LineageGraph.replace_edges`."""
    children = list(dict.fromkeys(scope))
    within = set(children)
    edges_of: dict[str, dict[Key, Edge]] = defaultdict(dict)
    for edge in new_edges:
        if edge.child not in within:
            raise ValueError(f"an edge of {edge.child}, which is outside the scope")
        if edge.kind not in DETECTED:
            raise ValueError(f"{edge.kind} is not found by detection: {edge.child} -> {edge.parent}")
        edges_of[edge.child][edge.child, edge.parent, str(edge.kind)] = edge
    verdict_of = {verdict.hub_id: verdict for verdict in verdicts}
    if not verdict_of.keys() <= within:
        raise ValueError(f"verdicts outside the scope: {sorted(verdict_of.keys() - within)[:3]}")

    total = EdgeCounts()
    for start in range(0, len(children), BATCH):
        batch = children[start : start + BATCH]
        wanted = {key: edge for child in batch for key, edge in edges_of.get(child, {}).items()}
        answers = [_answer_row(child, verdict_of.get(child), edges_of.get(child, {})) for child in batch]
        now = connection.now()
        total += connection.transact(partial(_write, wanted=wanted, answers=answers, run_id=run_id, now=now))
    return total


def _write(execute: Execute, wanted: dict[Key, Edge], answers: list[Row], run_id: str, now: str) -> EdgeCounts:
    """One batch inside a transaction.

    The answers are written first: that locks the children, so that of two writers the later one sees what the earlier did.
    """
    execute(statement("verdict_set"), {"rows": answers, "run_id": run_id, "now": now})
    current = execute(statement("edges_of"), {"hub_ids": [row["hub_id"] for row in answers]})
    kept: set[Key] = set()
    stale: dict[str, list[Row]] = defaultdict(list)
    for row in current:
        key = (row["child"], row["parent"], row["kind"])
        same_weights = (row["child_digest"], row["parent_digest"]) == (
            row["child_digest_now"],
            row["parent_digest_now"],
        )
        if key in wanted and same_weights:
            kept.add(key)
        else:
            stale[row["kind"]].append({"child": row["child"], "parent": row["parent"]})
    for kind, rows in stale.items():
        execute(statement("edge_supersede", Relation(kind)), {"rows": rows, "run_id": run_id, "now": now})

    by_kind: dict[tuple[str, Relation], list[Row]] = defaultdict(list)
    for key, edge in wanted.items():
        by_kind["edge_verify" if key in kept else "edge_create", edge.kind].append(edge_row(edge, run_id))
    for (name, relation), rows in by_kind.items():
        written = execute(statement(name, relation), {"rows": rows, "now": now})[0]["count"]
        if written != len(rows):
            raise _unknown(execute, rows)
    accepted, verified = (sum(kind in ACCEPTED for *_, kind in keys) for keys in (wanted, kept))
    superseded = sum(len(rows) for kind, rows in stale.items() if kind in ACCEPTED)
    return EdgeCounts(accepted - verified, verified, superseded, possible=len(wanted) - accepted)


def _unknown(execute: Execute, rows: list[Row]) -> UnknownModel:
    """Which of the models that edges name are not in the graph."""
    ends = {row["child"] for row in rows} | {row["parent"] for row in rows}
    known = {row["hub_id"] for row in execute(statement("edge_known"), {"hub_ids": sorted(ends)})}
    missing = sorted(ends - known)
    return UnknownModel(
        f"edges name {counted(len(missing), 'model')} missing from the graph, the first is {missing[0]}",
        "store the models before their edges",
    )


def _answer_row(child: str, verdict: Verdict | None, found: dict[Key, Edge]) -> Row:
    """What verdict_set.cypher keeps: the verdict given, else "parent" where an accepted edge was found, else nothing."""
    if verdict is not None:
        return {
            "hub_id": child,
            "answer": verdict.answer,
            "reason": verdict.reason,
            "reason_values": None if verdict.reason_values is None else json.dumps(verdict.reason_values),
            "probability": float(verdict.probability),
        }
    accepted = [edge.probability for edge in found.values() if edge.kind in ACCEPTED]
    return {
        "hub_id": child,
        "answer": "parent" if accepted else None,
        "reason": None,
        "reason_values": None,
        "probability": float(max(accepted)) if accepted else None,
    }
