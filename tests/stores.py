"""Stores for tests, empty, all through `open_store`: embedded in a temporary folder, embedded and served over Bolt by another
process, and a genuine Neo4j.

A test that takes the fixture `store` (or `store_url`, not yet opened) runs once on each. A package of tests gets the fixtures
with `from tests.stores import neo4j_url, served_url, store, store_url  # noqa: F401` in its conftest.py.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from lineage.graphdb.store import Store, open_store
from tests.neo4j_server import NotHere, Server, free_port, jars, neo4j_server

KINDS = [pytest.param("embedded"), pytest.param("served"), pytest.param("neo4j", marks=pytest.mark.neo4j)]
PASSWORD = "served to tests"


@cache
def running_neo4j() -> Server | NotHere:
    """One server for the whole run of the tests, started when the first test asks for it."""
    stack = ExitStack()
    try:
        server = stack.enter_context(neo4j_server())
    except NotHere as reason:
        return reason
    atexit.register(stack.close)
    return server


def not_here(reason: NotHere) -> NoReturn:
    """Skips a test, or fails it where there must be a Neo4j."""
    if os.environ.get("LINEAGE_REQUIRE_NEO4J") == "1":
        pytest.fail(f"LINEAGE_REQUIRE_NEO4J=1, but {reason}")
    pytest.skip(f"no Neo4j: {reason}")


def jars_or_skip() -> None:
    """For a test that starts a Neo4j of its own."""
    try:
        jars()
    except NotHere as reason:
        not_here(reason)


@pytest.fixture
def neo4j_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a genuine Neo4j with an empty database; user and password are in the environment."""
    server = running_neo4j()
    if isinstance(server, NotHere):
        not_here(server)
    monkeypatch.setenv("NEO4J_USER", server.user)
    monkeypatch.setenv("NEO4J_PASSWORD", server.password)
    monkeypatch.delenv("NEO4J_DATABASE", raising=False)
    wipe(server.url, server.user, server.password)
    return server.url


@cache
def running_served() -> str:
    """Address of an embedded store that `lineage graph serve` serves, started when the first test asks for it."""
    folder, port = empty_store(), free_port()
    environment = {**os.environ, "NEO4J_USER": "tester", "NEO4J_PASSWORD": PASSWORD}
    command = [
        sys.executable,
        "-c",
        "from lineage.commands.graph import graph; graph()",
        "serve",
        "--store",
        str(folder),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("serving"), line + process.stderr.read()

    def stop() -> None:
        process.terminate()
        process.wait(timeout=30)

    atexit.register(stop)
    return f"bolt://127.0.0.1:{port}"


@pytest.fixture
def served_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a served embedded store without any node; user and password are in the environment."""
    url = running_served()
    monkeypatch.setenv("NEO4J_USER", "tester")
    monkeypatch.setenv("NEO4J_PASSWORD", PASSWORD)
    monkeypatch.delenv("NEO4J_DATABASE", raising=False)
    wipe(url, "tester", PASSWORD)
    return url


def wipe(url: str, user: str, password: str) -> None:
    """Deletes every node; constraints and indexes stay."""
    from neo4j import GraphDatabase

    with (
        GraphDatabase.driver(url, auth=(user, password), notifications_min_severity="OFF") as driver,
        driver.session() as session,
    ):
        session.execute_write(lambda transaction: transaction.run("MATCH (n) DETACH DELETE n").consume())


def empty_store() -> Path:
    """A folder with a new, empty embedded store."""
    folder = Path(tempfile.mkdtemp(prefix="lineage-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_store(str(folder)).close()
    return folder


@cache
def template() -> Path:
    """An empty embedded store, made once: copying it takes a tenth of the time of making one."""
    return empty_store()


@pytest.fixture(params=KINDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be made: a folder, then two servers."""
    return place(request.param, request, tmp_path)


def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store of one kind can be made."""
    if kind == "embedded":
        return str(tmp_path / "store")
    url: str = request.getfixturevalue(f"{kind}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, open store of each kind."""
    if "://" not in store_url:
        shutil.copytree(template(), store_url)
    with open_store(store_url) as opened:
        yield opened
