"""Two Ray workers beside one on this machine: wall and processor time of deciding the same groups, and whether the graphs are equal.

    python -m bench.ray_workers [--groups 40] [--models 50] [--repeat 1]

Every group is a random tree of its own architecture. Sketches are made first and not timed, nor is the start of Ray; that its workers load
torch, some seconds of processor time each, is. Bound of issue 18: two workers at least 1.7 times as fast as one. On processors that others
use as well the ratio is no measure: the table has the load, and the processor time that the workers got in each second of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lineage.crawler.plan import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.digest import graph_digest
from lineage.graphdb.store import open_store
from lineage.on_ray import RaySettings, on_ray
from tests.builders import start, tune, write

BOUND = 1.7


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """One run: wall seconds, processor seconds of Ray's workers, and the digest of the graph afterwards."""

    workers: int
    wall: float
    processor: float
    digest: str


def main() -> int:
    """Runs the bench; gives the exit code: 1 where graphs differ or the bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.ray_workers", description="Two workers beside one.")
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each number of workers; the fastest counts")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lineage-ray-bench-") as folder:
        world = Path(folder)
        store_of_families(world, wanted.groups, wanted.models)
        load = os.getloadavg()[0]
        runs = [run(world, workers) for _ in range(wanted.repeat) for workers in (1, 2)]
    return tell(runs, load, wanted.groups, wanted.models)


def store_of_families(folder: Path, groups: int, models: int) -> None:
    """A store and sketches of some families, nothing decided."""
    for group in range(groups):
        wide = 64 + 8 * group
        shapes = {"layers.0.weight": (wide, 96), "layers.1.weight": (64, wide), "layers.1.bias": (64,)}
        family = [start(1000 * group, shapes)]
        for place in range(1, models):
            family.append(tune(family[(place - 1) // 3], 1000 * group + place))
        write(folder / "models" / f"family{group}", {f"m{i}": model for i, model in enumerate(family)})
    with open_store(str(folder / "store")) as graph:
        options = CrawlOptions(folder=folder / "models")
        crawl_into(graph, SketchStore(folder / "sketches"), folder / "progress.sqlite", options)


def run(world: Path, workers: int) -> WorkerRun:
    """Decides everything with some workers on a cluster of this machine's own."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, "include_dashboard": False})
    try:
        with (
            on_ray(RaySettings(cluster.address), SketchStore(world / "sketches"), Options()) as engine,
            open_store(str(copy_of(world))) as graph,
        ):
            began, before = time.monotonic(), worker_seconds()
            detect_into(graph, SketchStore(world / "sketches"), Options(), "run", engine=engine)
            wall, processor = time.monotonic() - began, worker_seconds() - before
            return WorkerRun(workers, wall, processor, graph_digest(graph, passing=False))
    finally:
        ray.shutdown()
        cluster.shutdown()


def copy_of(world: Path) -> Path:
    """The store of a world, copied: each run decides anew."""
    target = Path(tempfile.mkdtemp(dir=world)) / "store"
    shutil.copytree(world / "store", target)
    return target


def worker_seconds() -> float:
    """Processor time of all of Ray's workers below this process so far."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cmdline").read_bytes().startswith(b"ray::"):
                parts = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks += int(parts[11]) + int(parts[12])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def tell(runs: list[WorkerRun], load: float, groups: int, models: int) -> int:
    """The table and a line of JSON."""
    print(f"\n{groups} groups of {models}, {platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}\n")
    print("| workers | wall s | processor s of workers | processor s a wall s |\n| ---: | ---: | ---: | ---: |")
    best = {n: min((r for r in runs if r.workers == n), key=lambda r: r.wall) for n in (1, 2)}
    for one in best.values():
        print(f"| {one.workers} | {one.wall:.1f} | {one.processor:.1f} | {one.processor / one.wall:.2f} |")
    ratio, equal = best[1].wall / best[2].wall, len({one.digest for one in runs}) == 1
    print(
        f"\ntwo workers are {ratio:.2f} times as fast as one (bound {BOUND}); graphs {'equal' if equal else 'DIFFER'}"
    )
    print(json.dumps({"groups": groups, "models": models, "load": load, "ratio": round(ratio, 3), "equal": equal}))
    return 0 if equal and ratio >= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
