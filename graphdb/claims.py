"""What models say about their base: kept on the model as written, and as `DECLARES_BASE` edges where the base is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from lineage.graphdb.records import Row, claims_row
from lineage.graphdb.schema import Declaration, Relation
from lineage.graphdb.schema.rows import name_key
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    from lineage.graphdb.connection import Connection, Execute

BATCH = 2_000  # models a transaction
SOURCES = ("card", "tag", "adapter_config", "config")  # whose word on the relation counts first

T = TypeVar("T")


def upsert(connection: Connection, seen: Iterable[str], declarations: Iterable[Declaration]) -> int:
    """See `LineageGraph.upsert_declarations`."""
    rows = [claims_row(child, claims) for child, claims in by_child(seen, declarations).items()]
    for batch in _batches(rows):
        connection.transact(partial(replace, rows=batch, now=connection.now()))
    return sum(len(row["bases"] or ()) for row in rows)


def by_child(seen: Iterable[str], declarations: Iterable[Declaration]) -> dict[str, list[Declaration]]:
    """Identity of each model seen -> its claims.

    Raises:
        ValueError: if a claim is of a model that is not among those seen.
    """
    found: dict[str, list[Declaration]] = {hub_id: [] for hub_id in seen}
    for declaration in declarations:
        if declaration.child not in found:
            raise ValueError(f"a claim of {declaration.child}, which is not among the models seen")
        found[declaration.child].append(declaration)
    return found


def link(connection: Connection) -> int:
    """See `LineageGraph.link_declarations`.

    Only claims that are new, and those whose names mean other models now, are looked at: both leave a mark (`LinkDue`)
    when they are written.
    """
    for marks in _due(connection):
        connection.transact(partial(_link, marks=marks, now=connection.now()))
    count: int = connection.read(statement("count_relation", Relation.DECLARES_BASE))[0]["count"]
    return count


def _due(connection: Connection) -> Iterator[list[str]]:
    """Marks of models that are to be linked, as many as go into one transaction."""
    marks: list[str] = []
    models = 0
    for row in connection.stream(statement("link_due")):
        marks.append(row["mark"])
        models += row["models"]
        if models >= BATCH:
            yield marks
            marks, models = [], 0
    if marks:
        yield marks


def with_names(row: Row) -> Row:
    """Claims of a model, with the keys of the names in them."""
    return row and row | {"name_keys": _keys(row)}


def mark_due(execute: Execute, hub_ids: list[str], now: str) -> None:
    """One mark for models that were made in this transaction, with their claims."""
    if hub_ids:
        execute(statement("link_due_set"), {"mark": hub_ids[0], "hub_ids": hub_ids, "now": now})


def index_names(connection: Connection) -> None:
    """Ties every claimant to the names it claims and marks it to be linked: for a graph that was written without that."""
    for batch in _batches(connection.stream(statement("claimants"))):
        connection.transact(partial(replace, rows=batch, now=connection.now(), known=False))


def replace(execute: Execute, rows: list[Row], now: str, known: bool = True) -> None:
    """Claims of some models, inside a transaction; with `known`, those that are as they were are left alone."""
    first: list[Row] = []
    if known:
        before = {row["hub_id"]: row for row in execute(statement("claims_of"), {"hub_ids": _ids(rows)})}
        first = [with_names(row) for row in rows if row["bases"] and row["hub_id"] not in before]
        rows = [row for row in rows if row["hub_id"] in before and row != before[row["hub_id"]]]
    if first:
        execute(statement("declarations_first"), {"rows": first, "now": now})
    if not rows:
        return
    execute(statement("declarations_set"), {"rows": rows, "now": now})
    execute(statement("claimed_names_clear"), {"hub_ids": _ids(rows)})
    names = [{"hub_id": row["hub_id"], "name_key": key} for row in rows for key in _keys(row)]
    if names:
        execute(statement("claimed_names_set"), {"rows": names})


def _link(execute: Execute, marks: list[str], now: str) -> None:
    """Claim edges of the models under some marks as their claims say, inside a transaction."""
    cleared = execute(statement("link_due_clear"), {"marks": marks})  # first: what is written from here on is due again
    hub_ids = list(dict.fromkeys(hub_id for row in cleared for hub_id in row["hub_ids"]))
    claimants = [row for row in execute(statement("claims_of"), {"hub_ids": hub_ids}) if row["bases"]]
    current = {
        (row["child"], row["parent"]): (row["base"], row["relation"], row["sources"])
        for row in execute(statement("declared_links"), {"hub_ids": hub_ids})
    }
    changed = []
    for ends, row in _wanted(execute, claimants).items():
        if current.pop(ends, None) != (row["base"], row["relation"], row["sources"]):
            changed.append(row)
    if changed:
        execute(statement("declared_link_upsert"), {"rows": changed, "now": now})
    if current:
        gone = [{"child": child, "parent": parent} for child, parent in current]
        execute(statement("edge_supersede", Relation.DECLARES_BASE), {"rows": gone, "run_id": None, "now": now})


def _wanted(execute: Execute, claimants: list[Row]) -> dict[tuple[str, str], Row]:
    """(child, parent) -> the claim edge there should be, for some models with claims."""
    keys = sorted({name_key(base) for row in claimants for base in row["bases"]})
    bearers: dict[str, tuple[int, float, str]] = {}
    for found in execute(statement("names_to_models"), {"name_keys": keys}):
        until = found["until"].timestamp() if found["until"] else 0.0
        order = (found["rank"], -until, found["hub_id"])  # who bears the name now, else who bore it last
        if found["name_key"] not in bearers or order < bearers[found["name_key"]]:
            bearers[found["name_key"]] = order
    wanted: dict[tuple[str, str], Row] = {}
    for row in claimants:
        claims = sorted(
            zip(row["bases"], row["relations"], row["sources"], strict=True), key=lambda claim: _rank(claim[2])
        )
        for base, relation, source in claims:
            bearer = bearers.get(name_key(base))
            if bearer is None or bearer[2] == row["hub_id"]:
                continue
            ends = (row["hub_id"], bearer[2])
            edge = wanted.setdefault(
                ends, {"child": ends[0], "parent": ends[1], "base": base, "relation": None, "sources": []}
            )
            edge["relation"] = edge["relation"] or relation or None
            if source not in edge["sources"]:
                edge["sources"].append(source)
    return wanted


def _ids(rows: list[Row]) -> list[str]:
    return [row["hub_id"] for row in rows]


def _keys(row: Row) -> list[str]:
    """What the names that a model claims are looked up by."""
    return sorted({name_key(base) for base in row["bases"] or ()})


def _rank(source: str) -> int:
    return SOURCES.index(source) if source in SOURCES else len(SOURCES)


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        yield batch
