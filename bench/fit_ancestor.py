"""Fits the trees of detect/ancestor.py on families of known lineage, seen from their true root.

    python -m bench.fit_ancestor --families ZOO --families HUB_FAMILY --split tune --out detect/ancestor_trees.json

Every related part of a family is settled and measured as detection does it; of several trees in one part the largest is taken. One row is a
model b and a neighbour s of it: is s among the ancestors of b? Each tree counts by the square root of its number of rows. Prints, for every
kind of family, what a fit without it says of its models: whether the nearest ancestor is named, and how right it is where it is sure.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.boosted import fit, write
from bench.families import Truth, by_kind, of_one_signature, read_sketches, read_truth
from lineage.detect.ancestor import FEATURES, SIGNS
from lineage.detect.measurement import SettledFamily, measure
from lineage.detect.options import Options
from lineage.detect.pipeline import families_of
from lineage.detect.signals.exact_retention import exact_inheritance
from lineage.detect.signals.retention import unit_distances, votes
from lineage.detect.signals.rooted_growth import rooted_growth
from lineage.detect.tree import seen_from

CPU = torch.device("cpu")
SURE = 0.8


@dataclass(frozen=True)
class Tree:
    """One tree seen from its true root: x (n, f) features and y (n,) truth of each row; where (n, 3): child, neighbour, its rank."""

    x: np.ndarray
    y: np.ndarray
    where: list[tuple[int, int, int]]
    names: list[str]
    root: int
    truth: Truth


def trees_of(folder: Path) -> Iterator[Tree]:
    truth = read_truth(folder)
    for subjects in of_one_signature(read_sketches(folder)):
        for found in families_of(subjects, Options(detector=False), CPU):
            if isinstance(found, SettledFamily) and len(found.own) > 2:
                tree = _tree(found, truth)
                if tree is not None:
                    yield tree


def _tree(family: SettledFamily, truth: Truth) -> Tree | None:
    ids = [s.id for s in family.own]
    known = [i for i, name in enumerate(ids) if name in truth.tree and name not in truth.unknown]
    if not known:
        return None
    largest = Counter(truth.tree[ids[i]] for i in known).most_common(1)[0][0]
    known = [i for i in known if truth.tree[ids[i]] == largest]
    names = [ids[i] for i in known]
    tops = [i for i, name in enumerate(names) if all(o == name or name in truth.line(o) for o in names)]
    if len(tops) != 1 or len(names) < 3:
        return None
    (root,) = tops
    own = family.only(torch.tensor(known))
    measured = measure(own, Options(detector=False))
    near = measured.geometry.neighbours
    units = unit_distances(own.layers, near, torch.tensor([root]))
    retention = exact_inheritance(measured.characters, root)
    voted, outward = votes(units, near, 0), rooted_growth(units, near, 0)
    found, possible, _ = seen_from(measured.geometry, root, voted, outward, measured.evidence, retention)
    rows, said, where = [], [], []
    for b, name in enumerate(names):
        line = set(truth.line(name))
        if b == root or b in own.mixed:
            continue
        for k in possible[b].nonzero()[:, 0].tolist():
            s = int(near[b, k])
            rows.append(found[b, k].numpy())
            said.append(names[s] in line)
            where.append((b, s, k))
    return Tree(np.array(rows).reshape(-1, len(FEATURES)), np.array(said, bool), where, names, root, truth)


def weights(trees: Sequence[Tree]) -> np.ndarray:
    return np.concatenate([np.full(len(t.y), max(1, len(t.y)) ** -0.5) for t in trees])


def fit_trees(trees: Sequence[Tree]) -> object:
    return fit(np.concatenate([t.x for t in trees]), np.concatenate([t.y for t in trees]), weights(trees), SIGNS)


def score(trees: Sequence[Tree], log_odds: Callable[[np.ndarray], np.ndarray]) -> Counter[str]:
    """How often the nearest ancestor in the tree is named."""
    count: Counter[str] = Counter()
    for tree in trees:
        odds = log_odds(tree.x) if len(tree.x) else np.zeros(0)
        per: dict[int, list[tuple[int, int, float]]] = {}
        for (b, s, k), odd in zip(tree.where, odds, strict=True):
            per.setdefault(b, []).append((k, s, 1 / (1 + np.exp(-odd))))
        for b, name in enumerate(tree.names):
            line = [a for a in tree.truth.line(name) if a in tree.names]
            if b == tree.root or not line:
                continue
            left, chance = 1.0, {tree.root: 0.0}
            for _, s, p in sorted(per.get(b, [])):
                chance[s] = left * p
                left *= 1 - p
            chance[tree.root] += left
            best = max(chance, key=lambda s: chance[s])
            right = tree.truth.alike(tree.names[best], line[0])
            count["children"] += 1
            count["best"] += right
            count["sure"] += chance[best] >= SURE
            count["sure right"] += right and chance[best] >= SURE
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds = by_kind(arguments.families, arguments.split, trees_of)
    print("| left out | trees | children | nearest ancestor named | sure | right where sure |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, trees in kinds.items():
        others = [tree for name, some in kinds.items() if name != kind for tree in some]
        if not others:
            continue
        found = score(trees, fit_trees(others).decision_function)  # type: ignore[attr-defined]
        shares = (found["best"] / max(1, found["children"]), found["sure"], found["sure right"] / max(1, found["sure"]))
        print(
            f"| {kind} | {len(trees)} | {found['children']} | {shares[0]:.2f} | {shares[1]} | {shares[2]:.2f} |",
            flush=True,
        )
    everything = [tree for trees in kinds.values() for tree in trees]
    fitted_on = {"trees": len(everything), "rows": sum(len(t.y) for t in everything)}
    if arguments.out:
        write(arguments.out, fit_trees(everything), FEATURES, fitted_on)  # type: ignore[arg-type]
    print(json.dumps(fitted_on))


if __name__ == "__main__":
    main()
