"""What carries the trained detector: groups of token numbers, kinds of tensors, the size of the zoo, the number of sampled values.

    python -m bench.detector_ablation --zoo ZOO --cache FOLDER

Direction of true pairs of the report half, learned from the tune half, architectures left out in two of four folds; all figures with the
same seed and steps, by single networks without a transformer, so that rows can be compared with each other. `--cache` is that of
bench.detector.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.detector import mean
from bench.detector_beside import CPU, KnownExample, read
from bench.families import read_sketches
from lineage.detect.align import NotComparable, align
from lineage.detect.detector.examples import Example
from lineage.detect.detector.network import DirectionNetwork
from lineage.detect.detector.scoring import came_first_of, direction_odds, load
from lineage.detect.detector.tokens import EVEN, GROUPS, ODD, Tokens, kind_of, tokens
from lineage.detect.detector.training import Recipe, TrainingRun, fit_direction, folds, one_thread

FOLDS = (0, 1)
Change = Callable[[Tokens], Tokens]


def blanked(groups: Sequence[str], but: bool = False) -> Change:
    """Odd numbers of these groups are 0; or with `but`, those of all others."""
    keep = torch.tensor([(kind_of(name) in groups) == but for name in ODD])
    return lambda t: Tokens(t.odd * keep, t.even, t.present)


def only(kind: str) -> Change:
    """Only layers of one kind: `matrix`, `vector` or `embedding`."""
    return lambda t: Tokens(t.odd, t.even, t.present & (t.even[..., EVEN.index(kind)] > 0))


def direction_right(
    zoo: Sequence[KnownExample], change: Change, recipe: Recipe, families: float = 1.0
) -> tuple[int, float]:
    """Pairs of the report half, and the share directed rightly by networks that never saw their architecture."""
    changed = {id(k): replace(k.example, tokens=change(k.example.tokens)) for k in zoo}
    parts, right = folds([k.example for k in zoo], recipe.folds), []
    for number in FOLDS:
        outside = [k for i, k in enumerate(zoo) if i not in set(parts[number]) and k.example.split == "tune"]
        names = sorted({k.example.family for k in outside}, key=lambda name: (name.split("-")[-1], name))
        chosen = set(names[: max(2, round(len(names) * families))])
        learn: list[Example] = [changed[id(k)] for k in outside if k.example.family in chosen]
        network = fit_direction(learn, recipe, TrainingRun(CPU), "direction")
        for known in (zoo[i] for i in parts[number]):
            if known.example.split == "report" and len(known.true_pairs):
                e = changed[id(known)]
                odds = came_first_of(network, e.tokens, e.pairs, len(e.models))
                right.append(odds[known.true_pairs[:, 0], known.true_pairs[:, 1]] > 0)
    flags = torch.cat(right)
    return len(flags), mean(flags)


def sampled(
    folder: Path, known: Sequence[KnownExample], network: DirectionNetwork, budget_values: int
) -> tuple[int, int]:
    """(right, pairs) of a family if only so many values of each model are read."""
    sketches, right, count = read_sketches(folder, budget_values), 0, 0
    for k in known:
        for parent, child in k.true_pairs.tolist():
            try:
                layers = align([sketches[k.example.models[parent]], sketches[k.example.models[child]]], CPU)
            except NotComparable:
                continue
            right += bool(direction_odds(network, tokens(layers, torch.tensor([[0, 1]])))[0] > 0)
            count += 1
    return right, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--detector", type=Path, help="for sampled values; default: the one that ships")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--budgets", type=int, nargs="*", default=(4096, 16384, 65536, 1 << 20))
    arguments = parser.parse_args()
    recipe = Recipe(direction_steps=arguments.steps, members=(0,))  # single networks, sets: a tenth of the time
    detector = arguments.detector or Path(__file__).parent.parent / "detect" / "detector" / "detector.safetensors"
    changes: dict[str, tuple[Change, float]] = {
        "all": (lambda t: t, 1.0),
        **{f"without {group}": (blanked([group]), 1.0) for group in GROUPS},
        "matrices only": (only("matrix"), 1.0),
        "half of the families": (lambda t: t, 0.5),
        "a quarter of the families": (lambda t: t, 0.25),
    }
    told: dict[str, float] = {}
    with one_thread():
        zoo = [k for path in sorted(arguments.zoo.glob("*/truth.json")) for k in read(path.parent, arguments.cache)]
        print("| learned from | pairs | direction |\n| --- | ---: | ---: |")
        for name, (change, share) in changes.items():
            pairs, told[name] = direction_right(zoo, change, recipe, share)
            print(f"| {name} | {pairs} | {told[name]:.3f} |", flush=True)
        network = load(detector, CPU).direction
        print("\n| values a model | pairs | direction, shipped detector |\n| ---: | ---: | ---: |")
        for budget in arguments.budgets:
            counts = [
                sampled(arguments.zoo / name, [k for k in zoo if k.example.family == name], network, budget)
                for name in sorted({k.example.family for k in zoo if k.example.split == "report"})
            ]
            right, pairs = (sum(c[i] for c in counts) for i in (0, 1))
            told[f"values {budget}"] = right / max(1, pairs)
            print(f"| {budget:,} | {pairs} | {told[f'values {budget}']:.3f} |", flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
