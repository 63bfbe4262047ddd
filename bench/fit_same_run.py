"""Fits the logistic of detect/signals/same_run.py on families of known lineage, and says how often it is right.

    python -m bench.fit_same_run --families ZOO [--report REAL]

One row is a model with its parent and grandparent: are all three files of one run? Learned from the half of the zoo that is for tuning,
each family counting by the square root of its rows. Printed for that half with each architecture left out, for the other half, and
for families that name no half (--report).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bench.families import folders, of_one_signature, read_sketches, read_truth
from lineage.detect.align import NotComparable, align
from lineage.detect.annotations import SAME_RUN_SHOWN_FROM
from lineage.detect.detector.examples import COPIED
from lineage.detect.signals.same_run import FEATURES, features

DERIVED = (*COPIED, "merge")  # not trained


@dataclass(frozen=True)
class Rows:
    """x: (n, features); y: (n,) whether all three are of one run."""

    family: str
    kind: str
    split: str
    x: np.ndarray
    y: np.ndarray


def rows_of(folder: Path) -> Iterator[Rows]:
    truth, told = read_truth(folder), json.loads((folder / "truth.json").read_text())
    derived = {pair["child"] for pair in told["pairs"] if pair["relation"] in DERIVED}
    for subjects in of_one_signature(read_sketches(folder)):
        place = {subject.id: i for i, subject in enumerate(subjects)}
        line = [(above[1], above[0], name) for name in place if len(above := truth.line(name)) > 1]
        line = [three for three in line if set(three) <= place.keys() and not {*three} & (derived | truth.unknown)]
        line = [three for three in line if not truth.alike(three[0], three[1]) and not truth.alike(three[1], three[2])]
        try:
            layers = align([subject.sketch for subject in subjects], torch.device("cpu")) if line else []
        except NotComparable:
            continue
        if line:
            x = features(layers, torch.tensor([[place[name] for name in three] for three in line])).numpy()
            y = np.array(
                [a in truth.run and truth.run.get(a) == truth.run.get(b) == truth.run.get(c) for a, b, c in line]
            )
            yield Rows(folder.name, told.get("architecture", folder.name), told.get("split", "none"), x, y)


def fit(rows: list[Rows]) -> LogisticRegression:
    weight = np.concatenate([np.full(len(r.y), len(r.y) ** -0.5) for r in rows])
    x, y = np.concatenate([r.x for r in rows]), np.concatenate([r.y for r in rows])
    return LogisticRegression(max_iter=1000).fit(x, y, sample_weight=weight / weight.mean())


def line_of(name: str, chance: np.ndarray, y: np.ndarray) -> str:
    area = f"{roc_auc_score(y, chance):.3f}" if 0 < y.sum() < len(y) else ""
    counts = [
        f"{((chance > SAME_RUN_SHOWN_FROM) & y).sum()}, {((chance > SAME_RUN_SHOWN_FROM) & ~y).sum()}",
        f"{((chance < 1 - SAME_RUN_SHOWN_FROM) & y).sum()}, {((chance < 1 - SAME_RUN_SHOWN_FROM) & ~y).sum()}",
    ]
    return f"| {name} | {y.sum()} | {(~y).sum()} | {area} | {' | '.join(counts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="families that are only reported on")
    arguments = parser.parse_args()
    rows = [row for folder in folders([arguments.families]) for row in rows_of(folder)]
    tune = [row for row in rows if row.split == "tune"]
    model = fit(tune)
    print("| | of one run | not | area under the curve | said above 0.9: of one run, not | said below 0.1 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    said = []
    for kind in sorted({row.kind for row in tune}):
        other = fit([row for row in tune if row.kind != kind])
        said += [(other.predict_proba(row.x)[:, 1], row.y) for row in tune if row.kind == kind]
    print(line_of("tuning half, architecture left out", *(np.concatenate(each) for each in zip(*said, strict=True))))
    groups = {"reporting half": [row for row in rows if row.split == "report"]}
    for folder in folders([arguments.report] if arguments.report else []):
        groups[folder.name] = list(rows_of(folder))
    for name, some in groups.items():
        if some:
            chances = np.concatenate([model.predict_proba(row.x)[:, 1] for row in some])
            print(line_of(name, chances, np.concatenate([row.y for row in some])))
    fitted = dict(zip(FEATURES, (round(float(w), 2) for w in model.coef_[0]), strict=True))
    print(
        json.dumps(
            {"weights": fitted, "constant": round(float(model.intercept_[0]), 2), "rows": sum(len(r.y) for r in tune)}
        )
    )


if __name__ == "__main__":
    main()
