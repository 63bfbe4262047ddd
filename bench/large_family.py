"""One large family: seconds, memory and right parents of the whole decision, the trained detector included.

    python -m bench.large_family [--models 1000] [--values 65536] [--threads 2]

The models are made, not trained: a random tree; each child is its parent, all units shrunk a little and moved by their own amounts into new
directions. That is what growth and inheritance look for, so the parents found say that nothing is lost in a large family, not how well
real ones are found. Peak memory is that of the process: Python, torch and the samples included. Floor: one product of all models' values.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lineage.detect import measurement
from lineage.detect.decision import AnswerKind
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import make_sketch

LAYERS, WIDTH = 8, 128
NEWEST = (
    40  # half of the children come from one of so many newest models, which makes the tree deep; the others from any
)


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    dtype: str
    shape: tuple[int, ...]


def tree(models: int, random: np.random.Generator) -> list[int]:
    """The parent of each model, -1 for the first."""
    oldest = [max(0, i - NEWEST) if random.random() < 0.5 else 0 for i in range(1, models)]
    return [-1, *(int(random.integers(low, i)) for i, low in zip(range(1, models), oldest, strict=True))]


def family(parents: list[int], values: int, random: np.random.Generator) -> Iterator[Subject]:
    """Models of LAYERS matrices, WIDTH values a unit, `values` in all; parents stand before their children."""
    units = max(1, values // (LAYERS * WIDTH))
    header = [Header(f"layers.{i}.weight", "F32", (units, WIDTH)) for i in range(LAYERS)]
    made = np.empty(
        (len(parents), LAYERS, units, WIDTH), np.float32
    )  # one piece, or what is left of it would count as memory
    for index, parent in enumerate(parents):
        noise = random.standard_normal((LAYERS, units, WIDTH), dtype=np.float32)
        if parent < 0:
            model = noise
        else:
            moved = random.uniform(0.1, 0.5) * random.lognormal(0.0, 0.5, (LAYERS, units, 1)).astype(np.float32)
            shrunk = 1 - random.uniform(0, 0.04)
            model = (shrunk * made[parent] + moved * noise).astype(np.float32)
        made[index] = model
        raw = {tensor.name: layer.tobytes() for tensor, layer in zip(header, model, strict=True)}
        blocks = ((b, raw[b.tensor][4 * b.start : 4 * b.stop]) for b in plan(header, values))
        yield Subject(f"m{index}", make_sketch(hashlib.sha256(b"".join(raw.values())).hexdigest(), header, blocks))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def product_seconds(models: int, values: int) -> float:
    """One product of all models with all, float32."""
    flat = torch.randn(models, values)
    flat[:8] @ flat[:8].T
    began = time.perf_counter()
    flat @ flat.T
    return time.perf_counter() - began


class TimedMerges:
    """The search for merges, as detection calls it, with its processor time."""

    def __init__(self) -> None:
        self.search, self.seconds = measurement.merges, 0.0
        measurement.merges = self

    def __call__(self, *given: Any) -> Any:
        began = time.process_time()
        found = self.search(*given)
        self.seconds += time.process_time() - began
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--values", type=int, default=65_536)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-detector", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    floor = product_seconds(arguments.models, arguments.values)
    random = np.random.default_rng(arguments.seed)
    parents = tree(arguments.models, random)
    subjects = list(family(parents, arguments.values, random))
    place = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(arguments.seed)).tolist()
    shuffled = [subjects[i] for i in place]
    before, merging = peak_bytes(), TimedMerges()
    began, processor = time.perf_counter(), time.process_time()
    said = {d.model: d for d in decide(shuffled, Options(detector=not arguments.no_detector))}
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - processor
    found = [said[f"m{i}"] for i in range(1, len(parents))]
    right = sum(d.parent == f"m{p}" for d, p in zip(found, parents[1:], strict=True))
    result = {
        "models": arguments.models,
        "values": arguments.values,
        "threads": arguments.threads,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor_seconds, 1),
        "merges_processor_seconds": round(merging.seconds, 1),
        "product_seconds": round(floor, 2),
        "peak_mb": peak_bytes() // 10**6,
        "peak_mb_before": before // 10**6,
        "right": right,
        "children": len(found),
        "wrong": sum(d.parent not in (None, f"m{p}") for d, p in zip(found, parents[1:], strict=True)),
        "undecided": sum(d.answer is AnswerKind.UNDECIDED for d in found),
        "root_is_a_root": said["m0"].answer is AnswerKind.ROOT,
    }
    print(
        "| models x values | threads | s | processor s | one product, s | peak MB | right parents | wrong | undecided |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {arguments.models:,} x {arguments.values:,} | {arguments.threads} | {seconds:.1f} | {processor_seconds:.1f} | {floor:.2f} "
        f"| {result['peak_mb']} | {right} of {len(found)} ({right / len(found):.3f}) | {result['wrong']} | {result['undecided']} |"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
