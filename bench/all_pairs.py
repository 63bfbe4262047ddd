"""Distances, slopes and growth statistics of all pairs of n samples, against one plain matrix product of that size in the same run.

    python -m bench.all_pairs [--models 2000] [--values 65536] [--block 1000] [--blocks 1] [--threads 2] [--device cuda]

Floor: one (models, values) @ (values, models) product in float32, measured in the same run. Measured: what detection uses
(`lineage.detect.gram.gram`, slopes of `inheritance` seen from one model, `growth`) on all pairs within a block of models, so that
memory stays bounded; the share is the floor's time an inner product over ours. On the CPU processor time is compared, threads that
wait left out, so
that a busy machine does not count as much: it still counts, by what others leave of the caches. Values are random.

What each must do at least, for V values an inner product:
- distances: half of the products (they are symmetric) in float64, at half the rate of float32: V multiplications' time, share 1.0.
- slopes: read one float64 a group, 32 here, and put 32 numbers in order: 191 comparisons of eight bytes in a network. No product.
- growth: half of the products in float32, V/2 multiplications, share 2.0 if that were all. But for each of the V/128 units of half of the
  pairs it also passes some 16 times over one float32: about 30 KB through the cache an inner product, 0.6 us at 50 GB/s.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from typing import TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: threads that wait shall not spin

import torch
from torch import Tensor

from lineage.detect.align import Layer, Part
from lineage.detect.gram import Gram, gram
from lineage.detect.signals.growth import growth
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.pairs import each_once

LAYERS, WIDTH = 8, 128
T = TypeVar("T")


class Clock:
    """Adds up seconds by name: of the processor on the CPU, of the wall on a GPU, which is waited for."""

    def __init__(self, device: torch.device):
        self.device = device
        self.spent: dict[str, float] = {}

    def __call__(self, name: str, what: Callable[[], T]) -> T:
        began = self._now()
        result = what()
        self.spent[name] = self.spent.get(name, 0.0) + self._now() - began
        return result

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()


def layers_of(values: Tensor) -> list[Layer]:
    """(m, v) cut into LAYERS layers of units of WIDTH values."""
    parts = values.reshape(len(values), LAYERS, -1, WIDTH).unbind(1)
    return [
        Layer(f"layers.{i}.weight", i / (LAYERS - 1), Part.BODY, part[0].numel(), part.contiguous())
        for i, part in enumerate(parts)
    ]


def measure(values: Tensor, clock: Clock) -> None:
    """All pairs of one block of models, (b, v)."""
    models = len(values)
    layers = layers_of(values)
    everyone = torch.arange(models)
    others = (everyone[:, None] + everyone[None, 1:]) % models  # (b, b - 1)
    pairs = each_once(others).to(values.device)

    def distances() -> Gram:
        products = gram(layers)
        products.distances()
        return products.cpu()

    products = clock("distances", distances)
    clock("slopes", lambda: inheritance(products, 0, others))
    clock("growth", lambda: growth(layers, pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, help="2,000; 20,000 on a GPU")
    parser.add_argument("--values", type=int, default=65_536)
    parser.add_argument("--block", type=int, default=1000, help="models whose pairs are held together")
    parser.add_argument("--blocks", type=int, default=1, help="how many such blocks are measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    models = arguments.models or (20_000 if device.type == "cuda" else 2_000)
    torch.manual_seed(0)
    values = torch.randn(models, arguments.values, device=device)
    values[:64] @ values[:64].T  # warms up
    clock = Clock(device)
    clock("product", lambda: values @ values.T)
    floor = clock.spent.pop("product") / models**2
    blocks = values.split(min(arguments.block, models))[: arguments.blocks]
    for block in blocks:
        measure(block, clock)
    products = sum(len(block) ** 2 for block in blocks)
    shares = {name: floor * products / spent for name, spent in clock.spent.items()}
    shares["all three"] = floor * products / sum(clock.spent.values())
    print(f"floor: {floor * 1e6:.2f} us an inner product of {arguments.values:,} values ({models:,} x {models:,})")
    print("| what | us an inner product | share of the product's rate |")
    print("| --- | ---: | ---: |")
    for name, share in shares.items():
        print(f"| {name} | {floor / share * 1e6:.2f} | {share:.3f} |")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {"models": models, "values": arguments.values, "floor_us": floor * 1e6, "peak_bytes": memory, **shares}
        )
    )


if __name__ == "__main__":
    main()
