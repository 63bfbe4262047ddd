"""Train one planned family and write it out.

In: a Family, the Data, a device. Out: FOLDER/<family>/<model>.safetensors and truth.json, in the layout that real families have (models,
pairs (child, parent, relation), roots, trees, same_run, duplicates, unknown); and beyond it architecture, split, recipe and loss of each
model, how far each child moved, and which roots can be hidden. A family appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file

from bench.datasets import Data, from_environment
from bench.zoo.architectures import READS_TEXT, Network, build
from bench.zoo.description import Family, Member, Recipe, seed_of
from bench.zoo.tasks import stream
from bench.zoo.train import Lane, Tensors, TrainingStates, at_once, train

GROWTH = 4  # rows that a grown head gets
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FEWEST_LEFT = 3  # children that must remain for a root to be worth hiding


@dataclass(slots=True, eq=False)
class BuiltFamily:
    """`states`: tensors as stored, by file name; `losses`: at the end of training; `chance`: the loss of a model that knows nothing."""

    states: dict[str, Tensors]
    losses: dict[str, float]
    chance: float


def make(family: Family, folder: Path, device: str) -> float:
    """Build one family in this process, on one thread; gives the seconds it took."""
    torch.set_num_threads(1)
    started = time.monotonic()
    data = from_environment()
    write_family(family, train_family(family, data, torch.device(device)), folder, data.source)
    return time.monotonic() - started


def built(folder: Path, fingerprint: str) -> bool:
    """Whether the family lies there as it is described now."""
    try:
        return bool(json.loads((folder / "truth.json").read_text(encoding="utf-8")).get("plan") == fingerprint)
    except (OSError, ValueError):
        return False


def train_family(family: Family, data: Data, device: torch.device) -> BuiltFamily:
    """Train generation by generation, all models of one that have equal shapes together."""
    built = BuiltFamily({}, {}, math.log(family.outputs))
    for generation in range(1 + max(member.generation for member in family.members)):
        due = [member for member in family.members if member.generation == generation]
        groups: dict[tuple[int, int], list[Member]] = defaultdict(list)
        for member in due:
            if member.recipe:
                groups[_outputs(family, member, built), member.recipe.batch].append(member)
        for (outputs, _), members in groups.items():
            network = _fresh(family, outputs, 0)
            lanes = [_lane(family, member, network, built, data, outputs, device) for member in members]
            results = train(network, lanes, device, at_once(family.architecture, len(lanes), device))
            for member, result in zip(members, results, strict=True):
                _keep(built, member, result)
        for member in due:
            if not member.recipe:
                _derive(built, member, family)
    return built


def write_family(family: Family, built: BuiltFamily, folder: Path, source: str) -> None:
    """Write models and truth; nothing is visible under the family's name until all of it is there."""
    final, partial = folder / family.name, folder / f".{family.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for member in family.members:
        for name in member.names:
            tensors = {member.prefix + n: t.contiguous() for n, t in built.states[name].items()}
            save_file(tensors, partial / f"{name}.safetensors", {"format": "pt"})
    (partial / "truth.json").write_text(json.dumps(truth(family, built, source), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)


def truth(family: Family, built: BuiltFamily, source: str) -> dict[str, object]:
    """What is known of the family, as JSON values."""
    dates = _dates(family)
    models, pairs, same_run = [], [], []
    equal: dict[str, list[str]] = defaultdict(list)
    for member in family.members:
        recipe = member.recipe
        for i, name in enumerate(member.names):
            state = built.states[name]
            described = asdict(recipe) if recipe else None
            equal[content(state)].append(name)
            models.append(
                {
                    "id": name,
                    "date": dates[name],
                    "tensors": len(state),
                    "values": sum(t.numel() for t in state.values()),
                    "storage": member.storage,
                    "prefix": member.prefix,
                }
                | {"loss": built.losses.get(name), "chance": built.chance, "recipe": described}
            )
            before, relation = ((member.names[i - 1],), "continued") if i else (member.parents, member.relation)
            for parent in before:
                note = recipe.note if recipe else relation
                moved = relative_distance(state, built.states[parent])
                pairs.append(
                    {
                        "child": name,
                        "parent": parent,
                        "relation": relation,
                        "evidence": "built",
                        "source": note,
                        "moved": round(moved, 6),
                    }
                )
        if len(member.names) > 1:
            same_run.append(list(member.names))
    children: dict[str, int] = defaultdict(int)
    for pair in pairs:
        if pair["relation"] not in ("copy", "cast", "quantized", "merge", "continued"):
            children[str(pair["parent"])] += 1
    roots = [member.names[0] for member in family.members if not member.parents]
    return {
        "family": family.name,
        "about": f"{family.architecture}, {family.shape}, {family.style}, trained on {source}",
        "architecture": family.architecture,
        "sizes": dict(family.sizes),
        "shape": family.shape,
        "style": family.style,
        "split": family.split,
        "plan": family.fingerprint,
        "models": models,
        "pairs": pairs,
        "roots": [{"model": name, "source": "started at random"} for name in roots],
        "trees": {f"tree-{name}": tree for name, tree in _trees(family).items()},
        "same_run": same_run,
        "duplicates": [sorted(names) for names in equal.values() if len(names) > 1],
        "unknown": [],
        "ancestor_only": [],
        "hideable": [name for name in roots if children[name] >= FEWEST_LEFT],
    }


def relative_distance(child: Tensors, parent: Tensors) -> float:
    """|child - parent| / |parent| over float tensors of equal shape, running values of batch norm left out."""
    moved = whole = 0.0
    for name, before in parent.items():
        after = child.get(name)
        if after is None or after.shape != before.shape or not before.is_floating_point() or "running_" in name:
            continue
        moved += float((after.double() - before.double()).square().sum())
        whole += float(before.double().square().sum())
    return math.sqrt(moved / whole) if whole else math.nan


def content(state: Tensors) -> str:
    """Equal for models of equal tensors, whatever the file looks like."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def trained_names(network: Network, tune: str) -> frozenset[str]:
    """Parameters that partly frozen tuning moves.

    Raises: ValueError: for a way of tuning that Recipe does not name.
    """
    names = [name for name, _ in network.named_parameters()]
    stages = network.stages
    match tune:
        case "full":
            return frozenset(names)
        case "head":
            open_ = stages[-1:]
        case "last":
            open_ = stages[-3:] if "norm" in stages[-2] or "ln_f" in stages[-2] else stages[-2:]
        case "upper":
            open_ = stages[len(stages) // 2 :]
        case "vectors":
            return frozenset(
                name for name, p in network.named_parameters() if p.ndim == 1 or name.startswith(stages[-1])
            )
        case _:
            raise ValueError(f"no way of tuning {tune!r}")
    return frozenset(name for name in names if name.startswith(open_))


def _fresh(family: Family, outputs: int, seed: int) -> Network:
    return build(family.architecture, outputs, dict(family.sizes), seed, family.start)


def _outputs(family: Family, member: Member, built: BuiltFamily) -> int:
    if not member.parents or not member.recipe:
        return family.outputs
    head = _fresh(family, family.outputs, 0).stages[-1]
    parent = next(t for n, t in built.states[member.parents[0]].items() if n.startswith(head) and n.endswith("weight"))
    return len(parent) + (GROWTH if member.recipe.head == "grow" else 0)


def _lane(
    family: Family, member: Member, network: Network, built: BuiltFamily, data: Data, outputs: int, device: torch.device
) -> Lane:
    recipe = member.recipe
    assert recipe
    text = family.architecture in READS_TEXT
    batches = stream(
        recipe.task,
        data,
        text=text,
        channels=family.channels,
        batch=recipe.batch,
        steps=recipe.saves[-1],
        device=device,
    )
    names = {name for name, _ in network.named_parameters()}
    return Lane(
        start=_start(family, member, recipe, network, built, outputs),
        batch=batches,
        optimiser=recipe.optimiser,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        schedule=recipe.schedule,
        saves=recipe.saves,
        frozen=frozenset(names - trained_names(network, recipe.tune)),
        frozen_stats=recipe.frozen_stats,
        decay_vectors=recipe.decay_vectors,
        clip=recipe.clip,
    )


def _start(
    family: Family, member: Member, recipe: Recipe, network: Network, built: BuiltFamily, outputs: int
) -> Tensors:
    """The parent as stored, in float32, with the head that the recipe asks for."""
    fresh = dict(_fresh(family, outputs, member.seed).state_dict())
    if not member.parents:
        return fresh
    start = {}
    for name, new in fresh.items():
        old = built.states[member.parents[0]][name].to(new.dtype)
        if recipe.head == "new" and name.startswith(network.stages[-1]):
            start[name] = new
        elif old.shape != new.shape:
            start[name] = torch.cat([old, new[len(old) :]])
        else:
            start[name] = old
    return start


def _keep(built: BuiltFamily, member: Member, trained: TrainingStates) -> None:
    for name, state in zip(member.names, trained.states, strict=True):
        if member.recipe and member.recipe.rank:
            state = low_rank(state, built.states[member.parents[0]], member.recipe.rank)
        built.states[name] = stored(state, member.storage)
    built.losses[member.names[-1]] = trained.loss


def _derive(built: BuiltFamily, member: Member, family: Family) -> None:
    """A copy, a cast copy or the mean of the parents."""
    parents = [built.states[name] for name in member.parents]
    if len(parents) == 1:
        state = rounded(parents[0]) if member.relation == "quantized" else parents[0]
        built.states[member.names[0]] = stored(state, member.storage)
        return
    mean = {}
    for name, first in parents[0].items():
        together = torch.stack([parent[name].double() for parent in parents]).mean(0)
        mean[name] = together.to(torch.int64 if not first.is_floating_point() else torch.float32)
    built.states[member.names[0]] = stored(mean, member.storage)


def low_rank(child: Tensors, parent: Tensors, rank: int) -> Tensors:
    """The parent plus the strongest `rank` singular directions of each matrix' change; the rest as in the child."""
    merged = dict(child)
    for name, after in child.items():
        before = parent[name].to(after.dtype)
        if after.ndim < 2 or before.shape != after.shape:
            continue
        left, strength, right = torch.linalg.svd((after - before).flatten(1), full_matrices=False)
        change = (left[:, :rank] * strength[:rank]) @ right[:rank]  # (rows, everything else)
        merged[name] = before + change.view_as(before)
    return merged


def rounded(state: Tensors) -> Tensors:
    """Matrices on 255 levels a row, from minus to plus the largest value of the row, as 8-bit weights come back to floats."""
    coarse = dict(state)
    for name, tensor in state.items():
        if tensor.ndim > 1 and tensor.is_floating_point():
            step = tensor.float().flatten(1).abs().amax(1).clamp_min(1e-12) / 127  # (rows,)
            step = step.view(-1, *(1,) * (tensor.ndim - 1))
            coarse[name] = (tensor.float() / step).round() * step
    return coarse


def stored(state: Tensors, storage: str) -> Tensors:
    """Float tensors in the dtype of the file; counters as they are."""
    return {
        name: tensor.to(DTYPES[storage]) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }


def _trees(family: Family) -> dict[str, list[str]]:
    """Models by the root they descend from."""
    root: dict[str, str] = {}
    for member in sorted(family.members, key=lambda m: m.generation):
        for name in member.names:
            root[name] = root[member.parents[0]] if member.parents else member.names[0]
    trees: dict[str, list[str]] = defaultdict(list)
    for name, top in sorted(root.items()):
        trees[top].append(name)
    return dict(trees)


def _dates(family: Family) -> dict[str, str]:
    """Dates of publication: after the parent's, but for one model in ten that was published late or whose parent was."""
    dice = random.Random(seed_of(family.name, "dates"))
    days: dict[str, int] = {}
    for member in sorted(family.members, key=lambda m: m.generation):
        day = max((days[p] for p in member.parents), default=dice.randrange(200))
        for name in member.names:
            day += dice.randrange(0, 40)
            days[name] = day + (dice.randrange(-60, 120) if dice.random() < 0.1 else 0)
    return {name: (date(2024, 1, 1) + timedelta(days=max(0, d))).isoformat() for name, d in days.items()}
