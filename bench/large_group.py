"""One backbone with too many models for all pairs: neighbours, families, and 100 new models the night after.

    python -m bench.large_group [--models 5000] [--values 65536] [--roots 20] [--new 100] [--checked 20] [--only-new]

A forest of `--roots` random trees; each child is its parent, all units shrunk a little and moved by their own amounts into new directions.
Sketches lie in a store on disk, decisions are those of `lineage detect` for a group of this size. Reported: processor and wall seconds,
peak memory of the process, share of the exact nearest neighbours (float64) among those found, right parents, and the same for the
increment. With `--only-new` the whole group is divided into families and not decided: what the night finds in its folder is the same.

5,000 models are a few minutes of processor time. The sizes of the claim: `--models 20000` (6 GB on disk for the samples, as much for the
vectors) and `--models 50000` (15 GB each); neither was run on the two shared processors that the figures in RESULTS.md come from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.large_family import LAYERS, WIDTH, Header, tree
from lineage.architecture import ArchitectureModels
from lineage.deciding import GroupAnswer
from lineage.detect.align import pick_device
from lineage.detect.large_groups import load
from lineage.detect.options import Options
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import SketchStore, make_sketch
from lineage.graphdb.schema import Model, Status, keys_in
from lineage.large_deciding import decide_large, divided


@dataclass(frozen=True, slots=True)
class Cost:
    processor_seconds: float
    seconds: float
    peak_mb: int


def forest(models: int, roots: int, random: np.random.Generator) -> list[int]:
    """The parent of each model, -1 for the roots; the first tree is as large as the other ones together."""
    sizes = [models // 2, *[models // 2 // max(1, roots - 1)] * (roots - 1)] if roots > 1 else [models]
    sizes[0] += models - sum(sizes)
    parents: list[int] = []
    for size in sizes:
        first = len(parents)
        parents += [parent + first if parent >= 0 else -1 for parent in tree(size, random)]
    return parents


def child(parent: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(layers, units, values): shrunk, and every unit moved by an amount of its own."""
    moved = random.uniform(0.1, 0.4) * random.lognormal(0.0, 0.5, (*parent.shape[:2], 1))
    noise = random.standard_normal(parent.shape, dtype=np.float32)
    return ((1 - random.uniform(0, 0.04)) * parent + moved.astype(np.float32) * noise).astype(np.float32)


def keep(store: SketchStore, place: int, weights: np.ndarray, header: Sequence[Header], values: int) -> Model:
    raw = {tensor.name: layer.tobytes() for tensor, layer in zip(header, weights, strict=True)}
    blocks = ((b, raw[b.tensor][4 * b.start : 4 * b.stop]) for b in plan(header, values))
    sketch = make_sketch(hashlib.sha256(b"".join(raw.values())).hexdigest(), header, blocks)
    store.keep(sketch)
    return Model(
        f"{place:024x}", f"m{place}", Status.SKETCHED, weights_digest=sketch.digest, signature=sketch.signature
    )


def measured(work: Callable[[], GroupAnswer]) -> tuple[GroupAnswer, Cost]:
    began, processor = time.perf_counter(), time.process_time()
    answer = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    return answer, Cost(round(time.process_time() - processor, 1), round(time.perf_counter() - began, 1), peak)


def recall(folder: Path, checked: int, count: int = 10) -> float:
    """Share of the `count` nearest others of some models, in float64, that are among the neighbours found."""
    group = load(folder)
    assert group is not None
    vectors = group.vectors.rows(0, len(group.ids), pick_device("cpu")).numpy()
    found = 0
    chosen = np.linspace(0, len(vectors) - 1, checked).round().astype(int)
    for model in chosen:
        apart = np.array([np.square(vectors[model].astype(np.float64) - other).sum() for other in vectors])
        apart[model] = np.inf
        found += len(set(np.argsort(apart)[:count].tolist()) & set(group.neighbours.index[model].tolist()))
    return found / (count * checked)


def right(answer: GroupAnswer, parents: Sequence[int]) -> tuple[int, int, int]:
    """(right parents, wrong ones, children decided about)."""
    good = bad = decided = 0
    for said, decision in answer.said:
        parent = parents[int(said.model, 16)]
        if parent >= 0:
            decided += 1
            good += decision.parent == f"{parent:024x}"
            bad += decision.parent not in (None, f"{parent:024x}")
    return good, bad, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--values", type=int, default=65_536)
    parser.add_argument("--roots", type=int, default=20)
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--checked", type=int, default=20)
    parser.add_argument("--no-detector", action="store_true")
    parser.add_argument("--only-new", action="store_true")
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    parents = forest(chosen.models, chosen.roots, random)
    parents += [int(random.integers(0, chosen.models)) for _ in range(chosen.new)]
    units = max(1, chosen.values // (LAYERS * WIDTH))
    header = [Header(f"layers.{i}.weight", "F32", (units, WIDTH)) for i in range(LAYERS)]
    options = Options(detector=not chosen.no_detector)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        store, made = (
            SketchStore(place / "sketches", chosen.values),
            np.lib.format.open_memmap(place / "made.npy", "w+", np.float32, (len(parents), LAYERS, units, WIDTH)),
        )
        models = []
        for index, parent in enumerate(parents):
            fresh = random.standard_normal(made.shape[1:], dtype=np.float32)
            made[index] = child(np.asarray(made[parent]), random) if parent >= 0 else fresh
            models.append(keep(store, index, made[index], header, chosen.values))
        del made
        (place / "made.npy").unlink()
        store.compact_if_due(at_end=True)
        key = keys_in(str(models[0].signature))[0]

        def decide(count: int) -> GroupAnswer:
            known = ArchitectureModels(models[:count], {}, (), frozenset())
            if chosen.only_new and count == chosen.models:
                found = divided(known, key, key, store, options, "cpu", place / "kept")
                return GroupAnswer(found.readable, [], found.sizes)
            return decide_large(known, key, key, store, options, "cpu", place / "kept")

        rows = {}
        first = "whole group" + (", only divided" if chosen.only_new else "")
        for name, count in ((first, chosen.models), (f"{chosen.new} new", len(models))):
            answer, cost = measured(lambda count=count: decide(count))  # type: ignore[misc]
            rows[name] = (cost, *right(answer, parents))
        share = recall(place / "kept" / key, chosen.checked)
    print(
        "| | processor s | wall s | peak MB | right parents | wrong | decided |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, (cost, good, bad, decided) in rows.items():
        print(f"| {name} | {cost.processor_seconds} | {cost.seconds} | {cost.peak_mb} | {good} | {bad} | {decided} |")
    print(f"\nexact neighbours found: {share:.4f} of the 10 nearest of {chosen.checked} models")
    print(json.dumps({"bench": "large_group", "models": chosen.models, "values": chosen.values, "recall": share,
                      "rows": {name: [row[0].processor_seconds, *row[1:]] for name, row in rows.items()}}))  # fmt: skip


if __name__ == "__main__":
    main()
