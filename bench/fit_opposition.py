"""Fits the weights of detect/signals/opposition.py: a softmax over the models of a tree, the true root being the answer.

    python -m bench.fit_opposition --families ZOO --split tune

Trees of three or more related models that have exactly one root of known lineage; equal bodies count once. Prints how often the root is
the likeliest model by opposition alone, and the weights before they are doubled.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from bench.families import folders, read_truth
from bench.fit_ancestor import related_families
from lineage.detect.signals.opposition import angles
from lineage.detect.subject import Options

RIDGE = 0.005


def trees(folder: Path) -> Iterator[tuple[np.ndarray, int]]:
    """(m, 4) angles at every model of a tree, and the place of its root."""
    truth = read_truth(folder)
    for family in related_families(folder, Options()):
        roots = [i for i, subject in enumerate(family.own) if subject.id in truth.roots]
        if len(roots) == 1:
            products, models = family.gram.products.sum(0), range(len(family.own))
            yield torch.stack([angles(products, family.lengths, v) for v in models]).numpy(), roots[0]


def loss(weights: np.ndarray, found: list[tuple[np.ndarray, int]]) -> float:
    odds = [x @ weights for x, _ in found]
    said = [o[root] - o.max() - np.log(np.exp(o - o.max()).sum()) for o, (_, root) in zip(odds, found, strict=True)]
    return float(RIDGE * np.square(weights).sum() - np.mean(said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    arguments = parser.parse_args()
    found = [tree for folder in folders(arguments.families, arguments.split) for tree in trees(folder)]
    weights = minimize(loss, np.zeros(4), (found,), "BFGS").x
    right = sum(int((x @ weights).argmax()) == root for x, root in found)
    print(f"{len(found)} trees; the root is the likeliest model of {right}")
    print(json.dumps({"trees": len(found), "right": right, "weights": [round(float(w), 2) for w in weights]}))


if __name__ == "__main__":
    main()
