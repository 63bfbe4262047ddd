"""How long a person waits for `lineage who-is-parent` of a stored model: `python -m bench.lookup [--models 20000] [--runs 60]`.

An embedded store is filled with one family a hundred models, then whole processes are timed, from their start to their end, each
time for another model: `lineage who-is-parent`, `lineage --help`, and what nothing can go below: Python starting, and Python
starting, opening the store and closing it. They take turns, so that a busy moment strikes all. Prints a table and one last line
of JSON; exit code 1 if half of the lookups take longer than the bound.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lineage.graphdb.schema import Edge, Model, Relation, Status, Verdict
from lineage.graphdb.store import open_store

FAMILY = 100
LOOKUP_BOUND_SECONDS, HELP_BOUND_SECONDS = 0.25, 0.15
OPEN = "from lineage.graphdb.store import open_store; open_store({store!r}, create=False).close()"


def name(number: int) -> str:
    return f"org-{number // FAMILY}/model-{number}"


def models(count: int) -> Iterator[Model]:
    for number in range(count):
        yield Model(
            f"{number:024x}",
            name(number),
            Status.SKETCHED,
            revision=f"{number:040x}",
            weights_digest=f"{number:064x}",
            signature=f"signature-{number // FAMILY}",
        )


def edges(count: int) -> Iterator[Edge]:
    """In each family, a tree in which everybody has up to three children, and a tie for every second model."""
    for number in range(count):
        place, first = number % FAMILY, number - number % FAMILY
        if place == 0:
            continue
        child, parent = f"{number:024x}", f"{first + (place - 1) // 3:024x}"
        evidence = {"growth_z": 7.5, "reason": "made for a measurement"}
        yield Edge(child, parent, Relation.FINE_TUNED_FROM, 0.95, "lineage", "1", ("growth", "inheritance"), evidence)
        if place % 2 == 0 and parent != f"{first:024x}":
            yield Edge(child, f"{first:024x}", Relation.POSSIBLE_PARENT, 0.04, "lineage", "1")


def fill(store: Path, count: int) -> None:
    with open_store(str(store)) as graph:
        graph.upsert_models(models(count))
        verdicts = (
            Verdict(f"{n:024x}", "parent" if n % FAMILY else "root", "made for a measurement", 0.95)
            for n in range(count)
        )
        graph.replace_edges((f"{n:024x}" for n in range(count)), edges(count), verdicts, "bench")


def timed(command: list[str], store: Path) -> float:
    """Processor seconds of a whole process: on an idle machine the wall clock adds little, on a busy one it tells of the neighbours."""
    environment = {**os.environ, "LINEAGE_STORE": str(store)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return seconds


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(share * (len(seconds) - 1)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    chance = random.Random(1)
    python, lineage = [sys.executable, "-c"], [sys.executable, "-m", "lineage"]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        fill(store, options.models)
        commands = {
            "Python alone": lambda: [*python, "pass"],
            "Python, the store opened and closed": lambda: [*python, OPEN.format(store=str(store))],
            "lineage who-is-parent": lambda: [*lineage, "who-is-parent", name(chance.randrange(options.models))],
            "lineage --help": lambda: [*lineage, "--help"],
        }
        taken: dict[str, list[float]] = {what: [] for what in commands}
        for turn in range(options.runs + 2):
            for what, command in commands.items():
                seconds = timed(command(), store)
                if turn >= 2:  # the first ones fill the page cache
                    taken[what].append(seconds)
    rows = {what: (percentile(s, 0.5), percentile(s, 0.99), max(s)) for what, s in taken.items()}
    print(
        f"{platform.machine()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), Python {platform.python_version()}; "
        f"{options.models:,} models in the store, {options.runs} whole processes each; processor seconds\n"
    )
    print(f"{'':<37}{'p50':>7}{'p99':>7}{'max':>7}")
    for what, row in rows.items():
        print(f"{what:<37}" + "".join(f"{value:>7.3f}" for value in row))
    ok = rows["lineage who-is-parent"][0] <= LOOKUP_BOUND_SECONDS and rows["lineage --help"][0] <= HELP_BOUND_SECONDS
    print(
        f"\nbounds for the half: lookup {LOOKUP_BOUND_SECONDS} s, help {HELP_BOUND_SECONDS} s: {'kept' if ok else 'BROKEN'}"
    )
    numbers = {what: {"p50": round(r[0], 4), "p99": round(r[1], 4)} for what, r in rows.items()}
    print(json.dumps({"bench": "lookup", "ok": ok, "models": options.models, "runs": options.runs, "seconds": numbers}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
