"""Detection on a Ray cluster of two simulated nodes: the answers of one process, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.ray_workers import store_of_families
from lineage.deciding import GroupTask
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into, found_text
from lineage.graphdb.digest import graph_digest
from lineage.graphdb.store import Store, open_store
from lineage.on_ray import NoRay, RaySettings, WorkersDiffer, _in_worker, _Overdue, _TaskInputs, _within, on_ray
from lineage.version import __version__

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow

GROUPS, MODELS = 6, 6
MARK = "LINEAGE_TEST_OF_RAY"  # in the environment of every process of the cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ[MARK], os.environ["RAY_USAGE_STATS_ENABLED"] = str(os.getpid()), "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    del os.environ[MARK]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and samples of families of several architectures, nothing decided."""
    folder = tmp_path_factory.mktemp("ray")
    store_of_families(folder, GROUPS, MODELS)
    return folder


@pytest.fixture(scope="module")
def alone(crawled: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the graph as one process decides."""
    with copied(crawled, tmp_path_factory.mktemp("alone")) as (graph, sketches):
        detect_into(graph, sketches, Options(), "run")
        return graph_digest(graph, passing=False)


class copied:
    """The crawled store, copied, and its samples."""

    def __init__(self, crawled: Path, target: Path):
        import shutil

        shutil.copytree(crawled / "store", target / "store")
        self.graph, self.sketches = open_store(str(target / "store")), SketchStore(crawled / "sketches")

    def __enter__(self) -> tuple[Store, SketchStore]:
        return self.graph.__enter__(), self.sketches

    def __exit__(self, *error: Any) -> None:
        self.graph.__exit__(*error)


def workers() -> list[int]:
    """Processes of this cluster that decide about a group right now."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"_in_worker" in (entry / "cmdline").read_bytes():
                mark = f"{MARK}={os.getpid()}\0".encode()
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def held_worker() -> int | None:
    """One of them, stopped in the middle, so that the run cannot end without it; None if it was between two groups."""
    for worker in workers():
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGSTOP)
            if worker in workers():
                return worker
            os.kill(worker, signal.SIGCONT)
    return None


def until(what: Any, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def decided(crawled: Path, target: Path, address: str, while_running: Any = None, **settings: Any) -> tuple[str, dict]:
    """(digest of the graph, summary) of one run on the cluster, with something done in another thread meanwhile."""
    with copied(crawled, target) as (graph, sketches):
        with on_ray(RaySettings(address, **settings), sketches, Options()) as engine:
            meanwhile = threading.Thread(target=while_running) if while_running else None
            if meanwhile:
                meanwhile.start()
            summary = detect_into(graph, sketches, Options(), "run", engine=engine)
            if meanwhile:
                meanwhile.join()
        return graph_digest(graph, passing=False), summary


def test_two_workers_leave_the_graph_that_one_process_leaves(
    crawled: Path, alone: str, cluster: Any, tmp_path: Path
) -> None:
    digest, summary = decided(crawled, tmp_path, cluster.address)
    assert digest == alone
    assert summary["architectures"] == GROUPS and summary["models"] == GROUPS * MODELS


def test_a_large_group_is_divided_into_tasks_and_stored_as_one(
    crawled: Path, alone: str, cluster: Any, tmp_path: Path
) -> None:
    digest, summary = decided(crawled, tmp_path, cluster.address, large_group=MODELS)
    assert digest == alone and summary["models"] == GROUPS * MODELS


def test_a_worker_killed_in_the_middle_changes_nothing(crawled: Path, alone: str, cluster: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        killed.append(until(workers)[0])
        os.kill(killed[0], signal.SIGKILL)

    digest, summary = decided(crawled, tmp_path, cluster.address, kill)
    assert killed and digest == alone and "not_decided" not in summary


def test_a_lost_node_changes_nothing(crawled: Path, alone: str, cluster: Any, tmp_path: Path) -> None:
    lost = cluster.add_node(num_cpus=1)

    def lose() -> None:
        until(lambda: len(workers()) > 1)
        cluster.remove_node(lost, allow_graceful=False)

    digest, summary = decided(crawled, tmp_path, cluster.address, lose)
    assert digest == alone and "not_decided" not in summary


def test_groups_that_take_too_long_or_keep_dying_are_named_and_decided_by_the_next_run(
    crawled: Path, alone: str, cluster: Any, tmp_path: Path
) -> None:
    with copied(crawled, tmp_path) as (graph, sketches):
        before = graph_digest(graph, passing=False)
        with on_ray(RaySettings(cluster.address, seconds_per_task=1e-3), sketches, Options()) as engine:
            summary = detect_into(graph, sketches, Options(), "hurried", engine=engine)
        assert len(summary["not_decided"]) == GROUPS and "family0/m" in str(summary["not_decided"])
        assert "took longer than 0.001 s" in found_text(summary)
        assert graph_digest(graph, passing=False) == before, "nothing half written"

        stop = threading.Event()

        def kill_all() -> None:
            while not stop.is_set():
                for worker in workers():
                    os.kill(worker, signal.SIGKILL)

        killer = threading.Thread(target=kill_all)
        with on_ray(RaySettings(cluster.address, retries=0), sketches, Options()) as engine:
            killer.start()
            first = next(iter(engine.decide(_tasks(graph, sketches))))[1]
            stop.set()
            killer.join()
        assert "lost its worker 1 times" in first.message  # type: ignore[union-attr]
        assert detect_into(graph, sketches, Options(), "at leisure")["architectures"] == GROUPS
        assert graph_digest(graph, passing=False) == alone


def _tasks(graph: Store, sketches: SketchStore) -> list[GroupTask]:
    from lineage.architecture import known_of

    key = next(iter(dict(graph.signatures())))
    return [GroupTask(1, key, (key,), known_of(graph, sketches, key), None)]


def test_a_time_limit_holds_even_where_the_code_that_runs_keeps_its_exception_to_itself() -> None:
    def slow() -> str:
        with suppress(_Overdue):
            time.sleep(0.2)
        return "decided"

    with pytest.raises(_Overdue), _within(0.01):
        slow()
    with _within(60):
        assert slow() == "decided"


def test_ctrl_c_leaves_no_tasks(crawled: Path, cluster: Any, tmp_path: Path) -> None:
    with copied(crawled, tmp_path):
        pass
    words = ["detect", "--store", str(tmp_path / "store"), "--sketches", str(crawled / "sketches")]
    running = subprocess.Popen(
        [sys.executable, "-m", "lineage", *words, "--ray", cluster.address],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a job in the background is started without it
    )
    held = until(held_worker)
    time.sleep(1.5)  # the others end, and the run waits for this one
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    os.kill(held, signal.SIGCONT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130 and told.splitlines()[-1] == "stopped"
    until(lambda: not workers(), 20)


def test_workers_of_another_version_are_refused(crawled: Path) -> None:
    work = _TaskInputs("0.0.0", str(crawled / "sketches"), Options(), None, None, 0.0)
    assert _in_worker(work, lambda: None) == (
        f"workers have lineage {__version__}, this is 0.0.0",
        "give all nodes the same image",
        True,
    )
    assert WorkersDiffer.exit_code == 1 and replace(work, version=__version__).version == __version__


def test_without_ray_one_line_says_what_to_install_and_everything_else_works(crawled: Path, tmp_path: Path) -> None:
    with copied(crawled, tmp_path):
        pass
    without = "import sys; sys.modules['ray'] = None; from lineage.commands import main; main()"
    words = ["detect", "--store", str(tmp_path / "store"), "--sketches", str(crawled / "sketches")]
    refused, plain = (
        subprocess.run([sys.executable, "-c", without, *words, *more], capture_output=True, text=True)
        for more in (["--ray", "local"], [])
    )
    assert (refused.returncode, plain.returncode) == (1, 0)
    assert refused.stderr.startswith("lineage: Ray is not installed\n    try: pip install 'model-lineage[ray]'")
    assert f"{GROUPS * MODELS} models of {GROUPS} architectures compared" in plain.stdout


def test_an_address_without_a_cluster_is_one_line(crawled: Path) -> None:
    with (
        pytest.raises(NoRay, match=r"no Ray cluster at 127\.0\.0\.1:1: Connection refused"),
        on_ray(RaySettings("127.0.0.1:1"), SketchStore(crawled / "sketches"), Options()),
    ):
        pass
