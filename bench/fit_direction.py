"""Fits the log-odds of detect/signals/direction.py on true (parent, child) pairs of families of known lineage.

    python -m bench.fit_direction --families ZOO --split tune --families REAL --out detect/direction_weights.json

Each family counts by the square root of its number of pairs. Beside every pair stands the same child after more decay: all its weights
times 0.8, for a twentieth of the pair's weight, because no zoo has every strength of decay. Prints, for every family, what a fit
without it says about it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from bench.families import folders, read_sketches, read_truth
from detect.align import NotComparable, align
from detect.signals.direction import features

DECAYED, DECAYED_COUNTS = 0.8, 0.05
STRENGTH = 0.3  # inverse of the ridge; 0.1 and 1 differ by less than a point on families left out


def pairs_of(folder: Path) -> np.ndarray:
    """(pairs, 2, 16) features of a family's true pairs, parent first: as they are, and with the child decayed further.

    Pairs that cannot be compared or did not move are left out.
    """
    truth = read_truth(folder)
    sketches = read_sketches(folder)
    rows = []
    for child, parent in truth.parent.items():
        if child not in sketches or parent not in sketches or sketches[child].signature != sketches[parent].signature:
            continue
        try:
            layers = align([sketches[parent], sketches[child]], torch.device("cpu"))
        except NotComparable:
            continue
        shrunk = [replace(layer, values=layer.values * torch.tensor([1.0, DECAYED])[:, None, None]) for layer in layers]
        row, decayed = (features(each, torch.tensor([[0, 1]]))[0].numpy() for each in (layers, shrunk))
        if np.abs(row).sum() > 0:
            rows.append([row, decayed])
    return np.array(rows).reshape(len(rows), 2, 16)


def fit(rows: list[np.ndarray]) -> np.ndarray:
    """(16,) weights; every pair stands once in each order."""
    x = np.concatenate([np.concatenate([r[:, 0], r[:, 1]]) for r in rows])
    weight = np.concatenate([np.repeat([1.0, DECAYED_COUNTS], len(r)) * len(r) ** -0.5 for r in rows])
    model = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=5000)
    model.fit(
        np.concatenate([x, -x]),
        np.concatenate([np.ones(len(x)), np.zeros(len(x))]),
        sample_weight=np.concatenate([weight, weight]) * len(x) / weight.sum(),
    )
    return np.asarray(model.coef_[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = {folder.name: pairs_of(folder) for folder in folders(arguments.families, arguments.split)}
    rows = {name: row for name, row in rows.items() if len(row)}
    right, sure, surely_right, total = 0, 0, 0, 0
    print("| family left out | pairs | right | right of those beyond 2 |")
    print("| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        said = row[:, 0] @ fit([other for key, other in rows.items() if key != name])
        beyond = np.abs(said) > 2
        print(f"| {name} | {len(row)} | {(said > 0).mean():.2f} | {(said[beyond] > 0).sum()} of {beyond.sum()} |")
        right, total = right + int((said > 0).sum()), total + len(row)
        sure, surely_right = sure + int(beyond.sum()), surely_right + int((said[beyond] > 0).sum())
    weights = fit(list(rows.values()))
    result = {"pairs": total, "right": right, "beyond_2": sure, "beyond_2_right": surely_right}
    if arguments.out:
        content = {"weights": [round(float(w), 4) for w in weights], "families": len(rows), **result}
        arguments.out.write_text(json.dumps(content) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
