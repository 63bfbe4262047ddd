"""Processor time of each stage against the number of models, with the exponent of its growth.

    python -m bench.growth [--sizes 1000 4000 16000] [--stages listing headers ...] [--repeat 2]
    python -m bench.growth --sizes 1000 10000 100000 3000000 --stages listing headers grouping writing asking

Every stage gets the same kind of models at every size: 20 to an architecture where stages work on groups; `neighbours` alone is one group
of all of them, whose pairs are its work, so its exponent may be 2. What a stage makes is held in memory, so `samples`, `neighbours` and
`decision` at three million models need a machine for it; the other stages run there anywhere. An exponent above 1.1 ends with exit code 1.
The fit is a line through the logarithms; costs below a hundredth of a second are left out of it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.graph import edges, hub_id, models, name, shape
from bench.ideal_families import child
from bench.listing_server import rows
from lineage.crawler.listing import parse_item
from lineage.detect.backbone import group_signature
from lineage.detect.group_decisions import decide_groups
from lineage.detect.groups import groups_of
from lineage.detect.model_input import Subject
from lineage.detect.neighbours import VectorFile, nearest_of_all
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Verdict
from lineage.graphdb.store import open_store
from lineage.queries.parent_query import parent_named
from tests.builders import Header, sketch_of

GROUP = 20
ASKED = 300
LINEAR, QUADRATIC = 1.1, 2.1
LEAST_SECONDS = 0.01


@dataclass(slots=True)
class Clock:
    """Processor seconds between begin and end."""

    spent: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.process_time()
        yield
        self.spent += time.process_time() - began


def listing(count: int, clock: Clock, folder: Path) -> None:
    found = rows(count, 1)[:count]
    with clock.running():
        for row in found:
            parse_item(row)


def headers(count: int, clock: Clock, folder: Path) -> None:
    tensors = [
        [
            Header(f"model.layers.{i}.{part}.weight", "F32", (64 + 8 * wide, 64))
            for i in range(12)
            for part in ("q", "k", "v")
        ]
        for wide in range(50)
    ]
    with clock.running():
        for place in range(count):
            group_signature(tensors[place % len(tensors)])


def subjects(count: int) -> list[Subject]:
    """GROUP models of each architecture: a root and its children."""
    dice, found = np.random.default_rng(0), []
    for group in range(count // GROUP):
        shapes = {"layers.0.weight": (16 + group % 997, 16), "layers.1.weight": (16, 16 + group // 997)}
        root = {n: dice.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
        for place in range(GROUP):
            weights = root if place == 0 else child(root, dice, 0.1, 0.0, 0.5)
            found.append(Subject(f"g{group}m{place}", sketch_of(weights, f"g{group}m{place}")))
    return found


def samples(count: int, clock: Clock, folder: Path) -> None:
    made = subjects(count)
    store = SketchStore(folder / "sketches")
    with clock.running():
        for subject in made:
            store.keep(subject.sketch)
            store.compact_if_due()
        store.compact_if_due(at_end=True)
        for _ in store.many([subject.sketch.digest for subject in made]):
            pass


def grouping(count: int, clock: Clock, folder: Path) -> None:
    made = subjects(count)
    with clock.running():
        groups_of(made)


def neighbours(count: int, clock: Clock, folder: Path) -> None:
    file = VectorFile(folder / "vectors.f32", np.zeros(2048, np.float32))
    file.append(np.random.default_rng(0).standard_normal((count, 2048), dtype=np.float32))
    with clock.running():
        nearest_of_all(file, torch.device("cpu"))


def decision(count: int, clock: Clock, folder: Path) -> None:
    made = subjects(count)
    with clock.running():
        decide_groups(made, lambda some: decide(some, Options()), 0.8)


def writing(count: int, clock: Clock, folder: Path) -> None:
    made = shape(count)
    numbers = range(count)
    with open_store(str(folder / "store")) as store, clock.running():
        store.upsert_models(models(numbers))
        verdicts = (Verdict(hub_id(n), "parent", "", 0.9) for n in numbers)
        store.replace_edges((hub_id(n) for n in numbers), edges(made, numbers), verdicts, "run")


def asking(count: int, clock: Clock, folder: Path) -> None:
    """ASKED questions, whatever the size: an exponent near 0."""
    made = shape(count)
    with open_store(str(folder / "store")) as store:
        store.upsert_models(models(range(count)))
        store.replace_edges((hub_id(n) for n in range(count)), edges(made, range(count)), (), "run")
        chance = random.Random(1)
        with clock.running():
            for _ in range(ASKED):
                parent_named(store, name(chance.randrange(count)))


STAGES: dict[str, Callable[[int, Clock, Path], None]] = {
    stage.__name__: stage for stage in (listing, headers, samples, grouping, neighbours, decision, writing, asking)
}


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Of the power of the size that the seconds grow with; None where too few of them are long enough."""
    points = [(math.log(n), math.log(s)) for n, s in zip(sizes, seconds, strict=True) if s >= LEAST_SECONDS]
    if len(points) < 2:
        return None
    return float(np.polyfit(*zip(*points, strict=True), 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16_000])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--repeat", type=int, default=2, help="The least of so many runs counts.")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| stage | " + " | ".join(f"{size:,}" for size in chosen.sizes) + " | exponent |")
    print("| --- |" + " ---: |" * (len(chosen.sizes) + 1))
    found: dict[str, float | None] = {}
    over = []
    for stage in chosen.stages:
        seconds = []
        for size in chosen.sizes:
            runs = []
            for _ in range(chosen.repeat):
                with tempfile.TemporaryDirectory() as folder:
                    clock = Clock()
                    STAGES[stage](size, clock, Path(folder))
                    runs.append(clock.spent)
            seconds.append(min(runs))
        found[stage] = exponent(chosen.sizes, seconds)
        shown = "" if found[stage] is None else f"{found[stage]:.2f}"
        print(f"| {stage} | " + " | ".join(f"{spent:.2f}" for spent in seconds) + f" | {shown} |", flush=True)
        if (found[stage] or 0) > (QUADRATIC if stage == "neighbours" else LINEAR):
            over.append(stage)
    print(f"\nprocessor seconds, the least of {chosen.repeat}; beyond the bound: {', '.join(over) or 'none'}")
    print(json.dumps({"bench": "growth", "ok": not over, "sizes": chosen.sizes, "exponents": found}))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
