"""`open_store(url)`: the embedded graph of a folder, or Neo4j at a `bolt://` or `neo4j://` address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from lineage.graphdb.connection import Connection, utc_now
from lineage.graphdb.edges import EdgeCounts
from lineage.graphdb.errors import StoreHeld
from lineage.graphdb.graph import LineageGraph
from lineage.graphdb.owner import read as read_owner
from lineage.graphdb.schema import SCHEMA_VERSION, Failure, home_path, without_password

__all__ = ["EdgeCounts", "Store", "open_store"]

Store: TypeAlias = LineageGraph


def open_store(url: str, *, create: bool = True, clock: Callable[[], datetime] = utc_now) -> Store:
    """Opens the graph at a folder or at a `bolt://`, `neo4j://` (or `+s`, `+ssc`) address.

    A folder whose store another process serves (`lineage graph serve`) is reached through that process.

    Args:
        create: make an empty graph where it is missing; else that is a failure.
    Raises:
        Failure: one line that says what is wrong and what to try.
    """
    scheme, separator, _ = url.partition("://")
    if without_password(url) != url:
        raise Failure(
            f"the address of the store, {without_password(url)}, holds a user or a password",
            "leave them out, and set NEO4J_USER and NEO4J_PASSWORD",
        )
    if not separator:
        from lineage.graphdb.embedded import EmbeddedConnection

        try:
            connection: Connection = EmbeddedConnection(url, create=create, clock=clock)
        except StoreHeld:
            owner = read_owner(home_path(url))
            if owner is None or owner.url is None:
                raise
            from lineage.graphdb.neo4j import Neo4jConnection

            connection = Neo4jConnection(owner.url, clock=clock, auth=(owner.user or "", owner.password or ""))
    elif scheme in ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"):
        from lineage.graphdb.neo4j import Neo4jConnection

        connection = Neo4jConnection(url, clock=clock)
    else:
        raise Failure(
            f"a store is a folder or an address like bolt://host:7687, not {without_password(url)!r}",
            "see `lineage graph --help`",
        )
    store = LineageGraph(connection)
    try:
        version = store.check()
        if version is None and not create:
            raise Failure(
                f"there is no lineage graph at {url} yet", "make one: `lineage graph init`, or `lineage sync`"
            )
        if version != SCHEMA_VERSION:
            store.init()
    except BaseException:
        store.close()
        raise
    return store
