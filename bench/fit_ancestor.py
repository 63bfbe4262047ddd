"""Fits the log-odds of detect/ancestor.py on trees of known lineage, seen from their true root.

    python -m bench.fit_ancestor --families ZOO --split tune --out detect/ancestor_weights.json

One row is a model b and an earlier-looking model s of its tree: is s among the ancestors of b? Each tree counts by the square root of its
number of rows. Prints, for every architecture, what a fit without it says about it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bench.families import Truth, folders, read_sketches, read_truth
from detect.align import Layer, NotComparable, align
from detect.ancestor import FEATURES, pair_features, root_features
from detect.families import families
from detect.family_tree import SLOPE_LIMIT
from detect.frozen import EQUAL
from detect.gram import gram, squared_lengths
from detect.signals.balance import parting
from detect.signals.counters import counters
from detect.signals.inheritance import inheritance
from detect.signals.pairs import pair_evidence
from detect.signals.relatedness import relatedness
from detect.sketch_store import Sketch

STRENGTH = 0.3  # inverse of the ridge


def rows_of(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n, 5) features and (n,) truth of every tree of a family that has one known root."""
    truth = read_truth(folder)
    for layers, sketches in related_trees(folder):
        rows = _rows_of_tree(layers, list(sketches.values()), list(sketches), truth)
        if rows is not None and len(rows[0]):
            yield rows


def related_trees(folder: Path) -> Iterator[tuple[list[Layer], dict[str, Sketch]]]:
    """Three or more related models at a time, aligned, with their sketches by name; one of each group of equal bodies."""
    sketches = read_sketches(folder)
    for signature in sorted({sketch.signature for sketch in sketches.values()}):
        names = [name for name, sketch in sketches.items() if sketch.signature == signature]
        try:
            layers = align([sketches[name] for name in names], torch.device("cpu"))
        except NotComparable:
            continue
        for members in families(relatedness(layers)):
            kept = _different(layers, members)
            if len(kept) > 2:
                yield [layer.of(torch.tensor(kept)) for layer in layers], {names[i]: sketches[names[i]] for i in kept}


def _different(layers: list[Layer], members: list[int]) -> list[int]:
    """One of each group of equal bodies."""
    mine = [layer.of(torch.tensor(members)) for layer in layers]
    relative = gram(mine).distances() / squared_lengths(mine)[:, None]
    return [m for i, m in enumerate(members) if not (relative[i, :i] <= EQUAL).any()]


def _rows_of_tree(
    layers: list[Layer], sketches: list[Sketch], names: list[str], truth: Truth
) -> tuple[np.ndarray, np.ndarray] | None:
    roots = [i for i, name in enumerate(names) if name in truth.roots]
    if len(roots) != 1:
        return None
    root, count = roots[0], len(names)
    place = {name: i for i, name in enumerate(names)}
    products = gram(layers)
    distance = products.distances()
    everyone = torch.stack([torch.tensor([j for j in range(count) if j != i]) for i in range(count)])
    found = pair_evidence(layers, everyone)
    pairs = pair_features(found.direction, counters(sketches) + found.decay, parting(found.balance))
    seen = inheritance(products, root, everyone)
    child = torch.arange(count)[:, None]
    features = torch.cat(
        [pairs[everyone, child], root_features(seen.low, distance[:, root], distance[child, everyone])], 2
    )  # (m, m-1, 5) of direction, certain, even, inheritance, nearer
    rows, said = [], []
    for b, name in enumerate(names):
        line = {place[a] for a in truth.line(name) if a in place}
        if root not in line:
            continue
        for k, s in enumerate(everyone[b].tolist()):
            moved = seen.moved[s] < seen.moved[b] and seen.moved[s] > 0
            related = s != root and names[s] in truth.tree and truth.tree[names[s]] == truth.tree.get(name)
            if related and moved and seen.total[b, k] <= SLOPE_LIMIT and not seen.low[b, k].isnan():
                rows.append(features[b, k, [3, 0, 1, 2, 4]].numpy())
                said.append(s in line)
    return np.array(rows).reshape(-1, len(FEATURES)), np.array(said, bool)


def fit(trees: list[tuple[np.ndarray, np.ndarray]]) -> LogisticRegression:
    x, y = (np.concatenate(each) for each in zip(*trees, strict=True))
    weight = np.concatenate([np.full(len(said), len(said) ** -0.5) for _, said in trees])
    return LogisticRegression(C=STRENGTH, max_iter=5000).fit(x, y, sample_weight=weight * len(weight) / weight.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    by_kind: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for folder in folders(arguments.families, arguments.split):
        kind = json.loads((folder / "truth.json").read_text()).get("architecture", folder.name)
        by_kind.setdefault(kind, []).extend(rows_of(folder))
    by_kind = {kind: trees for kind, trees in by_kind.items() if trees}
    print("| architecture left out | rows | ancestors among them | right | area under the curve |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, trees in by_kind.items():
        others = [tree for name, some in by_kind.items() if name != kind for tree in some]
        x, y = (np.concatenate(each) for each in zip(*trees, strict=True))
        odds = fit(others).decision_function(x)
        area = roc_auc_score(y, odds) if 0 < y.sum() < len(y) else float("nan")
        print(f"| {kind} | {len(y)} | {y.sum()} | {((odds > 0) == y).mean():.2f} | {area:.3f} |")
    everything = [tree for trees in by_kind.values() for tree in trees]
    model = fit(everything)
    result = {
        "weights": [round(float(w), 4) for w in model.coef_[0]],
        "constant": round(float(model.intercept_[0]), 4),
        "trees": len(everything),
        "rows": sum(len(said) for _, said in everything),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
