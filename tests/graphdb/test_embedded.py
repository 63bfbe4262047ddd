"""The embedded store's own troubles: who holds it, what died in it, folders that are something else, damage, kill -9."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lineage.graphdb.bucket_files import cut_short
from lineage.graphdb.embedded import EmbeddedConnection, open_failure
from lineage.graphdb.errors import NotAStore, StoreDamaged, StoreHeld
from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge
from tests.stores import template

HOLDER = """
import sys
from lineage.graphdb.store import open_store
from tests.graphs import a_model
store = open_store(sys.argv[1])
store.upsert_models([a_model("held")])
print("open", flush=True)
sys.stdin.read()
"""

WRITER = """
import sys
from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge
from tests.stores import template
store = open_store(sys.argv[1])
round = int(sys.argv[2])
while True:
    models = [a_model(f"{round}-{n}", reason="x" * 200) for n in range(40)]
    store.upsert_models(models)
    edges = [an_edge(f"{round}-{n}", f"{round}-{n - 1}", evidence={"z": n}) for n in range(1, 40)]
    store.replace_edges([model.hub_id for model in models], edges, [], f"run-{round}")
    print(round, flush=True)
    round += 1
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_store_that_another_process_holds_names_it_and_is_free_when_it_dies(tmp_path: Path) -> None:
    folder = str(tmp_path / "store")
    holder = start(HOLDER, folder)
    try:
        assert read_line(holder) == "open"
        with pytest.raises(StoreHeld) as held:
            open_store(folder)
        assert f"process {holder.pid}" in held.value.message
        assert "\n" not in held.value.message
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with open_store(folder) as store:
        assert store.model("org/held") is not None


def test_a_store_is_open_once_in_a_process(tmp_path: Path) -> None:
    folder = str(tmp_path / "store")
    with open_store(folder) as store:
        with pytest.raises(StoreHeld, match="this process"):
            open_store(folder)
        store.upsert_models([a_model("a")])
    with open_store(folder) as store:
        assert store.counts()["models"] == 1


def test_the_owner_is_written_down_and_taken_away(tmp_path: Path) -> None:
    owner = tmp_path / "store" / "owner.json"
    store = open_store(str(tmp_path / "store"))
    assert json.loads(owner.read_text())["pid"] == os.getpid()
    store.close()
    store.close()
    assert not owner.exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(NotAStore, match=r"photo\.jpg"):
        open_store(str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_that_only_has_samples_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "sketches").mkdir()
    (tmp_path / ".hidden").touch()
    with open_store(str(tmp_path)) as store:
        assert store.counts()["models"] == 0


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotAStore, match="is a file"):
        open_store(str(tmp_path / "file"))


def test_a_database_of_another_program_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "data.bin").write_bytes(b"x" * 100)
    with pytest.raises(NotAStore, match="not a database"):
        open_store(str(tmp_path))
    assert [entry.name for entry in (tmp_path / "graph").iterdir()] == ["data.bin"]


def test_a_folder_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotAStore, match="cannot make"):
        open_store(str(tmp_path / "file" / "store"))


@pytest.mark.parametrize("victim", ["dictionary", "schema.json", "configuration.json"])
def test_a_damaged_store_is_a_failure_or_heals_but_never_a_traceback(tmp_path: Path, victim: str) -> None:
    folder = tmp_path / "store"
    with open_store(str(folder)) as store:
        store.upsert_models(a_model(n) for n in range(50))
    for file in (folder / "graph").iterdir():
        if file.name.startswith(victim):
            file.write_bytes(os.urandom(file.stat().st_size))
    try:
        with open_store(str(folder)) as store:
            assert store.counts()["models"] == 50
    except (StoreDamaged, NotAStore) as failure:
        assert "\n" not in failure.message


@pytest.mark.slow
def test_killed_writers_leave_every_acknowledged_batch_whole(tmp_path: Path) -> None:
    folder, acknowledged = str(tmp_path / "store"), -1
    for delay in (0.15, 0.4, 0.7):
        writer = start(WRITER, folder, str(acknowledged + 1))
        first = read_line(writer)
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        lines = [first, *writer.stdout.read().split()]
        writer.wait()
        acknowledged = int([line for line in lines if line][-1])
        with open_store(folder) as store:
            rows = store.read("MATCH (m:Model) RETURN split(split(m.repo_id, '/')[1], '-')[0] AS batch, count(*) AS n")
            models = {int(row["batch"]): row["n"] for row in rows}
            rows = store.read("MATCH (:Model)-[r:FINE_TUNED_FROM]->(:Model) RETURN r.run_id AS run, count(*) AS n")
            edges = {int(row["run"].removeprefix("run-")): row["n"] for row in rows}
            arriving = store.read("MATCH (p:Model)<-[r:FINE_TUNED_FROM]-(:Model) RETURN count(r) AS n")[0]["n"]
            assert set(range(acknowledged + 1)) <= models.keys() <= set(range(acknowledged + 2))
            assert set(range(acknowledged + 1)) <= edges.keys() <= models.keys()
            assert set(models.values()) == {40}
            assert set(edges.values()) == {39}
            assert arriving == sum(edges.values())
            for batch in models:
                assert store.model(f"id-{batch}-39") is not None


def test_a_time_limit_left_behind_by_a_dead_process_is_lifted(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert isinstance(store.connection, EmbeddedConnection)
    store.connection._database.command("sql", "ALTER DATABASE `arcadedb.command.timeout` 1").to_list()
    store.close()
    with open_store(str(tmp_path / "store")) as again:
        slow = "UNWIND range(1, 300000) AS x WITH x WHERE x % 2 = 0 RETURN count(*) AS n"
        assert again.read(slow) == [{"n": 150000}]


def test_two_processes_that_make_one_store_at_once_leave_one_store(tmp_path: Path) -> None:
    folder = str(tmp_path / "store")
    script = (
        "import sys\nfrom lineage.graphdb.store import open_store\nfrom lineage.graphdb.errors import StoreHeld\n"
        "try:\n    open_store(sys.argv[1]).close()\nexcept StoreHeld:\n    print('held')\n"
    )
    makers = [start(script, folder) for _ in range(3)]
    assert [maker.wait() for maker in makers] == [0, 0, 0]
    with open_store(folder) as store:
        assert store.counts()["models"] == 0
    assert {entry.name for entry in Path(folder).iterdir()} <= {"graph", "log"}


def test_a_store_whose_logs_another_process_still_has_open_is_held_and_not_damaged(tmp_path: Path) -> None:
    """What the engine says in the moment between the release of its lock and the end of the process that had it."""
    said = Exception("WAL file 'txlog_8.wal' is already open by another process or database instance")
    assert isinstance(open_failure(said, tmp_path), StoreHeld)
    assert isinstance(open_failure(Exception("unexpected end of file"), tmp_path), StoreDamaged)
    read_only = open_failure(Exception("/x/graph/database.lck (Read-only file system)"), tmp_path)
    assert not isinstance(read_only, StoreDamaged) and "copy it" in (read_only.try_next or "")


def test_threads_write_and_read_at_once(tmp_path: Path) -> None:
    problems: list[BaseException] = []
    with open_store(str(tmp_path / "store")) as store:
        store.upsert_models([a_model("root")])

        def write(thread: int) -> None:
            try:
                for n in range(10):
                    name = f"{thread}-{n}"
                    store.upsert_models([a_model(name)])
                    store.replace_edges([f"id-{name}"], [an_edge(name, "root")], [], "run")
                    assert store.model(f"org/{name}") is not None
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert store.counts()["FINE_TUNED_FROM"] == 40
        assert store.counts()["models"] == 41


FILLER = """
import resource, signal, sys
from lineage.graphdb.errors import NoSpace
from lineage.graphdb.store import open_store
from tests.graphs import a_model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, resource.RLIM_INFINITY))
    stored = 0
    try:
        while stored < 20_000:
            store.upsert_models([a_model(f"{stored}-{n}", reason="x" * 500) for n in range(500)])
            stored += 500
    except NoSpace:
        print(stored)
"""


@pytest.mark.slow
def test_a_full_disk_keeps_every_batch_before_it(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: it needs no right to mount one."""
    folder = str(tmp_path / "store")
    done = subprocess.run([sys.executable, "-c", FILLER, folder], capture_output=True, text=True, check=True)
    stored = int(done.stdout)
    assert 0 < stored < 20_000
    with open_store(folder) as store:
        assert store.counts()["models"] == stored
        store.upsert_models([a_model("after")])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc says what is allocated")
def test_what_was_written_does_not_stay_in_memory(tmp_path: Path) -> None:
    """A load of millions of models would otherwise need as much memory as it writes."""

    class MallocInfo(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (*"abcd", "mapped", *"fg", "used", *"ij")]

    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallocInfo

    def allocated() -> int:
        found = mallinfo2()
        return int(found.mapped) + int(found.used)

    with open_store(str(tmp_path)) as store:

        def write(number: int) -> None:
            store.upsert_models([a_model("m", reason=f"{number} " + "x" * 200_000)])

        write(0)
        before = allocated()
        for number in range(1, 40):
            write(number)
        assert allocated() - before < 3_000_000


@pytest.mark.parametrize("left", [0.5, 0.0])
def test_a_bucket_that_was_cut_short_is_named_and_what_a_dead_process_left_is_not(tmp_path: Path, left: float) -> None:
    folder = tmp_path / "store"
    shutil.copytree(template(), folder)
    with open_store(str(folder)) as store:
        store.upsert_models([a_model("a"), a_model("b")])
        store.replace_edges(["id-b"], [an_edge("b", "a")], [], "run")
    (edges,) = (folder / "graph").glob("FINE_TUNED_FROM_0.*.bucket")
    os.truncate(edges, int(left * edges.stat().st_size))
    with pytest.raises(StoreDamaged, match=r"lost data: graph/FINE_TUNED_FROM_0\.\d+\.65536\.v0\.bucket was cut short"):
        open_store(str(folder))
    (folder / "graph" / "txlog_0.wal").touch()  # its engine replays a log
    assert cut_short(folder / "graph") is None
    (folder / "graph" / "txlog_0.wal").unlink()
    (folder / "graph" / "statistics.json").write_text("[1]")
    assert cut_short(folder / "graph") is None
