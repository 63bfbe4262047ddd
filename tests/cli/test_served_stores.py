"""The command with a store that a server keeps: an embedded one that another process serves, and a genuine Neo4j."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.command import command_at
from tests.cli.test_bad_input import refused, wait_for
from tests.cli.world import World
from tests.neo4j_server import free_port
from tests.stores import neo4j_url, served_url  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", [pytest.param("served", marks=pytest.mark.slow), pytest.param("neo4j", marks=pytest.mark.neo4j)]
)
def test_the_whole_flow_with_a_server(world: World, tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    user = {name: os.environ[name] for name in ("NEO4J_USER", "NEO4J_PASSWORD")}
    lineage = command_at(
        tmp_path, world.hub.url, LINEAGE_STORE=url, LINEAGE_SKETCHES=str(tmp_path / "sketches"), **user
    )
    first, second = (lineage("sync", "--json") for _ in range(2))
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert second.json["crawl"]["models"]["unchanged"] == first.json["crawl"]["models"]["seen"]
    assert (second.json["detect"]["edges_added"], second.json["detect"]["edges_superseded"]) == (0, 0)
    embedded = world.lineage("who-is-parent", "acme/b", "--json").json
    assert {**lineage("who-is-parent", "acme/b", "--json").json, "as_of": None} == {**embedded, "as_of": None}
    refused(
        lineage("who-is-parent", "acme/b", NEO4J_PASSWORD="guessed wrong"), 1, "refuses the password", "NEO4J_PASSWORD"
    )


def test_a_folder_that_another_process_serves_is_asked_through_it(own_world: World) -> None:
    lineage, port = own_world.lineage, free_port()
    server = lineage.start("graph", "serve", "--port", port, NEO4J_USER="reader", NEO4J_PASSWORD="long enough")
    wait_for(lambda: "serving" in server.stderr())
    try:
        done = lineage("who-is-parent", "acme/b", "--json")
        assert done.code == 0 and done.json["parent"] == "acme/a", done.stderr
        synced = lineage("sync", "--json")
        assert synced.code == 0 and synced.json["detect"]["edges_superseded"] == 0, synced.stderr
    finally:
        server.signal(signal.SIGTERM)
    assert server.done().code == 0
    assert lineage("who-is-parent", "acme/b").code == 0, "the folder is its own again"
