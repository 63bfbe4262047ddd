"""How fast the graph is written and asked, on both stores in one run.

    python -m bench.graph                                              # 100,000 models embedded, 20,000 on Neo4j
    python -m bench.graph --models 3000000 --neo4j-models 300000       # the whole Hub
    python -m bench.graph --only neo4j --neo4j-models 300000           # one of the two

One family in three thousand models each, one large one with a quarter of all models, every second model a merge: three edges for
two models; and claims of every third, a hundred thousand at most. Lookups are of random models of the large family, each by name;
descendants of the models that have most children. Beside the milliseconds on the clock stand, in parentheses, those of processor
time, which neighbours on the machine change little; for Neo4j that is the client's part alone. A store of no models is left out,
and so is Neo4j where Java or Maven are not there.

What is measured is printed as soon as it is, on stderr, with a line of progress a minute; if a run is ended or dies, the table at the
end has what there was. The embedded store is killed with -9 when it has been asked everything, then opened, ended in order, and
opened again, each time by another process.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.graphdb.schema import Declaration, Edge, Model, Relation, Status
from lineage.graphdb.store import Store, open_store

CHUNK = 20_000  # models a call
LOOKUPS = 1_000
DEPTH = 10
FIRST = 1_000  # descendants asked for
CLAIMS = 100_000  # at most
NONE = -1  # no model
TELL_SECONDS = 60.0  # between lines of progress where there is no terminal
told = [float("-inf")]  # when the last one was printed


@dataclass(frozen=True)
class Shape:
    """Who comes from whom among `size` models, by number: parents come before children. Eight bytes a model."""

    first: array[int]  # the parent with the smallest number, NONE for a root
    second: array[int]  # the other parent of a merge, NONE for all else

    @property
    def size(self) -> int:
        return len(self.first)

    def parents(self, number: int) -> list[int]:
        return [parent for parent in (self.first[number], self.second[number]) if parent != NONE]

    @property
    def large(self) -> int:
        """The first so many models are the large family; its root is number 0."""
        return self.size // 4


def shape(size: int, seed: int = 7) -> Shape:
    """Preferring recent models as parents, so that there are generations; no deeper than 14."""
    rng = random.Random(seed)
    graph, depth = Shape(array("i"), array("i")), array("b")
    first = 0
    for number in range(size):
        if number == 0 or (number >= size // 4 and (number - size // 4) % 3_000 == 0):
            first = number
            graph.first.append(NONE)
            graph.second.append(NONE)
            depth.append(0)
            continue
        while True:
            back = 1 + int(rng.paretovariate(0.6)) if rng.random() < 0.75 else rng.randrange(1, number - first + 1)
            parent = max(first, number - back)
            if depth[parent] < 14:
                break
        other = rng.randrange(first, number) if rng.random() < 0.5 else parent
        graph.first.append(min(parent, other))
        graph.second.append(max(parent, other) if other != parent else NONE)
        depth.append(1 + max(depth[parent], depth[other]))
    return graph


def hub_id(number: int) -> str:
    return f"{number * 2654435761 % 2**64:024x}"


def name(number: int) -> str:
    return f"org{number % 5_000}/model-{number:07d}"


def models(numbers: Sequence[int]) -> list[Model]:
    """Models as a crawl gives them."""
    return [
        Model(
            hub_id(n),
            name(n),
            Status.SKETCHED,
            f"{n:040x}",
            f"{n:064x}",
            f"signature-{n // 200}",
            downloads=n % 9973,
            license="apache-2.0",
            library="transformers",
        )
        for n in numbers
    ]


def edges(graph: Shape, numbers: Sequence[int]) -> Iterator[Edge]:
    """Edges as detection gives them, with evidence."""
    for number in numbers:
        for position, parent in enumerate(graph.parents(number)):
            yield Edge(
                hub_id(number),
                hub_id(parent),
                Relation.MERGED_FROM if position else Relation.FINE_TUNED_FROM,
                0.97,
                "lineage",
                "1",
                ("inheritance", "growth"),
                {"inheritance": 0.98, "growth_z": 12.5, "distance": 0.031},
            )


def load(store: Store, graph: Shape) -> Iterator[dict[str, Any]]:
    """Writes everything and says how many a second, of one kind after the other."""
    chunks = [range(start, min(graph.size, start + CHUNK)) for start in range(0, graph.size, CHUNK)]
    began = time.perf_counter()
    for chunk in chunks:
        store.upsert_models(models(chunk))
        tell(f"{chunk.stop:,} models in {time.perf_counter() - began:.0f} s")
    yield {"models": graph.size, "models_per_second": round(graph.size / (time.perf_counter() - began))}
    began, cpu_began, written = time.perf_counter(), time.process_time(), 0
    for chunk in chunks:
        counts = store.replace_edges([hub_id(n) for n in chunk], edges(graph, chunk), [], "bench")
        written += counts.added
        tell(f"{written:,} edges in {time.perf_counter() - began:.0f} s")
    edge_seconds, edge_cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    yield {
        "edges": written,
        "edges_per_second": round(written / edge_seconds),
        "edges_per_cpu_second": round(written / edge_cpu_seconds),
    }
    began = time.perf_counter()
    for chunk in chunks:
        claimants = [n for n in chunk if n % 3 == 0 and n < 3 * CLAIMS and graph.parents(n)]
        claims = [Declaration(hub_id(n), name(graph.first[n]), "finetune", "card") for n in claimants]
        store.upsert_declarations([hub_id(n) for n in claimants], claims)
    linked = store.link_declarations()
    yield {"claims": linked, "claims_per_second": round(linked / (time.perf_counter() - began))}
    nightly = range(1, graph.size, max(1, graph.size // 3_000))
    began = time.perf_counter()
    store.upsert_declarations(
        [hub_id(n) for n in nightly],
        [Declaration(hub_id(n), name(graph.first[n]), "adapter", "card") for n in nightly if graph.parents(n)],
    )
    store.link_declarations()
    yield {"nightly_claims_seconds": round(time.perf_counter() - began, 2)}


def latencies(ask: Callable[[str], object], names: Sequence[str]) -> dict[str, float]:
    """Milliseconds; the first tenth warms up and is not counted."""
    taken, worked = [], []
    for text in names:
        began, cpu_began = time.perf_counter(), time.process_time()
        ask(text)
        worked.append((time.process_time() - cpu_began) * 1e3)
        taken.append((time.perf_counter() - began) * 1e3)
    found: dict[str, float] = {}
    for kind, values in (("", taken), ("cpu_", worked)):
        values = sorted(values[len(values) // 10 :])
        found |= {
            f"{kind}p50": round(values[len(values) // 2], 2),
            f"{kind}p99": round(values[len(values) * 99 // 100], 2),
        }
    return found


def questions(store: Store, graph: Shape) -> Iterator[dict[str, Any]]:
    """Latencies of the questions people ask most, one after the other."""
    from lineage.queries.parent_query import parent_named
    from lineage.queries.resolve import resolve
    from lineage.queries.walk import Limits, ancestors, descendants

    rng = random.Random(1)
    names = [name(n) for n in rng.sample(range(graph.large), min(LOOKUPS, graph.large))]
    children = array("i", bytes(4 * graph.size))
    for number in range(graph.size):
        for parent in graph.parents(number):
            children[parent] += 1
    hubs = [hub_id(number) for number in heapq.nlargest(20, range(graph.size), children.__getitem__)] * 5
    yield {"who_is_parent_ms": latencies(lambda text: parent_named(store, text), names)}
    above = Limits(depth=DEPTH)
    yield {"ancestors_ms": latencies(lambda text: ancestors(store, resolve(store, text).hub_id, above), names)}
    yield {"first_descendants_ms": latencies(lambda text: descendants(store, text, limit=FIRST), hubs)}


def measure(url: str, size: int, *, killed: bool) -> Iterator[dict[str, Any]]:
    """Everything for one store, in this process; with `killed`, the process then ends by signal 9, the store open."""
    graph = shape(size)
    yield {"bench_memory_mb": peak_mb()}
    with open_store(url) as store:
        for part in load(store, graph):
            yield part | {"memory_mb": peak_mb()}
        for part in questions(store, graph):
            yield part | {"memory_mb": peak_mb()}
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)


def opening(url: str) -> float:
    """Seconds that it takes to open a store and ask for its version, until then not touched by this process."""
    began = time.perf_counter()
    with open_store(url, create=False):
        return round(time.perf_counter() - began, 2)


def tell(text: str) -> None:
    """To a terminal on one line; else a line a minute at most, so that a load of hours can be followed."""
    if sys.stderr.isatty():
        print(text, end="   \r", file=sys.stderr, flush=True)
    elif time.monotonic() - told[0] >= TELL_SECONDS:
        told[0] = time.monotonic()
        print(f"{text}, {peak_mb():,} MB at most so far", file=sys.stderr, flush=True)


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@dataclass
class Run:
    """One store's figures, as they come in."""

    kind: str
    figures: dict[str, Any] = field(default_factory=dict)

    def step(self, *arguments: str) -> None:
        """A part of the work in a process of its own, so that memory is that of one store; its lines are kept as they come."""
        command = [sys.executable, "-m", "bench.graph", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self.keep(json.loads(line))
        if process.returncode not in (0, -signal.SIGKILL):
            print(f"{self.kind}: ended with {process.returncode}; what was measured is kept", file=sys.stderr)

    def keep(self, part: dict[str, Any]) -> None:
        self.figures |= part
        print(f"{self.kind} {json.dumps(part)}", file=sys.stderr, flush=True)


def embedded(run: Run, size: int) -> None:
    """Everything for the embedded store, with the size of its files."""
    folder = Path(tempfile.mkdtemp(prefix="bench-graph-"))
    url = str(folder / "store")
    try:
        run.step("--measure", url, "--killed", "--models", str(size))
        for name in ("open_after_kill_seconds", "open_seconds"):
            run.step("--opening", url, "--as", name)
        files = [file for file in (folder / "store" / "graph").rglob("*") if file.is_file()]
        run.keep({"disk_mb": round(sum(file.stat().st_size for file in files) / 1e6)})
    finally:
        shutil.rmtree(folder)


def neo4j(run: Run, size: int) -> None:
    """Everything for a Neo4j with the memory that docker-compose.yml gives it, by its version; nothing where there is none."""
    from tests.neo4j_server import NotHere, neo4j_server

    try:
        with neo4j_server(heap="2g", page_cache_mb=1024, short_lived=False) as server:
            os.environ |= {"NEO4J_USER": server.user, "NEO4J_PASSWORD": server.password}
            run.kind = f"neo4j {server.version}"
            run.step("--measure", server.url, "--models", str(size))
            run.step("--opening", server.url, "--as", "open_seconds")
    except NotHere as reason:
        print(f"Neo4j left out: {reason}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100_000, help="on the embedded store")
    parser.add_argument("--neo4j-models", type=int, default=20_000)
    parser.add_argument("--only", choices=["embedded", "neo4j"], help="one of the two stores")
    for name in ("--measure", "--opening", "--as"):  # what `Run.step` asks of another process
        parser.add_argument(name, metavar="X", help=argparse.SUPPRESS)
    parser.add_argument("--killed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        for part in measure(options.measure, options.models, killed=options.killed):
            print(json.dumps(part), flush=True)
        return
    if options.opening:
        print(json.dumps({vars(options)["as"]: opening(options.opening)}))
        return
    runs = []
    try:
        for kind, work, size in (("embedded", embedded, options.models), ("neo4j", neo4j, options.neo4j_models)):
            if size and options.only in (None, kind):
                runs.append(Run(kind))
                work(runs[-1], size)
    except KeyboardInterrupt:
        print("ended; the table has what was measured", file=sys.stderr)
    show({run.kind: run.figures for run in runs if run.figures})


def show(results: dict[str, dict[str, Any]]) -> None:
    """The table, and one line of JSON."""
    load_now = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load_now}, Python {platform.python_version()}")
    rows = list(dict.fromkeys(key for result in results.values() for key in result))
    print(f"{'':24}" + "".join(f"{kind:>34}" for kind in results))
    for row in rows:
        print(f"{row:24}" + "".join(f"{text(result.get(row, '')):>34}" for result in results.values()))
    print(json.dumps({"bench": "graph", "cores": os.cpu_count(), "load": os.getloadavg(), "results": results}))


def text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['p50']} / {value['p99']} ({value['cpu_p50']} / {value['cpu_p99']})"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
