"""Fits what growth, the trained detector and opposition are worth in choosing a family's root (detect/root.py, signals/opposition.py).

    python -m bench.fit_root --families FOLDER [--families ...] --split tune

A softmax over the members of every tree, and of handfuls of it, whose oldest model is an ancestor of all. Families count alike. Prints the
weights, to be copied into the two files, and how often the true root is first, with them and with growth alone.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from bench.families import folders, of_one_signature, read_sketches, read_truth
from lineage.detect.measurement import SettledFamily, measure
from lineage.detect.options import Options
from lineage.detect.pipeline import families_of
from lineage.detect.root import came_before_all
from lineage.detect.signals.opposition import LOG_ODDS, opposition

CPU = torch.device("cpu")
SIZES, DRAWS = (2, 3, 4, 6, 9, 16), 3


def questions(folder: Path) -> Iterator[tuple[Tensor, int]]:
    """((m, 3) evidence of each member, place of the true root)."""
    truth, dice = read_truth(folder), random.Random(folder.name)
    for subjects in of_one_signature(read_sketches(folder)):
        for family in families_of(subjects, Options(), CPU):
            if not isinstance(family, SettledFamily) or len(family.own) < 2:
                continue
            names = [s.id for s in family.own]
            known = [i for i, name in enumerate(names) if name in truth.tree and name not in truth.unknown]
            handfuls = [known] + [sorted(dice.sample(known, n)) for n in SIZES if n < len(known) for _ in range(DRAWS)]
            for members in handfuls:
                tops = [
                    k for k, i in enumerate(members) if all(j == i or names[i] in truth.line(names[j]) for j in members)
                ]
                if len(members) > 1 and len(tops) == 1:
                    yield _evidence(family.only(torch.tensor(members))), tops[0]


def _evidence(family: SettledFamily) -> Tensor:
    found = measure(family, Options()).evidence
    every = torch.arange(len(family.own))
    opposed = opposition(family.gram.products.sum(0), family.lengths, every, int(family.gram.values.sum()))
    return torch.stack(
        [
            came_before_all(found.growth, family.distance, every),
            came_before_all(found.detector, family.distance, every),
            opposed / LOG_ODDS,
        ],
        1,
    )


def fit(asked: list[list[tuple[Tensor, int]]]) -> Tensor:
    """(3,) weights; asked: the questions of each family."""
    weight = torch.tensor([1.0, 1.0, 50.0], dtype=torch.float64).log().requires_grad_()
    optimiser = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = [
            torch.stack([-(x @ weight.exp()).log_softmax(0)[top] for x, top in family]).mean() for family in asked
        ]
        loss = torch.stack(losses).mean() + 1e-3 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().exp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked = [found for folder in folders(arguments.families, arguments.split) if (found := list(questions(folder)))]
    weights = fit(asked)
    every = [question for family in asked for question in family]
    first = sum(int((x @ weights).argmax()) == top for x, top in every)
    alone = sum(int(x[:, 0].argmax()) == top for x, top in every)
    print(f"growth {weights[0]:.2f}, detector {weights[1]:.2f}, opposition {weights[2]:.1f}")
    print(f"true root first: {first} of {len(every)}; by growth alone {alone}")
    print(json.dumps({"weights": weights.tolist(), "questions": len(every), "first": first, "growth_alone": alone}))


if __name__ == "__main__":
    main()
