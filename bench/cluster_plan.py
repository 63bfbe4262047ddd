"""How long a cluster takes for the whole Hub, and what it costs: a simulation with the rates measured here.

    python -m bench.cluster_plan [--models 500000] [--largest 50000] [--price 0.04]

Groups of one backbone have sizes by a power law from the largest down to two. A small group is one task and costs what its models cost
each; a group of LARGE_GROUP models and more is divided by one task, by products of all its pairs, and then each of its families is a task.
Tasks are placed as Ray places them here: as they come, on the first worker that is free, one processor each; the run ends with the last
one. The driver reads the graph and writes decisions meanwhile, one group at a time, so it bounds the run from below. The nightly increment
is 3,000 new models: small groups with a new member are decided again, large ones compare the new models with the group and decide
these and the models that they are near neighbours of, beside their own neighbours.

Rates are processor seconds of this machine, see bench/RESULTS.md. Price: dollars of one processor and hour.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from lineage.deciding import LARGE_GROUP
from lineage.detect.large_groups import FAMILY

NIGHT = 3000
WORKERS = (1, 8, 64)
# models that are decided for a new one of a large group: itself, those that it is near to, and the neighbours that they are decided beside
DECIDED = 15


@dataclass(frozen=True, slots=True)
class Rates:
    """Processor seconds.

    Attributes:
        model: to decide about one model in a group or family; start: of a worker, torch's import included.
        pair: of one pair of vectors of 65,536 values, a block of products.
        read: to read a model's sample; write: to read a model from the graph and to write its decision, by the driver.
        kept: to read a model's vector from the file of a large group.
    """

    model: float = 0.12
    start: float = 4.0
    pair: float = 3.0e-6
    read: float = 0.0006
    write: float = 0.0005
    kept: float = 0.0002


def sizes(models: int, largest: int, exponent: float = 1.1) -> list[int]:
    """Of the groups: largest, then falling as rank^-exponent, down to two, until all models are in one."""
    found: list[int] = []
    left = models
    rank = 1
    while left > 0:
        size = min(left, max(2, int(largest / rank**exponent)))
        found.append(size)
        left -= size
        rank += 1
    return found


def task_seconds(size: int, rates: Rates, new: int | None = None) -> list[float]:
    """Of one group: one task, or of a large one the task that divides it and then those of its families.

    Args:
        new: only so many of its models are new; None: nothing is known of it.
    """
    if size < LARGE_GROUP:
        return [size * (rates.read + rates.model)]
    dividing, families, members = size * (size - 1) / 2 * rates.pair + size * rates.read, -(-size // FAMILY), FAMILY
    if new is not None:
        dividing, families = new * size * rates.pair + size * rates.kept, min(new, families)
        members = min(FAMILY, DECIDED * -(-new // families))
    return [dividing, *[members * (rates.read + rates.model)] * families]


def run_seconds(groups: Sequence[Sequence[float]], workers: int, rates: Rates, written: int) -> float:
    """Until the last of the tasks has ended on the workers, the largest groups first; not before the driver has written them."""
    free = [rates.start] * workers
    heapq.heapify(free)
    later: list[tuple[float, float]] = []  # families, from when on they can begin
    last = 0.0
    waiting = [task for group in groups for task in group[:1]]
    families = [group[1:] for group in groups]
    place = 0
    while place < len(waiting) or later:
        now = heapq.heappop(free)
        if later and (later[0][0] <= now or place == len(waiting)):
            begins, seconds = heapq.heappop(later)
        else:
            begins, seconds = 0.0, waiting[place]
            for family in families[place]:
                heapq.heappush(later, (max(now, begins) + seconds, family))
            place += 1
        ended = max(now, begins) + seconds
        last = max(last, ended)
        heapq.heappush(free, ended)
    return max(last, written * rates.write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500_000)
    parser.add_argument("--largest", type=int, default=50_000)
    parser.add_argument("--price", type=float, default=0.04)
    chosen = parser.parse_args()
    rates, dice = Rates(), random.Random(0)
    groups = sizes(chosen.models, chosen.largest)
    whole = [task_seconds(size, rates) for size in groups]
    share = NIGHT / chosen.models
    night, members = [], 0
    for size in groups:
        new = sum(dice.random() < share for _ in range(min(size, 2000))) * max(1, size // 2000)
        if new:
            night.append(task_seconds(size, rates, new))
            members += min(size, new * DECIDED) if size >= LARGE_GROUP else size
    print(
        f"{chosen.models:,} models in {len(groups):,} groups, {sum(s >= LARGE_GROUP for s in groups)} of {LARGE_GROUP:,} and more\n"
    )
    print(
        "| | workers | hours | processor hours | cost, $ | longest task, hours |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    rows = []
    for name, tasks, written in (("whole Hub", whole, chosen.models), (f"a night, {NIGHT:,} new", night, members)):
        for workers in WORKERS:
            hours = run_seconds(tasks, workers, rates, written) / 3600
            cost = hours * workers * chosen.price
            busy, longest = sum(map(sum, tasks)) / 3600, max(map(max, tasks)) / 3600
            rows.append([name, workers, round(hours, 2), round(busy, 1), round(cost, 2)])
            print(f"| {name} | {workers} | {hours:.2f} | {busy:.1f} | {cost:.2f} | {longest:.2f} |")
    print(json.dumps({"bench": "cluster_plan", "models": chosen.models, "groups": len(groups), "rows": rows}))


if __name__ == "__main__":
    main()
