"""Merges made by mergekit of real tunings of one base, found again in a crowd of relatives: parents, shares, relation, base.

    python -m bench.relations_merges FAMILY... [--merges 4] [--seed 0]

FAMILY: a folder of `bench.hub_family` that holds several bases. For each base and each method of mergekit (`merge_state_dicts`, optional
extra `hub-family`) merges of two and of three tunings with drawn weights, in bfloat16 as mergekit writes by default or in the parents'
dtype; stacks of equal depth are put together here, tensor by tensor, which is what passthrough does. Parents are tunings of the base
itself that moved by at least MOVED of its length. Each merge is looked for among all models of its base, with all parents and with one
of them missing; false merges are counted over all models that are none. What is tried is `detect.merges`, before a family's tree is made:
a base that is a part of a weighted sum there, and that the tree then names, counts as named and as no parent.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.families import of_one_signature, read_sketches, read_truth
from lineage.crawler.weights import LocalFile, Weights
from lineage.detect.align import Layer, align
from lineage.detect.gram import Gram, gram
from lineage.detect.merges import Merge, merges
from lineage.detect.sketch import BUDGET_VALUES, plan
from lineage.detect.sketch_store import Sketch, make_sketch

MOVED = 0.005
METHODS = (
    "linear",
    "slerp",
    "task_arithmetic",
    "ties",
    "dare_linear",
    "dare_ties",
    "model_stock",
    "passthrough",
    "sce",
)
WITH_BASE = ("task_arithmetic", "ties", "dare_linear", "dare_ties", "model_stock", "sce")
NAMED_BASE = ("task_arithmetic", "ties", "dare_linear", "dare_ties", "sce")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """A merge to be made. parents: ids with their weights; parameters: what else mergekit is given."""

    name: str
    method: str
    base: str
    weights: Mapping[str, float]
    dtype: torch.dtype | None
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Count:
    """What became of the merges of one method."""

    merges: int = 0
    right_parents: int = 0
    named: int = 0
    true: int = 0
    exact: int = 0
    base: int = 0
    share_error: float = 0.0
    unseen: int = 0


def tunings(folder: Path) -> dict[str, list[str]]:
    """Base -> tunings of it, in full or of the backbone, that moved enough."""
    truth = json.loads((folder / "truth.json").read_text())
    roots = {row["model"] if isinstance(row, dict) else row for row in truth["roots"]}
    found: dict[str, list[str]] = defaultdict(list)
    for pair in truth["pairs"]:
        full = pair["relation"] in ("finetune", "finetune-backbone", "continued") and pair["method"] in (
            "full",
            "dpo",
            "lora",
        )
        if pair["parent"] in roots and full and pair["moved"] >= MOVED:
            found[pair["parent"]].append(pair["child"])
    return {base: sorted(some) for base, some in found.items() if len(some) >= 4}


def recipes(folder: Path, merges: int, seed: int) -> Iterator[Recipe]:
    """So many of two and of three parents, of each base and method."""
    for base, parents in sorted(tunings(folder).items()):
        chance = random.Random(f"{folder.name} {base} {seed}")
        shapes = {name: layout(folder, name) for name in [base, *parents]}
        for method in METHODS:
            for number in range(merges):
                size = 2 if method == "slerp" else 2 + number % 2
                first = chance.choice(parents)
                fitting = [p for p in parents if shapes[p] == shapes[first]]
                if len(fitting) < size:
                    continue
                yield recipe(chance, method, base, chance.sample(fitting, size), number)


def recipe(chance: random.Random, method: str, base: str, parents: Sequence[str], number: int) -> Recipe:
    raw = [chance.uniform(0.25, 1.0) for _ in parents]
    weights = [w / sum(raw) for w in raw]
    parameters: dict[str, float] = {}
    if method in ("task_arithmetic", "dare_linear", "dare_ties"):
        scale = chance.choice((0.7, 1.3))  # weights that sum to one leave no trace of the base
        weights = [scale * w for w in weights]
    if method in ("ties", "dare_linear", "dare_ties"):
        parameters["density"] = chance.choice((0.4, 0.5, 0.6, 0.7))
    if method == "sce":
        parameters["select_topk"] = chance.choice((0.3, 0.6, 1.0))
    dtype = torch.bfloat16 if number % 4 < 2 else None
    name = f"{method}-{len(parents)}-{'bf16' if dtype else 'as'}-{number}-{base}"
    return Recipe(
        name, method, base, dict(zip(parents, (round(w, 3) for w in weights), strict=True)), dtype, parameters
    )


def layout(folder: Path, model: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    header = Weights([LocalFile(folder / f"{model}.safetensors")]).header
    return tuple(sorted((spec.name, tuple(spec.shape)) for spec in header))


def make(folder: Path, made: Recipe) -> Tensors:
    """The merged tensors, as mergekit computes them."""
    from mergekit.merge_methods import merge_state_dicts

    models = {name: load_file(folder / f"{name}.safetensors") for name in made.weights}
    first = next(iter(models.values()))
    if made.method == "passthrough":
        return _stacked(models, made.dtype)
    if made.method in WITH_BASE or made.method == "slerp":
        models = {made.base: load_file(folder / f"{made.base}.safetensors"), **models}
        if made.method == "slerp":
            del models[made.base]
    shared = {
        name
        for name, tensor in first.items()
        if tensor.is_floating_point() and all(name in m and m[name].shape == tensor.shape for m in models.values())
    }
    inputs = {key: {name: tensors[name] for name in sorted(shared)} for key, tensors in models.items()}
    weights = dict(made.weights)
    base = made.base if made.method in WITH_BASE else next(iter(weights)) if made.method == "slerp" else None
    parameters: dict[str, Any] = {"weight": weights}
    if made.method == "slerp":
        parameters = {"t": list(weights.values())[1]}
    elif made.method in ("model_stock", "sce"):
        parameters = dict(made.parameters)
    elif "density" in made.parameters:
        parameters["density"] = dict.fromkeys(weights, made.parameters["density"])
    merged = merge_state_dicts(inputs, made.method, parameters=parameters, base=base, dtype=made.dtype)
    return {name: merged[name].contiguous() if name in merged else tensor for name, tensor in first.items()}


def _stacked(models: Mapping[str, Tensors], dtype: torch.dtype | None) -> Tensors:
    """The tensors of the first parent up to a place, then those of the next one."""
    names = list(next(iter(models.values())))
    parts = list(models.values())
    order = sorted(
        names, key=lambda n: [int(p) if p.isdigit() else p for p in n.replace("_", ".").split(".")].__str__()
    )
    out = {}
    for place, name in enumerate(order):
        tensor = parts[place * len(parts) // len(order)][name]
        out[name] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
    return {name: tensor.contiguous().clone() for name, tensor in out.items()}


def sketch_of(tensors: Tensors, name: str) -> Sketch:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.safetensors"
        save_file(tensors, path)
        weights = Weights([LocalFile(path)])
        blocks = plan(weights.header, BUDGET_VALUES)
        return make_sketch(name.encode().hex(), weights.header, weights.read(blocks))


@dataclass(frozen=True)
class Crowd:
    """The models of one base and the merges made of them, aligned once. names: of all; own: places of those that are no merges."""

    names: list[str]
    own: list[int]
    layers: list[Layer]
    gram: Gram
    distance: torch.Tensor

    def merges(self, places: Sequence[int]) -> dict[str, Merge]:
        """What is found among some of the models, by name; indices are those of `places`."""
        index = torch.tensor(list(places))
        found = merges([x.of(index) for x in self.layers], self.gram.only(index), self.distance[index][:, index])
        return {self.names[places[i]]: merge for i, merge in found.items()}


def crowd_of(sketches: Mapping[str, Sketch], made: Mapping[str, Sketch]) -> Crowd:
    """Models of equal bodies, and coarser copies, are left out: they are settled before merges are looked for."""
    subjects = max(of_one_signature({**sketches, **made}), key=len)
    layers = align([subject.sketch for subject in subjects], torch.device("cpu"))
    products = gram(layers)
    distance = products.distances()
    names = [subject.id.partition("\n")[0] for subject in subjects]
    own: list[int] = []
    for place, name in enumerate(names):
        if name in sketches and all(float(distance[place, other]) > 0 for other in own):
            own.append(place)
    return Crowd(names, own, layers, products, distance)


def count_one(count: Count, made: Recipe, merge: Merge | None, names: Sequence[str], known: Sequence[str]) -> None:
    """names: of the models that the merge counts; known: those of its parents that are at hand."""
    shares = {names[part]: share for part, share in merge.parts} if merge else {}
    base = names[merge.base] if merge and merge.base is not None else None
    if base is None and len(shares) > 2 and made.base in shares:
        base = made.base
        del shares[base]
    count.merges += 1
    count.named += len(shares)
    count.true += len(known)
    count.right_parents += len(shares.keys() & set(known))
    count.exact += shares.keys() == set(known)
    count.base += base == made.base
    count.unseen += merge is not None and merge.unseen
    if shares.keys() == set(made.weights) and made.method in ("linear", "slerp", "task_arithmetic"):
        whole, total = sum(made.weights.values()), sum(shares.values())
        wrong = (abs(share / total - made.weights[name] / whole) for name, share in shares.items())
        count.share_error = max(count.share_error, *wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", type=Path)
    parser.add_argument("--merges", type=int, default=4, help="of each base and method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    whole: dict[str, Count] = defaultdict(Count)
    missing: dict[str, Count] = defaultdict(Count)
    started = time.process_time()
    tuned = called_merges = 0
    for folder in arguments.families:
        sketches, truth = read_sketches(folder, BUDGET_VALUES), read_truth(folder)
        merged = {child for child, parents in truth.parents.items() if len(parents) > 1}
        recipe_of = {made.name: made for made in recipes(folder, arguments.merges, arguments.seed)}
        for base in sorted({made.base for made in recipe_of.values()}):
            some = {n: sketch_of(make(folder, m), n) for n, m in recipe_of.items() if m.base == base}
            tree = {n: s for n, s in sketches.items() if truth.tree[n] == truth.tree[base] and n not in merged}
            crowd = crowd_of(tree, some)
            tuned += len(crowd.own)
            false = crowd.merges(crowd.own)
            called_merges += len(false)
            if arguments.verbose:
                print(
                    folder.name,
                    base,
                    len(crowd.own),
                    "called merges:",
                    {n: m.method for n, m in false.items()},
                    flush=True,
                )
            for name in [name for name in crowd.names if name in some]:
                made = recipe_of[name]
                for without in (None, list(made.weights)[-1]):
                    places = [i for i in crowd.own if crowd.names[i] != without] + [crowd.names.index(name)]
                    found = crowd.merges(places)
                    known = [parent for parent in made.weights if parent != without]
                    names = [crowd.names[i] for i in places]
                    count_one((whole if without is None else missing)[made.method], made, found.get(name), names, known)
    show("all parents at hand", whole)
    show("one parent missing", missing)
    print(f"\n{called_merges} of {tuned} models that are no merges called merges ({called_merges / max(1, tuned):.4f})")
    print(f"{time.process_time() - started:.0f} s of processor time")
    print(
        json.dumps({"false_merges": called_merges, "models": tuned, **_sums(whole, "all"), **_sums(missing, "missing")})
    )


def _sums(counts: Mapping[str, Count], name: str) -> dict[str, float]:
    right, named, true = (sum(getattr(c, f) for c in counts.values()) for f in ("right_parents", "named", "true"))
    return {f"{name}_precision": right / max(1, named), f"{name}_recall": right / max(1, true)}


def show(title: str, counts: Mapping[str, Count]) -> None:
    print(f"\n{title}\n")
    columns = (
        "merges",
        "parents P",
        "parents R",
        "exactly right",
        "base named",
        "largest share error",
        "with an unseen part",
    )
    print(f"| method | {' | '.join(columns)} |")
    print("| --- |" + " ---: |" * len(columns))
    for method, c in counts.items():
        base = c.base if method in NAMED_BASE else "–"
        print(
            f"| {method} | {c.merges} | {c.right_parents / max(1, c.named):.3f} | {c.right_parents / max(1, c.true):.3f} | {c.exact} "
            f"| {base} | {c.share_error:.3f} | {c.unseen} |"
        )


if __name__ == "__main__":
    main()
