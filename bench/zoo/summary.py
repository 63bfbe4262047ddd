"""What a zoo on disk holds: counts, what roots learned, and how far children moved, by architecture and by recipe.

`python -m bench.zoo.summary FOLDER`
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LEVELS = (0, 5, 25, 50, 75, 95, 100)


def read(folder: Path) -> list[dict[str, Any]]:
    """truth.json of each family under a folder, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/truth.json"))]


def print_summary(folder: Path) -> None:
    """Tables to stdout, one line of JSON last."""
    truths = read(folder)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    learned: dict[str, list[float]] = defaultdict(list)
    for truth in truths:
        row = counts[truth["architecture"]]
        row[0] += 1
        row[1] += len(truth["models"])
        row[2] += len(truth["pairs"])
        row[3] += len(truth["roots"])
        row[4] += len(truth["hideable"])
        roots = {r["model"] for r in truth["roots"]}
        learned[truth["architecture"]] += [
            m["loss"] / m["chance"] for m in truth["models"] if m["id"] in roots and m["loss"] is not None
        ]
    print(f"{'architecture':14s} families models pairs roots hideable   loss of roots over chance: best, median, worst")
    for name, row in sorted(counts.items()):
        told = np.quantile(learned[name], (0, 0.5, 1)) if learned[name] else (np.nan,) * 3
        print(
            f"{name:14s} {row[0]:8d} {row[1]:6d} {row[2]:5d} {row[3]:5d} {row[4]:8d}   "
            + " ".join(f"{x:.2f}" for x in told)
        )
    pairs = list(_pairs(truths))
    for title, key in _CUTS.items():
        print(
            f"\nrelative distance of child and parent by {title}: pairs, then quantiles {', '.join(map(str, LEVELS))} %"
        )
        groups: dict[str, list[float]] = defaultdict(list)
        for pair in pairs:
            groups[key(pair)].append(pair["moved"])
        for name, moved in sorted(groups.items()):
            print(f"{name:22s} {len(moved):5d}  " + " ".join(f"{x:7.4f}" for x in np.nanpercentile(moved, LEVELS)))
    sums = {
        "families": len(truths),
        "models": sum(r[1] for r in counts.values()),
        "pairs": sum(r[2] for r in counts.values()),
        "roots": sum(r[3] for r in counts.values()),
    }
    print(json.dumps(sums))


def _pairs(truths: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for truth in truths:
        recipes = {m["id"]: m["recipe"] or {} for m in truth["models"]}
        found += [
            pair | {"architecture": truth["architecture"], "recipe": recipes[pair["child"]]} for pair in truth["pairs"]
        ]
    return found


def _rate(pair: Mapping[str, Any]) -> str:
    rate = pair["recipe"].get("learning_rate")
    return "none" if rate is None else f"1e{int(np.floor(np.log10(rate))):+d}"


_CUTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "architecture": lambda pair: pair["architecture"],
    "relation": lambda pair: pair["relation"],
    "what was done": lambda pair: pair["source"],
    "optimiser": lambda pair: pair["recipe"].get("optimiser", "none"),
    "weight decay": lambda pair: str(pair["recipe"].get("weight_decay", "none")),
    "schedule": lambda pair: pair["recipe"].get("schedule", "none"),
    "learning rate": _rate,
}

if __name__ == "__main__":
    print_summary(Path(sys.argv[1]))
