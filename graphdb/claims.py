"""What models say about their base: kept on the model as written, and as `DECLARES_BASE` edges where the base is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from graphdb.records import Row, claims_row, name_key
from graphdb.schema import Declaration, Relation
from graphdb.statements import statement

if TYPE_CHECKING:
    from graphdb.store import Execute, Store

BATCH = 2_000  # models a transaction
SOURCES = ("card", "tag", "adapter_config", "config")  # whose word on the relation counts first

T = TypeVar("T")


def upsert(store: Store, seen: Iterable[str], declarations: Iterable[Declaration]) -> int:
    """See `Store.upsert_declarations`."""
    by_child: dict[str, list[Declaration]] = {hub_id: [] for hub_id in seen}
    for declaration in declarations:
        if declaration.child not in by_child:
            raise ValueError(f"a claim of {declaration.child}, which is not among the models seen")
        by_child[declaration.child].append(declaration)
    rows = [claims_row(child, claims) for child, claims in by_child.items()]
    for batch in _batches(rows):
        store.transact(partial(_set, rows=batch))
    return sum(len(row["bases"] or ()) for row in rows)


def link(store: Store) -> int:
    """See `Store.link_declarations`."""
    current = {
        (row["child"], row["parent"]): (row["base"], row["relation"], row["sources"])
        for row in store.stream(statement("declared_links"))
    }
    run_time = store.now()
    linked = 0
    for claimants in _batches(store.stream(statement("declarations"))):
        wanted = _wanted(store, claimants)
        linked += len(wanted)
        changed = []
        for ends, row in wanted.items():
            if current.pop(ends, None) != (row["base"], row["relation"], row["sources"]):
                changed.append(row)
        if changed:
            store.transact(partial(_link, rows=changed, now=run_time))
    for batch in _batches([{"child": child, "parent": parent} for child, parent in current]):
        store.transact(partial(_unlink, rows=batch, now=run_time))
    return linked


def _wanted(store: Store, claimants: list[Row]) -> dict[tuple[str, str], Row]:
    """(child, parent) -> the claim edge there should be, for some models with claims."""
    keys = sorted({name_key(base) for row in claimants for base in row["bases"]})
    bearers: dict[str, tuple[int, float, str]] = {}
    for found in store.read(statement("names_to_models"), {"name_keys": keys}):
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


def _set(execute: Execute, rows: list[Row]) -> None:
    execute(statement("declarations_set"), {"rows": rows})


def _link(execute: Execute, rows: list[Row], now: str) -> None:
    execute(statement("declared_link_upsert"), {"rows": rows, "now": now})


def _unlink(execute: Execute, rows: list[Row], now: str) -> None:
    params = {"rows": rows, "run_id": None, "now": now}
    execute(statement("edge_supersede", Relation.DECLARES_BASE), params)


def _rank(source: str) -> int:
    return SOURCES.index(source) if source in SOURCES else len(SOURCES)


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        yield batch
