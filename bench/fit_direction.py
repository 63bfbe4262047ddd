"""Fits the log-odds of detect/signals/direction.py on models and their ancestors in families of known lineage.

    python -m bench.fit_direction --families ZOO --split tune --families REAL --out detect/direction_weights.json

A pair of parent and child counts twice as much as one of a farther ancestor, and each family by the square root of what its pairs
count. Beside every pair stands the same pair after more decay: all weights of the later model times 0.8, for a fiftieth of the pair's
weight, because no zoo has every strength of decay. Prints, for every family, what a fit without it says about it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from bench.families import folders, of_one_signature, read_sketches, read_truth
from lineage.detect.align import NotComparable, align
from lineage.detect.signals.direction import FEATURES, GATES, features

DECAYED, DECAYED_COUNTS = 0.8, 0.02
FARTHER_COUNTS = 0.5  # a pair of a model and an ancestor that is not its parent
STRENGTH = 0.1  # inverse of the ridge; log loss on whole architectures left out of the tuning half: 0.547, at 0.3 0.569


def pairs_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, 2, features) of a family's models and their ancestors, the ancestor first: as they are, and with the later one decayed
    further; and (pairs,) what each counts. Pairs that cannot be compared or did not move are left out.
    """
    truth = read_truth(folder)
    rows, counts = [], []
    for subjects in of_one_signature(read_sketches(folder)):
        place = {subject.id: i for i, subject in enumerate(subjects)}
        found = [
            (place[above], place[name], 1.0 if steps == 0 else FARTHER_COUNTS)
            for name in place
            for steps, above in enumerate(truth.line(name))
            if above in place and not {name, above} & truth.unknown and not truth.alike(name, above)
        ]
        if not found:
            continue
        try:
            layers = align([subject.sketch for subject in subjects], torch.device("cpu"))
        except NotComparable:
            continue
        pairs = torch.tensor([pair[:2] for pair in found])
        seen = features(layers, pairs)
        for part, row, (_, _, count) in zip(pairs, seen, found, strict=True):
            if bool(row.abs().sum() > 0):
                two = [layer.of(part) for layer in layers]
                shrunk = [replace(la, values=la.values * torch.tensor([1.0, DECAYED])[:, None, None]) for la in two]
                rows.append(torch.stack([row, features(shrunk, torch.tensor([[0, 1]]))[0]]).numpy())
                counts.append(count)
    return np.array(rows).reshape(len(rows), 2, len(FEATURES) * len(GATES)), np.array(counts)


def fit(families: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Weights, one a feature; every pair stands once in each order."""
    x = np.concatenate([np.concatenate([rows[:, 0], rows[:, 1]]) for rows, _ in families])
    weight = np.concatenate([
        np.concatenate([counts, counts * DECAYED_COUNTS]) * counts.sum() ** -0.5 for _, counts in families
    ])  # fmt: skip
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
    rows = {name: row for name, row in rows.items() if len(row[1])}
    right, sure, surely_right, total = 0, 0, 0, 0
    print("| family left out | parents | right | right of those beyond 2 | farther ancestors | right |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (row, counts) in rows.items():
        everything = row[:, 0] @ fit([other for key, other in rows.items() if key != name])
        said, farther = everything[counts == 1], everything[counts < 1]
        beyond = np.abs(said) > 2
        cells = [
            len(said),
            f"{(said > 0).mean():.2f}" if len(said) else "",
            f"{(said[beyond] > 0).sum()} of {beyond.sum()}",
        ]
        cells += [len(farther), f"{(farther > 0).mean():.2f}" if len(farther) else ""]
        print(f"| {name} | {' | '.join(map(str, cells))} |")
        right, total = right + int((said > 0).sum()), total + len(said)
        sure, surely_right = sure + int(beyond.sum()), surely_right + int((said[beyond] > 0).sum())
    weights = fit(list(rows.values()))
    result = {"pairs": total, "right": right, "beyond_2": sure, "beyond_2_right": surely_right}
    if arguments.out:
        content = {"weights": [round(float(w), 4) for w in weights], "families": len(rows), **result}
        arguments.out.write_text(json.dumps(content) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
