"""What detection does on a GPU: answers beside the CPU's, and rates as shares of plain products of the same run.

    python -m bench.gpu [--device cuda] [--models 20000] [--values 65536] [--family 1000]

First the golden decisions (tests/detect/golden_decisions.py) on both devices, then: plain products in bf16, tf32 and float32; the nearest
others of all models (lineage.detect.neighbours, vectors from a file); distances, slopes and growth of all pairs of blocks of models (as in
bench.all_pairs); one large family; the trained detector. Prints a table and one last line of JSON; exit code 1 where an answer differs.
`--device cpu` with small sizes runs every line of it without a GPU. `bench/gpu.sh` runs this and the CUDA tests on a machine that has
nothing but Python and torch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.all_pairs import LAYERS, WIDTH
from bench.large_family import family, tree
from lineage.detect.align import Layer, Part, align
from lineage.detect.detector.scoring import directions
from lineage.detect.gram import gram
from lineage.detect.neighbours import NEIGHBOURS, VectorFile, nearest_of_all
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.signals.growth import growth
from lineage.detect.signals.inheritance import inheritance
from tests.detect.golden_decisions import families

BLOCK = 2000  # models whose pairs are measured at a time
CHUNK = 1 << 27  # numbers of one product


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall clock on a GPU, which is waited for; processor time on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
    began = time.process_time()
    work()
    return time.process_time() - began


def differences(device: torch.device) -> list[str]:
    """Golden decisions that the device does not take as the CPU does: answer, parent, or a probability to two digits."""
    found = []
    for name, (subjects, options) in families().items():
        ours, its = decide(subjects, options, torch.device("cpu")), decide(subjects, options, device)
        for one, other in zip(ours, its, strict=True):
            same = (one.answer, one.parent) == (other.answer, other.parent)
            if not same or abs(one.probability - other.probability) > 0.005:
                found.append(f"{name}: {one.model}: {one.answer} {one.parent} {one.probability:.3f}, "
                             f"there {other.answer} {other.parent} {other.probability:.3f}")  # fmt: skip
    return found


def product_rate(dtype: torch.dtype, precision: str, values: int, device: torch.device, models: int) -> float:
    """Multiplications and additions a second of one plain product (models, values) @ (values, models)."""
    rows = min(models, max(256, CHUNK // values))
    torch.set_float32_matmul_precision(precision)
    flat = torch.randn(rows, values, device=device).to(dtype)
    flat @ flat.T
    spent = min(seconds_of(lambda: flat @ flat.T, device) for _ in range(3))
    torch.set_float32_matmul_precision("highest")
    return 2 * rows * rows * values / max(spent, 1e-9)


def neighbours_seconds(models: int, values: int, device: torch.device, folder: Path) -> float:
    random = np.random.default_rng(0)
    file = VectorFile(folder / "vectors.f32", np.zeros(values, np.float32))
    for start in range(0, models, 1000):
        some = random.standard_normal((min(1000, models - start), values), dtype=np.float32)
        file.append(some / np.linalg.norm(some, axis=1, keepdims=True))
    return seconds_of(lambda: nearest_of_all(file, device, NEIGHBOURS), device)


def layers_of(models: int, values: int, device: torch.device) -> list[Layer]:
    units = max(1, values // (LAYERS * WIDTH))
    return [
        Layer(f"layers.{i}", i / LAYERS, Part.BODY, units * WIDTH, torch.randn(models, units, WIDTH, device=device))
        for i in range(LAYERS)
    ]


def all_pairs_seconds(models: int, values: int, device: torch.device) -> dict[str, float]:
    """Seconds of all pairs of `models`, from those of one block of them and its number of pairs."""
    block = min(models, BLOCK)
    layers = layers_of(block, values, device)
    pairs = torch.combinations(torch.arange(block, device=device))
    scale = models * (models - 1) / (block * (block - 1))
    products = gram(layers)
    everyone = torch.arange(block, device=device).expand(block, -1)
    return {
        "distances": scale * seconds_of(lambda: gram(layers).distances(), device),
        "slopes, seen from one model": scale * seconds_of(lambda: inheritance(products, 0, everyone), device),
        "growth": scale * seconds_of(lambda: growth(layers, pairs), device),
    }


def family_seconds(models: int, values: int, device: torch.device) -> tuple[float, float]:
    """(seconds of one large family, pairs a second of the detector)."""
    random = np.random.default_rng(0)
    subjects = list(family(tree(models, random), values, random))
    decide(subjects[:8], Options(), device)
    whole = seconds_of(lambda: decide(subjects, Options(), device), device)
    some = align([subject.sketch for subject in subjects[:200]], device)
    count = len(some[0].values)
    near = torch.stack([torch.tensor([(i + j) % count for j in range(1, 11)]) for i in range(count)])
    pairs = len({frozenset((i, j)) for i, row in enumerate(near.tolist()) for j in row})
    directions(some, near)
    return whole, pairs / seconds_of(lambda: directions(some, near), device)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--values", type=int, default=65_536)
    parser.add_argument("--family", type=int, default=1000)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    differ = differences(device)
    print(f"{card}, torch {torch.__version__}; golden decisions that differ from the CPU's: {len(differ)}", flush=True)
    print(*differ, sep="\n")
    kinds = {"bf16": (torch.bfloat16, "high"), "tf32": (torch.float32, "high"), "float32": (torch.float32, "highest")}
    rates = {name: product_rate(*how, chosen.values, device, chosen.models) for name, how in kinds.items()}
    for name, rate in rates.items():
        print(f"plain product, {name}: {rate / 1e12:.2f} T/s", flush=True)
    whole = 2 * chosen.models**2 * chosen.values
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        rows["nearest others of all, vectors from a file"] = neighbours_seconds(
            chosen.models, chosen.values, device, Path(folder)
        )
    rows |= all_pairs_seconds(chosen.models, chosen.values, device)
    rows["distances, slopes and growth"] = sum(list(rows.values())[1:])
    print(f"\n| {chosen.models:,} x {chosen.values:,} on {card} | s | of a bf16 product | of a float32 product |")
    print("| --- | ---: | ---: | ---: |")
    for name, spent in rows.items():
        shares = (whole / spent / rates[kind] for kind in ("bf16", "float32"))
        print(f"| {name} | {spent:.1f} | " + " | ".join(f"{share:.3f}" for share in shares) + " |", flush=True)
    spent, scored = family_seconds(chosen.family, chosen.values, device)
    print(f"\none family of {chosen.family}: {spent:.1f} s; detector: {scored:,.0f} pairs a second")
    print(json.dumps({"bench": "gpu", "card": card, "differ": len(differ), "rates": rates, "seconds": rows,
                      "family_seconds": spent, "detector_pairs": scored}))  # fmt: skip
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
