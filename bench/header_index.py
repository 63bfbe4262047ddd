"""Millions of headers -> groups in the graph: what it costs to group and to store them, and whether looking one up stays a lookup.

Headers are drawn, as often as models of the Hub share an architecture (rank to the power of -1), from thousands of shapes: the library's
own headers (tests/detect/architectures.json.xz, those of few tensors) in several widths; one in 200 has a width of its own.
They are streamed: header -> key -> `upsert_models` of the embedded store, a chunk at a time, and nothing of them is kept.

    python -m bench.header_index --headers 100000 [1000000 3000000] [--results]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice
from pathlib import Path

from bench.architectures import Spec, read
from bench.graph import CHUNK, hub_id, name
from bench.results_section import put_section
from lineage.detect.backbone import backbones_of, signature_from
from lineage.detect.options import Options
from lineage.detect.renamed import size_words
from lineage.detect.sketch_file import Sketch
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status, keys_in
from lineage.graphdb.store import Store, open_store
from lineage.other_names import OtherNames

FEW_TENSORS = 64
WIDTHS = 6  # of each header
OWN_WIDTH = 200  # one header in so many has a width that no other one has
LOOKUPS, MODELS = 500, 48
SEED = 1
HEADING = "## Millions of headers"


@dataclass(frozen=True, slots=True)
class IndexCosts:
    """Of one run. Milliseconds are processor time of this process, the engine in it included."""

    headers: int
    tensors: int
    groups: int
    largest: int
    grouping_seconds: float
    writing_seconds: float
    lookup_p50: float
    lookup_p99: float
    names_p50: float
    names_p99: float
    sizes_seconds: float
    store_mb: float
    memory_mb: float


def shapes() -> list[tuple[Sequence[Spec], int]]:
    """(header, width in sixteenths of its own), in an order of chance."""
    small = [h for classes in read().values() for h in classes.values() if len(h) <= FEW_TENSORS]
    every = [(header, 16 + 8 * step) for header in small for step in range(WIDTHS)]
    random.Random(SEED).shuffle(every)
    return every


def widened(header: Sequence[Spec], sixteenths: int) -> list[Spec]:
    return [
        Spec(s.name, s.dtype, tuple(d * sixteenths // 16 if d >= 16 and d % 16 == 0 else d for d in s.shape))
        for s in header
    ]


def drawn(count: int, seed: int) -> Iterator[Sequence[Spec]]:
    known = shapes()
    odds = list(accumulate(1 / (rank + 1) for rank in range(len(known))))
    dice = random.Random(seed)

    @cache
    def made(rank: int) -> list[Spec]:
        return widened(*known[rank])

    for number in range(count):
        (rank,) = dice.choices(range(len(known)), cum_weights=odds)
        own = dice.randrange(OWN_WIDTH) == 0
        yield widened(known[rank][0], 1_000 + number) if own else made(rank)


def key_of(header: Sequence[Spec]) -> str:
    return signature_from(backbones_of(header))


def measured(counts: Sequence[int], folder: Path) -> Iterator[IndexCosts]:
    """One store that grows; costs when it holds each of these numbers of headers."""
    grouping = writing = 0.0
    tensors, done = 0, 0
    sizes_of: dict[str, tuple[str, ...]] = {}
    members: Counter[str] = Counter()
    headers = drawn(max(counts), SEED)
    with open_store(str(folder / "store")) as store:
        for count in sorted(counts):
            fresh: set[str] = set()
            while some := list(islice(headers, min(CHUNK, count - done))):
                tensors += sum(map(len, some))
                began = time.process_time()
                signatures = [key_of(header) for header in some]
                grouping += time.process_time() - began
                for header, signature in zip(some, signatures, strict=True):
                    for key in keys_in(signature):
                        if key not in members:
                            fresh.add(key)
                            layout = {s.name: s.shape for s in header}
                            sizes_of[key] = size_words(Sketch("", signature, 0, layout, {}))
                        members[key] += 1
                began = time.process_time()
                store.upsert_models(
                    Model(hub_id(n), name(n), Status.SKETCHED, f"{n:040x}", f"{n:064x}", signature)
                    for n, signature in enumerate(signatures, done)
                )
                writing += time.process_time() - began
                done += len(some)
            for key in fresh:
                store.set_decided(key, "", sizes_of[key])
            lookups = list(_lookups(store))
            began = time.process_time()
            others = OtherNames(store, SketchStore(folder / "sketches"), Options())
            sizes_seconds = time.process_time() - began
            yield IndexCosts(
                count,
                tensors,
                len(members),
                max(members.values()),
                grouping,
                writing,
                *_quantiles(lookups),
                *_quantiles(list(_other_names(others, sizes_of))),
                sizes_seconds,
                sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file()) / 1e6,
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            )


def _lookups(store: Store) -> Iterator[float]:
    """Seconds from a header to the models of its groups."""
    for header in drawn(LOOKUPS, SEED + 1):
        began = time.perf_counter()
        for key in keys_in(key_of(header)):
            store.heads(key, MODELS)
        yield time.perf_counter() - began


def _other_names(others: OtherNames, sizes_of: dict[str, tuple[str, ...]]) -> Iterator[float]:
    """Seconds from the sizes of a model's matrices to the architectures of other names that have them."""
    for key in random.Random(SEED).choices(list(sizes_of), k=LOOKUPS):
        began = time.perf_counter()
        others.alike(sizes_of[key], [key])
        yield time.perf_counter() - began


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return 1e3 * cuts[49], 1e3 * cuts[98]


def table(found: Sequence[IndexCosts]) -> list[str]:
    rows = [
        "| headers | tensors | groups, the largest | grouping, headers a minute | storing, a second "
        "| header to its group's models, p50, p99 | other names, p50, p99 (to load) | store | peak memory |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return rows + [
        f"| {m.headers:,} | {m.tensors:,} | {m.groups:,}, {m.largest:,} "
        f"| {m.grouping_seconds:.0f} s, {60 * m.headers / m.grouping_seconds:,.0f} | {m.headers / m.writing_seconds:,.0f} "
        f"| {m.lookup_p50:.1f}, {m.lookup_p99:.1f} ms | {m.names_p50:.1f}, {m.names_p99:.1f} ms ({m.sizes_seconds:.2f} s) "
        f"| {m.store_mb:,.0f} MB | {m.memory_mb:,.0f} MB |"
        for m in found
    ]


_ABOUT = """`python -m bench.header_index --headers 100000 1000000 3000000 --results`: headers drawn from thousands of shapes, streamed
into the embedded store, on 2 cores that other work used as well, 23 GB. Processor time for grouping and storing, the clock for lookups,
each of which begins with a header."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headers", type=int, nargs="+", default=[100_000])
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    parser.add_argument("--results", action="store_true", help="write the table into RESULTS.md")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for costs in measured(given.headers, Path(folder)):
            found.append(costs)
            print(table(found)[-1], flush=True)
    print("\n".join(table(found)))
    if given.results:
        put_section(HEADING, _ABOUT, table(found))
    print(json.dumps({"bench": "header_index", "headers": given.headers}))


if __name__ == "__main__":
    main()
