"""How the crawler does at the size of the whole Hub: `python -m bench.crawl [--models 3100000] [--part all]`.

Four parts, on loopback, each with its bound:

    quota     listing so many models under the real quota of a free token, on a virtual clock, nothing stored but the progress:
              at most 1.05 x the time that the quota allows at best, resident memory at most 500 MB
    store     listing, normalising and storing in the embedded store, without quota: at least 5,000 models a second
    nightly   the next pass, with 3,000 new and 3,000 changed models: at most 1.1 x the pages that hold them
    repos     1,000 repositories of 5 MB end to end (crawl, sketch, detect, upsert): at least 20 a second

Prints a table and one last line of JSON; exit code 1 beyond a bound.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bench.listing_server import WINDOW_SECONDS, ListingHub, listing_hub
from lineage.crawler.crawl import crawl
from lineage.crawler.hub import PAGE_MODELS, Hub
from lineage.crawler.pacing import Pacer
from lineage.crawler.progress import Progress
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.store import open_store
from lineage.reading import StoringReader
from tests.fake_hub import FakeHub, StoredFile

QUOTA = 1_000  # requests to the API in five minutes, with a free token
NIGHT_MODELS = 6_000
STORED_MODELS = 50_000
REPOSITORIES, FAMILIES, DISTINCT_FILES = 1_000, 50, 4
LAYERS, REPOSITORY_BYTES = 10, 5_000_000


@dataclass(frozen=True)
class Result:
    """`value` beside `bound`; `at_most` says on which side it must lie."""

    part: str
    what: str
    value: float
    bound: float
    at_most: bool
    note: str = ""

    @property
    def kept(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def hub_of(server: ListingHub) -> Hub:
    return Hub(server.url, False, Pacer(3600, server.clock, server.sleep), answer_seconds=60)


def resident_mb() -> float:
    """Now, not the highest so far."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def walk(
    server: ListingHub, folder: Path, now: datetime, seen: Callable[[int], None] = lambda models: None
) -> tuple[int, int]:
    """One pass without a graph; gives models and requests."""
    hub, models = hub_of(server), 0
    with Progress(folder / "progress.sqlite") as progress:
        for batch in crawl(CrawlOptions(), StoringReader(SketchStore(folder)), progress, hub, now=lambda: now):
            batch.acknowledge()
            models += batch.counts["seen"]
            seen(models)
    return models, hub.traffic.total_requests


def part_quota(models: int, quota: int) -> list[Result]:
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as temporary, listing_hub(models, quota=quota) as server:
        began, real = server.clock(), time.monotonic()
        seen, requests = walk(
            server,
            Path(temporary),
            datetime.now(UTC),
            lambda n: memory.append(resident_mb()) if n % 50_000 == 0 else None,
        )
        took, real_seconds = server.clock() - began, time.monotonic() - real
        disk = sum(f.stat().st_size for f in Path(temporary).iterdir()) / 1e6
    windows = (requests - 1) // quota
    last = real_seconds * (requests - windows * quota) / requests  # what is left to do in the last window
    floor = windows * WINDOW_SECONDS + last
    quarter = memory[len(memory) // 4] if memory else resident_mb()
    note = f"{seen:,} models, {requests:,} requests, {took:,.0f} s where the quota allows {floor:,.0f} s; real {real_seconds:,.0f} s"
    grown = f"after a quarter {quarter:.0f} MB, at the end {resident_mb():.0f} MB; progress on disk {disk:,.0f} MB"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return [
        Result("quota", "time over floor", took / floor, 1.05, True, note),
        Result("quota", "resident MB", peak, 500, True, grown),
        Result("quota", "models a second (parse, progress)", seen / real_seconds, 0, False),
    ]


def part_store(models: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary, listing_hub(models) as server:
        folder = Path(temporary)
        with open_store(str(folder / "store")) as store:
            began = time.monotonic()
            summary = crawl_into(store, SketchStore(folder), folder / "p.sqlite", CrawlOptions(), hub=hub_of(server))
            seconds = time.monotonic() - began
        seen = summary.counts["seen"]
    note = f"{seen:,} models and {summary.declarations:,} claims in {seconds:.1f} s"
    return [Result("store", "models a second", seen / seconds, 5_000, False, note)]


def part_nightly(models: int) -> list[Result]:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with listing_hub(models) as server:
            walk(server, folder, now)
            port_free = server.url
        with listing_hub(models, changed=NIGHT_MODELS) as server:
            rename_walk(folder, port_free, server.url)
            hub = hub_of(server)
            counts: dict[str, int] = {}
            with Progress(folder / "progress.sqlite") as progress:
                later = now + timedelta(days=1)
                for batch in crawl(
                    CrawlOptions(), StoringReader(SketchStore(folder)), progress, hub, now=lambda: later
                ):
                    batch.acknowledge()
                    for name, count in batch.counts.items():
                        counts[name] = counts.get(name, 0) + count
    traffic = hub.traffic.summary()
    floor = -(-NIGHT_MODELS // PAGE_MODELS)
    page_bytes = traffic["bytes"]["list"] / traffic["requests"]["list"]
    note = f"new {counts['new']:,}, changed {counts['changed']:,}, unchanged {counts.get('unchanged', 0):,}; {traffic['requests']}"
    return [
        Result("nightly", "requests over floor", hub.traffic.total_requests / floor, 1.1, True, note),
        Result("nightly", "bytes over floor", sum(traffic["bytes"].values()) / (floor * page_bytes), 1.1, True),
    ]


def rename_walk(folder: Path, before: str, after: str) -> None:
    """The server of the second night stands at another port: its walk is that of the first."""
    import sqlite3

    from lineage.crawler.progress import _number

    with sqlite3.connect(folder / "progress.sqlite") as database:
        old, new = (CrawlOptions().walk_key(url) for url in (before, after))
        database.execute("UPDATE walk SET key = ? WHERE key = ?", (new, old))
        database.execute("UPDATE presence SET walk = ? WHERE walk = ?", (_number(new), _number(old)))


def part_repos(count: int) -> list[Result]:
    from lineage.detect.options import THRESHOLD, Options
    from lineage.detection import detect_into

    with tempfile.TemporaryDirectory() as temporary, FakeHub() as hub:
        folder = Path(temporary)
        for family in range(FAMILIES):
            width = 256 + 2 * family
            chance = np.random.default_rng(family)
            rows = REPOSITORY_BYTES // (4 * LAYERS * width)
            base = [chance.standard_normal((rows, width)).astype(np.float32) for _ in range(LAYERS)]
            for file in range(DISTINCT_FILES):
                moved = {f"layers.{i}.weight": w + np.float32(0.01 * file) * w[::-1] for i, w in enumerate(base)}
                save_file(moved, folder / f"{family}-{file}.safetensors")
        for number in range(count):
            family, file = number % FAMILIES, number // FAMILIES % DISTINCT_FILES
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            stored = StoredFile(folder / f"{family}-{file}.safetensors", digest)
            card = f"---\nbase_model: acme/m{family:04}\n---\n".encode()
            hub.add_repo(f"acme/m{number:04}", {"README.md": card, "model.safetensors": stored})
        with open_store(str(folder / "store")) as store:
            sketches = SketchStore(folder / "sketches")
            began = time.monotonic()
            summary = crawl_into(store, sketches, folder / "p.sqlite", CrawlOptions(workers=8), hub=Hub(hub.url, False))
            crawled = time.monotonic() - began
            detect_into(store, sketches, Options(threshold=THRESHOLD), "bench")
            seconds = time.monotonic() - began
    read = summary.counts["sketched"]
    note = f"{read} read in {crawled:.1f} s ({read / crawled:.1f} a second), detection {seconds - crawled:.1f} s; {summary.requests}"
    return [Result("repos", "repositories a second", read / seconds, 20, False, note)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3_100_000, help="listed under quota, and before the night")
    parser.add_argument(
        "--quota", type=int, default=QUOTA, help="requests in five minutes; scale it down with --models"
    )
    parser.add_argument("--stored", type=int, default=STORED_MODELS, help="models of the part `store`")
    parser.add_argument("--repositories", type=int, default=REPOSITORIES)
    parser.add_argument("--part", choices=["all", "quota", "store", "nightly", "repos"], default="all")
    given = parser.parse_args()
    parts: dict[str, Callable[[], list[Result]]] = {
        "quota": lambda: part_quota(given.models, given.quota),
        "nightly": lambda: part_nightly(given.models),
        "store": lambda: part_store(given.stored),
        "repos": lambda: part_repos(given.repositories),
    }
    results = []
    for name, part in parts.items():
        if given.part in ("all", name):
            results += part()
            gc.collect()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, loopback\n")
    print(f"{'part':<9}{'what':<36}{'value':>11}{'bound':>10}  kept")
    for r in results:
        bound = ("<= " if r.at_most else ">= ") + format(r.bound, "g")
        print(f"{r.part:<9}{r.what:<36}{r.value:>11.3f}{bound:>10}  {'yes' if r.kept else 'NO'}")
        if r.note:
            print(f"{'':<9}{r.note}")
    ok = all(result.kept for result in results)
    print(json.dumps({"bench": "crawl", "ok": ok, "models": given.models, "results": [asdict(r) for r in results]}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
