"""Trees of tiny language models from their answers alone (PhyloLM), beside the tree from the weights.

    python -m bench.papers.black_box --out FOLDER [--quick]

Families of eleven character models: a root R -> {A, B}, A -> {A1, A2}, B -> {B1, B2}, A1 -> A11, and another root S -> {S1, S2}, each
trained on a third of a text of bench/datasets.py, another one than its parent. PhyloLM (Yax et al., ICLR 2025, arXiv 2404.04671) gets 32
answers of four characters to 128 prompts, several times with other draws; its tree is neighbour joining on -ln of the similarity. From
the weights: neighbour joining on squared distances of all matrices, which add up along a tree if steps are at right angles; and the edges
that `lineage` finds. Every model is a leaf of the true tree, models with children too. A true split is a subtree of at least two models
that leaves at least two outside.

Out: splits found, Robinson-Foulds distance (missing and wrong splits; neighbour joining resolves everything, so it always adds some that
the truth leaves open), and a last line of JSON. For scale: an unpublished draft found 24-52 % of clades by PhyloLM on trees of Flan-T5
and Llama-3.2-1B, and 92-100 % from weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.datasets import ALPHABET, Data, from_environment
from bench.papers.text_models import Recipe, Tensors, answers, fresh, tune
from lineage.detect.methods.phylolm import compare, neighbour_joining, newick, outputs_of
from lineage.detect.options import Options
from lineage.scanning import scan_folder

PARENTS = {"A": "R", "B": "R", "A1": "A", "A2": "A", "B1": "B", "B2": "B", "A11": "A1", "S1": "S", "S2": "S"}
MODELS = ("R", "S", *PARENTS)
TEXTS = ("shakespeare", "wiki-a", "wiki-b")
SIZES: dict[str, object] = {"width": 48, "depth": 3, "heads": 4, "context": 32}
PROMPT = 24  # characters of a prompt
ANSWER = 4
Split = frozenset[str]


def true_splits(parents: Mapping[str, str | None]) -> set[Split]:
    """Each model with everything below it, where two or more are in it and two or more outside; the side without the first model."""
    models = {*parents, *(p for p in parents.values() if p)}

    def under(top: str) -> frozenset[str]:
        found, waiting = {top}, [top]
        while waiting:
            at = waiting.pop()
            below = [c for c, p in parents.items() if p == at and c not in found]
            found.update(below)
            waiting += below
        return frozenset(found)

    return {_side(under(m), models) for m in models if 2 <= len(under(m)) <= len(models) - 2}


def tree_splits(tree: Any) -> set[Split]:
    """Splits of a Bio.Phylo tree's inner branches."""
    models = {leaf.name for leaf in tree.get_terminals()}
    found = {frozenset(leaf.name for leaf in clade.get_terminals()) for clade in tree.get_nonterminals()}
    return {_side(part, models) for part in found if 2 <= len(part) <= len(models) - 2}


def _side(part: Iterable[str], models: set[str]) -> Split:
    part = frozenset(part)
    return frozenset(models - part) if min(models) in part else part


def family(folder: Path, number: int, steps: int, data: Data) -> dict[str, Tensors]:
    """One family by name, trained where the folder does not hold it."""
    place = folder / _name(number, steps)
    place.mkdir(parents=True, exist_ok=True)
    states: dict[str, Tensors] = {}
    for order, name in enumerate(MODELS):
        path = place / f"{name}.safetensors"
        if path.exists():
            states[name] = load_file(path)
            continue
        network, start = fresh("gpt", SIZES, 1000 * number + order)
        root = name not in PARENTS
        text = _text(order + number, data)
        recipe = Recipe(3 * steps if root else steps, 3e-3 if root else 5e-4, 100 * number + order)
        states[name] = tune(network, start if root else states[PARENTS[name]], text, recipe)
        save_file(states[name], path)
    return states


def _name(number: int, steps: int) -> str:
    return f"char-{number}-{steps}"


def _text(turn: int, data: Data) -> Tensor:
    """A third of a text as (count,) tokens; two turns that follow each other take different texts."""
    tokens = data.text(TEXTS[turn % len(TEXTS)])
    third = len(tokens) // 3
    part = turn // len(TEXTS) % 3
    return tokens[part * third : (part + 1) * third]


def prompts_of(data: Data, count: int) -> Tensor:
    """(count, PROMPT) tokens, from all texts in turn."""
    dice = torch.Generator().manual_seed(77)
    rows = []
    for i in range(count):
        tokens = data.text(TEXTS[i % len(TEXTS)])
        at = int(torch.randint(len(tokens) - PROMPT, (1,), generator=dice))
        rows.append(tokens[at : at + PROMPT])
    return torch.stack(rows)


def by_answers(states: Mapping[str, Tensors], prompts: Tensor, samples: int, seed: int) -> tuple[set[Split], str]:
    """Splits of PhyloLM's tree, and the tree."""
    network = fresh("gpt", SIZES, 0)[0]
    genes = ["".join(ALPHABET[t] for t in row) for row in prompts.tolist()]
    said = {}
    for place, (name, tensors) in enumerate(states.items()):
        texts = answers(network, tensors, prompts, samples, ANSWER, 1000 * seed + place)
        said[name] = dict(zip((f"{i} {g}" for i, g in enumerate(genes)), texts, strict=True))
    found = compare(outputs_of(said, ANSWER))
    tree = neighbour_joining(found.models, found.distance)
    return tree_splits(tree), newick(tree)


def by_distance(states: Mapping[str, Tensors]) -> set[Split]:
    """Neighbour joining on squared distances of all matrices."""
    flat = torch.stack([torch.cat([t.flatten() for n, t in sorted(s.items()) if t.ndim > 1]) for s in states.values()])
    distance = torch.cdist(flat.double(), flat.double()).square().numpy()
    return tree_splits(neighbour_joining(list(states), np.asarray(distance)))


def by_lineage(folder: Path) -> tuple[set[Split], int]:
    """Splits of the edges that are asserted, and how many of them are right, with direction."""
    found = {d.model: d.parent for d in scan_folder(folder, Options(dates=False, declared=False)).decisions}
    return true_splits(found), sum(found[c] == p for c, p in PARENTS.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the models")
    parser.add_argument("--quick", action="store_true", help="one family, shorter training, one draw of answers")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data, began = from_environment(), time.monotonic()
    families, steps, draws = (1, 60, 1) if chosen.quick else (3, 150, 3)
    truth = true_splits({**PARENTS, "R": None, "S": None})
    prompts = prompts_of(data, 128)
    shares: dict[str, list[float]] = {}
    distances: dict[str, list[int]] = {}
    edges, trees = [], []

    def keep(method: str, splits: set[Split]) -> None:
        shares.setdefault(method, []).append(len(truth & splits) / len(truth))
        distances.setdefault(method, []).append(len(truth ^ splits))

    for number in range(families):
        states = family(chosen.out, number, steps, data)
        for draw in range(draws):
            splits, tree = by_answers(states, prompts, 32, draw)
            keep("PhyloLM, 128 prompts × 32 answers", splits)
            trees.append(tree)
            keep("PhyloLM, 32 prompts × 32 answers", by_answers(states, prompts[:32], 32, draw)[0])
        keep("weights, neighbour joining", by_distance(states))
        splits, right = by_lineage(chosen.out / _name(number, steps))
        keep("weights, lineage", splits)
        edges.append(right)
    print(f"| tree from | true splits found, of {len(truth)} | worst | Robinson-Foulds distance | trees |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for method, share in shares.items():
        mean, spread = statistics.mean(share), statistics.pstdev(share)
        print(
            f"| {method} | {mean:.2f} ± {spread:.2f} | {min(share):.2f} | {statistics.mean(distances[method]):.1f} | {len(share)} |"
        )
    print(f"\nlineage names {sum(edges)} of {len(PARENTS) * families} parents with direction")
    told = {
        "bench": "black_box",
        "quick": chosen.quick,
        "data": data.source,
        "seconds": round(time.monotonic() - began),
    }
    told |= {"shares": shares, "distances": distances, "parents_right": edges, "parents": len(PARENTS) * families}
    print(json.dumps(told | {"trees": trees}))


if __name__ == "__main__":
    main()
