"""Fits the trees of detect/missing_parent.py on families of known lineage with and without their root.

    python -m bench.fit_missing_parent --families FOLDER [--families ...] --split tune --out detect/missing_parent_trees.json

Of every related part of a family, and of handfuls of it, the top is looked at: the root with the models directly below it, and, the root
taken away, the model that detection then takes for the root with the others that have lost their parent. Both happen alike often in the
fit, so that its log-odds are added to a stated prior. Prints, for every kind of family, what a fit without it says.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from bench.boosted import fit, write
from bench.families import Truth, by_kind, of_one_signature, read_sketches, read_truth
from lineage.detect.measurement import Measurement, SettledFamily, measure
from lineage.detect.missing_parent import FEATURES, LIMIT, SIGNS, top_features
from lineage.detect.options import MISSING_PARENTS, Options
from lineage.detect.pipeline import families_of
from lineage.detect.root import root_scores

CPU = torch.device("cpu")
SIZES = (3, 4, 5, 6, 8, 12, 24, 40)
DRAWS = 8
Row = tuple[np.ndarray, bool]


def rows_of(folder: Path) -> Iterator[Row]:
    """(features, whether the parent is unseen) of every part and handful."""
    truth = read_truth(folder)
    for subjects in of_one_signature(read_sketches(folder)):
        for found in families_of(subjects, Options(detector=False), CPU):
            if isinstance(found, SettledFamily) and len(found.own) > 2:
                yield from _rows(found, truth, folder.name)


def _rows(family: SettledFamily, truth: Truth, seed: str) -> Iterator[Row]:
    names = [s.id for s in family.own]
    known = [i for i, name in enumerate(names) if name in truth.tree and name not in truth.unknown]
    dice = random.Random(seed + names[0])
    for tree in sorted({truth.tree[names[i]] for i in known}):
        members = [i for i in known if truth.tree[names[i]] == tree]
        handfuls = [members] + [
            sorted(dice.sample(members, n)) for n in SIZES if n < len(members) for _ in range(DRAWS)
        ]
        for handful in handfuls:
            if len(handful) < 3:
                continue
            own = family.only(torch.tensor(handful))
            lines = [set(truth.line(names[i])) for i in handful]
            tops = [
                i for i in handful if all(j == i or names[i] in line for j, line in zip(handful, lines, strict=True))
            ]
            yield from _row(own, truth, tops, handful, names, False)
            if tops:
                left = [i for i in handful if i != tops[0]]
                if len(left) > 2:
                    yield from _row(family.only(torch.tensor(left)), truth, [], left, names, True)


def _row(
    own: SettledFamily, truth: Truth, tops: list[int], members: list[int], names: list[str], unseen: bool
) -> Iterator[Row]:
    here = [names[i] for i in members]
    measured = measure(own, Options(detector=False))
    root = _best_root(measured)
    lost = [k for k, name in enumerate(here) if not any(a in here for a in truth.line(name))]
    if unseen and root in lost and len(lost) > 2:
        children = [k for k in lost if k != root]
    elif not unseen and tops and members[root] == tops[0]:
        top = here[root]
        children = [
            k for k, name in enumerate(here) if k != root and next(a for a in truth.line(name) if a in here) == top
        ]
    else:
        return
    if len(children) > 1:
        yield top_features(root, torch.tensor(children), own, own.gram.products.sum(0), measured).numpy(), unseen


def _best_root(measured: Measurement) -> int:
    every = torch.arange(len(measured.geometry.distance))
    evidence = measured.evidence
    scores = root_scores(measured.geometry, evidence.growth, evidence.detector, {}, every, measured.tensors)
    return int(torch.stack(list(scores.values())).sum(0).argmax())


def fit_rows(kinds: Sequence[Sequence[Row]]) -> object:
    """Kinds of families count alike, seen and unseen parents as well."""
    x = np.concatenate([[row[0] for row in rows] for rows in kinds])
    y = np.concatenate([[row[1] for row in rows] for rows in kinds])
    weight = np.concatenate([np.full(len(rows), len(rows) ** -0.5) for rows in kinds])
    weight = np.where(y, weight / weight[y].sum(), weight / weight[~y].sum())
    return fit(x, y, weight, SIGNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds = by_kind(arguments.families, arguments.split, rows_of)
    prior = np.log(MISSING_PARENTS / (1 - MISSING_PARENTS))
    print("| left out | seen | unseen | area under the curve | seen and asserted | unseen and accused |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, rows in kinds.items():
        model = fit_rows([others for name, others in kinds.items() if name != kind])
        x, y = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        odds = model.decision_function(x).clip(-LIMIT, LIMIT) + prior  # type: ignore[attr-defined]
        sure = 1 / (1 + np.exp(-odds)) < 0.18
        area = roc_auc_score(y, odds) if 0 < y.sum() < len(y) else float("nan")
        print(
            f"| {kind} | {(~y).sum()} | {y.sum()} | {area:.2f} | {sure[~y].mean() if (~y).any() else 0:.2f} "
            f"| {sure[y].mean() if y.any() else 0:.2f} |",
            flush=True,
        )
    fitted_on = {"kinds": len(kinds), "rows": sum(map(len, kinds.values()))}
    if arguments.out:
        write(arguments.out, fit_rows(list(kinds.values())), FEATURES, fitted_on)  # type: ignore[arg-type]
    print(json.dumps(fitted_on))


if __name__ == "__main__":
    main()
