"""What writes while `bench.web` reads: edges of a few models at a time, replaced again and again, as a sync does.

python -m bench.web_writer STORE MODELS      until it is told to end
"""

from __future__ import annotations

import random
import sys
import time

from bench.web import edge, hub_id
from lineage.graphdb.store import open_store


def main(folder: str, size: int) -> None:
    """Writes, and says how much."""
    rng = random.Random(3)
    written, began = 0, time.monotonic()
    with open_store(folder, create=False) as store:
        print("writing", flush=True)
        while True:
            children = rng.sample(range(size // 2, size), 20)
            edges = [edge(child, rng.randrange(child), rng) for child in children]
            store.replace_edges([hub_id(child) for child in children], edges, [], f"run-{written}")
            written += len(children)
            print(f"{written} edges in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
