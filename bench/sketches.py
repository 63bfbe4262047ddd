"""Sketches by the ten thousand: written, compacted, read back, and killed while it goes on: `python -m bench.sketches`.

    write     putting sketches one by one, each flushed to disk, with the compacting that a crawl does on its way
    read      all sketches of one architecture, from a new process's point of view (the files may be in the system's memory)
    known     asking for each whether it is there
    kill      a process that puts and compacts is killed with -9 at random moments: nothing that it said it had put may be lost

Prints a table and one last line of JSON; exit code 1 if something was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lineage.detect.sketch_store import Sample, Sketch, SketchStore

TENSORS = 32
WRITER = (
    "import sys\nfrom pathlib import Path\nfrom bench.sketches import a_sketch\nfrom lineage.detect import sketch_store\n"
    "sketch_store.LOOSE_FILES, sketch_store.SMALL_SHARDS = 20, 3\n"
    "store = sketch_store.SketchStore(Path(sys.argv[1]))\n"
    "for number in range(int(sys.argv[2]), 10**9):\n"
    "    store.keep(a_sketch(number, 4096))\n    print(number, flush=True)\n    store.compact_if_due()\n"
)


def a_sketch(number: int, values: int) -> Sketch:
    """As of a model of 300 tensors, `values` of them sampled in float16."""
    raw = np.random.default_rng(number).integers(0, 31 << 10, values, np.uint16).tobytes()
    each = values // TENSORS
    names = [f"layers.{i}.mlp.up_proj.weight" for i in range(TENSORS)]
    samples = {
        name: Sample(name, "F16", (each, 4096), 0, each, raw[2 * i * each : 2 * (i + 1) * each])
        for i, name in enumerate(names)
    }
    layout = {f"layers.{i}.part_{j}.weight": (4096, 4096) for i in range(TENSORS) for j in range(9)}
    return Sketch(f"{number:064x}", f"{number % 10 == 9:016x}", 10**9, layout, samples)


def measure(count: int, values: int) -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as temporary:
        store = SketchStore(Path(temporary))
        began = time.monotonic()
        for number in range(count):
            store.keep(a_sketch(number, values))
            store.compact_if_due()
        store.compact(everything=True)
        wrote = time.monotonic() - began
        stored = store.stored()
        digests = [f"{number:064x}" for number in range(count) if number % 10 != 9]
        reader = SketchStore(Path(temporary))
        began = time.monotonic()
        read = sum(1 for _ in reader.many(digests))
        took = time.monotonic() - began
        began = time.monotonic()
        known = sum(reader.signature_if_known(digest) is not None for digest in digests)
        asked = time.monotonic() - began
        megabytes = stored.bytes / 1e6
    assert read == known == len(digests)
    note = f"{stored.shards} shards, {megabytes:,.0f} MB"
    return [
        ("written, flushed and compacted, a second", count / wrote, note),
        ("read of one architecture, a second", read / took, f"{read:,} in {took:.1f} s, checked by sha256"),
        ("asked whether known, a second", known / asked, ""),
    ]


def kill(times: int, seed: int) -> tuple[int, int, int]:
    """(kills, sketches said to be put, of these lost or changed)."""
    chance, written = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as temporary:
        for _ in range(times):
            words = [sys.executable, "-c", WRITER, temporary, str(written)]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            said = [process.stdout.readline()]
            time.sleep(chance.uniform(0, 0.5))
            os.kill(process.pid, signal.SIGKILL)
            said += process.stdout.read().splitlines()
            process.wait()
            written = max([written, *(int(number) + 1 for number in said if number.strip())])
        found = {
            sketch.digest: sketch for sketch in SketchStore(Path(temporary)).many(f"{n:064x}" for n in range(written))
        }
        lost = sum(found.get(f"{n:064x}") != a_sketch(n, 4096) for n in range(written))
    return times, written, lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sketches", type=int, default=20_000)
    parser.add_argument("--values", type=int, default=16_384, help="of each sketch; an 8B model has 131,072")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rows = measure(given.sketches, given.values)
    kills, written, lost = kill(given.kills, given.seed)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {given.sketches:,} sketches of {given.values:,} values\n")
    for what, value, note in rows:
        print(f"{what:<45}{value:>12,.0f}  {note}")
    print(
        f"{'killed with -9 while writing and compacting':<45}{kills:>12,}  {lost} of {written:,} sketches lost or changed"
    )
    figures = {what: round(value, 1) for what, value, _ in rows}
    print(json.dumps({"bench": "sketches", "ok": lost == 0, "kills": kills, "lost": lost, **figures}))
    return 0 if lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
