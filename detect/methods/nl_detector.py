"""nl-detector: Neural Lineage's trained detector, from a zoo to answers (Yu & Wang, CVPR 2024, arXiv 2406.11129).

In, to train: families of known lineage (folders of .safetensors with a truth.json that names pairs and roots), and for features the user's
function and batch. In, to decide: models of one signature and the trained file. Out: each model's parent, or none by the "no parent" token.
One weight of each model is shown to the network, by default the middle one of the body; what it was trained on is kept in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lineage.detect.decision import Decision
from lineage.detect.methods.nl_approximation import features_of
from lineage.detect.methods.nl_free import candidates_among, forward_of
from lineage.detect.methods.nl_network import (
    SAMPLES,
    CandidateExample,
    Shape,
    load_detector,
    save_detector,
    train_detector,
    weight_picture,
)
from lineage.detect.methods.registry import BadSetting, MethodInputs, NeedsMore, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions, at_least
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.signature import Role, tensors_of
from lineage.detect.sketch_store import Sketch
from lineage.graphdb.schema import Failure

NAME = "nl-detector"


class BadZoo(Failure):
    """A folder to train on that holds nothing to learn from."""


@dataclass(frozen=True, slots=True)
class _TensorSpec:
    name: str
    dtype: str
    shape: tuple[int, ...]


def decide(
    subjects: Sequence[Subject], options: Options, device: torch.device, given: MethodInputs | None = None
) -> list[Decision]:
    """
    Raises:
        BadSetting: no trained file named. BadDetector: it cannot be read. NeedsMore: it was trained on features, and there are none.
        CannotTake: too few models, or they lack the weight that it was trained on.
    """
    settings = settings_of(NAME, options.settings)
    at_least(2, subjects, NAME)
    if not settings["file"]:
        raise BadSetting(
            f"method {NAME} needs a trained network: --method-option file=FILE",
            "train one: `lineage train nl-detector ZOO`",
        )
    network, about = load_detector(Path(settings["file"]).expanduser())
    network = network.to(device)
    if network.shape.features and given is None:
        raise NeedsMore(
            f"{settings['file']} was trained on features too",
            "give --forward package.module:function and --batch FILE.safetensors",
        )
    parents = candidates_among(subjects, settings["parents"], NAME)
    name = about.get("tensor") or middle_weight(subjects[0].sketch)
    pictures = [_picture(s.sketch, name).to(device) for s in subjects] if network.shape.weights else None
    features = None
    if network.shape.features and given is not None:
        forward = forward_of(given, about.get("layer", ""), SAMPLES, device)
        features = [features_of({n: t.to(device) for n, t in given.tensors(s.id).items()}, forward) for s in subjects]
    chosen: list[int | None] = []
    probability, scores = [], []
    for child in range(len(subjects)):
        others = [p for p in parents if p != child]
        if (settings["parents"] and child in parents) or not others:  # it was named as a parent
            chosen.append(None)
            probability.append(1.0)
            scores.append([(others[0] if others else child, 0.0)])
            continue
        found = network.probabilities(_example(child, others, pictures, features)).tolist()
        best = max(range(len(found)), key=lambda i: found[i])
        chosen.append(others[best] if best < len(others) else None)
        probability.append(found[best])
        scores.append(list(zip(others, found, strict=False)))
    return as_decisions(NAME, subjects, chosen, probability, scores)


def train(
    zoo: Path,
    out: Path,
    given: Callable[[Path], MethodInputs] | None = None,
    tensor: str = "",
    layer: str = "",
    epochs: int = 100,
    seed: int = 0,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Trains on every family under a folder and writes the network.

    Args:
        given: family folder -> function and batch; without it the network sees weights only.
        tensor: canonical name of the weight to show; empty takes the middle one of each architecture's body.
        layer: name of the features to show; empty takes the third layer, as the released code does.
    Returns:
        What it was trained on and how much of it is right afterwards, as JSON values.
    Raises:
        BadZoo: no family in it from which parents can be learned.
    """
    device = device or torch.device("cpu")
    examples: list[CandidateExample] = []
    families = 0
    for truth in sorted(zoo.glob("**/truth.json")):
        made = _examples_of(truth, given(truth.parent) if given else None, tensor, layer, device)
        families += bool(made)
        examples += made
    if not examples:
        raise BadZoo(
            f"{zoo} holds no family of at least three models with a known parent",
            "each family is a folder of .safetensors files and a truth.json with pairs and roots",
        )
    if given and len({e.features.shape[1:] for e in examples if e.features is not None}) > 1:
        raise BadZoo("the families have features of different shapes", "train on families of one architecture")
    shape = Shape(features=given is not None)
    network = train_detector(examples, shape, epochs, seed=seed, device=device)
    right = sum(int(network.probabilities(_on(e, device)).argmax()) == e.target for e in examples)
    save_detector(network, out, {"tensor": tensor, "layer": layer})
    return {"families": families, "children": len(examples), "right_in_training": right, "features": bool(given)}


def middle_weight(sketch: Sketch) -> str:
    """Canonical name of the weight in the middle of the body.

    Raises:
        CannotTake: no such tensor.
    """
    return _middle([_TensorSpec(name, sample.dtype, sample.shape) for name, sample in sketch.samples.items()])


def _middle(specs: Sequence[_TensorSpec]) -> str:
    weights = [t.name for t in tensors_of(specs) if t.role is Role.WEIGHT]
    if not weights:
        raise CannotTake(f"method {NAME}: these models have no weights of two or more dimensions")
    return weights[len(weights) // 2]


def _picture(sketch: Sketch, name: str) -> Tensor:
    """
    Raises:
        CannotTake: the model has no such weight.
    """
    sample = sketch.samples.get(name)
    if sample is None or len(sample.shape) < 2:
        raise CannotTake(f"method {NAME}: there is no weight {name!r} in these models, which it was trained on")
    rows = (sample.stop - sample.start) * sample.shape[0] // max(1, _size(sample.shape))
    values = torch.from_numpy(sample.values()[: rows * _size(sample.shape[1:])].copy())
    return weight_picture(values.reshape(rows, *sample.shape[1:]))


def _size(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _example(
    child: int,
    others: Sequence[int],
    pictures: Sequence[Tensor] | None,
    features: Sequence[Tensor] | None,
    target: int = 0,
) -> CandidateExample:
    def stacked(of: Sequence[Tensor] | None) -> Tensor | None:
        return None if of is None else torch.stack([torch.stack([of[other], of[child]]) for other in others])

    return CandidateExample(stacked(pictures), stacked(features), target)


def _examples_of(
    truth: Path, given: MethodInputs | None, tensor: str, layer: str, device: torch.device
) -> list[CandidateExample]:
    """Every model of a family as a child, with all others that have the same layout as candidates."""
    data = json.loads(truth.read_text(encoding="utf-8"))
    parents: dict[str, str | None] = dict.fromkeys(
        (row["model"] if isinstance(row, dict) else row for row in data["roots"]), None
    )
    parents |= {pair["child"]: pair["parent"] for pair in data["pairs"]}
    layouts: dict[tuple[tuple[int, ...], str], dict[str, Tensor]] = {}
    for name in parents:
        found = _weight_of(truth.parent / f"{name}.safetensors", tensor)
        if found is not None:
            layouts.setdefault((tuple(found[1].shape), found[0]), {})[name] = weight_picture(found[1])
    examples = []
    for pictures in layouts.values():
        names = list(pictures)
        features = None
        if given:
            forward = forward_of(given, layer, SAMPLES, device)
            features = [features_of(given.tensors(name), forward).cpu() for name in names]
        for child, name in enumerate(names):
            others = [i for i in range(len(names)) if i != child]
            parent = parents[name]
            if len(others) < 2 or (parent is not None and parent not in pictures):
                continue
            target = len(others) if parent is None else others.index(names.index(parent))
            examples.append(_example(child, others, list(pictures.values()), features, target))
    return examples


def _weight_of(path: Path, tensor: str) -> tuple[str, Tensor] | None:
    """Canonical name and values of the weight to show; None where the model has none of it or is not there."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        specs = [_TensorSpec(n, str(p.get_dtype()), tuple(p.get_shape())) for n, p in parts.items()]
        named = {t.name: t.source for t in tensors_of(specs)}
        try:
            wanted = tensor or _middle(specs)
        except CannotTake:
            return None
        return (wanted, file.get_tensor(named[wanted])) if wanted in named else None


def _on(example: CandidateExample, device: torch.device) -> CandidateExample:
    weights = None if example.weights is None else example.weights.to(device)
    return CandidateExample(weights, None if example.features is None else example.features.to(device), example.target)
