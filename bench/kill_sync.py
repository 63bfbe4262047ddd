"""`lineage sync` killed with -9 at random moments against the loopback Hub: `python -m bench.kill_sync --kills 100`.

A family of small models is published, synced once without disturbance, and then, into another store, by passes each of which is
killed at a random moment, until one comes to its end. When that happens the Hub gets a new model and the killing goes on. At the
end both graphs must hold the same models, claims and edges, and no kill may have cost more than one page and one file read
again (one worker). Prints the counts and one last line of JSON; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from lineage.graphdb.store import Store, open_store
from tests.fake_hub import FakeHub

MODELS = 16
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def tensors(seed: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    return {f"layers.{i}.weight": chance.standard_normal((64, 64)).astype(np.float32) for i in range(6)}


def child(parent: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    return {name: w + 0.05 * chance.standard_normal(w.shape).astype(np.float32) for name, w in parent.items()}


def publish(hub: FakeHub, number: int) -> None:
    """The next model: children of the first one, with a claim."""
    values = tensors(0) if number == 0 else child(tensors(0), number)
    card = b"" if number == 0 else b"---\nbase_model: acme/m000\n---\n"
    files = {"model.safetensors": save(values), "README.md": card}
    hub.add_repo(f"acme/m{number:03}", files, created_at=FIRST_DAY + timedelta(hours=number))


def command(hub: FakeHub, store: Path) -> tuple[list[str], dict[str, str]]:
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "", "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return [sys.executable, "-m", "lineage", "sync", "--store", str(store), "--workers", "1"], env


def content(store: Store) -> dict[str, Any]:
    """Everything but times and the identities of runs."""
    models = sorted(
        (m.hub_id, m.repo_id, m.status, m.revision or "", m.weights_digest or "", m.signature or "")
        for m in store.models()
    )
    query = (
        "MATCH (c:Model)-[e]->(p:Model) WHERE type(e) <> 'SUPERSEDED'"
        " RETURN c.hub_id AS child, type(e) AS kind, p.hub_id AS parent, e.probability AS probability"
    )
    edges = sorted((r["child"], r["kind"], r["parent"], round(r["probability"] or 0, 6)) for r in store.read(query))
    return {"models": models, "edges": edges}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance, kills, ended, published = random.Random(given.seed), 0, 0, MODELS
    with tempfile.TemporaryDirectory() as temporary, FakeHub() as hub:
        folder = Path(temporary)
        for number in range(MODELS):
            publish(hub, number)
        words, env = command(hub, folder / "killed")
        began = time.monotonic()
        subprocess.run(command(hub, folder / "warm")[0], env=env, check=True, capture_output=True)
        whole_seconds = time.monotonic() - began
        hub.reset_counts()
        while kills < given.kills:
            process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(chance.uniform(0.1, 1.0) * whole_seconds)
                ended += 1
                publish(hub, published)
                published += 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        last = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        reads = [r for r in hub.log() if r.kind == "cdn" and r.status == 206]
        pages = hub.counts()["list"].requests
        subprocess.run(command(hub, folder / "whole")[0], env=env, check=True, capture_output=True)
        with open_store(str(folder / "killed")) as one, open_store(str(folder / "whole")) as other:
            found, expected = content(one), content(other)
    same = found == expected
    per_file = len([r for r in hub.log() if r.kind == "cdn"]) - len(reads)  # of the undisturbed one
    again = len(reads) - per_file
    reads_a_file = per_file / published
    ok = same and last.returncode == 0 and again <= kills * reads_a_file and pages <= 2 * (kills + ended + 1)
    print(f"{kills} kills, {ended} passes that ended before; {published} models, {len(expected['edges'])} edges")
    print(
        f"graphs equal: {same}; ranged reads {len(reads)} where {per_file} were needed: {again / kills / reads_a_file:.3f} files a kill"
    )
    print(f"pages of the listing: {pages} in {kills + ended + 1} passes; {time.monotonic() - began:.0f} s in all")
    if not same:
        for name in expected:
            print(name, "only in one:", sorted(set(map(tuple, found[name])) ^ set(map(tuple, expected[name])))[:6])
    figures = {"kills": kills, "same": same, "reads": len(reads), "needed": per_file, "pages": pages}
    print(json.dumps({"bench": "kill_sync", "ok": ok, **figures}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
