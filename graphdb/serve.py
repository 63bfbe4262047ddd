"""The embedded store as a Bolt server on 127.0.0.1, so that Neo4j drivers and other `lineage` processes use it at once.

The server is ArcadeDB's own, in this process, which owns the files as long as it runs. It has the user that was asked for and
one for other `lineage` processes of the same person, whose password only `owner.json` says.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.graphdb import owner
from lineage.graphdb.connection import utc_now
from lineage.graphdb.embedded import FLUSH, EmbeddedConnection, engine_module, open_failure, set_timeout
from lineage.graphdb.graph import LineageGraph
from lineage.graphdb.schema import Failure, home_path

DATABASE = "graph"
HTTP_PORTS = 5  # that are tried for what is asked through HTTP
INSIDE = "lineage-processes"  # the user of other `lineage` processes
USUAL_USER = "neo4j"  # as whom clients come that name no user
MIN_PASSWORD = 8  # the engine's own rule


class CannotServe(Failure):
    """The store cannot be served like this."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server."""

    url: str
    user: str
    stopped: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Returns on Ctrl-C or SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopped.set())
        self.stopped.wait()


@contextmanager
def serve_store(folder: str, port: int, *, timeout_seconds: float = 300.0) -> Iterator[RunningServer]:
    """Serves the store of a folder on 127.0.0.1 to the user NEO4J_USER (default root, and then neo4j as well) with NEO4J_PASSWORD.

    Args:
        timeout_seconds: no statement may take longer; drivers cannot ask this server for a time limit of their own.
    Raises:
        Failure: without a password, with a port that is taken, with a store that cannot be opened.
    """
    user, password = os.environ.get("NEO4J_USER") or "root", os.environ.get("NEO4J_PASSWORD") or ""
    if len(password) < MIN_PASSWORD:
        raise CannotServe(
            f"NEO4J_PASSWORD must be set and have at least {MIN_PASSWORD} characters",
            "export NEO4J_PASSWORD=…, then serve again",
        )
    with _served(folder, port, user, password, timeout_seconds) as (served, _):
        yield served


@contextmanager
def share_store(folder: str, port: int, password: str, *, timeout_seconds: float = 300.0) -> Iterator[LineageGraph]:
    """The store of a folder, opened here and served to other `lineage` processes of the same person meanwhile.

    Raises:
        Failure: as for `serve_store`; StoreHeld where another process has it open.
    """
    with _served(folder, port, "root", password, timeout_seconds) as (_, database):
        yield LineageGraph(EmbeddedConnection.over(database, folder, clock=utc_now))


@contextmanager
def _served(
    folder: str, port: int, user: str, password: str, timeout_seconds: float
) -> Iterator[tuple[RunningServer, Any]]:
    """The running server, and its database as this process sees it."""
    if "://" in folder:
        raise CannotServe(f"{folder} is a server already", "serve a folder")
    _check_port(port)
    store = LineageGraph(EmbeddedConnection(folder, create=False, clock=utc_now))
    try:
        store.init()
    finally:
        store.close()
    path = home_path(folder).absolute()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="lineage-serve-"))
        inside = secrets.token_urlsafe(24)
        root_password = password if user == "root" else inside
        server, http_port = _server_on_a_free_port(home, path, port, root_password)
        stack.callback(server.stop)
        try:
            database = server.get_database(DATABASE)
        except engine_module(path).ArcadeDBError as error:
            raise open_failure(error, path) from error
        database.set_wal_flush(FLUSH)
        set_timeout(database, round(timeout_seconds * 1000))
        stack.callback(set_timeout, database, 0)
        reached_as = "root"
        if user == "root":
            _create_user(http_port, root_password, INSIDE, inside)
            _create_user(http_port, root_password, USUAL_USER, password)
            reached_as = INSIDE
        else:
            _create_user(http_port, root_password, user, password)
        url = f"bolt://127.0.0.1:{port}"
        owner.write(path, utc_now(), url, reached_as, inside)
        stack.callback(owner.remove, path)
        yield RunningServer(url, user), database


def _server_on_a_free_port(home: str, folder: Path, port: int, root_password: str) -> tuple[Any, int]:
    """The server and its port for HTTP, another one where some program took it in the meantime."""
    for tries_left in reversed(range(HTTP_PORTS)):
        http_port = free_port()
        try:
            return _server(home, folder, port, http_port, root_password), http_port
        except CannotServe as error:
            if not tries_left or "HTTP port" not in error.message:
                raise
    raise AssertionError("the last try returns or raises")


def _server(home: str, folder: Path, port: int, http_port: int, root_password: str) -> Any:
    engine = engine_module(folder)
    server = engine.create_server(
        root_path=home,
        root_password=root_password,
        config={
            "host": "127.0.0.1",
            "http_port": http_port,
            "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt_port": port,
            "bolt_host": "127.0.0.1",
            "bolt_defaultDatabase": DATABASE,
            "server_databaseDirectory": str(folder),
            "server_databaseLoadAtStartup": False,
        },
    )
    try:
        server.start()
    except engine.ArcadeDBError as error:
        raise CannotServe(f"cannot serve {folder} on port {port}: {error}", "choose another --port") from error
    return server


def _create_user(http_port: int, root_password: str, name: str, password: str) -> None:
    """The engine makes users through its HTTP interface only."""
    command = "create user " + json.dumps({"name": name, "password": password, "databases": {DATABASE: ["admin"]}})
    credentials = base64.b64encode(f"root:{root_password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{http_port}/api/v1/server",
        json.dumps({"command": command}).encode(),
        {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment
    try:
        opener.open(request, timeout=10).close()
    except OSError as error:
        raise CannotServe(
            f"the server does not take the user {name!r}: {error}", "choose another NEO4J_USER"
        ) from error


def _check_port(port: int) -> None:
    """Says that a port is taken before anything is opened: the engine would start without a Bolt server and not say so."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        raise CannotServe(f"port {port} of 127.0.0.1 is taken", "choose another --port")


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
