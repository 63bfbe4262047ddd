"""What detection gets right on families of known lineage, weights only, beside plain and published rules on the same models.

    python -m bench.real_families --families FOLDER

FOLDER holds one folder a family, see bench/families.py. Nothing is given: families, roots and the number of trees are unknown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.families import Truth, read_truth
from bench.plain_rules import RULES, plain_parents
from lineage.detect.decision import AnswerKind
from lineage.detect.options import Options
from lineage.scanning import scan_folder


def score(truth: Truth, found: dict[str, str | None], undecided: set[str]) -> Counter[str]:
    """Counts for one family. found: model -> asserted parent, None where none is asserted.

    A child whose weights are its parent's bit for bit is left out: equal models have no direction. Of equal models one stands for all.
    """
    count: Counter[str] = Counter()
    for child, parent in truth.parent.items():
        if child in truth.unknown or parent in truth.unknown or truth.alike(child, parent):
            continue
        said = found.get(child) or next((found[m] for m in found if truth.alike(m, child) and found[m]), None)
        count["children"] += 1
        count["asserted"] += said is not None
        count["undecided"] += child in undecided and said is None
        if said is not None:
            count["right"] += truth.right(child, said)
            count["right_run"] += truth.same_run(said, parent)
        elif found.get(parent) and truth.alike(str(found.get(parent)), child):
            count["turned"] += 1
        linked = said is not None and truth.right(child, said)
        count["undirected"] += linked or bool(found.get(parent) and truth.alike(str(found[parent]), child))
    for root in truth.roots - truth.unknown:
        count["roots"] += 1
        said = found.get(root)
        count["false_parents"] += said is not None and said not in truth.unknown and not truth.alike(said, root)
    for child, said in found.items():
        if said is not None and child in truth.tree and said in truth.tree:
            count["between_trees"] += truth.tree[child] != truth.tree[said]
    return count


def measure(folder: Path, options: Options) -> tuple[Counter[str], list[str]]:
    """Counts and the misses of one family, in words."""
    truth = read_truth(folder)
    decisions = scan_folder(folder, options).decisions
    found = {d.model: d.parent for d in decisions}
    undecided = {d.model for d in decisions if d.answer is AnswerKind.UNDECIDED}
    misses = [
        f"{folder.name}: {child} <- {found.get(child) or ('cannot tell' if child in undecided else 'root')}, truly {parent}"
        for child, parent in truth.parent.items()
        if child not in truth.unknown
        and parent not in truth.unknown
        and not truth.alike(child, parent)
        and not truth.right(child, found.get(child) or "")
    ]
    misses += [f"{folder.name}: root {r} <- {found[r]}" for r in sorted(truth.roots - truth.unknown) if found.get(r)]
    return score(truth, found, undecided), misses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=Options().threshold)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--misses", action="store_true", help="name every miss")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    rows: list[tuple[str, Counter[str], float]] = []
    all_misses: list[str] = []
    plain: dict[str, Counter[str]] = {rule: Counter() for rule in RULES}
    for path in sorted(arguments.families.glob("*/truth.json")):
        if arguments.split and json.loads(path.read_text()).get("split", arguments.split) != arguments.split:
            continue
        began = time.perf_counter()
        count, misses = measure(path.parent, Options(arguments.threshold, dates=False, declared=False))
        rows.append((path.parent.name, count, time.perf_counter() - began))
        total += count
        all_misses += misses
        for rule, found in plain_parents(path.parent).items():
            plain[rule] += score(read_truth(path.parent), found, set())
    print(
        "| family | children | directed parent | same run accepted | undirected | undecided | roots | false parents | between trees | s |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    table = [*rows, ("all", total, sum(row[2] for row in rows))]
    for name, count, seconds in [*table, *((f"rule: {rule}", count, 0.0) for rule, count in plain.items())]:
        share = lambda key: f"{count[key]} ({count[key] / max(1, count['children']):.2f})"  # noqa: B023, E731
        print(
            f"| {name} | {count['children']} | {share('right')} | {share('right_run')} | {share('undirected')} | {count['undecided']} "
            f"| {count['roots']} | {count['false_parents']} | {count['between_trees']} | {seconds:.1f} |"
        )
    if arguments.misses:
        print("\n".join(all_misses))
    result: dict[str, Any] = {name: dict(count) for name, count, _ in rows} | {"all": dict(total)}
    result |= {rule: dict(count) for rule, count in plain.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
