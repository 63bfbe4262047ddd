"""Few models of a family at hand: what detection says of random handfuls of a tree, as a folder or a search often holds them.

    python -m bench.small_families --families FOLDER [--split report] [--draws 40]

Of every tree that is large enough, `--draws` handfuls of 2, 3, 4, 6 and 9 models are drawn; the weights of these models are all that is
given. A model's right answer is its nearest ancestor in the handful. "Oldest": models without an ancestor there; whatever is named as
their parent is an accusation: of one of their own descendants (turned round) or of a relative that is none.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.families import Truth, decide_all, folders, read_sketches, read_truth
from lineage.detect.options import Options
from lineage.detect.sketch_store import Sketch

SIZES = (2, 3, 4, 6, 9)


def handfuls(name: str, truth: Truth, models: Mapping[str, Sketch], size: int, draws: int) -> Iterator[list[str]]:
    """Names of models of one tree; of equal models only one is drawn from. A tree is drawn as often as it has models."""
    different: list[str] = []
    for model in sorted(models):
        known = model in truth.tree and model not in truth.unknown
        if known and not any(truth.alike(model, other) for other in different):
            different.append(model)
    dice = random.Random(f"{name} {size}")
    for _ in range(draws if different else 0):
        tree = truth.tree[dice.choice(different)]
        relatives = [model for model in different if truth.tree[model] == tree]
        if len(relatives) >= size:
            yield sorted(dice.sample(relatives, size))


def count(truth: Truth, drawn: list[str], models: Mapping[str, Sketch], options: Options) -> Counter[str]:
    """Counts of one handful."""
    said = decide_all({name: models[name] for name in drawn}, options)
    found: Counter[str] = Counter()
    for name in drawn:
        living = [ancestor for ancestor in truth.line(name) if ancestor in drawn]
        parent = said[name].parent
        if living:
            found["children"] += 1
            found["right"] += parent == living[0]
            found["an ancestor"] += parent in living[1:]
            found["wrong"] += parent is not None and parent not in living
        else:
            found["oldest"] += 1
            found["turned round"] += parent is not None and name in truth.line(parent)
            found["accused"] += parent is not None
    return found


def row(name: str, size: str, found: Counter[str]) -> str:
    def share(some: str, of: str) -> str:
        return f"{found[some]} ({found[some] / max(1, found[of]):.3f})"

    cells = [name, size, str(found["children"]), *(share(key, "children") for key in ("right", "an ancestor", "wrong"))]
    cells += [str(found["oldest"]), share("accused", "oldest"), str(found["turned round"])]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--draws", type=int, default=40, help="handfuls of each size and family")
    parser.add_argument("--threshold", type=float, default=Options().threshold)
    parser.add_argument("--by-family", action="store_true", help="a row for each family too")
    arguments = parser.parse_args()
    options = Options(arguments.threshold, dates=False, declared=False)
    by_size: dict[int, Counter[str]] = {size: Counter() for size in SIZES}
    by_family: dict[str, Counter[str]] = {}
    for folder in folders([arguments.families], arguments.split):
        truth, models = read_truth(folder), read_sketches(folder)
        for size, found in by_size.items():
            for drawn in handfuls(folder.name, truth, models, size, arguments.draws):
                one = count(truth, drawn, models, options)
                found.update(one)
                by_family.setdefault(folder.name, Counter()).update(one)
    print(
        "| family | models | children | nearest ancestor named | another ancestor | another model "
        "| oldest | given a parent | of them turned round |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, found in by_family.items() if arguments.by_family else ():
        print(row(name, "all", found))
    for size, found in by_size.items():
        print(row("all", str(size), found))
    total = sum(by_size.values(), Counter())
    print(row("all", "all", total))
    print(json.dumps({"all": dict(total)} | {str(size): dict(found) for size, found in by_size.items()}))


if __name__ == "__main__":
    main()
