"""Which way of training many small models is fastest on this machine: one after the other, or all in one tensor (vmap)?

`python -m bench.zoo.speed [--device cpu] [--lanes 8]`: milliseconds that a step of one model takes (on a CPU: of its own time), for the
first family of each architecture. vmap turns linear layers into batched matrix products and convolutions into grouped ones. The last
line is JSON.
"""

from __future__ import annotations

import json
import time

import click
import torch

from bench.datasets import from_environment
from bench.zoo.architectures import ARCHITECTURES, READS_TEXT, build
from bench.zoo.plan import describe
from bench.zoo.tasks import Task, stream
from bench.zoo.train import Lane, at_once, train


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--lanes", default=8, show_default=True, type=click.IntRange(min=1), help="Models trained together.")
@click.option("--steps", default=20, show_default=True, type=click.IntRange(min=2))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1))
def main(device: str, lanes: int, steps: int, threads: int) -> None:
    """Time both ways on the same lanes, after a warm-up."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    name = torch.cuda.get_device_name() if place.type == "cuda" else f"{threads} thread of this CPU"
    print(f"{lanes} models, {steps} steps, batches of 32, {name}; milliseconds a model and step")
    print(f"{'architecture':14s} {'values':>8s} {'loop':>8s} {'vmap':>8s}   used")
    table = {}
    for architecture in ARCHITECTURES:
        times = {
            way: _milliseconds(architecture, lanes, steps, place, way)
            for way in ("loop", "vmap")
            if _possible(architecture, way)
        }
        values = sum(p.numel() for p in _network(architecture).parameters())
        used = "vmap" if at_once(architecture, lanes, place) else "loop"
        shown = " ".join(f"{times[way]:8.2f}" if way in times else f"{'none':>8s}" for way in ("loop", "vmap"))
        print(f"{architecture:14s} {values:8d} {shown}   {used}", flush=True)
        table[architecture] = {way: round(value, 3) for way, value in times.items()}
    print(json.dumps({"device": name, "lanes": lanes, "milliseconds": table}))


def _possible(architecture: str, way: str) -> bool:
    return way == "loop" or architecture != "lstm"


def _network(architecture: str) -> torch.nn.Module:
    family = describe(architecture, 1)
    return build(architecture, family.outputs, dict(family.sizes), 0)


def _milliseconds(architecture: str, lanes: int, steps: int, device: torch.device, way: str) -> float:
    family, data = describe(architecture, 1), from_environment()
    text = architecture in READS_TEXT
    task = Task("shakespeare" if text else "mnist", "plain", 0, None, 0)
    batches = stream(task, data, text=text, channels=family.channels, batch=32, steps=steps, device=device)

    def go(length: int) -> None:
        network = build(architecture, family.outputs, dict(family.sizes), 0)
        start = dict(network.state_dict())
        same = [Lane(start, batches, "adamw", 1e-3, 0.01, "constant", (length,)) for _ in range(lanes)]
        train(network, same, device, way == "vmap")  # ends with a copy to the host, which waits for the device

    clock = time.process_time if device.type == "cpu" else time.perf_counter  # what others do on the CPU does not count
    go(2)
    started = clock()
    go(steps)
    return (clock() - started) / steps / lanes * 1e3


if __name__ == "__main__":
    main()
