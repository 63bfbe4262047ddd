"""Small families of models with known lineage, made in code: no training, but the geometry that training leaves.

A child is its parent plus a movement that differs from unit to unit and is new, so at right angles to what is there, shrunk by
decay, which turns the plain norm rule around. Good for guarantees and for plumbing; accuracy is measured on trained models (bench/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lineage.detect.sketch import BUDGET_VALUES, plan
from lineage.detect.sketch_store import Sketch, make_sketch

Weights = dict[str, np.ndarray]
WIDE = 32
SHAPES = {
    "layers.0.weight": (96, 128),
    "layers.0.bias": (96,),
    "layers.1.weight": (128, 96),
    "layers.1.bias": (128,),
    "layers.2.weight": (64, 128),
    "layers.2.bias": (64,),
}


def start(seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Weights:
    """A model of its own: nothing in common with any other seed."""
    random = np.random.default_rng(seed)
    return {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32) for name, shape in shapes.items()
    }


def stack(prefix: str, seed: int, wide: int = WIDE, depth: int = 3) -> Weights:
    """Three matrices a block, names and sizes of the blocks to choose."""
    rng = np.random.default_rng(seed)
    shapes = {"query.weight": (wide, wide), "up.weight": (2 * wide, wide), "down.weight": (wide, 2 * wide)}
    return {
        f"{prefix}layers.{i}.{name}": rng.normal(size=shape).astype(np.float32)
        for i in range(depth)
        for name, shape in shapes.items()
    }


def tune(parent: Weights, seed: int, moved: float = 0.3, decay: float = 0.02) -> Weights:
    """A child: each unit moves by its own amount, about `moved` of its length, after all have shrunk by `decay`."""
    random = np.random.default_rng(seed)
    child = {}
    for name, values in parent.items():
        units = values.reshape(values.shape[0], -1).astype(np.float64)
        amount = moved * random.lognormal(0.0, 0.5, (units.shape[0], 1))
        step = (
            random.standard_normal(units.shape) * np.linalg.norm(units, axis=1, keepdims=True) / np.sqrt(units.shape[1])
        )
        child[name] = ((1 - decay) * units + amount * step).reshape(values.shape).astype(np.float32)
    return child


def three_generations(seed: int = 0) -> tuple[dict[str, Weights], dict[str, str]]:
    """Models by name, and child -> parent: a root with three children, two of which have children of their own."""
    parents = {"b": "a", "c": "a", "d": "a", "ba": "b", "bb": "b", "ca": "c", "baa": "ba"}
    models = {"a": start(1000 * seed)}
    for place, (child, parent) in enumerate(parents.items()):
        models[child] = tune(models[parent], 1000 * seed + place + 1)
    return models, parents


def write(folder: Path, models: Mapping[str, Weights]) -> None:
    """One file a model, `FOLDER/<name>.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in models.items():
        save_file(weights, folder / f"{name}.safetensors")


@dataclass(frozen=True)
class Header:
    """What detection needs of a tensor's header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


_DTYPES = {"int32": "I32", "float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8"}


def sketch_of(weights: Weights, name: str = "model", budget_values: int = BUDGET_VALUES) -> Sketch:
    """The sketch that a crawl would make of these weights; its digest is that of `name` and the values."""
    header = [Header(n, _DTYPES[str(v.dtype)], v.shape) for n, v in weights.items()]
    digest = hashlib.sha256(b"".join([name.encode(), *(v.tobytes() for v in weights.values())])).hexdigest()
    blocks = ((b, weights[b.tensor].reshape(-1)[b.start : b.stop].tobytes()) for b in plan(header, budget_values))
    return make_sketch(digest, header, blocks)
