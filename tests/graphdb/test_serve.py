"""`lineage graph serve`: the embedded store for Neo4j drivers and other processes, on this machine only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import AuthError

from lineage.graphdb.errors import StoreHeld
from lineage.graphdb.neo4j import Neo4jConnection
from lineage.graphdb.serve import CannotServe, serve_store
from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge, fill
from tests.neo4j_server import free_port

PASSWORD = "correct horse"


LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")  # as Linux writes them


def listening_addresses(pid: int) -> set[tuple[str, str]]:
    """(address, port) on which a process listens, in hexadecimal; empty where there is no /proc."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    descriptors = Path(f"/proc/{pid}/fd")
    own = {str(entry.readlink()) for entry in descriptors.iterdir()} if descriptors.exists() else set()
    return {
        (row[1].split(":")[0], row[1].split(":")[1]) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own
    }


class Running:
    """A served store: its folder, port and process."""

    def __init__(self, folder: Path, user: str | None):
        self.folder, self.port = folder, free_port()
        self.url = f"bolt://127.0.0.1:{self.port}"
        environment = {**os.environ, "NEO4J_PASSWORD": PASSWORD}
        environment.pop("NEO4J_USER", None)
        if user:
            environment["NEO4J_USER"] = user
        command = [
            sys.executable,
            "-c",
            "from lineage.commands.graph import graph; graph()",
            "serve",
            "--store",
            str(folder),
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@pytest.fixture(params=[None, pytest.param("alice", marks=pytest.mark.slow)], ids=["default user", "own user"])
def running(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    monkeypatch.delenv("NEO4J_USER", raising=False)
    with open_store(str(tmp_path / "store")) as store:
        fill(store, [a_model("a"), a_model("b")], [an_edge("b", "a")])
    server = Running(tmp_path / "store", request.param)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.slow
def test_a_driver_and_another_process_use_a_served_store(running: Running) -> None:
    assert running.url in running.said
    user = "alice" if "alice" in running.said else "root"
    with GraphDatabase.driver(running.url, auth=(user, PASSWORD)) as driver:
        records, _, _ = driver.execute_query("MATCH (m:Model) RETURN m.repo_id AS name ORDER BY name")
        assert [record["name"] for record in records] == ["org/a", "org/b"]
    if user == "root":  # a client with the password alone
        with GraphDatabase.driver(running.url, auth=("neo4j", PASSWORD)) as driver:
            driver.verify_connectivity()
    with open_store(str(running.folder)) as store:  # finds the owner by itself, without any password
        assert isinstance(store.connection, Neo4jConnection)
        store.upsert_models([a_model("c")])
        assert store.counts()["models"] == 3
    assert running.stop() == 0
    assert not (running.folder / "owner.json").exists()
    with open_store(str(running.folder)) as store:
        assert store.counts()["models"] == 3


@pytest.mark.slow
def test_a_served_store_refuses_a_wrong_password_and_listens_on_this_machine_only(running: Running) -> None:
    for user in ("root", "alice", "nobody"):
        with pytest.raises(AuthError), GraphDatabase.driver(running.url, auth=(user, "wrong")) as driver:
            driver.verify_connectivity()
    listening = listening_addresses(running.process.pid)
    assert len(listening) == 2 or not Path("/proc/net/tcp").exists()  # Bolt, and the engine's HTTP
    assert listening <= {(address, port) for address in LOOPBACK for _, port in listening}
    assert (running.folder / "owner.json").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_served_store_whose_server_is_killed_is_free_again(running: Running) -> None:
    running.process.kill()
    running.process.wait()
    with open_store(str(running.folder)) as store:
        assert not isinstance(store.connection, Neo4jConnection)
        assert store.counts()["models"] == 2


@pytest.mark.slow
def test_serving_without_a_password_or_on_a_taken_port_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Running
) -> None:
    folder = str(tmp_path / "other")
    open_store(folder).close()
    for password in ("", "short"):
        monkeypatch.setenv("NEO4J_PASSWORD", password)
        with pytest.raises(CannotServe, match="NEO4J_PASSWORD"), serve_store(folder, free_port()):
            pass
    monkeypatch.setenv("NEO4J_PASSWORD", PASSWORD)
    with pytest.raises(CannotServe, match="taken"), serve_store(folder, running.port):
        pass
    with (
        pytest.raises(StoreHeld, match=f"process {running.process.pid}"),
        serve_store(str(running.folder), free_port()),
    ):
        pass
