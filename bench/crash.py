"""Kills a process that writes to the embedded store, again and again, and looks whether anything acknowledged is missing.

    python -m bench.crash --rounds 100

Each round writes batches of 40 models and then their 39 edges, a transaction each, and is killed with -9 at a random moment.
Then: every acknowledged batch is there whole, no batch is there by half, edges leave and arrive in equal numbers, and lookups
by index find what a scan finds.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from graphdb.schema import Edge, Model, Relation, Status
from graphdb.store import open_store

BATCH = 40


def write(folder: str, first: int) -> None:
    """Writes batch after batch and says each when it is stored, until it is killed."""
    with open_store(folder) as store:
        number = first
        while True:
            ids = [f"{number}-{n}" for n in range(BATCH)]
            store.upsert_models(Model(id, f"org/{id}", Status.SKETCHED, reason="x" * 200) for id in ids)
            found = [
                Edge(child, parent, Relation.FINE_TUNED_FROM, 0.9, "bench", "1", evidence={"text": "y" * 200})
                for parent, child in pairwise(ids)
            ]
            store.replace_edges(ids, found, [], str(number))
            print(number, flush=True)
            number += 1


def check(folder: str, acknowledged: int) -> tuple[list[str], float]:
    """What is wrong, and how long opening took."""
    began = time.perf_counter()
    with open_store(folder) as store:
        seconds = time.perf_counter() - began
        ids = [row["id"] for row in store.read("MATCH (m:Model) RETURN m.hub_id AS id")]
        models = Counter(int(id.split("-")[0]) for id in ids)
        rows = store.read("MATCH (:Model)-[r:FINE_TUNED_FROM]->(:Model) RETURN r.run_id AS run, count(*) AS n")
        edges = {int(row["run"]): row["n"] for row in rows}
        arriving = store.read("MATCH (p:Model)<-[r:FINE_TUNED_FROM]-(:Model) RETURN count(r) AS n")[0]["n"]
        wrong = [f"batch {n} is missing" for n in range(acknowledged + 1) if n not in models or n not in edges]
        wrong += [f"batch {n} has {count} models" for n, count in models.items() if count != BATCH]
        wrong += [f"batch {n} has {count} edges" for n, count in edges.items() if count != BATCH - 1]
        if arriving != sum(edges.values()):
            wrong.append(f"{sum(edges.values())} edges leave and {arriving} arrive")
        for id in random.sample(ids, min(200, len(ids))):
            if store.model(id) is None or store.model(f"ORG/{id}") is None:
                wrong.append(f"the index does not find {id}")
    return wrong, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--write", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.first)
    folder = Path(tempfile.mkdtemp(prefix="bench-crash-"))
    acknowledged, wrong, slowest = -1, [], 0.0
    rng = random.Random(5)
    try:
        for _ in range(options.rounds):
            command = [
                sys.executable,
                "-m",
                "bench.crash",
                "--write",
                str(folder / "store"),
                "--first",
                str(acknowledged + 1),
            ]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            said = writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.8))
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.read()
            writer.wait()
            acknowledged = max([acknowledged, *(int(line) for line in said.split())])
            found, seconds = check(str(folder / "store"), acknowledged)
            wrong += found
            slowest = max(slowest, seconds)
    finally:
        shutil.rmtree(folder)
    for line in wrong[:10]:
        print(line)
    result = {
        "rounds": options.rounds,
        "batches": acknowledged + 1,
        "wrong": len(wrong),
        "slowest_open_s": round(slowest, 2),
    }
    print(
        f"{options.rounds} kills, {acknowledged + 1} batches acknowledged, {len(wrong)} wrong; slowest opening {slowest:.2f} s"
    )
    print(json.dumps({"bench": "crash", **result}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
