"""Four generations of a small residual network, really trained, as Neural Lineage's cross-generation test has them.

In: a plan (how many roots, how many children of each), the sets of bench/datasets.py. Out: FOLDER/models/<id>.safetensors and truth.json
in the layout of bench/families.py. Built once; a folder that holds the same plan is used as it is.

Roots start from seeds of their own and learn one set each. A child gets a new head and learns another set than its parent, in full; beside
the tree, the roots have children of three more kinds: few-shot (five pictures a class), imbalanced (classes thinned out to a hundredth),
and other outputs (five or seven classes).
Source: Yu & Wang, CVPR 2024 (arXiv 2406.11129): ResNet18 on pictures of full size there, generations tuned one after the other.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.datasets import CLASSES, Data
from bench.zoo.architectures import Network, build
from bench.zoo.train import Lane, Tensors, at_once, train

SIZES: dict[str, object] = {"channels": 1, "width": 8, "depths": (1, 1, 1)}
SETS = ("mnist", "fashion", "letters", "cifar", "omniglot")
ROOT_SETS = ("mnist", "fashion", "letters", "cifar")
BATCH = 32
SPECIAL = ("few-shot", "imbalanced", "other outputs")
FEW = 50  # pictures of a few-shot child
THINNEST = 0.01  # share that the rarest class of an imbalanced set keeps


@dataclass(frozen=True, slots=True)
class Plan:
    """roots: of generation 1; children: how many each model of generation 1, 2, 3 gets; special: of each kind, for each root."""

    roots: int = 8
    children: tuple[int, int, int] = (3, 2, 2)
    special: int = 3
    root_steps: int = 400
    seed: int = 0


QUICK = Plan(roots=4, children=(2, 1, 1), special=1, root_steps=200)


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the plan. kind: "full" or one of SPECIAL; roots have no parent."""

    id: str
    parent: str | None
    generation: int
    kind: str
    source: str
    outputs: int
    optimiser: str
    learning_rate: float
    weight_decay: float
    schedule: str
    steps: int
    seed: int


def members_of(plan: Plan) -> list[Member]:
    """Every model, parents before children; drawn from the plan's seed."""
    dice = random.Random(plan.seed)
    found = [
        _member(dice, f"g1-{i}", None, 1, "full", ROOT_SETS[i % len(ROOT_SETS)], plan.root_steps)
        for i in range(plan.roots)
    ]
    last = list(found)
    for generation, count in enumerate(plan.children, start=2):
        born = [
            _child(dice, f"g{generation}-{parent.id.partition('-')[2]}-{k}", parent, generation, "full")
            for parent in last
            for k in range(count)
        ]
        found, last = found + born, born
    for kind in SPECIAL:
        found += [
            _child(dice, f"{kind.replace(' ', '-')}-{root.id}-{k}", root, 2, kind)
            for root in found[: plan.roots]
            for k in range(plan.special)
        ]
    return found


def _child(dice: random.Random, name: str, parent: Member, generation: int, kind: str) -> Member:
    source = dice.choice([s for s in SETS if s != parent.source])
    return _member(dice, name, parent.id, generation, kind, source, dice.choice((60, 100, 160, 240)))


def _member(
    dice: random.Random, name: str, parent: str | None, generation: int, kind: str, source: str, steps: int
) -> Member:
    optimiser = dice.choice(("sgd", "adam", "adamw"))
    rates = (0.01, 0.02, 0.05) if optimiser == "sgd" else (5e-4, 1e-3, 2e-3)
    decay = dice.choice({"sgd": (0.0, 5e-4), "adam": (0.0, 1e-4), "adamw": (0.0, 0.01, 0.1)}[optimiser])
    outputs = dice.choice((5, 7)) if kind == "other outputs" else CLASSES
    schedule = dice.choice(("constant", "cosine"))
    rate = dice.choice(rates)
    return Member(
        name, parent, generation, kind, source, outputs, optimiser, rate, decay, schedule, steps, dice.getrandbits(31)
    )


def network_of(outputs: int, seed: int = 0) -> Network:
    """A fresh network; the body's start depends on the seed only."""
    return build("resnet", outputs, SIZES, seed)


def batches(member: Member, data: Data) -> Callable[[int], tuple[Tensor, Tensor]]:
    """step -> ((BATCH, 1, 16, 16), (BATCH,)) of the member's own data, thinned as its kind says."""
    pictures = data.pictures(member.source)
    generator = torch.Generator().manual_seed(member.seed)
    labels = pictures.labels
    keep = torch.randperm(len(labels), generator=generator)
    if member.outputs < CLASSES:
        keep = keep[labels[keep] < member.outputs]
    elif member.kind == "few-shot":
        keep = keep[:FEW]
    elif member.kind == "imbalanced":
        share = THINNEST ** (torch.arange(CLASSES) / (CLASSES - 1))
        keep = keep[torch.rand(len(keep), generator=generator) < share[labels[keep]]]
    wanted = member.steps * BATCH
    order = torch.cat([keep[torch.randperm(len(keep), generator=generator)] for _ in range(-(-wanted // len(keep)))])
    order = order[:wanted].view(member.steps, BATCH)
    return lambda step: (_grey(pictures.images[order[step]]), labels[order[step]])


def probe(source: str, data: Data, samples: int) -> Tensor:
    """(samples, 1, 16, 16): the same pictures of a set for every model, what features are computed on."""
    return _grey(data.pictures(source).images[:samples])


def _grey(images: Tensor) -> Tensor:
    return (images.mean(1, keepdim=True) - 0.3) * 3


def build_generations(folder: Path, plan: Plan, data: Data) -> tuple[list[Member], dict[str, Tensors], float]:
    """Members, their tensors by id, and the seconds that training took (0 where they were there)."""
    models, members = folder / "models", members_of(plan)
    described = {"plan": asdict(plan), "source": data.source, "members": [asdict(m) for m in members]}
    fingerprint = json.dumps(described, sort_keys=True)
    try:
        if json.loads((models / "truth.json").read_text())["fingerprint"] == fingerprint:
            return members, {m.id: load_file(models / f"{m.id}.safetensors") for m in members}, 0.0
    except (OSError, ValueError, KeyError):
        pass
    models.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    states = _train(members, data)
    for name, tensors in states.items():
        save_file(tensors, models / f"{name}.safetensors")
    trees: dict[str, list[str]] = defaultdict(list)
    parents = {m.id: m.parent for m in members}
    for name in parents:
        top = name
        while (above := parents[top]) is not None:
            top = above
        trees[top].append(name)
    truth = {
        "pairs": [{"child": c, "parent": p, "relation": "finetune"} for c, p in parents.items() if p],
        "roots": [m.id for m in members if m.parent is None],
        "trees": trees,
        "fingerprint": fingerprint,
    }
    (models / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return members, states, time.monotonic() - started


def _train(members: list[Member], data: Data) -> dict[str, Tensors]:
    states: dict[str, Tensors] = {}
    for generation in sorted({m.generation for m in members}):
        for outputs in sorted({m.outputs for m in members if m.generation == generation}):
            due = [m for m in members if m.generation == generation and m.outputs == outputs]
            for start in range(0, len(due), 48):
                group = due[start : start + 48]
                lanes = [_lane(m, states, data) for m in group]
                network = network_of(outputs)
                done = train(network, lanes, torch.device("cpu"), at_once("resnet", len(lanes), torch.device("cpu")))
                states.update({m.id: d.states[-1] for m, d in zip(group, done, strict=True)})
    return states


def _lane(member: Member, states: dict[str, Tensors], data: Data) -> Lane:
    fresh = network_of(member.outputs, member.seed)
    start = {n: t.detach().clone() for n, t in fresh.state_dict().items()}
    if member.parent:
        head = fresh.stages[-1]
        start |= {n: t for n, t in states[member.parent].items() if not n.startswith(head)}
    return Lane(
        start,
        batches(member, data),
        member.optimiser,
        member.learning_rate,
        member.weight_decay,
        member.schedule,
        (member.steps,),
    )
