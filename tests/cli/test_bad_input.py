"""Whatever is given to the command: one line that says what is wrong, one that says what to try, the exit code of the contract."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from tests.builders import start
from tests.cli.command import Command, CommandResult, command_at
from tests.cli.world import World, card
from tests.fake_hub import FakeHub

TOKEN = "hf_nobodymayeverseethis"


def refused(done: CommandResult, code: int, says: str, tries: str) -> None:
    """A failure: nothing on stdout, two lines on stderr, and this exit code."""
    assert (done.code, done.stdout) == (code, ""), done
    assert len(done.told) == 2, done.stderr
    assert done.told[0].startswith("lineage: ") and says in done.told[0]
    assert done.told[1].startswith("    try: ") and tries in done.told[1]


def misused(done: CommandResult, says: str) -> None:
    """Wrong usage: nothing on stdout, how it is used, no traceback."""
    assert (done.code, done.stdout) == (2, ""), done
    assert says in done.stderr and "Traceback" not in done.stderr


def poisoned(value: float) -> bytes:
    weights = start(3)
    weights["layers.0.weight"][:] = value
    return save(weights)


def hostile(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


BROKEN: dict[str, tuple[bytes, str]] = {
    "truncated": (save(start(3))[:5000], "damaged"),
    "cut-in-header": (save(start(3))[:100], "it claims a header of"),
    "empty": (b"", "too few bytes: 0"),
    "endless-header": (hostile(b"{}", 1 << 60), "header"),
    "no-json": (hostile(b"[" * 4000), "header"),
    "outside": (hostile(json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8 << 40]}}).encode()), "w"),
    "nan": (poisoned(np.nan), "NaN or infinite"),
    "infinite": (poisoned(np.inf), "NaN or infinite"),
    "diverged": (poisoned(1e20), "values beyond 1e+09"),
    "no-tensors": (save({}), "there are no tensors"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--author", ""), ("--search", " "), ("--filter", "gguf", "--filter", "")])
def test_a_variable_that_is_not_set_does_not_mean_the_whole_hub(offline: Command, words: tuple[str, ...]) -> None:
    for command in ("sync", "crawl"):
        misused(offline(command, *words), f"Invalid value for '{words[0]}': it is empty")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["truncated", "endless-header", "nan"])
def test_damaged_weights_on_the_hub_and_on_disk(hub: FakeHub, lineage: Command, tmp_path: Path, name: str) -> None:
    content, says = BROKEN[name]
    hub.add_repo("acme/broken", {"model.safetensors": content})
    (tmp_path / "broken.safetensors").write_bytes(content)
    done = lineage("who-is-parent", "acme/broken")
    refused(done, 4, says, "")
    assert "acme/broken" in done.told[0]
    refused(lineage("who-is-parent", tmp_path / "broken.safetensors"), 4, says, "")


@pytest.mark.slow
def test_damaged_models_do_not_stop_a_pass_or_a_scan(hub: FakeHub, lineage: Command, tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    for name, (content, _) in BROKEN.items():
        hub.add_repo(f"acme/{name}", {"model.safetensors": content})
        (tmp_path / "zoo" / f"{name}.safetensors").write_bytes(content)
    hub.add_repo("acme/sound", {"model.safetensors": save(start(1))})
    save_file(start(1), tmp_path / "zoo" / "sound.safetensors")
    done = lineage("sync", "--json")
    assert done.code == 0 and done.json["crawl"]["models"]["unreadable"] == len(BROKEN)
    reasons = {failure["repo_id"]: failure["message"] for failure in done.json["crawl"]["failed"]}
    assert all(says in reasons[f"acme/{name}"] for name, (_, says) in BROKEN.items())
    scanned = lineage("scan", tmp_path / "zoo", "--json")
    assert scanned.code == 0 and [model["id"] for model in scanned.json["models"]] == ["sound"]
    assert {entry["id"]: entry["reason"] for entry in scanned.json["unreadable"]}.keys() == BROKEN.keys()
    assert all(
        says in next(e["reason"] for e in scanned.json["unreadable"] if e["id"] == n) for n, (_, says) in BROKEN.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, says, tries",
    [
        ("acme/nothing", "repository acme/nothing does not exist", "check the name"),
        ("acme/pickle", "only pickle weights (model.pkl), which are never opened", "the model it was made from"),
        ("acme/text", "no weight files", ""),
        ("acme/gated", "gated", "HF_TOKEN"),
        ("acme/a@nowhere", "no revision nowhere", "leave the revision out"),
        ("./no/such/folder", "no file or folder", "check the path"),
        ("acme//a", "not the name of a repository", ""),
    ],
)  # fmt: skip
def test_no_such_model_and_nothing_to_read(world: World, tmp_path: Path, model: str, says: str, tries: str) -> None:
    apart = command_at(tmp_path, world.hub.url)  # without a graph
    done = apart("who-is-parent", model)
    refused(CommandResult(done.code, "", done.stderr), 4, says, tries)
    assert "card says  acme/a; not checked" in done.stdout if model == "acme/pickle" else done.stdout == ""
    if model in ("acme/nothing", "acme/gated"):
        refused(world.lineage("who-is-parent", model), 4, says, tries)
        refused(world.lineage("explain", model, "acme/a"), 4, says, tries)


@pytest.mark.slow
def test_the_json_of_an_unreadable_model_still_has_what_it_declares(world: World) -> None:
    done = world.lineage("who-is-parent", "acme/pickle", "--json")
    assert done.code == 4 and len(done.told) == 2
    assert done.json["answer"] == "unknown" and "pickle" in done.json["reason"]
    assert done.json["declared"][0]["base"] == "acme/a"


@pytest.mark.slow
def test_empty_folders_and_folders_of_pickles(offline: Command, tmp_path: Path) -> None:
    empty, pickles = tmp_path / "empty", tmp_path / "pickles"
    for folder in (empty, pickles):
        folder.mkdir()
    (pickles / "model.pkl").write_bytes(b"no pickle is ever opened")
    refused(offline("who-is-parent", empty), 4, "no weight files", ".safetensors")
    refused(offline("who-is-parent", pickles), 4, "never opened", ".safetensors")
    refused(offline("scan", empty), 4, "no model under", ".safetensors")
    refused(offline("scan", tmp_path / "nowhere"), 4, "no file or folder", "check the path")
    done = offline("scan", pickles, "--json")
    assert done.code == 4 and "never opened" in done.json["unreadable"][0]["reason"] and len(done.told) == 2


@pytest.mark.slow
def test_the_graph_s_questions_about_no_such_model(world: World) -> None:
    for command in ("ancestors", "descendants", "siblings", "tree"):
        refused(world.lineage(command, "acme/nothing"), 4, "knows no model", "")
    refused(world.lineage("path", "acme/a", "acme/bb2"), 4, "'acme/bb2'", "did you mean acme/bb")


def test_without_a_graph(offline: Command) -> None:
    refused(offline("roots"), 1, "no lineage graph", "lineage sync")


def with_token(hub: FakeHub, home: Path) -> Command:
    hub.add_repo("acme/m", {"model.safetensors": save(start(1))})
    return command_at(home, hub.url, HF_TOKEN=TOKEN)


FAULTS: dict[str, tuple[Callable[[FakeHub], object], int, str, str]] = {
    "a refused token": (lambda hub: None, 1, "refuses the token", "HF_TOKEN"),
    "a long wait": (
        lambda hub: hub.faults.status(429, headers={"Retry-After": "7200"}), 1, "wait 120 minutes", "again in 120 minutes",
    ),
    "a Hub that is no Hub": (lambda hub: hub.faults.replace_json("hello", kind="any"), 1, "", "--endpoint"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_hub_that_refuses(hub: FakeHub, tmp_path: Path, fault: str) -> None:
    strike, code, says, tries = FAULTS[fault]
    command = with_token(hub, tmp_path)
    if fault != "a refused token":
        hub.add_token(TOKEN)
    strike(hub)
    for arguments in (("who-is-parent", "acme/m"), ("sync",)):
        done = command(*arguments)
        refused(done, code, says, tries)
        assert TOKEN not in done.stderr


@pytest.mark.slow
def test_a_hub_that_is_down(tmp_path: Path) -> None:
    nowhere = command_at(tmp_path, "http://127.0.0.1:9")
    refused(nowhere("who-is-parent", "acme/m"), 1, "127.0.0.1 does not answer", "--endpoint")
    refused(nowhere("sync", "--endpoint", "nonsense"), 1, "not the address of a Hub", "https://")
    refused(nowhere("sync", HF_HUB_OFFLINE="1"), 1, "HF_HUB_OFFLINE", "unset HF_HUB_OFFLINE")


@pytest.mark.slow
def test_a_connection_cut_in_the_middle_of_a_range(hub: FakeHub, lineage: Command) -> None:
    hub.add_repo("acme/m", {"model.safetensors": save(start(1)), "README.md": card(None)})
    hub.faults.cut_after_bytes(20, times=1)
    done = lineage("who-is-parent", "acme/m", "--json")
    assert done.code == 3 and done.json["answer"] == "no_relatives", "it was asked for again, and worked"
    with hub.faults.cut_after_bytes(20):
        refused(lineage("who-is-parent", "acme/m"), 1, "the connection broke", "again later")


@pytest.mark.slow
def test_the_token_is_nowhere(hub: FakeHub, tmp_path: Path) -> None:
    hub.add_token(TOKEN, may_read=["*"])
    command = with_token(hub, tmp_path)
    hub.faults.status(503, kind="resolve", times=1)
    done = [
        command("sync", "-vv"),
        command("who-is-parent", "acme/m", "-vv"),
        command("who-is-parent", "acme/no", "-vv"),
    ]
    assert any("authorization" in request.headers for request in hub.log())
    assert not [d for d in done if TOKEN in d.stdout + d.stderr]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10 and not [file for file in files if TOKEN.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_store_that_another_process_holds(own_world: World, tmp_path: Path) -> None:
    holder = own_world.lineage.start("sync", "--every", "1h", "--limit", "1")  # its pass is under way
    with own_world.hub.faults.slow(20, kind="list"):
        wait_for(lambda: (own_world.lineage.store / "owner.json").exists())
        done = own_world.lineage("who-is-parent", "acme/b")
        again = own_world.lineage("sync")
        holder.kill()
    refused(
        done, 1, f"held by process {holder.process.pid} (`lineage sync --every 1h --limit 1`", "lineage graph serve"
    )
    refused(again, 1, f"another sync is running: process {holder.process.pid}", "wait for it")
    assert own_world.lineage("who-is-parent", "acme/b").code == 0, "a dead process holds nothing"


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    import time

    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_neo4j_that_is_not_there(offline: Command) -> None:
    for store in ("bolt://127.0.0.1:9", "neo4j://127.0.0.1:9"):
        refused(offline("who-is-parent", "acme/b", "--store", store), 1, "no Neo4j answers at", "start it")
    refused(offline("roots", "--store", "http://127.0.0.1:9"), 1, "a store is a folder or an address", "graph --help")


def test_folders_that_are_no_stores(offline: Command, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("dear mum")
    refused(offline("sync", "--store", tmp_path / "letters"), 1, "holds something else", "--store")
    refused(offline("roots", "--store", tmp_path / "letters" / "to-mum.txt"), 1, "is a file", "--store")


def test_a_typo_in_cypher_has_the_engine_s_own_caret(world: World) -> None:
    done = world.lineage("cypher", "MATCH (m:Model) RETRUN m")
    assert (done.code, done.stdout) == (2, "")
    assert "^" in done.stderr and "RETRUN" in done.stderr and done.told[-1].startswith("    try: ")
    assert "Traceback" not in done.stderr and done.told[-2].startswith("lineage: ")


@pytest.mark.parametrize("statement", ["CREATE (x:Model)", "MATCH (m:Model) DETACH DELETE m", "MATCH (m) SET m.x = 1"])
def test_writing_cypher_is_refused(world: World, statement: str) -> None:
    refused(world.lineage("cypher", statement), 1, "this statement writes", "MATCH")


@pytest.mark.slow
def test_wrong_usage(offline: Command, tmp_path: Path) -> None:
    misused(offline("sycn"), "Did you mean 'sync'?")
    misused(offline("who-is-parent"), "Missing argument 'MODEL'")
    misused(offline("who-is-parent", "a/b", "--threshold", "2"), "--threshold")
    misused(offline("scan", tmp_path, "--method", "astrology"), "'astrology' is not one of")
    misused(offline("scan", tmp_path, "--device", "abacus"), "there is no device 'abacus' here")
    misused(offline("sync", "--author", "a", "--folder", tmp_path), "not several of them")
    misused(offline("cypher", "RETURN 1", "--json", "--csv"), "not both")
    misused(offline("explain", tmp_path), "Missing argument 'PARENT'")


@pytest.mark.parametrize(
    "schedule, says, tries",
    [
        (("--every", "soon"), "--every 'soon' is not a time", "30m, 6h, 1d"),
        (("--every", "0s"), "--every '0s' is not a time", "30m, 6h, 1d"),
        (("--cron", "0 2 * *"), "has 4 fields, not five", '"0 2 * * *"'),
        (("--cron", "99 2 * * *"), "bad minute", '"0 2 * * *"'),
        (("--cron", "0 2 31 2 *"), "such a day never comes", '"0 2 * * *"'),
        (("--cron", "0 2 * * 1", "--every", "6h"), "contradict each other", "one of them"),
    ],
)
def test_schedules_that_make_no_sense(
    offline: Command, tmp_path: Path, schedule: tuple[str, ...], says: str, tries: str
) -> None:
    refused(offline("sync", *schedule), 2, says, tries)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("words", [("who-is-parent",), ("tree",), ("verify",), ("explain", "x")], ids=lambda w: w[0])
def test_an_empty_name_is_not_the_working_folder(words: tuple[str, ...], offline: Command) -> None:
    done = offline(*words, "")
    assert done.code == 2 and done.told[-1].endswith("it is empty"), done


@pytest.mark.parametrize(
    "words", [("verify", "--sarif"), ("verify", "--junit"), ("report", "-o"), ("scan", "-o")], ids=" ".join
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    words: tuple[str, str], offline: Command, tmp_path: Path
) -> None:
    for target, why in ((tmp_path / "none" / "x.html", "there is no folder"), (tmp_path, "is a folder")):
        done = offline(words[0], tmp_path / "nothing-is-read", words[1], target)
        assert done.code == 2 and why in done.told[-1] and done.stdout == "", done
