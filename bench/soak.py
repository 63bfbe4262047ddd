"""The service for hours against the loopback Hub: `python -m bench.soak --minutes 120 --every 1m`.

`lineage sync --every …` runs in a process of its own. Meanwhile models are added, changed, renamed and deleted, and faults of the Hub and
its storage switch on and off: errors of the server, refusals with and without a time to wait, broken connections, slow and cut
answers. Then everything is quiet for two passes, and the service is told to stop. It passes where

- its memory has not grown by more than 5 % from the second quarter of the time to the last,
- it holds no more threads and open files than before, and has left no half-written file,
- it ended with exit code 0 and wrote no traceback,
- the graph says of the models that the Hub lists what that of a fresh crawl says.

Deleted models are strangers to all others, since the graph keeps what a deleted model was until the Hub has denied it on two days.
Prints a line a minute, a table, and one last line of JSON; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from safetensors.numpy import save

from bench.kill_sync import child, tensors
from lineage.graphdb.store import open_store
from tests.fake_hub import FakeHub

FAMILY = 8
STRANGERS = 6
LOOK_SECONDS = 5.0
FAULT_SECONDS = 15.0
MEMORY_GROWTH = 1.05
SPARE_HANDLES = 4  # files and threads that come and go with a pass
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """What the Hub holds, and what may still be done to it."""

    hub: FakeHub
    chance: random.Random
    family: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    made: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def add(self, stranger: bool) -> None:
        number, self.made = self.made, self.made + 1
        name = f"{'other' if stranger else 'acme'}/m{number:04}"
        shape = (40 + number % 500, 48)
        chance = np.random.default_rng(number)
        alone = {f"blocks.{i}.weight": chance.standard_normal(shape).astype(np.float32) for i in range(3)}
        values = alone if stranger else tensors(0) if not self.family else child(tensors(0), number)
        card = b"" if stranger or not self.family else b"---\nbase_model: acme/m0000\n---\n"
        files = {"model.safetensors": save(values), "README.md": card}
        self.hub.add_repo(name, files, created_at=FIRST_DAY + timedelta(hours=number))
        (self.strangers if stranger else self.family).append(name)

    def change(self) -> None:
        """One thing that happens on a Hub."""
        what = self.chance.choice(["add", "add stranger", "commit", "card", "rename", "delete"])
        self.done[what] = self.done.get(what, 0) + 1
        if what.startswith("add"):
            self.add(what == "add stranger")
        elif what == "commit":
            name = self.chance.choice(self.family[1:])
            values = child(tensors(0), 10_000 + sum(self.done.values()))
            self.hub.commit(name, {"model.safetensors": save(values)})
        elif what == "card":
            self.hub.commit(
                self.chance.choice(self.family[1:]), {"README.md": b"---\nlicense: mit\nbase_model: acme/m0000\n---\n"}
            )
        elif what == "rename":
            place = self.chance.randrange(1, len(self.family))
            new = f"acme/renamed{sum(self.done.values()):04}"
            self.hub.rename(self.family[place], new)
            self.family[place] = new
        elif len(self.strangers) > 2:
            self.hub.delete(self.strangers.pop(self.chance.randrange(len(self.strangers))))

    def fault(self) -> str:
        """One kind of trouble; it lasts until the faults are cleared."""
        faults = self.hub.faults
        kinds = {
            "500": lambda: faults.status(500, kind="any"),
            "429": lambda: faults.status(429, kind="any", headers={"Retry-After": "1"}),
            "429 without a time": lambda: faults.status(429, kind="any", times=3, headers={"Retry-After": "0"}),
            "503": lambda: faults.status(503, kind="info"),
            "dropped": lambda: faults.drop_connection(kind="any"),
            "slow": lambda: faults.slow(0.5, kind="any"),
            "cut": lambda: faults.cut_after_bytes(100, kind="range"),
            "other bytes": lambda: faults.short_body(kind="range"),
        }
        name = self.chance.choice(list(kinds))
        kinds[name]()
        return name


def looked_at(pid: int) -> dict[str, float]:
    """Resident memory in MB, threads and open files of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {
        "mb": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def content(store: Path, listed: set[str]) -> dict[str, Any]:
    """What a graph says of the models that the Hub lists."""
    with open_store(str(store), create=False) as graph:
        models = {m.hub_id: m for m in graph.models() if m.repo_id in listed}
        rows = graph.read(
            "MATCH (c:Model)-[e]->(p:Model) WHERE type(e) <> 'SUPERSEDED'"
            " RETURN c.hub_id AS child, type(e) AS kind, p.hub_id AS parent, e.probability AS probability"
        )
    about = sorted(
        (m.hub_id, m.repo_id, str(m.status), m.weights_digest or "", m.license or "") for m in models.values()
    )
    edges = sorted(
        (r["child"], r["kind"], r["parent"], round(r["probability"] or 0, 4))
        for r in rows
        if r["child"] in models and r["parent"] in models
    )
    return {"models": about, "edges": edges}


def passes(store: Path) -> int:
    """Passes that have come to their end so far, from what the service printed."""
    return (store.parent / "out").read_text().count('"detect"')


def soak(minutes: float, every: str, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary, FakeHub() as hub:
        folder = Path(temporary)
        world = World(hub, chance)
        for number in range(FAMILY + STRANGERS):
            world.add(stranger=number >= FAMILY)
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder),
        }
        words = [sys.executable, "-m", "lineage", "sync", "--store", str(folder / "store"), "--json"]
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            service = subprocess.Popen([*words, "--every", every], env=environment, stdout=out, stderr=err)
            looks = _disturb(world, service, minutes, folder)
            hub.faults.clear()
            before, until = passes(folder / "store"), time.monotonic() + 600
            while passes(folder / "store") < before + 2 and time.monotonic() < until and service.poll() is None:
                time.sleep(1)
            looks.append(looked_at(service.pid))
            service.send_signal(signal.SIGTERM)
            code = service.wait(timeout=300)
        subprocess.run(
            [*words[:-2], str(folder / "fresh"), "--json"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        listed = set(world.family + world.strangers)
        kept, fresh = content(folder / "store", listed), content(folder / "fresh", listed)
        quarter = len(looks) // 4
        early, late = looks[quarter : 2 * quarter], looks[3 * quarter :]
        left = [
            str(p.relative_to(folder))
            for p in folder.rglob("*")
            if p.suffix in (".part", ".tmp") or p.name.startswith(".graph-")
        ]
        text = (folder / "err").read_text()
        found = {
            "minutes": minutes,
            "passes": passes(folder / "store"),
            "changes": world.done,
            "models": len(listed),
            "mb_early": round(median(look["mb"] for look in early), 1),
            "mb_late": round(median(look["mb"] for look in late), 1),
            "threads": [_most(early, "threads"), _most(late, "threads")],
            "files": [_most(early, "files"), _most(late, "files")],
            "left_over": left,
            "exit_code": code,
            "tracebacks": text.count("Traceback"),
            "failed_passes": text.count("this pass failed"),
            "same_graph": kept == fresh,
        }
        if kept != fresh:
            for name in kept:
                only = (
                    [row for row in kept[name] if row not in fresh[name]][:5],
                    [row for row in fresh[name] if row not in kept[name]][:5],
                )
                print(f"{name}: only kept {only[0]}; only fresh {only[1]}")
        if found["tracebacks"]:
            print(text[-3_000:])
    found["passed"] = bool(
        found["same_graph"]
        and code == 0
        and not left
        and not found["tracebacks"]
        and found["mb_late"] <= MEMORY_GROWTH * found["mb_early"]
        and found["threads"][1] <= found["threads"][0] + SPARE_HANDLES
        and found["files"][1] <= found["files"][0] + SPARE_HANDLES
    )
    return found


def _disturb(world: World, service: subprocess.Popen[bytes], minutes: float, folder: Path) -> list[dict[str, float]]:
    """Changes and faults until the time is over; what the service holds, every few seconds."""
    looks: list[dict[str, float]] = []
    began, fault_until, trouble = time.monotonic(), 0.0, "none"
    while time.monotonic() - began < 60 * minutes and service.poll() is None:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        if world.chance.random() < 0.4:
            world.change()
        if fault_until and now > fault_until:
            world.hub.faults.clear()
            fault_until, trouble = 0.0, "none"
        elif not fault_until and world.chance.random() < 0.2:
            trouble, fault_until = world.fault(), now + FAULT_SECONDS
        looks.append(looked_at(service.pid))
        if len(looks) % 12 == 0:
            look = looks[-1]
            print(
                f"{(now - began) / 60:6.1f} min  {passes(folder / 'store'):4} passes  {look['mb']:7.1f} MB  "
                f"{look['threads']:3.0f} threads  {look['files']:3.0f} files  fault: {trouble}",
                flush=True,
            )
    return looks


def _most(looks: Iterable[dict[str, float]], what: str) -> int:
    return int(max(look[what] for look in looks))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", default="1m")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = soak(given.minutes, given.every, given.seed)
    for name, value in found.items():
        print(f"{name:14} {value}")
    print(json.dumps(found))
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
