"""`lineage crawl` as a person runs it, in a process of its own, against the loopback Hub and an embedded store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineage.commands import main
from lineage.graphdb.store import open_store
from tests.crawler.toys import repository
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

TOKEN = "hf_nobodymayeverseethis"


def environment(fake: FakeHub | None, store: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LINEAGE_"))}
    home = {"HF_HOME": str(store.parent / "hf-home"), "LINEAGE_STORE": str(store)}
    return kept | home | ({"HF_ENDPOINT": fake.url} if fake else {}) | more


def lineage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "lineage", *arguments]
    return subprocess.run(program, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_crawl_prints_its_summary_and_a_second_one_changes_nothing(fake: FakeHub, store: Path) -> None:
    for i in range(3):
        fake.add_repo(f"acme/m{i}", repository(i))
    fake.add_repo("acme/pickle", {"model.pkl": b""})
    env = environment(fake, store)
    first, second = (lineage("crawl", "--json", env=env) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(first.stdout)["models"]["read"] == 3
    again = json.loads(second.stdout)
    assert again["models"]["unchanged"] == 4 and again["requests"] == {"list": 1}
    assert first.stderr == second.stderr == ""
    with open_store(str(store)) as graph:
        assert {m.repo_id for m in graph.models()} == {"acme/m0", "acme/m1", "acme/m2", "acme/pickle"}
        assert [run.command for run in graph.runs()] == ["crawl", "crawl"]


def test_people_get_a_few_lines(fake: FakeHub, store: Path) -> None:
    fake.add_repo("acme/m0", repository(0))
    fake.add_repo("acme/gated", repository(1), gated="manual")
    done = lineage("crawl", env=environment(fake, store))
    assert "2 models seen: 2 new" in done.stdout and "1 readable, 1 gated" in done.stdout
    assert "acme/gated is gated" in done.stdout


def test_a_list_of_names_is_crawled(fake: FakeHub, store: Path, tmp_path: Path) -> None:
    for i in range(3):
        fake.add_repo(f"acme/m{i}", repository(i))
    (tmp_path / "names").write_text("# mine\nacme/m1\n\nacme/m2  # second\nacme/m1\nacme/none\n")
    done = lineage("crawl", "--repos", str(tmp_path / "names"), "--json", env=environment(fake, store))
    summary = json.loads(done.stdout)
    assert summary["models"]["read"] == 2 and summary["failures"] == {"NoSuchRepository": 1}


def test_a_folder_needs_no_hub(store: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "a.safetensors").write_bytes(repository(1)["model.safetensors"])
    env = environment(None, store, HF_HUB_OFFLINE="1")
    done = lineage("crawl", "--folder", str(tmp_path / "zoo"), "--json", env=env)
    assert done.returncode == 0 and json.loads(done.stdout)["models"]["read"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says", "tries"),
    [
        (("--endpoint", "http://127.0.0.1:9"), 1, "127.0.0.1 does not answer", "HF_ENDPOINT"),
        (("--endpoint", "nonsense"), 1, "not the address of a Hub", "https://"),
        (("--repos", "EMPTY"), 1, "names no repositories", "one org/name a line"),
        (("--repos", "EMPTY", "--author", "x"), 2, "not several of them", ""),
        (("--limit", "0"), 2, "--limit", ""),
        (("--folder", "VOID"), 4, "no model under", ".safetensors"),
        (("--folder", "/nowhere/at/all"), 2, "does not exist", ""),
        (("--since", "last winter"), 2, "--since", ""),
    ],
)
def test_mistakes_are_told_in_one_line(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    says: str,
    tries: str,
) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "void").mkdir()
    given = [str(tmp_path / a.lower()) if a in ("EMPTY", "VOID") else a for a in arguments]
    with pytest.raises(SystemExit) as ended:
        main(["crawl", "--store", str(store), *given])
    told = capsys.readouterr()
    assert ended.value.code == code and told.out == ""
    assert says in told.err and tries in told.err and "Traceback" not in told.err


def test_offline_mode_and_a_bad_token_are_told(fake: FakeHub, store: Path) -> None:
    offline = lineage("crawl", env=environment(fake, store, HF_HUB_OFFLINE="1"))
    assert offline.returncode == 1 and "HF_HUB_OFFLINE" in offline.stderr
    refused = lineage("crawl", env=environment(fake, store, HF_TOKEN=TOKEN))
    assert refused.returncode == 1 and "refuses the token" in refused.stderr
    assert TOKEN not in refused.stderr + refused.stdout


def test_the_token_appears_in_no_log_no_error_and_no_file(fake: FakeHub, store: Path) -> None:
    fake.add_token(TOKEN)
    for i in range(3):
        fake.add_repo(f"acme/m{i}", repository(i))
    fake.faults.status(503, kind="resolve", times=1)
    fake.faults.ignore_range(times=1, match="?")
    fake.faults.drop_connection(kind="cdn", times=1, skip=4)
    done = lineage("crawl", "-vv", env=environment(fake, store, HF_TOKEN=TOKEN))
    assert done.returncode == 0, done.stderr
    assert done.stderr and any("authorization" in request.headers for request in fake.log())
    assert TOKEN not in done.stdout + done.stderr and "Signature" not in done.stdout + done.stderr
    for file in store.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert TOKEN.encode() not in content and b"Signature=" not in content, file


@pytest.mark.slow
def test_kill_9_at_any_moment_ends_in_the_same_graph(fake: FakeHub, store: Path, tmp_path: Path) -> None:
    for i in range(24):
        fake.add_repo(f"acme/m{i:02}", repository(i))
    expected = tmp_path / "expected"
    assert lineage("crawl", env=environment(fake, expected)).returncode == 0
    fake.reset_counts()
    env, kills, began = environment(fake, store), 0, time.monotonic()
    with fake.faults.slow(0.05, kind="cdn"):
        for attempt in range(4):
            command = [sys.executable, "-m", "lineage", "crawl", "--workers", "2"]
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(0.8 + 0.15 * attempt)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
    last = lineage("crawl", "--json", env=env)
    assert last.returncode == 0, last.stderr
    assert kills >= 2, f"only {kills} kills struck within {time.monotonic() - began:.0f} s"
    with open_store(str(expected)) as one, open_store(str(store)) as other:
        assert sorted(one.models(), key=lambda m: m.repo_id) == sorted(other.models(), key=lambda m: m.repo_id)
    ranged = [r for r in fake.log() if r.kind == "cdn" and r.status == 206]
    assert len(ranged) <= 2 * 24 + 3 * 2 * kills, "weights are read again only for what was under way"
