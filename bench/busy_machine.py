"""What a scan costs beside two busy loops: `python -m bench.busy_machine [--models 20] [--runs 2] [--spinning]`.

`lineage scan` of one family made in code, as a whole process: processor time and wall clock, alone on the machine and beside two
processes that do nothing but count; with `--spinning` also with two spinning threads (minutes beside busy loops). Prints a table and one
last line of JSON; exit code 1 if the busy run takes more than 1.5 times the processor time of the quiet one. Processor time is what is
compared: on a shared machine the wall clock tells more about the neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bench.ideal_families import child

BOUND = 1.5
SHAPES = {f"layers.{i}.weight": (64, 256) for i in range(12)}
SPINNING = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "2"}


def fill(folder: Path, models: int) -> None:
    """A tree in which every model has up to four children."""
    dice = np.random.default_rng(0)
    made = [{name: (dice.standard_normal(shape) / 16).astype(np.float32) for name, shape in SHAPES.items()}]
    for place in range(1, models):
        made.append(child(made[(place - 1) // 4], dice, 0.1 * (1 + place % 3), 0.01, 0.5))
    for place, weights in enumerate(made):
        save_file(weights, folder / f"model{place:03d}.safetensors")


@contextmanager
def busy(loops: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def scanned(folder: Path, settings: dict[str, str]) -> tuple[float, float, str]:
    """(processor seconds, wall seconds, digest of the answer) of one scan in a process of its own."""
    unset = {"OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    environment = {**{k: v for k, v in os.environ.items() if k not in unset}, **settings}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "lineage", "scan", str(folder), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    edges = sorted((edge["child"], edge["parent"]) for edge in json.loads(done.stdout)["edges"])
    return cpu, time.perf_counter() - began, str(edges)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--spinning", action="store_true", help="Also what spinning threads cost; slow.")
    options = parser.parse_args()
    settings: dict[str, dict[str, str]] = {"as shipped": {}, **({"spinning": SPINNING} if options.spinning else {})}
    rows: dict[str, list[tuple[float, float]]] = {}
    answers = set()
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place), options.models)
        for name, how in settings.items():
            for loops in (0, 2):
                with busy(loops):
                    for _ in range(options.runs):
                        cpu, wall, answer = scanned(Path(place), how)
                        rows.setdefault(f"{name}, {loops} busy loops", []).append((cpu, wall))
                        answers.add(answer)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {options.models} models, {options.runs} runs\n")
    print(f"{'':<32}{'processor s':>12}{'wall s':>9}")
    least = {name: (min(cpu for cpu, _ in found), min(wall for _, wall in found)) for name, found in rows.items()}
    for name, (cpu, wall) in least.items():
        print(f"{name:<32}{cpu:>12.2f}{wall:>9.2f}")
    ratio = least["as shipped, 2 busy loops"][0] / least["as shipped, 0 busy loops"][0]
    ok = ratio <= BOUND and len(answers) == 1
    print(f"\nbusy over quiet, processor time: {ratio:.2f}, bound {BOUND}: {'kept' if ok else 'BROKEN'}")
    print(json.dumps({"bench": "busy_machine", "ok": ok, "ratio": round(ratio, 2), "seconds": least}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
