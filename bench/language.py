"""Does a store answer Cypher as Neo4j 5 does? 63 statements with their answers, and random graphs beside plain Python, on both stores.

    python -m bench.language --graphs 500

The statements are those of `tests/graphdb/language.py`, the graphs those of `tests/graphdb/fuzz.py`: cycles, parallel edges, self-loops
and islands. Ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

from lineage.graphdb.store import Store, open_store
from tests.graphdb.fuzz import check_graph
from tests.graphdb.language import READS, SCHEMA, UPSERTS, WRITES
from tests.graphdb.test_language import answer
from tests.neo4j_server import NotHere, neo4j_server

SHOWN = 5  # mismatches


def measure(store: Store, graphs: int) -> dict[str, Any]:
    """Counts for one empty store."""
    began = time.perf_counter()
    for text in SCHEMA:
        store.connection.define(text)
    passed = len(SCHEMA)
    for check in (*UPSERTS, *READS, *WRITES):
        found = answer(store, check)
        passed += found == check.rows
        if found != check.rows:
            print(f"{store.url}: {check.name}: {found} instead of {check.rows}")
    checks, wrong = 0, []
    for seed in range(graphs):
        count, mismatches = check_graph(store, seed)
        checks += count
        wrong += mismatches
    for mismatch in wrong[:SHOWN]:
        print(store.url, *mismatch)
    return {
        "statements": len(SCHEMA) + len(UPSERTS) + len(READS) + len(WRITES),
        "passed": passed,
        "graphs": graphs,
        "checks": checks,
        "mismatches": len(wrong),
        "seconds": round(time.perf_counter() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=500)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder, open_store(folder + "/store") as store:
        results["embedded"] = measure(store, options.graphs)
    try:
        with neo4j_server() as server:
            os.environ |= {"NEO4J_USER": server.user, "NEO4J_PASSWORD": server.password}
            with open_store(server.url) as store:
                results[f"neo4j {server.version}"] = measure(store, options.graphs)
    except NotHere as reason:
        print(f"Neo4j left out: {reason}", file=sys.stderr)
    for name, result in results.items():
        print(
            f"{name}: {result['passed']} of {result['statements']} statements; {result['graphs']} graphs, "
            f"{result['checks']} checks, {result['mismatches']} mismatches; {result['seconds']} s"
        )
    print(json.dumps({"bench": "language", "results": results}))
    sys.exit(any(r["mismatches"] or r["passed"] != r["statements"] for r in results.values()))


if __name__ == "__main__":
    main()
