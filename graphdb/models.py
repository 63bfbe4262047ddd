"""Writing models: by identity, in batches, keeping the names they had.

Names move. A model that comes with another name keeps the old one in `former_names`. A model that comes with a name which
another model bears takes it over; the other one keeps its node under `name#identity` until it is seen again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from lineage.graphdb import claims
from lineage.graphdb.records import Row, claims_row, displaced_name, model_row
from lineage.graphdb.schema import Declaration, Model, Status, keys_in
from lineage.graphdb.schema.rows import name_key, short_key
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    from lineage.graphdb.connection import Connection, Execute

BATCH = 2_000  # models a transaction


def upsert(
    connection: Connection, rows: Iterable[Model], declared: Mapping[str, Sequence[Declaration]] | None = None
) -> int:
    """See `LineageGraph.upsert_models`; with `declared`, by identity, the claims of the same models as well."""
    written = 0
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        latest = {model.hub_id: model for model in batch}
        now = connection.now()
        connection.transact(partial(_write, batch=latest, now=now, declared=declared))
        written += len(latest)
    return written


def _write(
    execute: Execute, batch: dict[str, Model], now: str, declared: Mapping[str, Sequence[Declaration]] | None
) -> None:
    """One batch inside a transaction."""
    before = {row["hub_id"]: row for row in execute(statement("model_existing"), {"hub_ids": list(batch)})}
    rows = [model_row(model) for model in batch.values()]
    for row in rows:
        _keep_digest(row, before.get(row["hub_id"]))
    renames = _renames(rows, before, _owners(execute, rows))
    names = _names_that_moved(rows, before)
    if names:
        execute(statement("claimants_due"), {"name_keys": names, "now": now})
    new = [row for row in rows if row["hub_id"] not in before]
    claimed: dict[str, Row] = {}
    if declared is not None:  # of a model that is gone, what it claimed stays
        there = (model.hub_id for model in batch.values() if model.status is not Status.GONE)
        claimed = {hub_id: claims_row(hub_id, declared.get(hub_id, ())) for hub_id in there}
        new = [row | claims.with_names(claimed.pop(row["hub_id"], {})) for row in new]
    for name, some in (("model_create", new), ("model_upsert", [row for row in rows if row["hub_id"] in before])):
        if some:
            execute(statement(name), {"rows": some, "now": now})
    if renames:
        execute(statement("model_rename"), {"rows": renames, "now": now})
    aliases = [{"hub_id": model.hub_id, "key": name_key(alias)} for model in batch.values() for alias in model.aliases]
    if aliases:
        execute(statement("alias_set"), {"rows": aliases, "now": now})
        execute(statement("claimants_due"), {"name_keys": sorted({row["key"] for row in aliases}), "now": now})

    changed = []
    for row in rows:
        if "signature" in row["props"]:  # not so for a model that is gone
            old = before.get(row["hub_id"], {}).get("signature")
            if old != row["props"]["signature"]:
                changed.append((row["hub_id"], old, row["props"]["signature"]))
    untie = [hub_id for hub_id, old, _ in changed if old is not None]
    tie = [{"hub_id": hub_id, "signature": key} for hub_id, _, new in changed if new for key in keys_in(new)]
    if untie:
        execute(statement("model_architecture_clear"), {"hub_ids": untie})
    if tie:
        execute(statement("model_architecture"), {"rows": tie})
    claims.mark_due(execute, [row["hub_id"] for row in new if row.get("bases")], now)
    if claimed:
        claims.replace(execute, list(claimed.values()), now)


def _keep_digest(row: Row, old: Row | None) -> None:
    """Of a model whose weights cannot be seen now, the digest of those that it had: whether it has others later, that tells."""
    props = row["props"]
    if old is not None and old["weights_seen"] and "weights_digest" in props:
        props["weights_seen"] = None if props["weights_digest"] else old["weights_seen"]


def split_reasons(connection: Connection) -> None:
    """Of a graph of an earlier version: `reason` of quantized models becomes `quantisation`; models on disk get their path."""
    connection.transact(lambda execute: execute(statement("quantisation_split"), {}))
    connection.transact(lambda execute: execute(statement("path_set"), {}))


def _owners(execute: Execute, rows: list[Row]) -> dict[str, list[Row]]:
    """Name key -> the models that bear it now."""
    owners: dict[str, list[Row]] = {}
    for row in execute(
        statement("model_name_owners"), {"name_keys": sorted({row["props"]["name_key"] for row in rows})}
    ):
        owners.setdefault(row["name_key"], []).append(row)
    return owners


def _renames(rows: list[Row], before: dict[str, Row], owners: dict[str, list[Row]]) -> list[Row]:
    """Rows of model_rename.cypher. Of two models in one batch with one name, the later bears it: `rows` is changed for that."""
    bearer: dict[str, Row] = {}
    renames: dict[tuple[str, str], Row] = {}

    def rename(hub_id: str, repo_id: str, former: str) -> None:
        renames[hub_id, former] = _rename(hub_id, repo_id, former)

    for row in rows:
        props = row["props"]
        loser = bearer.get(props["name_key"])
        if loser is not None:
            taken = loser["props"]["repo_id"]
            loser["props"].update(_names(displaced_name(taken, loser["hub_id"]), loser["hub_id"]))
            rename(loser["hub_id"], loser["props"]["repo_id"], taken)
        bearer[props["name_key"]] = row

    incoming = {row["hub_id"]: row for row in rows}
    for row in rows:
        old = before.get(row["hub_id"])
        repo_id = row["props"]["repo_id"]
        moved = old is not None and old["name_key"] != row["props"]["name_key"]
        if old is not None and moved and "#" not in old["repo_id"]:  # a stand-in name is no name to remember
            rename(row["hub_id"], repo_id, old["repo_id"])
        for owner in owners.get(row["props"]["name_key"], ()):
            if owner["hub_id"] not in incoming:
                rename(owner["hub_id"], displaced_name(owner["repo_id"], owner["hub_id"]), owner["repo_id"])
    return list(renames.values())


def _names_that_moved(rows: list[Row], before: dict[str, Row]) -> list[str]:
    """Name keys that mean another model than before: of models that are new, and both names of those that were renamed."""
    moved: set[str] = set()
    for row in rows:
        new, old = row["props"]["name_key"], before.get(row["hub_id"], {}).get("name_key")
        if new != old:
            moved |= {new} if old is None else {new, old}
    return sorted(moved)


def _names(repo_id: str, hub_id: str) -> dict[str, Any]:
    return {"repo_id": repo_id, "name_key": name_key(repo_id, hub_id), "short_key": short_key(repo_id)}


def _rename(hub_id: str, repo_id: str, former: str) -> Row:
    return {"hub_id": hub_id, **_names(repo_id, hub_id), "former": former, "former_key": name_key(former, hub_id)}
