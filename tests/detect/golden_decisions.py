"""Decisions about frozen families, to two digits: `python -m tests.detect.golden_decisions` writes them anew; the diff shows changes.

The families are geometry from seeds (bench/ideal_families.py, tests/builders.py), so they need no files and are the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.ideal_families import Weights, child, family
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import SHAPES, sketch_of, tune
from tests.builders import start as started

FILE = Path(__file__).with_name("golden_decisions.json")
OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)


def start(seed: int) -> Weights:
    return started(seed, {name: shape for name, shape in SHAPES.items() if len(shape) == 2})


def subjects(models: dict[str, Weights], **more: dict[str, Any]) -> list[Subject]:
    return [Subject(name, sketch_of(weights, name), **more.get(name, {})) for name, weights in models.items()]


def deep_tree() -> list[Subject]:
    models, _ = family(np.random.default_rng(77), 13)
    return subjects(models)


def star(
    count: int, seed: int, with_root: bool = True, moved: Callable[[int], float] = lambda i: 0.1
) -> dict[str, Weights]:
    """A root and children that moved unlike far."""
    dice, root = np.random.default_rng(seed + 1000), start(seed)  # not the numbers of the start once more
    models = {"root": root} if with_root else {}
    return models | {f"child{i}": child(root, dice, moved(i), 0.0, 0.5) for i in range(count)}


def nearly_equal(step: float) -> list[Subject]:
    """A root whose child went on a little, and models that come from either of the two."""
    dice, models = np.random.default_rng(1), {"root": start(21)}
    models["first"] = child(models["root"], dice, 0.1, 0.0, 0.5)
    models["second"] = child(models["first"], dice, step, 0.0, 0.5)
    for i in range(4):
        models[f"child{i}"] = child(models["first" if i % 2 else "second"], dice, 0.1, 0.0, 0.5)
    return subjects(models)


def chain() -> list[Subject]:
    dice, models = np.random.default_rng(1005), {"e0": start(5)}
    for i in range(1, 9):
        models[f"e{i}"] = child(models[f"e{i - 1}"], dice, 0.1, 0.0, 0.5)
    return subjects(models)


def sixteen_bits() -> list[Subject]:
    """Children in half precision that changed a part of the values each, one with a child of its own."""
    dice = np.random.default_rng(9)

    def tuned(parent: Weights, share: float) -> Weights:
        return {
            n: np.where(dice.random(v.shape) < share, v * (1 + 0.01 * dice.normal(size=v.shape)), v).astype(np.float16)
            for n, v in parent.items()
        }

    models = {"base": {n: v.astype(np.float16) for n, v in start(9).items()}}
    for i in range(5):
        models[f"child{i}"] = tuned(models["base"], 0.2 + 0.1 * i)
    models["grandchild"] = tuned(models["child1"], 0.3)
    return subjects(models)


def families() -> dict[str, tuple[list[Subject], Options]]:
    pair = {"root": start(3), "child": tune(start(3), 31)}
    copies = star(4, 13) | {"again": star(4, 13)["child2"]}
    spread = star(9, 11, moved=lambda i: 0.02 * 1.6**i)
    return {
        "deep tree": (deep_tree(), Options()),
        "deep tree, no detector": (deep_tree(), Options(detector=False)),
        "star": (subjects(spread), Options()),
        "star without its root": (subjects({n: w for n, w in spread.items() if n != "root"}), Options()),
        "chain": (chain(), Options()),
        "nearly equal": (nearly_equal(0.008), Options()),
        "less nearly equal": (nearly_equal(0.015), Options()),
        "pair": (subjects(pair), Options()),
        "pair with dates": (subjects(pair, root={"created_at": OLD}, child={"created_at": NEW}), Options()),
        "pair with a card": (subjects(pair, child={"declared": frozenset({"root"})}), Options()),
        "copies": (subjects(copies), Options()),
        "sixteen bits": (sixteen_bits(), Options()),
    }


def decided() -> Iterator[tuple[str, dict[str, str]]]:
    """Each family with model -> answer, parent, relation, probability and what decided."""
    for name, (some, options) in families().items():
        yield (
            name,
            {
                d.model: f"{d.answer} {d.parent or '-'} {d.relation or '-'} {d.probability:.2f} {','.join(d.decided_by)}"
                for d in decide(some, options)
            },
        )


if __name__ == "__main__":
    FILE.write_text(json.dumps(dict(decided()), indent=1) + "\n")
