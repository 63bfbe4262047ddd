"""Families as geometry has them: random trees whose every step is new, at right angles to what is there, and unlike from unit to unit.

    python -m bench.ideal_families OUT [--families 16]

Trained families of few generations dominate what fits learn from; these have deep trees in which nothing is trained, so that a fit also
knows an ancestor whose every trace is there. Written in the layout of bench/families.py, all for tuning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SHAPES = ((96, 128), (128, 96), (64, 128))
SIZES = (6, 200)  # of the families, as many small as large ones
Weights = dict[str, np.ndarray]


def child(parent: Weights, dice: np.random.Generator, moved: float, decay: float, uneven: float) -> Weights:
    """Each unit moves by its own amount, about `moved` of its length, after all have shrunk by `decay`."""
    tuned = {}
    for name, values in parent.items():
        step = dice.normal(size=values.shape) * np.linalg.norm(values, axis=1, keepdims=True) / values.shape[1] ** 0.5
        amount = moved * dice.lognormal(0.0, uneven, (len(values), 1))
        tuned[name] = ((1 - decay) * values + amount * step).astype(np.float32)
    return tuned


def family(dice: np.random.Generator, size: int) -> tuple[dict[str, Weights], dict[str, str]]:
    """`size` models by id, and child -> parent: the parent of each drawn among those that are there."""
    models: dict[str, Weights] = {
        "m000": {
            f"layers.{i}.weight": dice.normal(size=s).astype(np.float32) / s[1] ** 0.5 for i, s in enumerate(SHAPES)
        }
    }
    parents: dict[str, str] = {}
    decay, usual = dice.choice((0.0, 0.01, 0.03, 0.1)), dice.choice((0.03, 0.1, 0.3))
    for number in range(1, size):
        name = f"m{number:03d}"
        recent = dice.random() < 0.4  # chains as well as stars
        parents[name] = f"m{number - 1:03d}" if recent else str(dice.choice(sorted(models)))
        moved = usual * dice.lognormal(0.0, 0.6)
        models[name] = child(models[parents[name]], dice, moved, dice.uniform(0, decay), dice.uniform(0.2, 0.6))
    return models, parents


def write(folder: Path, models: dict[str, Weights], parents: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in models.items():
        save_file(weights, folder / f"{name}.safetensors")
    truth = {
        "architecture": "ideal",
        "split": "tune",
        "models": sorted(models),
        "pairs": [{"child": c, "parent": p, "relation": "finetune"} for c, p in parents.items()],
        "roots": ["m000"],
        "trees": {"m000": sorted(models)},
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", type=int, default=24)
    arguments = parser.parse_args()
    for number in range(arguments.families):
        dice = np.random.default_rng(9000 + number)
        models, parents = family(dice, int(np.exp(dice.uniform(*np.log(SIZES)))))
        write(arguments.out / f"ideal-{number:02d}", models, parents)


if __name__ == "__main__":
    main()
