"""Kills what writes to a store, again and again, and looks whether anything acknowledged is missing.

    python -m bench.crash --rounds 100 --neo4j-rounds 12

On the embedded store the writing process is killed, on Neo4j the server, which is then started again on its files. Each round
writes batches of 40 models and then their 39 edges, a transaction each, and is killed with -9 at a random moment.
Then: every acknowledged batch is there whole, no batch is there by half, edges leave and arrive in equal numbers, and lookups
by index find what a scan finds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from lineage.graphdb.errors import NotReachable
from lineage.graphdb.schema import Edge, Model, Relation, Status
from lineage.graphdb.store import Store, open_store
from tests.neo4j_server import free_port, neo4j_server

BATCH = 40


def write(folder: str, first: int) -> None:
    """Writes batch after batch and says each when it is stored, until it is killed."""
    with open_store(folder) as store:
        for number in itertools.count(first):
            write_batch(store, number)
            print(number, flush=True)


def write_to_server(url: str, first: int, said: list[int]) -> None:
    """The same to a Neo4j, until that is gone."""
    with suppress(NotReachable), open_store(url) as store:
        for number in itertools.count(first):
            write_batch(store, number)
            said.append(number)


def write_batch(store: Store, number: int) -> None:
    """One batch: two transactions."""
    ids = [f"{number}-{n}" for n in range(BATCH)]
    store.upsert_models(Model(id, f"org/{id}", Status.SKETCHED, reason="x" * 200) for id in ids)
    found = [
        Edge(child, parent, Relation.FINE_TUNED_FROM, 0.9, "bench", "1", evidence={"text": "y" * 200})
        for parent, child in pairwise(ids)
    ]
    store.replace_edges(ids, found, [], str(number))


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


def kill_writers(rounds: int) -> dict[str, Any]:
    """Rounds on an embedded store."""
    folder = Path(tempfile.mkdtemp(prefix="bench-crash-"))
    acknowledged, wrong, slowest = -1, [], 0.0
    rng = random.Random(5)
    try:
        for _ in range(rounds):
            command = [sys.executable, "-m", "bench.crash", "--write", str(folder / "store")]
            command += ["--first", str(acknowledged + 1)]
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
    return {"kills": rounds, "batches": acknowledged + 1, "wrong": wrong, "slowest_open_s": round(slowest, 2)}


def kill_servers(rounds: int) -> dict[str, Any]:
    """Rounds on a Neo4j that is killed and started again on the same files."""
    home = Path(tempfile.mkdtemp(prefix="bench-crash-neo4j-"))
    said: list[int] = []
    wrong, slowest, port = [], 0.0, free_port()
    rng = random.Random(6)
    try:
        for _ in range(rounds):
            with neo4j_server(home=home, port=port) as server:
                os.environ |= {"NEO4J_USER": server.user, "NEO4J_PASSWORD": server.password}
                if said:
                    found, seconds = check(server.url, said[-1])
                    wrong += found
                    slowest = max(slowest, seconds)
                before = len(said)
                writer = threading.Thread(target=write_to_server, args=(server.url, before, said))
                writer.start()
                while len(said) == before and writer.is_alive():
                    time.sleep(0.01)
                time.sleep(rng.uniform(0.0, 1.5))
                server.process.kill()
                writer.join()
        with neo4j_server(home=home, port=port) as server:
            found, seconds = check(server.url, said[-1])
            wrong += found
    finally:
        shutil.rmtree(home)
    return {"kills": rounds, "batches": len(said), "wrong": wrong, "slowest_open_s": round(slowest, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="on the embedded store")
    parser.add_argument("--neo4j-rounds", type=int, default=0, help="on a Neo4j")
    parser.add_argument("--write", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.first)
    results = {}
    if options.rounds:
        results["embedded"] = kill_writers(options.rounds)
    if options.neo4j_rounds:
        results["neo4j"] = kill_servers(options.neo4j_rounds)
    for name, result in results.items():
        for line in result["wrong"][:10]:
            print(line)
        result["wrong"] = len(result["wrong"])
        print(
            f"{name}: {result['kills']} kills, {result['batches']} batches acknowledged, {result['wrong']} wrong; "
            f"slowest opening {result['slowest_open_s']:.2f} s"
        )
    print(json.dumps({"bench": "crash", "results": results}))
    sys.exit(any(result["wrong"] for result in results.values()))


if __name__ == "__main__":
    main()
