"""Building one family: training, writing `<id>.safetensors` and `truth.json`.

Out: `OUT/NAME/` in the layout that `bench/families.py` reads. A family is built in `OUT/.NAME/` and moved when it is complete, so what has
a truth.json is whole; a broken-off build goes on where it stopped, member by member.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.hub_family.description import Family, Member, Merge, Recipe
from bench.hub_family.networks import FILE, Plain, Transformers, architecture
from bench.hub_family.tasks import Source
from bench.hub_family.train import train

STORAGE = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def built(folder: Path, family: Family) -> bool:
    """Whether the folder holds this family as it is described now."""
    try:
        return json.loads((folder / "truth.json").read_text())["plan"] == family.fingerprint
    except (OSError, KeyError, ValueError):
        return False


def build(family: Family, out: Path) -> Path:
    """Train all members of a family that are not there yet."""
    work = out / f".{family.name}"
    if (work / "plan").is_file() and (work / "plan").read_text() != family.fingerprint:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    (work / "plan").write_text(family.fingerprint)
    kind = architecture(family.architecture)
    source = Source(family.tokenizer_texts, family.vocabulary)
    records = [record for member in family.members for record in _member(family, member, work, kind, source)]
    folder = out / family.name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for record in records:
        shutil.move(work / record["id"] / FILE, folder / f"{record['id']}.safetensors")
    (folder / "truth.json").write_text(json.dumps(truth(family, records), indent=1) + "\n")
    shutil.rmtree(work)
    return folder


def combine(folders: list[Path], target: Path, name: str) -> None:
    """A folder that holds several families as one, by hard links; models are named after their family."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    whole: dict[str, Any] = defaultdict(
        list, family=name, split="mixed", trees={}, architecture=name, about="Families in one folder."
    )
    for folder in folders:
        part = json.loads((folder / "truth.json").read_text())
        mark = folder.name.rsplit("-", 1)[-1]

        def named(model: str, mark: str = mark) -> str:
            return f"{model}-{mark}"

        for path in sorted(folder.glob("*.safetensors")):
            os.link(path, target / f"{named(path.stem)}.safetensors")
        whole["models"] += [{**model, "id": named(model["id"])} for model in part["models"]]
        whole["pairs"] += [{**p, "child": named(p["child"]), "parent": named(p["parent"])} for p in part["pairs"]]
        whole["trees"] |= {named(root): [named(m) for m in members] for root, members in part["trees"].items()}
        for key in ("roots", "unknown"):
            whole[key] += [named(model) for model in part[key]]
        for key in ("same_run", "duplicates"):
            whole[key] += [[named(model) for model in group] for group in part[key]]
    (target / "truth.json").write_text(json.dumps(whole, indent=1) + "\n")


def truth(family: Family, records: list[dict[str, Any]]) -> dict[str, Any]:
    """truth.json as bench/families.py reads it."""
    contents: dict[str, list[str]] = {}
    trees: dict[str, list[str]] = {}
    for record in records:
        contents.setdefault(record["content"], []).append(record["id"])
        trees.setdefault(record["tree"], []).append(record["id"])
    return {
        "family": family.name,
        "about": "Small models trained with the recipes of the Hub (bench/hub_family).",
        "architecture": family.architecture,
        "split": family.split,
        "plan": family.fingerprint,
        "models": [{k: v for k, v in record.items() if k != "pairs"} for record in records],
        "pairs": [pair for record in records for pair in record["pairs"]],
        "roots": [record["id"] for record in records if not record["pairs"]],
        "unknown": [],
        "trees": trees,
        "same_run": [list(member.names) for member in family.members if len(member.names) > 1],
        "duplicates": [group for group in contents.values() if len(group) > 1],
    }


def _member(
    family: Family, member: Member, work: Path, kind: Transformers | Plain, source: Source
) -> list[dict[str, Any]]:
    kept = work / f"{member.names[-1]}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    began = time.perf_counter()
    before = after = None
    if member.recipe is None:
        _combined(member, work)
    elif isinstance(member.recipe, Merge):
        from bench.hub_family.merges import merge

        merge(member, member.recipe, work)
    else:
        torch.manual_seed(member.seed)
        recipe = member.recipe
        module = (
            kind.load(work / member.parents[0], recipe.task)
            if member.parents
            else kind.start(recipe.task, family.vocabulary)
        )

        def save(position: int, trained: torch.nn.Module) -> None:
            kind.save(trained, work / member.names[position], STORAGE[member.storage])

        before, after = train(module, kind, recipe, source, member.seed, save)
    seconds = time.perf_counter() - began
    records = []
    for position, name in enumerate(member.names):
        parents = member.parents if position == 0 else (member.names[position - 1],)
        records.append(
            {
                "id": name,
                "tree": member.tree,
                "storage": member.storage,
                "values": sum(t.numel() for t in load_file(work / name / FILE).values()),
                "content": _content(work / name / FILE),
                "recipe": _words(member, position),
                "loss_before": before,
                "loss": after,
                "seconds": round(seconds, 1),
                "pairs": [
                    {
                        "child": name,
                        "parent": parent,
                        "relation": member.relation if position == 0 and member.relation else "continued",
                        "method": member.recipe.method if member.recipe else member.relation,
                        "moved": moved(work / name / FILE, work / parent / FILE),
                        "evidence": "trained from it",
                        "source": _words(member, position),
                    }
                    for parent in parents
                ],
            }
        )
    kept.write_text(json.dumps(records))
    return records


def _combined(member: Member, work: Path) -> None:
    """A cast, or the mean of several models."""
    parts = [load_file(work / parent / FILE) for parent in member.parents]
    mean = {
        k: torch.stack([part[k].double() for part in parts]).mean(0).to(STORAGE[member.storage])
        if t.is_floating_point()
        else t
        for k, t in parts[0].items()
    }
    folder = work / member.names[0]
    folder.mkdir(exist_ok=True)
    save_file(mean, folder / FILE, {"format": "pt"})
    config = work / member.parents[0] / "config.json"
    if config.is_file():
        shutil.copy(config, folder)


def moved(child: Path, parent: Path) -> float:
    """|child - parent| / |parent| over float tensors of equal name and shape, running values left out."""
    one, other = load_file(child), load_file(parent)
    far = length = 0.0
    for name, tensor in other.items():
        if name in one and tensor.is_floating_point() and one[name].shape == tensor.shape and "running_" not in name:
            far += float((one[name].double() - tensor.double()).square().sum())
            length += float(tensor.double().square().sum())
    return round((far / length) ** 0.5, 6) if length else 0.0


def _content(path: Path) -> str:
    """Digest of names and values; equal for files of equal weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else repr(tensor).encode())
    return digest.hexdigest()[:16]


def _words(member: Member, position: int) -> str:
    recipe = member.recipe
    if not isinstance(recipe, Recipe):
        method = f"mergekit {recipe.method}, base {recipe.base}," if recipe else member.relation
        return f"{method} of {' and '.join(member.parents)}, {member.storage}"
    return (
        f"{recipe.method} {recipe.task.kind} {'+'.join(recipe.task.sources)} {recipe.saves[position]} steps {recipe.optimiser} "
        f"{recipe.learning_rate:.1e} {recipe.schedule} decay {recipe.decay:g} batch {recipe.batch} weights {recipe.weights_in} "
        f"stored {member.storage}"
        + (f" rank {recipe.rank}" if recipe.method == "lora" else "")
        + (f" +{recipe.added_tokens} tokens" if recipe.added_tokens else "")
        + (f" labels {recipe.task.labels}" if recipe.task.labels else "")
    )
