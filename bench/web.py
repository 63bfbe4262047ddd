"""How quickly the web pages answer, over a graph of the size of the Hub's readable part.

    python -m bench.web                                     # 300,000 models, embedded
    python -m bench.web --models 20000 --store /tmp/web     # smaller, and the store is kept for the next run

Comes in: nothing. Comes out: for each kind of page milliseconds at the median and at p99, over loopback from another process, one
request after the other; then with 20 readers at once while another process writes edges through the same store; and the memory of
the server. Families: one of 5,000 members (a star with a few generations), the others of 3 to 300; every third model claims a
base, one claim in twenty is wrong; licences as on the Hub. Bounds are those of issue 17: first page 100 ms, search 50, a family's
page 200, the family of 5,000 folded 300, memory 300 MB.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lineage.graphdb.schema import Declaration, Edge, Model, Relation, Run, Status, Verdict
from lineage.graphdb.store import Store, open_store

LARGE = 5_000  # members of the large family
CHUNK = 10_000
READERS = 20
LICENCES = ("apache-2.0", "mit", "llama3", "cc-by-nc-4.0", "openrail", "gemma", "other", None)
WEIGHTS = (40, 25, 8, 3, 6, 4, 6, 8)
STEMS = ("bert-base", "llama-3-8b", "mistral-7b", "qwen2", "whisper-small", "gpt2", "vit-base", "t5-small")
BOUNDS = {
    "first page": 100.0,
    "search": 50.0,
    "completion": 50.0,
    "model": 200.0,
    "family": 200.0,
    "family of 5,000": 300.0,
}


def main() -> int:
    """Runs the bench; gives the exit code: 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.web", description="Latency of the web pages.")
    parser.add_argument("--models", type=int, default=300_000)
    parser.add_argument("--requests", type=int, default=300, help="of each kind of page [%(default)s]")
    parser.add_argument("--store", type=Path, help="folder; made where it is not there yet")
    wanted = parser.parse_args()
    if wanted.store:
        return run(wanted.store, wanted.models, wanted.requests)
    with tempfile.TemporaryDirectory(prefix="lineage-web-bench-") as folder:
        return run(Path(folder) / "store", wanted.models, wanted.requests)


def run(folder: Path, size: int, requests: int) -> int:
    """Fills the store if need be, measures, prints."""
    if not (folder / "graph").exists():
        began = time.monotonic()
        with open_store(str(folder)) as store:
            fill(store, size)
        print(f"{size:,} models written in {time.monotonic() - began:.0f} s", file=sys.stderr)
    server, port = serve(folder)
    try:
        surveyed = wait_for_survey(port)
        quiet = measure(port, size, requests, pid=server.pid)
        busy = measure_busy(port, folder, size, requests)
        memory = memory_mb(server.pid)
    finally:
        server.terminate()
        server.wait(timeout=60)
    return report(size, quiet, busy, memory, surveyed)


def fill(store: Store, size: int) -> None:
    """Models, edges, claims, verdicts and a run."""
    rng = random.Random(17)
    parents = family_tree(size, rng)
    now = datetime.now(UTC)
    store.record_run(Run("bench", "sync", now, now, {"detect": {"edges_added": size}}))
    licences = rng.choices(LICENCES, WEIGHTS, k=size)
    for start in range(0, size, CHUNK):
        numbers = range(start, min(size, start + CHUNK))
        models = [
            Model(
                hub_id(n),
                name(n),
                Status.SKETCHED,
                f"{n:040x}",
                f"{n:064x}",
                f"architecture-{n // 300}",
                downloads=rng.randrange(10**6),
                license=licences[n],
            )
            for n in numbers
        ]
        claims = [
            Declaration(hub_id(n), name(parents[n] if rng.random() < 0.95 else rng.randrange(n)), "finetune", "card")
            for n in numbers
            if parents[n] is not None and n % 3 == 0
        ]
        store.upsert_with_claims(models, claims)
        print(f"{numbers[-1] + 1:,} models", file=sys.stderr)
    store.link_declarations()
    for start in range(0, size, CHUNK):
        numbers = range(start, min(size, start + CHUNK))
        edges = [edge(n, parents[n], rng) for n in numbers if parents[n] is not None]
        verdicts = [Verdict(hub_id(n), "parent" if parents[n] is not None else "root", "", 0.97) for n in numbers]
        store.replace_edges([hub_id(n) for n in numbers], edges, verdicts, "bench")
        print(f"edges of {numbers[-1] + 1:,} models", file=sys.stderr)


def family_tree(size: int, rng: random.Random) -> list[Any]:
    """The parent of each model: number 0 is the root of the family of LARGE; a third of the rest is alone."""
    parents: list[int | None] = [None] * size
    large = min(LARGE, size // 2)
    for n in range(1, large):
        parents[n] = 0 if rng.random() < 0.8 else rng.randrange(n)
    first = large
    while first < size:
        members = 1 if rng.random() < 0.5 else rng.choice((3, 5, 10, 40, 300))
        for n in range(first + 1, min(size, first + members)):
            parents[n] = first if rng.random() < 0.6 else rng.randrange(first, n)
        first += members
    return parents


def edge(child: int, parent: int, rng: random.Random) -> Edge:
    evidence = {
        "growth_z": 12.5,
        "detector_log_odds": 4.2,
        "relative_distance": 0.031,
        "related": 0.98,
        "family_size": 40,
    }
    kind = Relation.QUANTIZED_FROM if rng.random() < 0.1 else Relation.FINE_TUNED_FROM
    return Edge(
        hub_id(child),
        hub_id(parent),
        kind,
        round(rng.uniform(0.8, 0.999), 3),
        "lineage",
        "1",
        ("inheritance", "growth"),
        evidence,
    )


def hub_id(number: int) -> str:
    return f"{number * 2654435761 % 2**64:024x}"


def name(number: int) -> str:
    return f"org{number % 5_000}/{STEMS[number % len(STEMS)]}-model-{number:07d}"


def serve(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """`lineage web` on a free port."""
    command = [sys.executable, "-m", "lineage", "web", "--store", str(folder), "--port", "0", "--json"]
    own = {
        name: value for name, value in os.environ.items() if name != "ARCADEDB_NATIVE_ISOLATE_ARGS"
    }  # not what filled the store
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise SystemExit("the server did not start")
    return server, int(json.loads(line)["url"].rstrip("/").rpartition(":")[2])


def targets(size: int, seed: int) -> Iterator[tuple[str, str]]:
    """(kind, address) of requests, for ever: models at random, all of them different."""
    rng = random.Random(seed)
    while True:
        n = rng.randrange(size)
        some = name(n)
        yield "first page", "/"
        yield "search", "/search?q=" + quote(rng.choice((some[: len(some) - 3], f"org{n % 5_000}/", STEMS[n % 8])))
        yield "completion", "/complete?q=" + quote(some[: rng.randrange(2, len(some))])
        yield "model", "/model/" + some
        yield "family", "/family/" + name(max(LARGE, n) % size)
        yield "family of 5,000", "/family/" + name(rng.randrange(min(LARGE, size // 2)))
        yield "edge", f"/model/{some}?format=json"


@dataclass
class Timings:
    """By kind of page: milliseconds of each answer, processor milliseconds of the server in all, failed requests by what came back."""

    took: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Timings) -> None:
        for kind, rows in other.took.items():
            self.took.setdefault(kind, []).extend(rows)
        self.failed += other.failed


def measure(port: int, size: int, requests: int, seed: int = 1, pid: int | None = None) -> Timings:
    """Asks for pages one after the other; the first ten of each kind do not count. A failed request is counted and has no time.

    Args:
        pid: of the server, to know its processor time.
    """
    found = Timings()
    kinds = 7
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for place, (kind, address) in enumerate(targets(size, seed)):
        if place == (requests + 10) * kinds:
            break
        ticks = processor_ms(pid) if pid else 0.0
        began = time.perf_counter()
        try:
            connection.request("GET", address)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            found.failed[kind, type(error).__name__] += 1
            continue
        took = 1e3 * (time.perf_counter() - began)
        if answer.status != 200:
            found.failed[kind, str(answer.status)] += 1
        elif place >= 10 * kinds:
            found.took.setdefault(kind, []).append(took)
            if pid:
                found.processor[kind] = found.processor.get(kind, 0.0) + processor_ms(pid) - ticks
    connection.close()
    return found


def processor_ms(pid: int) -> float:
    """Processor time of a process so far."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_survey(port: int, seconds: float = 900.0) -> float:
    """Seconds until the first survey was complete, from now."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/?format=json")
        if json.loads(connection.getresponse().read())["complete"]:
            return time.monotonic() - began
        time.sleep(1)
    raise SystemExit("the survey did not end")


def measure_busy(port: int, folder: Path, size: int, requests: int) -> Timings:
    """The same with READERS at once, while another process writes edges."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.web_writer", str(folder), str(size)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()  # it has begun
    found = Timings()
    with ThreadPoolExecutor(READERS) as readers:
        each = max(10, requests // READERS)
        for own in readers.map(lambda seed: measure(port, size, each, seed), range(100, 100 + READERS)):
            found.add(own)
    alive = writer.poll() is None
    writer.terminate()
    rest = writer.stdout.read()
    writer.wait(timeout=60)
    print(f"the writer was {'still writing' if alive else 'done or dead'}: {rest.splitlines()[-1:]}", file=sys.stderr)
    if not alive:
        found.failed["writer", f"exit code {writer.returncode}"] += 1
    return found


def memory_mb(pid: int) -> float:
    """Peak resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(size: int, quiet: Timings, busy: Timings, memory: float, surveyed: float) -> int:
    """The table, failed requests, and a line of JSON; 1 where a bound is not kept or a request failed."""
    print(f"\n{size:,} models, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    heads = ("page", "p50 ms", "p99 ms", "bound", "processor ms, mean", "p50 ms, 20 readers and a writer", "p99 ms")
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    failed = quiet.failed + busy.failed
    kept = not failed
    document: dict[str, Any] = {
        "models": size,
        "memory_mb": round(memory),
        "survey_seconds": round(surveyed),
        "failed": {f"{kind}: {what}": number for (kind, what), number in sorted(failed.items())},
        "pages": {},
    }
    for kind, values in quiet.took.items():
        numbers = [percentile(rows, share) for rows in (values, busy.took.get(kind, [])) for share in (0.5, 0.99)]
        bound = BOUNDS.get(kind)
        kept &= bound is None or numbers[1] <= bound
        cells = [f"{number:.0f}" for number in numbers]
        processor = quiet.processor.get(kind, 0.0) / len(values)
        row = [kind, *cells[:2], f"{bound:.0f}" if bound else "–", f"{processor:.0f}", *cells[2:]]
        print(f"| {' | '.join(row)} |")
        document["pages"][kind] = [None if math.isnan(number) else round(number, 1) for number in numbers]
    asked = sum(len(rows) for timings in (quiet, busy) for rows in timings.took.values())
    print(f"\n{failed.total()} of {asked + failed.total():,} requests failed")
    for (kind, what), number in sorted(failed.items()):
        print(f"  {kind}: {what}, {number}")
    print(f"memory at most {memory:.0f} MB (bound 300); survey of the whole graph complete after {surveyed:.0f} s")
    print(json.dumps(document))
    return 0 if kept and memory <= 300 else 1


if __name__ == "__main__":
    sys.exit(main())
