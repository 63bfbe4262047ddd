"""The production store: Neo4j 5 or later through its official driver. User and password from NEO4J_USER and NEO4J_PASSWORD."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import neo4j
from neo4j import GraphDatabase, unit_of_work
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)
from neo4j.graph import Node, Relationship
from neo4j.time import DateTime

from lineage.graphdb.connection import Connection, Execute, T
from lineage.graphdb.elements import Path
from lineage.graphdb.errors import AccessDenied, CypherError, NotReachable, OutsideRefused, TooSlow, WriteRefused
from lineage.graphdb.read_only import may_write, reaches_outside
from lineage.graphdb.records import Element, Row

CONNECT_SECONDS = 5.0
COLLISIONS = 3  # times that a transaction is tried again after another writer was first
RETRY_SECONDS = 10.0  # the driver retries transient failures of a transaction this long
OVERDUE = "exceeded the arcadedb.command.timeout"
TIMED_OUT = ("TransactionTimedOut", "TransactionTimedOutClientConfiguration", "TransactionMarkedAsFailed", "Terminated")


class Neo4jConnection(Connection):
    """A lineage graph in a Neo4j database. Raises a `Failure` within seconds when it cannot be reached or refuses."""

    def __init__(self, url: str, *, clock: Callable[[], datetime], auth: tuple[str, str] | None = None):
        self.url = url
        self.clock = clock
        user, password = auth or (os.environ.get("NEO4J_USER", "neo4j"), os.environ.get("NEO4J_PASSWORD", ""))
        self._user, self._has_password = user, bool(password)
        self._database = os.environ.get("NEO4J_DATABASE") or None
        try:
            self._driver = GraphDatabase.driver(
                url,
                auth=(user, password) if password else None,
                connection_timeout=CONNECT_SECONDS,
                connection_acquisition_timeout=2 * CONNECT_SECONDS,
                max_transaction_retry_time=RETRY_SECONDS,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
                user_agent="lineage",
            )
        except (ConfigurationError, ValueError) as error:
            raise NotReachable(
                f"{url} is not an address of a Neo4j: {error}", "for example bolt://127.0.0.1:7687"
            ) from error
        self._bookmarks: neo4j.BookmarkManager | None = None
        try:
            self._is_neo4j = "ArcadeDB" not in self._hello()
            if self._is_neo4j:  # on a cluster, each of our transactions sees what the ones before it wrote
                self._bookmarks = GraphDatabase.bookmark_manager()
        except (Neo4jError, DriverError, OSError, ValueError) as error:  # ValueError: a port that is not a number
            self._driver.close()
            raise self._failure(error, None) from error

    def read(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        def rows_of(result: neo4j.Result) -> list[Row]:
            return [_row(record) for record in (result if limit is None else result.fetch(limit))]

        @unit_of_work(timeout=timeout_seconds)
        def work(transaction: neo4j.ManagedTransaction) -> list[Row]:
            return rows_of(transaction.run(cypher, dict(params or {})))

        try:
            if not self._is_neo4j:
                return self._read_elsewhere(work, cypher, timeout_seconds)
            with self._session(neo4j.READ_ACCESS) as session:
                try:  # one message there and one back: half the time of a managed transaction
                    return rows_of(session.run(neo4j.Query(cypher, timeout=timeout_seconds), dict(params or {})))
                except (Neo4jError, DriverError) as error:
                    if not error.is_retryable():
                        raise
                return session.execute_read(work)
        except (Neo4jError, DriverError) as error:
            raise self._failure(error, timeout_seconds) from error

    def stream(self, cypher: str, params: Mapping[str, Any] | None = None) -> Iterator[Row]:
        try:
            with self._session(neo4j.READ_ACCESS) as session, session.begin_transaction() as transaction:
                for record in transaction.run(cypher, dict(params or {})):
                    yield _row(record)
        except (Neo4jError, DriverError) as error:
            raise self._failure(error, None) from error

    def transact(self, work: Callable[[Execute], T]) -> T:
        def run(transaction: neo4j.ManagedTransaction) -> T:
            return work(lambda cypher, params: [_row(record) for record in transaction.run(cypher, dict(params))])

        try:
            with self._session(neo4j.WRITE_ACCESS) as session:
                for _ in range(COLLISIONS):
                    with suppress(ConstraintError):  # on ArcadeDB's server, two writers may merge one new node at once
                        return session.execute_write(run)
                return session.execute_write(run)
        except (Neo4jError, DriverError) as error:
            raise self._failure(error, None) from error

    def define(self, cypher: str) -> None:
        try:
            with self._session(neo4j.WRITE_ACCESS) as session:
                session.run(cypher).consume()
        except (Neo4jError, DriverError) as error:
            raise self._failure(error, None) from error

    def close(self) -> None:
        self._driver.close()

    def _hello(self) -> str:
        """What the server says it is."""
        with self._session(neo4j.READ_ACCESS) as session:
            return session.run("RETURN 1").consume().server.agent

    def _read_elsewhere(
        self, work: Callable[[Any], list[Row]], cypher: str, timeout_seconds: float | None
    ) -> list[Row]:
        """Reads from ArcadeDB's Bolt server, which writes in a reading transaction and knows no time limit of a client.

        So what may write is refused here, the transaction is rolled back, and an answer that is overdue is waited for no
        longer; the server gives up after its own limit.
        """
        if reaches_outside(cypher):
            raise OutsideRefused
        if may_write(cypher):
            raise WriteRefused
        outcome: queue.SimpleQueue[list[Row] | BaseException] = queue.SimpleQueue()

        def run() -> None:
            try:
                with self._session(neo4j.READ_ACCESS) as session, session.begin_transaction() as transaction:
                    rows = work(transaction)
                    transaction.rollback()
                outcome.put(rows)
            except BaseException as error:
                outcome.put(error)

        if timeout_seconds is None:
            run()
        else:
            threading.Thread(target=run, daemon=True).start()
        try:
            answer = outcome.get(timeout=timeout_seconds)
        except queue.Empty:
            raise TooSlow(timeout_seconds or 0.0) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(
            database=self._database, default_access_mode=access, bookmark_manager=self._bookmarks
        )

    def _failure(self, error: Exception, timeout_seconds: float | None) -> Exception:
        """The failure that a driver's error means to a person; the error itself where it is a bug of ours."""
        code = getattr(error, "code", None) or ""
        name = code.rpartition(".")[2]
        message = getattr(error, "message", None) or str(error)
        if isinstance(error, AuthError) and not self._has_password:
            return AccessDenied(
                f"Neo4j at {self.url} wants a password, and NEO4J_PASSWORD is not set",
                "set NEO4J_USER and NEO4J_PASSWORD",
            )
        if isinstance(error, AuthError):
            return AccessDenied(
                f"Neo4j at {self.url} refuses the password of {self._user!r}", "set NEO4J_USER and NEO4J_PASSWORD"
            )
        if isinstance(error, (ServiceUnavailable, SessionExpired, OSError, ValueError)):
            return NotReachable(f"no Neo4j answers at {self.url}", "start it, or look at the address and the firewall")
        if isinstance(error, Neo4jError) and timeout_seconds is not None and (name in TIMED_OUT or OVERDUE in message):
            return TooSlow(timeout_seconds)
        if isinstance(error, ClientError):
            if name == "AccessMode":
                return WriteRefused()
            if code.startswith("Neo.ClientError.Statement."):
                first, _, rest = message.partition("\n")
                return CypherError(first, message if rest else None)
            if code.startswith("Neo.ClientError.Database."):
                return NotReachable(f"Neo4j at {self.url}: {message}", "look at NEO4J_DATABASE")
        return error


def _row(record: neo4j.Record) -> Row:
    return {key: _plain(value) for key, value in record.items()}


def _plain(value: Any) -> Any:
    """A value without anything of the driver: moments as aware datetimes, nodes and relationships as maps of their properties."""
    if isinstance(value, DateTime):
        return value.to_native().astimezone(UTC) if value.tzinfo else value.to_native().replace(tzinfo=UTC)
    if isinstance(value, (Node, Relationship)):
        properties = {key: _plain(value[key]) for key in sorted(value)}
        if isinstance(value, Relationship):
            return Element(properties, type=value.type, key=value.element_id)
        return Element(properties, labels=sorted(value.labels), key=value.element_id)
    if isinstance(value, neo4j.graph.Path):
        between = (item for pair in zip(value.nodes, value.relationships, strict=False) for item in pair)
        return Path(_plain(item) for item in (*between, value.end_node))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "iso_format"):  # dates, times and durations
        return value.iso_format()
    return value
