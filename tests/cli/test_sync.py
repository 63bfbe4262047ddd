"""`lineage sync`: repeated, on a schedule, stopped, killed, limited, and from a folder."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save

from lineage.graphdb.digest import graph_digest
from lineage.graphdb.store import open_store
from tests.builders import start, three_generations, write
from tests.cli.command import Command, Running, command_at
from tests.cli.world import World, card
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

MOMENTS = 10


def digest(store: Path) -> str:
    """Of everything in the graph but moments and runs; history counts."""
    with open_store(str(store), create=False) as graph:
        return graph_digest(graph, passing=False)


def wait_for(condition: Callable[[], object], running: Running, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {running.stderr()}"
        assert running.process.exitcode is None, f"ended before: {running.stderr()}"
        time.sleep(0.005)


def requests(hub: FakeHub, *kinds: str) -> int:
    return sum(count.requests for kind, count in hub.counts().items() if kind in kinds)


def test_a_second_pass_reads_no_weights_and_changes_nothing(own_world: World) -> None:
    before = digest(own_world.lineage.store)
    done = own_world.lineage("sync", "--json")
    assert done.code == 0 and done.stderr == ""
    assert requests(own_world.hub, "list") == 1 and requests(own_world.hub, "cdn", "resolve", "tree", "other") == 0
    found = done.json["detect"]
    assert (found["architectures"], found["edges_added"], found["edges_superseded"]) == (0, 0, 0)
    assert found["architectures_unchanged"] > 1 and found["models_unchanged"] > 3, "nothing is decided twice"
    found = own_world.lineage("detect", "--all", "--json").json
    assert (found["edges_added"], found["edges_superseded"], found["architectures_unchanged"]) == (0, 0, 0)
    assert found["edges_verified"] > 0
    assert digest(own_world.lineage.store) == before


def test_only_what_changed_is_decided_again(small_hub: FakeHub, tmp_path: Path) -> None:
    lineage = command_at(tmp_path, small_hub.url)

    def detected(*words: str) -> tuple[int, int]:
        found = lineage(*words, "--json").json
        found = found.get("detect", found)
        return found["architectures"], found["architectures_unchanged"]

    assert detected("sync") == (2, 0) and detected("detect") == (0, 2)
    small_hub.commit("acme/b", {"picture.png": b"nothing of the model"})
    assert detected("sync") == (0, 2), "a commit without news in it"
    small_hub.commit("acme/b", {"README.md": card("acme/c")})
    assert detected("sync") == (1, 1), "another claim"
    assert detected("detect", "--no-dates") == (2, 0) and detected("detect", "--no-dates") == (0, 2)
    assert detected("detect") == (2, 0), "the graph holds what other evidence said"


def test_people_get_the_summary_and_nothing_else(own_world: World) -> None:
    done = own_world.lineage("sync")
    assert done.stderr == "" and " models seen: 0 new, 0 changed" in done.stdout
    assert " new edges, " in done.stdout and len(done.stdout.splitlines()) < 12


def test_a_part_of_the_hub_leaves_the_rest_of_the_graph_alone(own_world: World) -> None:
    before = digest(own_world.lineage.store)
    for part in (("--limit", "2"), ("--search", "bb"), ("--author", "nobody")):
        done = own_world.lineage("sync", *part, "--json")
        assert done.code == 0 and done.json["detect"]["edges_superseded"] == 0, part
    assert digest(own_world.lineage.store) == before


def test_models_whose_sample_is_missing_keep_their_place_and_their_children(own_world: World) -> None:
    before = digest(own_world.lineage.store)
    question = "MATCH (m:Model {repo_id: 'acme/a'}) RETURN m.weights_digest AS digest"
    weights = own_world.lineage("cypher", question, "--json").json[0]["digest"]
    (sample,) = (own_world.lineage.store / "sketches").rglob(f"{weights}*")
    sample.unlink()
    found = own_world.lineage("detect", "--json").json
    assert found["without_sketch"] == 1 and found["architectures"] == 1
    question = "MATCH (c:Model)-->(m:Model {repo_id: 'acme/a'}) WHERE c.answer = 'parent' RETURN c.repo_id AS name"
    names = {row["name"] for row in own_world.lineage("cypher", question, "--json").json}
    assert {"acme/b", "acme/c", "acme/d"} <= names
    assert own_world.lineage("sync", "--json").json["crawl"]["models"]["read"] == 1, "the sample is read again"
    assert digest(own_world.lineage.store) == before


def test_a_folder_is_synced_without_a_hub(offline: Command, tmp_path: Path) -> None:
    models, _ = three_generations()
    write(tmp_path / "zoo", {name: models[name] for name in ("a", "b", "c", "d")})
    for change in (True, False):
        done = offline("sync", "--folder", tmp_path / "zoo", "--json", HF_HUB_OFFLINE="1")
        assert done.code == 0, done.stderr
        assert done.json["crawl"]["models"]["seen"] == 4 and bool(done.json["detect"]["edges_added"]) == change
    found = offline("who-is-parent", tmp_path / "zoo" / "b.safetensors", "--json").json
    assert found["stored"] is True and found["model"] == str(tmp_path / "zoo" / "b.safetensors")


def test_every_so_often_until_told_to_stop(hub: FakeHub, lineage: Command) -> None:
    hub.add_repo("acme/a", {"model.safetensors": save(start(1))})
    hub.faults.replace_json("no listing", kind="list", times=1)  # the first pass fails, and the next one comes
    service = lineage.start("sync", "--every", "1s", "--json")
    wait_for(lambda: service.stdout().count("\n") >= 2, service)
    hub.add_repo("acme/b", {"model.safetensors": save(start(2))})
    wait_for(lambda: '"new": 1, "read": 1' in service.stdout().splitlines()[-1], service)
    service.signal(signal.SIGTERM)
    done = service.done()
    assert done.code == 0 and "Traceback" not in done.stderr
    assert "this pass failed, the next one comes as planned" in done.stderr and "stopping" in done.stderr
    summaries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [summary["crawl"]["models"]["seen"] for summary in summaries[:2]] == [1, 1]
    with open_store(str(lineage.store)) as graph:
        passes = sorted(graph.runs(), key=lambda run: run.started_at)
    ended = [run.finished_at or run.started_at for run in passes]
    assert len(passes) > 3 and all(end <= later.started_at for end, later in zip(ended, passes[1:], strict=False))


def test_by_cron_nothing_happens_before_its_time_and_a_stop_is_clean(hub: FakeHub, lineage: Command) -> None:
    service = lineage.start("sync", "--cron", "0 0 29 2 *", "-v")
    wait_for(lambda: "waiting; next pass at 20" in service.stderr(), service)
    assert not service.wait(1.0)
    service.signal(signal.SIGTERM)
    done = service.done()
    assert (done.code, done.stdout) == (0, "") and not hub.log()


@pytest.mark.parametrize("times, code, says", [(1, 130, "goes on from here"), (2, 130, "stopping")])
def test_a_pass_is_stopped_at_its_next_page_or_at_once(own_world: World, times: int, code: int, says: str) -> None:
    before = digest(own_world.lineage.store)
    with own_world.hub.faults.slow(1.0 if times == 1 else 30, kind="list") as slow:
        running = own_world.lineage.start("sync")
        wait_for(lambda: slow.struck, running)
        for _ in range(times):
            running.signal(signal.SIGINT)
            time.sleep(0.2)
        done = running.done()
    assert done.code == code and says in done.stderr and done.stdout == "" and "Traceback" not in done.stderr
    assert own_world.lineage("sync").code == 0 and digest(own_world.lineage.store) == before


def test_two_passes_never_run_at_once(own_world: World) -> None:
    with own_world.hub.faults.slow(2, kind="list", times=1) as slow:
        first = own_world.lineage.start("sync", "--json")
        wait_for(lambda: slow.struck, first)
        second = own_world.lineage("sync")
        assert second.code == 1 and f"another sync is running: process {first.process.pid}, since" in second.stderr
        assert first.done().code == 0
    assert own_world.lineage("sync").code == 0


def test_models_keep_what_they_come_from_when_that_can_no_longer_be_read(small_hub: FakeHub, tmp_path: Path) -> None:
    lineage = command_at(tmp_path, small_hub.url)
    assert lineage("sync").code == 0
    before = [(row["repo_id"], row["depth"]) for row in lineage("descendants", "acme/a", "--json").json]
    assert len(before) >= 3
    small_hub.commit("acme/a", {"model.safetensors": None, "model.pkl": b"no pickle is ever opened"})
    done = lineage("sync", "--json")
    assert done.code == 0 and done.json["detect"]["edges_superseded"] == 0
    question = "MATCH (m:Model {repo_id: 'acme/a'}) RETURN m.status AS status"
    assert lineage("cypher", question, "--json").json == [{"status": "unreadable"}]
    assert [(row["repo_id"], row["depth"]) for row in lineage("descendants", "acme/a", "--json").json] == before


@pytest.mark.slow
def test_kill_9_at_ten_moments_and_once_more_ends_in_the_same_graph(small_hub: FakeHub, tmp_path: Path) -> None:
    whole = command_at(tmp_path / "whole", small_hub.url)
    whole.home.mkdir()
    with small_hub.faults.slow(0.1, kind="cdn"):
        running, began = begin(whole)
        assert running.done().code == 0
    seconds = time.monotonic() - began
    expected = digest(whole.store)
    struck = 0
    for moment in range(MOMENTS):
        command = command_at(tmp_path / str(moment), small_hub.url)
        command.home.mkdir()
        with small_hub.faults.slow(0.1, kind="cdn"):
            running, _ = begin(command)
            time.sleep(seconds * moment / (MOMENTS + 1))
            struck += running.process.exitcode is None
            running.kill()
        again = command("sync", "--json")
        assert again.code == 0, f"killed after {moment}/{MOMENTS + 1} of {seconds:.2f} s: {again.stderr}"
        assert digest(command.store) == expected, f"killed after {moment}/{MOMENTS + 1} of {seconds:.2f} s"
    assert struck >= MOMENTS - 3, f"only {struck} kills struck"


def begin(command: Command) -> tuple[Running, float]:
    """A sync that has its store open, and when that was: what comes before is only starting up."""
    running = command.start("sync")
    wait_for(lambda: (command.store / "owner.json").exists(), running)
    return running, time.monotonic()
