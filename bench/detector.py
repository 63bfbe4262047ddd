"""The trained detector on what it never saw: architectures, optimisers and strong decay left out, real families, calibration, speed.

    python -m bench.detector --zoo ZOO --families REAL --cache FOLDER

Networks learn from the half of the zoo that is for tuning; figures are of the other half. "Left out" means: the network that answers
saw nothing of that architecture (folds of two architectures each). Beside it, on the same pairs: growth, the logistic of growth and decay,
smaller norm, kurtosis, effective rank, and Neural Phylogeny's detector trained on the same families. Real families are never trained on.
`--cache` keeps examples and networks between runs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.detector_beside import CPU, KnownExample, np_detectors, read
from lineage.detect.detector.examples import UNKNOWN, Example
from lineage.detect.detector.scoring import came_first_of, load, save
from lineage.detect.detector.tokens import EVEN, ODD
from lineage.detect.detector.training import Recipe, TrainingRun, fit_direction, folds, one_thread, train

HIGH_DECAY = {"adamw": 0.1, "adam": 1e-3, "sgd": 5e-3}


@dataclass(frozen=True)
class AnsweredExample:
    known: KnownExample
    came_first: Tensor

    def directions(self) -> Tensor:
        pairs = self.known.true_pairs
        return self.came_first[pairs[:, 0], pairs[:, 1]]


def columns(answered: Sequence[AnsweredExample]) -> dict[str, float]:
    """Figures of one table row."""
    said = torch.cat([a.directions() for a in answered]).double()
    sure = said.abs() > 2
    return {
        "pairs": len(said), "direction": mean(said > 0), "beyond 2": mean(said[sure] > 0), "share beyond 2": mean(sure),
        "direction ece": calibration(said.abs().sigmoid().tolist(), (said > 0).tolist()),
    }  # fmt: skip


def mean(flags: Tensor) -> float:
    return float(flags.double().mean()) if len(flags) else math.nan


def calibration(probability: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: mean over equal bins of |probability - share right|, weighted by what lies in them."""
    p, right = torch.tensor(probability, dtype=torch.float64), torch.tensor(correct, dtype=torch.float64)
    place = (p * bins).long().clamp(max=bins - 1)
    inside = [place == i for i in range(bins)]
    return sum(float((p[m].mean() - right[m].mean()).abs()) * float(m.double().mean()) for m in inside if bool(m.any()))


def without(known: KnownExample, unwanted: Callable[[dict[str, Any]], bool]) -> Example:
    """The example with children of unwanted recipes unasked."""
    example = known.example
    barred = torch.tensor([unwanted(known.recipes.get(model, {})) for model in example.models])
    return replace(example, parent=torch.where(barred & (example.parent >= 0), UNKNOWN, example.parent))


def left_out(
    zoo: Sequence[KnownExample], unwanted: Callable[[dict[str, Any]], bool], recipe: Recipe, run: TrainingRun, name: str
) -> str:
    """One row: direction of report pairs of unwanted recipes by a network that learned from no such pair."""
    learn = [without(k, unwanted) for k in zoo if k.example.split == "tune"]
    network = fit_direction([e for e in learn if bool((e.parent != UNKNOWN).any())], recipe, run, f"without {name}")
    said, free = [], {"growth": [], "growth and decay": []}
    for known in zoo:
        if known.example.split != "report":
            continue
        e = known.example
        odds = came_first_of(network, e.tokens, e.pairs, len(e.models))
        for i, (parent, child) in enumerate(known.true_pairs.tolist()):
            if unwanted(known.recipes.get(e.models[child], {})):
                said.append(float(odds[child, parent]))
                for key in free:
                    free[key].append(float(known.others[key][i]))
    t = torch.tensor(said)
    others = " | ".join(f"{mean(torch.tensor(v) > 0):.3f}" for v in free.values())
    return f"| {name} | {len(said)} | {mean(t > 0):.3f} | {others} |"


def high_decay(recipe: dict[str, Any]) -> bool:
    return recipe.get("weight_decay", 0) >= HIGH_DECAY.get(recipe.get("optimiser", ""), math.inf)


FREE = ("growth", "growth and decay", "norm", "np-detector", "kurtosis", "effective rank")
DIRECTION_HEAD = (
    "pairs",
    "direction",
    "beyond 2 (share)",
    "ece",
    *FREE[:4],
    *(f"{name}, better sign" for name in FREE[4:]),
)


def print_tables(rows: Sequence[tuple[str, Sequence[AnsweredExample]]]) -> None:
    rows = [(name, answered) for name, answered in rows if answered]
    print_head(DIRECTION_HEAD)
    for name, answered in rows:
        c = columns(answered)
        free = [
            mean(torch.cat([a.known.others[key].double() for a in answered if key in a.known.others]) > 0)
            for key in FREE
        ]
        free[4:] = [max(share, 1 - share) for share in free[4:]]
        told = [f"{c['pairs']}", f"{c['direction']:.3f}", f"{c['beyond 2']:.3f} ({c['share beyond 2']:.2f})"]
        print(
            f"| {name} | {' | '.join([*told, format(c['direction ece'], '.3f'), *(format(share, '.3f') for share in free)])} |"
        )


def print_head(names: Sequence[str]) -> None:
    print(f"| | {' | '.join(names)} |\n| --- {'| ---: ' * len(names)}|")


def speed(path: Path) -> dict[str, float]:
    """Seconds to load the file, and what the networks score a second on one thread."""
    began = time.perf_counter()
    detector = load(path, CPU)
    loaded = time.perf_counter() - began
    with torch.no_grad():
        pairs = [torch.randn(1024, 24, len(names)) for names in (ODD, EVEN)]
        present = torch.ones(1024, 24, dtype=torch.bool)
        detector(*pairs, present)
        began = time.perf_counter()
        for _ in range(3):
            detector(*pairs, present)
        directed = 3 * 1024 / (time.perf_counter() - began)
    return {
        "load_s": round(loaded, 4),
        "megabytes": round(path.stat().st_size / 1e6, 3),
        "pairs_a_second": round(directed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--families", type=Path, help="real families")
    parser.add_argument("--cache", type=Path, required=True, help="keeps examples and networks")
    parser.add_argument("--learn", default="tune", help="half of the zoo to learn from, or all")
    parser.add_argument("--steps", type=int, default=Recipe().direction_steps)
    parser.add_argument("--quick", action="store_true", help="without optimisers and decay left out")
    parser.add_argument("--out", type=Path, help="write the networks that learned from all architectures")
    arguments = parser.parse_args()
    recipe = Recipe(direction_steps=arguments.steps)
    began = time.monotonic()

    def report(stage: str, step: int, steps: int) -> None:
        if step == steps:
            print(f"{stage}: {time.monotonic() - began:.0f} s", flush=True)

    with one_thread():
        zoo = [k for path in sorted(arguments.zoo.glob("*/truth.json")) for k in read(path.parent, arguments.cache)]
        real = (
            [k for path in sorted(arguments.families.glob("*/truth.json")) for k in read(path.parent, arguments.cache)]
            if arguments.families
            else []
        )
        examples = [k.example for k in zoo]
        wanted = lambda e: arguments.learn in ("all", e.split)  # noqa: E731
        zoo, real = np_detectors(zoo, real, folds(examples, recipe.folds), wanted)
        run = TrainingRun(CPU, arguments.cache / f"networks-{arguments.learn}", report)
        trained = train(examples, recipe, run, wanted)
        answered = [AnsweredExample(k, odds) for k, odds in zip(zoo, trained.came_first, strict=True)]
        for known in real:
            odds = came_first_of(
                trained.direction, known.example.tokens, known.example.pairs, len(known.example.models)
            )
            answered.append(AnsweredExample(known, odds))
        out = arguments.out or arguments.cache / "detector.safetensors"
        save(trained.direction, out, {
            "families": " ".join(sorted({e.family for e in examples if arguments.learn in ("all", e.split)})), "recipe": repr(recipe),
        })  # fmt: skip
        test = [a for a in answered if a.known.example.split == "report"]
        kinds = sorted({a.known.example.architecture for a in test})
        together = [
            ", ".join(sorted({examples[i].architecture for i in part})) for part in folds(examples, recipe.folds)
        ]
        print(f"\nLeft out together: {'; '.join(together)}\n")
        print_tables([
            *((kind, [a for a in test if a.known.example.architecture == kind]) for kind in kinds), ("report half, all", test),
            ("tune half, all", [a for a in answered if a.known.example.split == "tune"]),
            *((k, [a for a in answered if a.known.example.family == k]) for k in sorted({k.example.family for k in real})),
        ])  # fmt: skip
        if not arguments.quick:
            print(
                "\n| left out of training | report pairs | direction | growth | growth and decay |\n| --- | ---: | ---: | ---: | ---: |"
            )
            for optimiser in ("sgd", "adam", "adamw"):
                print(left_out(zoo, lambda r, o=optimiser: r.get("optimiser") == o, recipe, run, optimiser), flush=True)
            print(left_out(zoo, high_decay, recipe, run, "high decay"), flush=True)
        print(json.dumps({"report": columns(test), "speed": speed(out), "families": len({e.family for e in examples})}))


if __name__ == "__main__":
    main()
