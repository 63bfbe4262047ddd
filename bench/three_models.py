"""Three models alone: a base with two of its children, and three siblings whose base is not at hand.

    python -m bench.three_models --families FOLDER [FOLDER ...] [--triples 14]

Of each base with three children and more as many triples of either kind are drawn, by a fixed seed. Counted: children that are given
their base, and models that are given anything else, each by the least probability at which it was asserted.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

from bench.families import Truth, decide_all, read_sketches, read_truth
from lineage.detect.options import Options
from lineage.detect.sketch_store import Sketch

LEVELS = (0.8, 0.9, 0.95, 0.98)


def asserted(
    truth: Truth, sketches: dict[str, Sketch], triples: int, options: Options
) -> tuple[list[float], list[float], int]:
    """(probabilities of right parents, of wrong ones, triples of each kind) of one family."""
    children: dict[str, list[str]] = defaultdict(list)
    for child, parent in sorted(truth.parent.items()):
        if child in sketches and parent in sketches:
            children[parent].append(child)
    bases = [base for base, own in children.items() if len(own) > 2]
    right: list[float] = []
    wrong: list[float] = []
    draw = random.Random(2)
    for _ in range(triples if bases else 0):
        base = draw.choice(bases)
        siblings = draw.sample(children[base], 3)
        for models in ([base, *siblings[:2]], siblings):
            said = decide_all({model: sketches[model] for model in models}, options)
            for decision in said.values():
                if decision.parent is not None:
                    (right if decision.parent == base else wrong).append(decision.probability)
    return right, wrong, triples if bases else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, nargs="+", required=True, help="folders with a truth.json each")
    parser.add_argument("--triples", type=int, default=14, help="of each kind and family")
    given = parser.parse_args()
    options = Options(dates=False, declared=False)
    right, wrong, count = [], [], 0
    for folder in given.families:
        good, bad, triples = asserted(read_truth(folder), read_sketches(folder), given.triples, options)
        print(f"{folder.name}: {len(good)} of {2 * triples} children right, {len(bad)} of {6 * triples} models wrong")
        right, wrong, count = right + good, wrong + bad, count + triples
    for level in LEVELS:
        print(
            f"asserted at {level}: {sum(p >= level for p in right)} of {2 * count} children right, "
            f"{sum(p >= level for p in wrong)} of {6 * count} models wrong"
        )


if __name__ == "__main__":
    main()
