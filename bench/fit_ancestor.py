"""Fits the log-odds of detect/ancestor.py on trees of known lineage, seen from their true root.

    python -m bench.fit_ancestor --families ZOO --split tune --checkpoints FOLDER --answers answers.json --out detect/ancestor_weights.json

Every related part of a family is settled and measured as detection does it. One row is a model b and a neighbour s of it: is s among the
ancestors of b? Each tree counts by the square root of its number of rows. What the trained detector says of a family comes from a network
that never saw the family's architecture (the folds of `lineage train detector --checkpoints FOLDER`), and is kept in the file of
--answers; without these options the learning-free direction stands alone. Prints, for every architecture, what a fit without it says of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.families import Truth, folders, of_one_signature, read_sketches, read_truth
from lineage.detect.align import Layer
from lineage.detect.ancestor import FEATURES, pair_features, root_features
from lineage.detect.family import LOOKED_AT, Family, Learned, measure
from lineage.detect.family_tree import SLOPE_LIMIT, turned_from
from lineage.detect.pipeline import families_of
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.kept import kept
from lineage.detect.subject import Options, Subject

CPU = torch.device("cpu")
STRENGTH = 1.0  # inverse of the ridge
ORDER = [3, 0, 1, 2, 4, 5]  # of the features of pair and root, as FEATURES has them

Answers = dict[str, dict[str, float]]


def rows_of(folder: Path, answers: Answers | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n, 6) features and (n,) truth of every tree of a family that has one known root."""
    truth, options = read_truth(folder), Options(detector=answers is not None)
    learned = cross_fitted(answers[folder.name]) if answers else None
    for family in related_families(folder, options):
        rows = _rows_of_tree(family, options, truth, learned)
        if rows is not None and len(rows[0]):
            yield rows


def related_families(folder: Path, options: Options) -> Iterator[Family]:
    """Three or more related models at a time, as detection settles them."""
    for subjects in of_one_signature(read_sketches(folder)):
        for found in families_of(subjects, options, CPU):
            if isinstance(found, Family) and len(found.own) > 2:
                yield found


def cross_fitted(said: dict[str, float]) -> Learned:
    """What the detector of a family's fold says, in the place of the one that ships."""

    def learned(subjects: Sequence[Subject], layers: Sequence[Layer], neighbours: Tensor) -> Tensor:
        odds = torch.zeros(len(subjects), len(subjects), dtype=torch.float64)
        for a, near in enumerate(neighbours[:, :LOOKED_AT].tolist()):
            for b in near:
                odds[a, b] = said.get(f"{subjects[a].id} {subjects[b].id}", 0.0)
                odds[b, a] = -odds[a, b]
        return odds

    return learned


def read_answers(path: Path, zoos: Sequence[Path], split: str | None, checkpoints: Path | None) -> Answers:
    """From the file, or from the folds of a training of the detector, which are trained where they are not there."""
    if path.exists():
        kept_answers: Answers = json.loads(path.read_text())
        return kept_answers
    from lineage.commands.train import read_examples, shown
    from lineage.detect.detector.training import Recipe, Run, one_thread, train

    with shown() as report, one_thread():
        examples = [e for zoo in zoos for e in read_examples(zoo, split, CPU, report)]
        trained = train(examples, Recipe(), Run(CPU, checkpoints, report))
    answers: Answers = {}
    for example, odds in zip(examples, trained.came_first, strict=True):
        said = answers.setdefault(example.family, {})
        for a, first in enumerate(example.models):
            said |= {f"{first} {b}": round(float(odds[a, i]), 4) for i, b in enumerate(example.models) if i != a}
    path.write_text(json.dumps(answers))
    return answers


def _rows_of_tree(
    family: Family, options: Options, truth: Truth, learned: Learned | None
) -> tuple[np.ndarray, np.ndarray] | None:
    names = [subject.id for subject in family.own]
    place = {name: i for i, name in enumerate(names)}
    for group in family.equals:
        if group.stands in place:  # a mean that is left out of the tree stands for nobody there
            place |= {name: place[group.stands] for name, _ in group.members}
    roots = {place[name] for name in truth.roots if name in place}
    if len(roots) != 1:
        return None
    root = roots.pop()
    found = measure(family, options, learned)
    if root not in found.roots:
        return None
    near = found.neighbours
    child = torch.arange(len(names))[:, None]
    pairs = pair_features(found.evidence.came_first, found.evidence.certain, found.evidence.even)
    seen = inheritance(family.gram, root, near)
    turned = turned_from(root, family.distance, family.lengths)
    still = kept(found.units, near, int((found.roots == root).nonzero()))
    seen_from = root_features(seen.low, family.distance[:, root], family.distance[child, near], still)
    features = torch.cat(
        [pairs[near, child], seen_from], 2
    )  # (m, k, 6) of direction, certain, even, inheritance, nearer, kept
    rows, said = [], []
    for b, name in enumerate(names):
        line = {place[a] for a in truth.line(name) if a in place} - {b}
        if root not in line or b in family.mixed:
            continue
        for k, s in enumerate(near[b].tolist()):
            moved = seen.moved[s] > 0 and turned[s] < turned[b]
            known = s != root and truth.tree.get(names[s], "") == truth.tree.get(name)
            if known and moved and seen.total[b, k] <= SLOPE_LIMIT and not seen.low[b, k].isnan():
                rows.append(features[b, k, ORDER].numpy())
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
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    answers = None
    if arguments.answers:
        answers = read_answers(arguments.answers, arguments.families, arguments.split, arguments.checkpoints)
    by_kind: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for folder in folders(arguments.families, arguments.split):
        kind = json.loads((folder / "truth.json").read_text()).get("architecture", folder.name)
        by_kind.setdefault(kind, []).extend(rows_of(folder, answers))
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
