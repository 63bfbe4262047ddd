"""Two models alone, one of them known to come from the other: which one came first?

    python -m bench.pair_direction --families ZOO [--split report] --families REAL

Every true pair of parent and child that is of one architecture and not a copy; nothing but the weights of the two is looked at. Beside each
other: growth alone (z), the learning-free log-odds, the trained detector, the mean of both, and all that the pipeline has (the mean, bare
decay and counters). Each cell: right of the answered, and the share answered, where |log-odds| (|z| for growth) is above 2, 4, 8.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.families import folders, read_sketches, read_truth
from lineage.detect.align import NotComparable, align
from lineage.detect.detector.scoring import directions
from lineage.detect.parts import in_common
from lineage.detect.signals.counters import counters
from lineage.detect.signals.pairs import pair_evidence
from lineage.detect.sketch_store import Sketch

CPU = torch.device("cpu")
ABOVE = (2.0, 4.0, 8.0)
RULES = ("growth z", "learning-free", "detector", "mean", "all")
SAME_VALUES = {"copy", "cast", "quantized"}  # relations that rounding directs, not training


@dataclass(frozen=True, slots=True)
class Pair:
    """A true pair: what each rule says, positive if right, and the recipe that the child was trained with (real families: none). gamma: of
    growth, without its sign."""

    family: str
    said: dict[str, float]
    gamma: float
    architecture: str
    optimiser: str
    decay: float | None
    learning_rate: float | None


def said_of(parent: Sketch, child: Sketch) -> tuple[dict[str, float], float] | None:
    """What each rule says, and growth's gamma without its sign; None if no value that can be compared differs."""
    try:
        layers = align(in_common([parent, child]), CPU)
    except NotComparable:
        return None
    if all(torch.equal(layer.values[0], layer.values[1]) for layer in layers):
        return None
    pair, other = torch.tensor([[0, 1]]), torch.tensor([[1], [0]])
    evidence = pair_evidence(layers, pair, pair)  # the child is model 1
    free, learned = float(evidence.direction[1, 0]), float(directions(layers, other)[1, 0])
    both = (free + learned) / 2 if learned else free
    certain = float(evidence.decay[1, 0] + counters([parent, child])[1, 0])
    said = dict(zip(RULES, (float(evidence.growth_z[1, 0]), free, learned, both, both + certain), strict=True))
    return said, abs(float(evidence.growth_gamma[1, 0]))


def pairs_of(folder: Path) -> tuple[list[Pair], int]:
    """The pairs of one family, and how many are left out: copies, also in fewer bits, other architectures, nothing to compare."""
    truth, sketches = read_truth(folder), read_sketches(folder)
    content = json.loads((folder / "truth.json").read_text())
    relation = {pair["child"]: pair.get("relation") for pair in content["pairs"]}
    recipes: dict[str, Any] = {
        m["id"]: recipe if isinstance(recipe := m.get("recipe"), dict) else {} for m in content.get("models", [])
    }  # `bench.hub_family` has a word instead
    architecture = content.get("architecture") or folder.name
    found, left_out = [], 0
    for child, parent in truth.parent.items():
        if child in truth.unknown or parent in truth.unknown:
            continue
        known = child in sketches and parent in sketches and not truth.alike(child, parent)
        said = said_of(sketches[parent], sketches[child]) if known and relation[child] not in SAME_VALUES else None
        if said is None:
            left_out += 1
            continue
        recipe = recipes.get(child, {})
        found.append(
            Pair(
                folder.name,
                *said,
                architecture,
                recipe.get("optimiser") or "not told",
                recipe.get("weight_decay"),
                recipe.get("learning_rate"),
            )
        )
    return found, left_out


def between(value: float | None, edges: Sequence[float], name: str) -> str:
    """The interval that a number lies in, in words."""
    if value is None:
        return f"{name} not told"
    below = [edge for edge in edges if value >= edge]
    above = [edge for edge in edges if value < edge]
    if not above:
        return f"{name} from {below[-1]:g}"
    return f"{name} {below[-1]:g} to {above[0]:g}" if below else f"{name} below {above[0]:g}"


SPLITS: tuple[tuple[str, Callable[[Pair], str]], ...] = (
    ("everything", lambda pair: "all"),
    ("architecture", lambda pair: pair.architecture),
    ("optimiser", lambda pair: pair.optimiser),
    ("decay", lambda pair: "no decay" if pair.decay == 0 else between(pair.decay, (1e-3, 1e-2, 1e-1), "decay")),
    ("gamma of growth", lambda pair: between(pair.gamma, (0.5, 1.0, 1.5, 3.0), "gamma")),
    ("learning rate", lambda pair: between(pair.learning_rate, (1e-4, 1e-3, 1e-2), "rate")),
)


def figures(pairs: Sequence[Pair], rule: str) -> dict[str, float | None]:
    """Share right of all, and for each bar the share answered and the share right of these (None where none is answered)."""
    said = [pair.said[rule] for pair in pairs]
    result: dict[str, float | None] = {"right": sum(s > 0 for s in said) / len(said)}
    for bar in ABOVE:
        sure = [s for s in said if abs(s) > bar]
        result[f"answered above {bar:g}"] = len(sure) / len(said)
        result[f"right above {bar:g}"] = sum(s > 0 for s in sure) / len(sure) if sure else None
    return result


def print_table(pairs: Sequence[Pair], rules: Sequence[str], bars: Sequence[float] = ABOVE) -> dict[str, Any]:
    """A row for each value of each split; returns the figures."""
    bar_names = [f"{rule} > {bar:g}" for rule in rules for bar in bars]
    print(f"| | pairs | {' | '.join(f'{rule}, all' for rule in rules)} | {' | '.join(bar_names)} |")
    print("| --- |" + " ---: |" * (1 + len(rules) + len(bar_names)))
    result = {}
    for split, key in SPLITS:
        names = sorted({key(pair) for pair in pairs})
        for name in names if len(names) > 1 or split == "everything" else ():
            some = [pair for pair in pairs if key(pair) == name]
            each = {rule: figures(some, rule) for rule in rules}
            cells = [f"{each[rule]['right']:.3f}" for rule in rules]
            cells += [_answered(each[rule], bar) for rule in rules for bar in bars]
            print(f"| {name} | {len(some)} | {' | '.join(cells)} |")
            result[name] = {"pairs": len(some)} | each
    return result


def _answered(of: dict[str, float | None], bar: float) -> str:
    right, answered = of[f"right above {bar:g}"], of[f"answered above {bar:g}"]
    return "none" if right is None else f"{right:.3f} of {answered:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    arguments = parser.parse_args()
    result = {}
    for root in arguments.families:
        found: list[Pair] = []
        left_out = 0
        for folder in folders([root], arguments.split):
            own, without = pairs_of(folder)
            found, left_out = found + own, left_out + without
        print(f"\n{root.name}: {len(found)} pairs, {left_out} left out\n")
        if found:
            result[root.name] = print_table(found, RULES[:1] + RULES[-2:])
            print()
            result[f"{root.name}, each alone"] = print_table(found, RULES[1:3])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
