"""How often a family's true root comes first, and what its evidence is worth (detect/root.py, signals/opposition.py).

    python -m bench.fit_root --families FOLDER [--families ...] [--split tune] [--fit]

A softmax over the members of every tree, and of handfuls of it, whose oldest model is an ancestor of all. Prints a row a family with the
weights that ship; with --fit also those that fit best, families counting alike, to be weighed against the rows and copied by hand.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.families import folders, of_one_signature, read_sketches, read_truth
from lineage.detect.measurement import SettledFamily, geometry_of, measure
from lineage.detect.options import Options
from lineage.detect.pipeline import families_of
from lineage.detect.root import CAME_AFTER, CENTRE, DETECTOR, GROWTH, HUB, centrality, root_evidence
from lineage.detect.signals.opposition import LIMIT, LOG_ODDS
from lineage.detect.tree import Evidence, nearest

CPU = torch.device("cpu")
SIZES, DRAWS = (2, 3, 5, 9, 16, 40), 4
SURE = 0.85
COLUMNS = ("growth", "came after", "detector", "opposition", "centre", "hub")
START = (0.6, 0.6, 0.6, 13.0, 3.0, 10.0)
OPPOSED = COLUMNS.index("opposition")
Question = tuple[Tensor, int]  # (m, 6) evidence of each member, place of the true root


def questions(folder: Path) -> Iterator[Question]:
    """Of whole trees and of handfuls, half of them drawn from an ancestor and what comes from it. Every pair is measured once."""
    truth, dice = read_truth(folder), random.Random(folder.name)
    for subjects in of_one_signature(read_sketches(folder)):
        for found in families_of(subjects, Options(), CPU):
            if not isinstance(found, SettledFamily) or len(found.own) < 2:
                continue
            known = [i for i, s in enumerate(found.own) if s.id in truth.tree and s.id not in truth.unknown]
            if len(known) < 2:
                continue
            family = found.only(torch.tensor(known))
            lines = [set(truth.line(s.id)) for s in family.own]
            evidence = measure(family, Options()).evidence
            for members in _handfuls([s.id for s in family.own], lines, dice):
                tops = [
                    k for k, i in enumerate(members) if all(j == i or family.own[i].id in lines[j] for j in members)
                ]
                if len(members) > 1 and len(tops) == 1:
                    yield _evidence(family, evidence, torch.tensor(members)), tops[0]


def _handfuls(names: Sequence[str], lines: Sequence[set[str]], dice: random.Random) -> Iterator[list[int]]:
    every = list(range(len(names)))
    yield every
    below = {i: [j for j in every if names[i] in lines[j]] for i in every}
    for size in SIZES:
        if size < len(names):
            yield from (sorted(dice.sample(every, size)) for _ in range(DRAWS))
        tops = [i for i in every if len(below[i]) >= size - 1]
        for _ in range(DRAWS if tops else 0):
            top = dice.choice(tops)
            yield sorted([top, *dice.sample(below[top], size - 1)])


def _evidence(family: SettledFamily, evidence: Evidence, members: Tensor) -> Tensor:
    own = family.only(members)
    geometry = geometry_of(own, nearest(own.distance))
    growth, detector = (odds[members][:, members] for odds in (evidence.growth, evidence.detector))
    said = root_evidence(geometry, growth, detector, {}, torch.arange(len(members)))
    return torch.stack([said.before, said.after, said.detector, said.opposed, *centrality(own.distance)], 1)


def score(evidence: Tensor, weight: Tensor) -> Tensor:
    """(m, 6), (6,) -> (m,) log-odds, opposition bounded as in signals/opposition.py."""
    said = evidence * weight
    rest = said.sum(1) - said[:, OPPOSED]
    return rest - LIMIT * (said[:, OPPOSED] / LIMIT).tanh()


def fit(asked: list[list[Question]]) -> Tensor:
    """(6,) weights; asked: the questions of each family."""
    weight = torch.tensor(START, dtype=torch.float64).log().requires_grad_()
    optimiser = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = [
            torch.stack([-score(x, weight.exp()).log_softmax(0)[top] for x, top in family]).mean() for family in asked
        ]
        loss = torch.stack(losses).mean() + 1e-3 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().exp()


def report(name: str, family: Sequence[Question], weight: Tensor) -> str:
    """A row: how often the true root is first, and how right the first one is where it is sure."""
    chances = [(score(x, weight).softmax(0), top) for x, top in family]
    first = [int(chance.argmax()) == top for chance, top in chances]
    sure = [right for right, (chance, _) in zip(first, chances, strict=True) if float(chance.max()) >= SURE]
    loss = -sum(float(chance[top].log()) for chance, top in chances) / len(chances)
    right = sum(sure) / len(sure) if sure else 1.0
    return f"| {name} | {len(family)} | {sum(first) / len(first):.2f} | {loss:.2f} | {len(sure) / len(first):.2f} | {right:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--fit", action="store_true", help="fit the weights anew and print them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked = {
        folder.name: found
        for folder in folders(arguments.families, arguments.split)
        if (found := list(questions(folder)))
    }
    shipped = torch.tensor([GROWTH, CAME_AFTER, DETECTOR, LOG_ODDS, CENTRE, HUB], dtype=torch.float64)
    print("| family | questions | root first | log loss | sure | right where sure |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, family in asked.items():
        print(report(name, family, shipped), flush=True)
    if arguments.fit:
        fitted = fit(list(asked.values()))
        print(json.dumps(dict(zip(COLUMNS, fitted.tolist(), strict=True))))


if __name__ == "__main__":
    main()
