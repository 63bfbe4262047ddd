"""Stores for tests: an embedded one in a temporary folder and a genuine Neo4j, both empty, both through `open_store`.

A test that takes the fixture `store` (or `store_url`, not yet opened) runs once on each. A package of tests gets the fixtures
with `from tests.stores import neo4j_url, store, store_url  # noqa: F401` in its conftest.py.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from graphdb.store import Store, open_store
from tests.neo4j_server import NotHere, Server, neo4j_server

BOTH = [pytest.param("embedded"), pytest.param("neo4j", marks=pytest.mark.neo4j)]


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


@pytest.fixture
def neo4j_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a genuine Neo4j with an empty database; user and password are in the environment."""
    server = running_neo4j()
    if isinstance(server, NotHere):
        if os.environ.get("LINEAGE_REQUIRE_NEO4J") == "1":
            pytest.fail(f"LINEAGE_REQUIRE_NEO4J=1, but {server}")
        pytest.skip(f"no Neo4j: {server}")
    monkeypatch.setenv("NEO4J_USER", server.user)
    monkeypatch.setenv("NEO4J_PASSWORD", server.password)
    monkeypatch.delenv("NEO4J_DATABASE", raising=False)
    wipe(server)
    return server.url


def wipe(server: Server) -> None:
    """Deletes every node; constraints and indexes stay."""
    from neo4j import GraphDatabase

    with GraphDatabase.driver(server.url, auth=(server.user, server.password)) as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n")


@cache
def empty_store() -> Path:
    """A folder with an empty embedded store, made once: copying it takes a tenth of the time of making one."""
    folder = Path(tempfile.mkdtemp(prefix="lineage-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_store(str(folder)).close()
    return folder


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be made: a folder, then a Neo4j."""
    if request.param == "neo4j":
        url: str = request.getfixturevalue("neo4j_url")
        return url
    return str(tmp_path / "store")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, open store of each kind."""
    if "://" not in store_url:
        shutil.copytree(empty_store(), store_url)
    with open_store(store_url) as opened:
        yield opened
