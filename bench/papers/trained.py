"""Families that a bench plans model by model: trained many at a time, kept in a folder that is used again while the plan is the same.

In: a network and what each model of it is trained on, from whom. Out: FOLDER/<id>.safetensors and truth.json in the layout of
bench/families.py. Models of one generation and one batch size are trained together (bench/zoo/train.py). Every group is written when it is
done, so a build that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.datasets import Data
from bench.zoo.architectures import Network
from bench.zoo.train import Lane, Tensors, train

STARTS = ("uniform", "normal")  # Kaiming's two


@dataclass(frozen=True, slots=True)
class PlannedNetwork:
    """One model. parent: None for one that is trained from a random start. generation: 0 for those."""

    id: str
    parent: str | None
    generation: int
    source: str
    optimiser: str
    learning_rate: float
    batch: int
    steps: int
    seed: int
    start: str = "uniform"
    weight_decay: float = 0.0
    new_head: bool = False


@dataclass(frozen=True, slots=True)
class Zoo:
    """Models of one architecture. side: of the pictures, which have `channels` channels and values from 0 to 1."""

    make: Callable[[], Network]
    side: int
    channels: int
    models: tuple[PlannedNetwork, ...]
    lanes: int = 24  # trained together at most


def build_zoo(folder: Path, zoo: Zoo, data: Data, say: Callable[[str], None] = lambda line: None) -> None:
    """Train what is not there yet, and write the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = json.dumps([[asdict(model) for model in zoo.models], zoo.side, zoo.channels, data.source, str(zoo.make())])
    fingerprint = hashlib.sha256(plan.encode()).hexdigest()[:16]
    mark = folder / "plan.txt"
    if not mark.exists() or mark.read_text() != fingerprint:
        for path in folder.glob("*.safetensors"):
            path.unlink()
        mark.write_text(fingerprint)
    (folder / "truth.json").write_text(json.dumps(_truth(zoo.models), indent=1) + "\n")
    groups: dict[tuple[int, int, int], list[PlannedNetwork]] = defaultdict(list)
    for model in zoo.models:
        if not (folder / f"{model.id}.safetensors").exists():
            groups[model.generation, model.batch, model.steps].append(model)
    for key in sorted(groups):
        for first in range(0, len(groups[key]), zoo.lanes):
            group = groups[key][first : first + zoo.lanes]
            say(f"{folder.name}: {len(group)} models of generation {key[0]}, {key[2]} steps of {key[1]}")
            lanes = [_lane(zoo, model, folder, data) for model in group]
            for model, done in zip(group, train(zoo.make(), lanes, torch.device("cpu"), len(lanes) > 3), strict=True):
                path = folder / f"{model.id}.safetensors"
                save_file(done.states[-1], path.with_suffix(".part"))
                path.with_suffix(".part").rename(path)


def _truth(models: Sequence[PlannedNetwork]) -> dict[str, object]:
    parents = {m.id: m.parent for m in models}
    trees: dict[str, list[str]] = defaultdict(list)
    for name in parents:
        top = name
        while (above := parents[top]) is not None:
            top = above
        trees[top].append(name)
    return {
        "pairs": [{"child": c, "parent": p, "relation": "finetune"} for c, p in parents.items() if p],
        "roots": [name for name, parent in parents.items() if parent is None],
        "trees": trees,
    }


def _lane(zoo: Zoo, model: PlannedNetwork, folder: Path, data: Data) -> Lane:
    start = fresh(zoo, model.seed, model.start)
    if model.parent:
        head = zoo.make().stages[-1]
        kept = load_file(folder / f"{model.parent}.safetensors")
        start |= {n: t for n, t in kept.items() if not (model.new_head and n.startswith(head))}
    return Lane(
        start, _batches(zoo, model, data), model.optimiser, model.learning_rate, model.weight_decay, "constant", (model.steps,)
    )  # fmt: skip


def fresh(zoo: Zoo, seed: int, start: str) -> Tensors:
    """Tensors of a network that starts at random: Kaiming's uniform or normal start for matrices, torch's for the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = zoo.make()
        for parameter in network.parameters():
            if parameter.ndim >= 2:
                draw = nn.init.kaiming_uniform_ if start == "uniform" else nn.init.kaiming_normal_
                draw(parameter, nonlinearity="relu")
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _batches(zoo: Zoo, model: PlannedNetwork, data: Data) -> Callable[[int], tuple[Tensor, Tensor]]:
    """step -> ((batch, channels, side, side) between 0 and 1, (batch,)), shuffled anew in every pass over the set."""
    pictures = data.pictures(model.source)
    generator = torch.Generator().manual_seed(model.seed)
    wanted, count = model.batch * model.steps, len(pictures.labels)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(-(-wanted // count))])
    order = order[:wanted].view(model.steps, model.batch)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        images = pictures.images[order[step]]
        if zoo.channels == 1:
            images = images.mean(1, keepdim=True)
        images = images.expand(-1, zoo.channels, -1, -1)
        if images.shape[-1] != zoo.side:
            images = F.interpolate(images, size=(zoo.side, zoo.side), mode="bilinear")
        return images, pictures.labels[order[step]]

    return sample
