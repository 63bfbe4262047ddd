"""300 models of four generations from five roots: every parent, grandparent and great-grandparent link, by every method of weights.

    LINEAGE_DATASETS=FOLDER python -m bench.papers.study_300 --out FOLDER [--quick]

Fully connected networks 256-96-64-10 on pictures of 16 x 16. Each root learns one set from a random start of its own (5); of 60 models of a
tree 1 is the root, 7 its children, 19 theirs, 33 theirs again. A child learns another set than its parent with an optimiser, learning rate
and length of its own. Nothing is told but, to the rows that say so, that there are five trees. Links are counted over all models that have
such an ancestor; an answer that is not given counts as wrong. Published methods of one level (np-*) cannot have grandparents.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.datasets import from_environment
from bench.families import read_sketches, read_truth
from bench.papers.kept import KeptAnswers
from bench.papers.neural_phylogeny import ours, parents_of
from bench.papers.scores import links, score
from bench.papers.trained import STARTS, PlannedNetwork, Zoo, build_zoo
from bench.zoo.architectures import Network, build
from lineage.detect.methods.registry import PLAIN
from lineage.detect.model_input import Subject

SETS = ("mnist", "fashion", "letters", "cifar", "omniglot")
WIDTHS = (96, 64)
GENERATIONS = (7, 19, 33)  # models of a tree below its root
QUICK = (3, 5, 6)
BATCH = 32


def network() -> Network:
    return build("fc", 10, {"channels": 1, "widths": WIDTHS, "activation": "relu", "norm": False}, 0)


def planned(generations: tuple[int, ...], seed: int) -> tuple[PlannedNetwork, ...]:
    dice = random.Random(seed)
    roots = [
        PlannedNetwork(f"r{i}", None, 0, SETS[i], "adam", dice.choice((1e-3, 2e-3)), BATCH, 600, 10 + i, STARTS[i % 2])
        for i in range(5)
    ]
    models, last = list(roots), [[root] for root in roots]
    for generation, count in enumerate(generations, start=1):
        for tree, above in enumerate(last):
            born = []
            for k in range(count):
                parent = above[k] if k < len(above) else dice.choice(above)
                name = f"r{tree}-g{generation}-{k:02d}"
                source = dice.choice([s for s in SETS if s != parent.source])
                optimiser = dice.choice(("adam", "sgd", "adamw"))
                rate = dice.choice((0.005, 0.01, 0.03) if optimiser == "sgd" else (3e-4, 1e-3, 3e-3))
                steps = dice.choice((100, 200, 300))
                decay = dice.choice((0.0, 0.0, 0.01)) if optimiser == "adamw" else 0.0
                seed = dice.getrandbits(31)
                born.append(
                    PlannedNetwork(
                        name, parent.id, generation, source, optimiser, rate, BATCH, steps, seed, weight_decay=decay
                    )
                )
            models += born
            last[tree] = born
    return tuple(models)


def rows() -> list[tuple[str, str, Mapping[str, str]]]:
    """(row, method, settings)"""
    found: list[tuple[str, str, Mapping[str, str]]] = [
        (name, name, {}) for name in ("nearest", "min-norm", "effective-rank", "kurtosis")
    ]
    found.append(("kurtosis, lower", "kurtosis", {"parent": "lower"}))
    found += [
        (f"mother, {stage}, told", "mother", {"trees": "5", "layers": "all", "stage": stage})
        for stage in ("specialisation", "generalisation")
    ]
    for tensor in ("auto", "all"):
        settings = {"clusters": "5", "tensor": tensor, "draws": "1" if tensor == "all" else "100"}
        where = ", all values" if tensor == "all" else ""
        found.append((f"np-kmeans after, told{where}", "np-kmeans", settings))
        found.append((f"np-kmeans along, told{where}", "np-kmeans", {**settings, "alpha": "0.5"}))
    found.append(("np-gmm after, told", "np-gmm", {"clusters": "5"}))
    found.append(("np-meanshift after", "np-meanshift", {"bandwidth": "0"}))
    found.append(("np-dbscan after", "np-dbscan", {"neighbours": "2"}))
    found.append(("nl-l1, weights", "nl-l1", {}))
    found.append(("nl-l2, weights", "nl-l2", {}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models; used again if it is there")
    parser.add_argument("--quick", action="store_true", help="75 models instead of 300")
    parser.add_argument("--misses", action="store_true", help="name what ours got wrong")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = from_environment()
    models = planned(QUICK if arguments.quick else GENERATIONS, 0)
    folder = arguments.out / ("study-quick" if arguments.quick else "study-300")
    began = time.monotonic()
    build_zoo(folder, Zoo(network, 16, 1, models, lanes=60), data)
    told: dict[str, Any] = {
        "data": data.source,
        "models": len(models),
        "training_s": round(time.monotonic() - began, 1),
    }
    known, sketches = read_truth(folder), read_sketches(folder)
    truth = {name: known.parent.get(name) for name in sketches}
    subjects = [Subject(name, sketches[name]) for name in truth]
    kept = KeptAnswers(folder)
    print("| method | parent links | grandparent links | great-grandparent links | roots | overall | processor s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")

    def tell(row: str, found: Mapping[str, str | None], seconds: float) -> None:
        counts = [links(truth, found, generations) for generations in (1, 2, 3)]
        roots = sum(name in found and found[name] is None for name, parent in truth.items() if parent is None)
        overall = score(truth, found).overall
        cells = " | ".join(f"{right}/{all_of} ({right / all_of:.3f})" for right, all_of in counts)
        print(f"| {row} | {cells} | {roots}/5 | {overall:.3f} | {seconds:.1f} |", flush=True)
        told[row] = {"links": counts, "roots": roots, "overall": round(overall, 4), "seconds": round(seconds, 2)}

    for row, method, settings in rows():
        began = time.process_time()
        asked = {**settings, "models": list(truth)}
        tell(
            row,
            kept.parents(method, asked, lambda m=method, o=settings: parents_of(m, subjects, o)),
            time.process_time() - began,
        )
        kept.write()
    began = time.process_time()
    answers = ours(subjects)
    for row, found in answers.items():
        tell(row, found, time.process_time() - began)
    if arguments.misses:
        wrong = {c: p for c, p in truth.items() if answers[PLAIN].get(c, "cannot tell") != p}
        print("\n".join(f"  {c} <- {answers[PLAIN].get(c, 'cannot tell')}, truly {p}" for c, p in wrong.items()))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
