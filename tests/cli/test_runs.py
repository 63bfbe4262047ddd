"""What a run leaves behind: `lineage runs`, logs as JSON, metrics, and plans that cost nothing."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from safetensors.numpy import save

from lineage.graphdb.digest import graph_digest
from lineage.graphdb.schema import Run
from lineage.graphdb.store import open_store
from tests.builders import start
from tests.cli.command import Command, command_at
from tests.cli.test_sync import requests, wait_for
from tests.cli.world import World
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow


def test_runs_tells_what_each_pass_did_and_cost(small_hub: FakeHub, tmp_path: Path) -> None:
    lineage = command_at(tmp_path, small_hub.url)
    assert lineage("sync").code == 0
    small_hub.add_repo("acme/broken", {"model.safetensors": b"nonsense"})
    assert lineage("sync").code == 0
    small_hub.faults.replace_json("no listing", kind="list", times=1)
    assert lineage("sync").code == 1
    assert lineage("detect").code == 0
    detected, failed, second, first = lineage("runs", "--json").json
    assert (first["models_seen"], first["new"]) == (10, 10) and first["edges_added"] > 1 and first["errors"] == {}
    assert (second["command"], second["outcome"], second["new"], second["edges_added"]) == (
        "sync",
        "ended",
        1,
        0,
    )
    assert second["errors"] == {"BadHeader": 1} and second["requests"] > 1 and second["bytes"] > 1000
    assert (failed["outcome"], failed["errors"]) == ("failed", {"UnexpectedAnswer": 1}) and "listing" in failed["why"]
    assert detected["command"] == "detect" and detected["requests"] is None and detected["edges_superseded"] == 0
    table = lineage("runs", "--limit", "3").stdout.splitlines()
    assert len(table) == 4 and re.search(r"\bsync +failed \d+ s .* 1 UnexpectedAnswer$", table[2])
    with open_store(str(lineage.store)) as graph:
        graph.record_run(Run("killed", "sync", graph.runs(1)[0].started_at.replace(year=2031)))
    assert lineage("runs", "--json").json[0]["outcome"] == "not ended"


def test_a_stopped_pass_says_how_far_it_came(own_world: World) -> None:
    with own_world.hub.faults.slow(1.0, kind="list") as slow:
        running = own_world.lineage.start("sync")
        wait_for(lambda: slow.struck, running)
        running.signal(signal.SIGTERM)
        assert running.done().code == 130
    run = own_world.lineage("runs", "--limit", "1", "--json").json[0]
    assert run["outcome"] == "stopped" and run["models_seen"] > 3 and run["edges_added"] is None


@pytest.mark.slow
def test_a_crawl_is_stopped_as_cleanly(own_world: World) -> None:
    with own_world.hub.faults.slow(1.0, kind="list") as slow:
        running = own_world.lineage.start("crawl")
        wait_for(lambda: slow.struck, running)
        assert own_world.lineage("sync").stderr.startswith("lineage: another crawl is running: process ")
        running.signal(signal.SIGTERM)
        done = running.done()
    assert done.code == 130 and done.stdout == "" and "goes on from here" in done.stderr
    assert own_world.lineage("crawl", "--json").json["models"]["seen"] > 3


def test_logs_are_json_where_wanted(own_world: World) -> None:
    done = own_world.lineage("sync", "--log-json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (ended,) = [line for line in lines if line["message"] == "sync ended"]
    assert ended["summary"]["crawl"]["models"]["seen"] > 3 and ended["level"] == "INFO"
    assert own_world.lineage("sync").stderr == ""


def test_a_dry_run_of_sync_costs_the_listing_and_changes_nothing(own_world: World, lineage: Command) -> None:
    with open_store(str(own_world.lineage.store)) as graph:
        before = graph_digest(graph)
    own_world.hub.reset_counts()
    plan = own_world.lineage("sync", "--dry-run", "--json").json
    assert plan["settled"] > 3 and plan["to_read"] <= 1
    assert requests(own_world.hub, "list") == 1 and requests(own_world.hub, "cdn", "resolve", "tree", "other") == 0
    with open_store(str(own_world.lineage.store)) as graph:
        assert graph_digest(graph) == before
    assert lineage("sync", "--dry-run", "--repos", __file__).code == 2


def test_a_dry_run_of_a_folder_costs_no_request_and_says_what_is_read(offline: Command, tmp_path: Path) -> None:
    for name, content in {"a.safetensors": save(start(1)), "b.safetensors": save(start(2)), "c.pkl": b""}.items():
        (tmp_path / "zoo").mkdir(exist_ok=True)
        (tmp_path / "zoo" / name).write_bytes(content)
    plan = offline("sync", "--dry-run", "--folder", tmp_path / "zoo", "--json").json
    assert (plan["seen"], plan["to_read"], plan["requests"], plan["pages"]) == (2, 2, {}, 0)
    assert plan["disk_bytes"] == sum(file.stat().st_size for file in (tmp_path / "zoo").glob("*.safetensors"))
    said = offline("sync", "--dry-run", "--folder", tmp_path / "zoo")
    assert said.code == 0 and said.stdout.startswith("2 models on disk: 2 to read, 0 not readable\nno request; ")
    assert not offline.store.exists()
    assert offline("sync", "--dry-run", "--folder", tmp_path / "none").code == 2


def test_a_service_tells_prometheus(own_world: World, tmp_path: Path) -> None:
    service = own_world.lineage.start("sync", "--every", "1h", "--json", "--metrics-port", "0")
    wait_for(lambda: service.stdout().count("\n") == 1, service)
    (address,) = re.findall(r"http://127.0.0.1:\d+/metrics", service.stderr())
    wait_for(lambda: b'lineage_passes_total{outcome="ended"} 1.0' in scrape(address), service)
    service.signal(signal.SIGTERM)
    assert service.done().code == 0
    again = own_world.lineage.start("sync", "--every", "1h", "-v")
    wait_for(lambda: "waiting; next pass at " in again.stderr(), again)
    own_world.hub.reset_counts()
    assert not again.wait(1.0) and not own_world.hub.log(), "a service that is started again keeps to its time"
    again.signal(signal.SIGTERM)
    assert again.done().code == 0


def scrape(address: str) -> bytes:
    with build_opener(ProxyHandler({})).open(address, timeout=10) as answer:
        body: bytes = answer.read()
        return body
