"""Merges by mergekit through the whole of detection, as `scan` decides about a folder: parents, relation, and what becomes of tunings.

    python -m bench.relations_merges_whole FAMILY... [--merges 2] [--seeds 1 2]

FAMILY: folders of `bench.hub_family`. For each base, method and seed a few merges (bench/relations_merges.py makes them) join all models of
the base, and `detect.pipeline.decide` decides about all of them at once; then once more without the last parent of the first merge.
A merge is right if its relation is MERGED_FROM and its parents are those of the recipe. Printed for each method: mean and spread
over families and seeds, for a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bench.families import of_one_signature, read_sketches, read_truth
from bench.relations_merges import METHODS, Recipe, make, recipes, sketch_of
from lineage.detect.decision import Decision
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.sketch import BUDGET_VALUES
from lineage.detect.sketch_store import Sketch
from lineage.graphdb.schema import Relation

FIELDS = ("merges", "exact", "named", "right", "true", "other relation")


def decided(sketches: Mapping[str, Sketch]) -> dict[str, Decision]:
    """Decisions about the largest set of models that can be compared in one piece."""
    subjects = max(of_one_signature(sketches), key=len)
    return {decision.model.partition("\n")[0]: decision for decision in decide(subjects, Options(declared=False))}


def count(found: Mapping[str, Decision], made: Sequence[Recipe], without: str | None = None) -> Counter[str]:
    """What became of the merges.

    Args:
        without: a parent that was not at hand.
    """
    counted: Counter[str] = Counter()
    for recipe in made:
        decision = found.get(recipe.name)
        if decision is None:
            continue
        merged = decision.relation is Relation.MERGED_FROM
        named = {name for name, _ in decision.parents} - {recipe.base} if merged else set()
        known = set(recipe.weights) - {without}
        counted += Counter(
            {
                "merges": 1,
                "exact": int(merged and named == known),
                "named": len(named),
                "right": len(named & known),
                "true": len(known),
                "other relation": int(decision.parent is not None and not merged),
            }
        )
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", type=Path)
    parser.add_argument("--merges", type=int, default=2, help="of each base, method and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    rows: dict[tuple[str, str], list[Counter[str]]] = defaultdict(list)
    false, tuned = set[str](), set[str]()
    started = time.process_time()
    for folder in arguments.families:
        sketches, truth = read_sketches(folder, BUDGET_VALUES), read_truth(folder)
        merged = {child for child, parents in truth.parents.items() if len(parents) > 1}
        for seed in arguments.seeds:
            torch.manual_seed(seed)
            chosen = list(recipes(folder, arguments.merges, seed))
            for base in sorted({recipe.base for recipe in chosen}):
                tree = {n: s for n, s in sketches.items() if truth.tree[n] == truth.tree[base] and n not in merged}
                for method in METHODS:
                    made = [recipe for recipe in chosen if (recipe.base, recipe.method) == (base, method)]
                    if not made:
                        continue
                    joined = {recipe.name: sketch_of(make(folder, recipe), recipe.name) for recipe in made}
                    found = decided({**tree, **joined})
                    rows[method, "all"].append(count(found, made))
                    tuned |= {f"{folder.name}/{name}" for name in tree if name in found}
                    false |= {
                        f"{folder.name}/{name}"
                        for name in tree
                        if name in found and found[name].relation is Relation.MERGED_FROM
                    }
                    gone = list(made[0].weights)[-1]
                    rest = {name: sketch for name, sketch in {**tree, **joined}.items() if name != gone}
                    rows[method, "missing"].append(count(decided(rest), made[:1], gone))
            print(f"{folder.name}, seed {seed}: {time.process_time() - started:.0f} s", flush=True)
    show(rows)
    print(
        f"\n{len(false)} of {len(tuned)} models that are no merges called merges: {', '.join(sorted(false)) or 'none'}"
    )
    total = {
        kind: sum((sum(c, Counter[str]()) for (_, k), c in rows.items() if k == kind), Counter[str]())
        for kind in ("all", "missing")
    }
    print(json.dumps({"bench": "relations_merges_whole", "false": len(false), "models": len(tuned), **total}))


def show(rows: Mapping[tuple[str, str], Sequence[Counter[str]]]) -> None:
    """The table: shares with their spread over families and seeds."""
    print("\n| method | merges | exactly right | P | R | called another relation | one missing: false second parent |")
    print("| --- |" + " ---: |" * 6)
    for method in METHODS:
        every = rows.get((method, "all"), [])
        total, gone = sum(every, Counter[str]()), sum(rows.get((method, "missing"), []), Counter[str]())
        if not total["merges"]:
            continue
        shares = [one["exact"] / one["merges"] for one in every if one["merges"]]
        spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
        print(
            f"| {method} | {total['merges']} | {statistics.mean(shares):.2f} ± {spread:.2f} "
            f"| {total['right'] / max(1, total['named']):.3f} | {total['right'] / max(1, total['true']):.3f} "
            f"| {total['other relation']} | {gone['named'] - gone['right']} of {gone['merges']} |"
        )


if __name__ == "__main__":
    main()
