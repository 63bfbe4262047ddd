"""Parents that are not there: what detection says when the true parents are taken away.

    python -m bench.missing_parents --families FOLDER [--split report]

Each family three times: whole; without its roots that have children, so that their children should come out as roots or undecided; and
without every second generation, so that the nearest living ancestor is the right answer. A stand-in that hardly moved is nearly the
missing parent itself, so accusations are also counted among children whose named sibling moved at least 30 % as far from the parent
as they did.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import torch

from bench.families import Truth, decide_all, folders, read_sketches, read_truth
from lineage.detect.align import NotComparable, align
from lineage.detect.decision import Decision
from lineage.detect.gram import gram
from lineage.detect.options import Options
from lineage.detect.sketch_store import Sketch

FAR = 0.3  # of the way that the child went


def gone(truth: Truth, which: str) -> set[str]:
    """The models that are taken away."""
    if which == "roots":
        return {root for root in truth.roots if root in truth.parent.values()}
    if which == "every second generation":
        return {m for m in truth.tree if len(truth.line(m)) % 2 == 1 and m in truth.parent.values()}
    return set()


def count(truth: Truth, sketches: dict[str, Sketch], which: str, options: Options) -> Counter[str]:
    """Counts of one family."""
    away = gone(truth, which)
    away |= {m for m in sketches if any(truth.alike(m, other) for other in away)}  # an exact copy would be the parent
    left = {name: sketch for name, sketch in sketches.items() if name not in away}
    said = decide_all(left, options)
    found: Counter[str] = Counter()
    for child in left.keys() - truth.unknown:
        if child not in truth.parent or truth.parent[child] in truth.unknown or truth.alike(child, truth.parent[child]):
            continue
        living = [a for a in truth.line(child) if a in left and not truth.alike(a, child)]
        decision = said[child]
        if not living:
            found["orphans"] += 1
            found["accused"] += decision.parent is not None
            found["accused far"] += _stands_in_from_afar(child, decision, truth, sketches)
            continue
        kind = "there" if truth.parent[child] in left else "gap"
        found[kind] += 1
        found[f"{kind} right"] += decision.parent is not None and truth.alike(decision.parent, living[0])
        found[f"{kind} undecided"] += decision.parent is None and bool(decision.candidates)
    return found


def _stands_in_from_afar(child: str, decision: Decision, truth: Truth, sketches: dict[str, Sketch]) -> bool:
    if decision.parent is None:
        return False
    try:
        layers = align([sketches[n] for n in (truth.parent[child], child, decision.parent)], torch.device("cpu"))
    except NotComparable:
        return True
    distance = gram(layers).distances()[0]
    return bool(distance[2] >= FAR**2 * distance[1])


def row(which: str, found: Counter[str]) -> str:
    def share(some: str, of: str) -> str:
        return f"{found[some]} of {found[of]} ({found[some] / found[of]:.2f})" if found[of] else "none"

    return (
        f"| {which} | {share('accused', 'orphans')} | {share('accused far', 'orphans')} | {share('there right', 'there')} "
        f"| {share('gap right', 'gap')} | {found['gap undecided']} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--threshold", type=float, default=Options().threshold)
    arguments = parser.parse_args()
    options = Options(arguments.threshold, dates=False, declared=False)
    total: dict[str, Counter[str]] = {which: Counter() for which in ("nothing", "roots", "every second generation")}
    for folder in folders(arguments.families, arguments.split):
        truth, sketches = read_truth(folder), read_sketches(folder)
        for which, found in total.items():
            found.update(count(truth, sketches, which, options))
    print(
        "| taken away | children without any ancestor left, given a parent | of them by a sibling from afar "
        "| parent there: right | parent away, nearest ancestor named | undecided |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for which, found in total.items():
        print(row(which, found))
    print(json.dumps({which: dict(found) for which, found in total.items()}))


if __name__ == "__main__":
    main()
