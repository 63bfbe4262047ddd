"""Merges by mergekit through the whole of detection, as `scan` decides about a folder: parents, relation, and what becomes of tunings.

    python -m bench.relations_merges_whole FAMILY... [--merges 2] [--seeds 1 2] [--write]

FAMILY: folders of `bench.hub_family`. For each base, method and seed a few merges (bench/relations_merges.py makes them) join all models of
the base, and `detect.pipeline.decide` decides about all of them at once; then once more without the last parent of the first merge.
A merge is right if its relation is MERGED_FROM and its parents are those of the recipe. Printed: of each family a table with a row for each
method, mean and spread over bases and seeds. `--write` puts what was printed into RESULTS.md, in a section of its own for each version.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.families import of_one_signature, read_sketches, read_truth
from bench.relations_merges import METHODS, NAMED_BASE, Recipe, make, recipes, sketch_of
from bench.results_section import put_section
from lineage.detect.decision import Decision
from lineage.detect.options import Options
from lineage.detect.pipeline import METHOD_VERSION, decide
from lineage.detect.sketch import BUDGET_VALUES
from lineage.detect.sketch_store import Sketch
from lineage.graphdb.schema import Relation

COLUMNS = (
    "merges",
    "exactly right",
    "P",
    "R",
    "base named",
    "called another relation",
    "one missing: false second parent",
    "one missing: a further one said",
)
ABOUT = """Merges by mergekit join all models of their base, and `detect.pipeline.decide` decides about all of them, as `scan` does;
this script makes, decides, counts and writes these tables. Exactly right: relation MERGED_FROM and all parents. Reach: P = R = 0.97, no
false second parent in 0.95 where one parent is missing, the base named for TIES, DARE and task arithmetic, others called merges 0.5 %."""


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
                "base": int(merged and decision.evidence.get("base") == recipe.base),
                "unseen": int(merged and bool(decision.evidence.get("unseen_part"))),
                "other relation": int(decision.parent is not None and not merged),
            }
        )
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", type=Path)
    parser.add_argument("--merges", type=int, default=2, help="of each base, method and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    arguments = parser.parse_args()
    lines: list[str] = []
    total: Counter[str] = Counter()
    for folder in arguments.families:
        began = time.process_time()
        family = tried(folder, arguments.merges, arguments.seeds)
        lines += [*table(folder.name, arguments.seeds, family, time.process_time() - began), ""]
        print("\n".join(lines[-len(METHODS) - 6 :]), flush=True)
        total += family.total()
    command = f"python -m bench.relations_merges_whole {' '.join(f.name for f in arguments.families)} --merges {arguments.merges}"
    about = f"`{command} --seeds {' '.join(map(str, arguments.seeds))} --write`. {ABOUT}"
    if arguments.write:
        put_section(f"## Merges through the whole of detection, version {METHOD_VERSION}", about, lines[:-1])
    print(json.dumps({"bench": "relations_merges_whole", **total}))


@dataclass
class MethodCounts:
    """What became of the merges of one family. rows: (method, "all" or "missing") -> a count for each base and seed."""

    rows: dict[tuple[str, str], list[Counter[str]]]
    false: set[str]
    others: set[str]

    def total(self) -> Counter[str]:
        found = Counter({"called merges": len(self.false), "other models": len(self.others)})
        for (_, kind), some in self.rows.items():
            for one in some:
                found += Counter({f"{kind}: {field}": number for field, number in one.items()})
        return found


def tried(folder: Path, merges: int, seeds: Sequence[int]) -> MethodCounts:
    """Makes merges of a family and decides about them."""
    rows: dict[tuple[str, str], list[Counter[str]]] = defaultdict(list)
    family = MethodCounts(rows, set(), set())
    sketches, truth = read_sketches(folder, BUDGET_VALUES), read_truth(folder)
    merged = {child for child, parents in truth.parents.items() if len(parents) > 1}
    for seed in seeds:
        torch.manual_seed(seed)
        chosen = list(recipes(folder, merges, seed))
        for base in sorted({recipe.base for recipe in chosen}):
            tree = {n: s for n, s in sketches.items() if truth.tree[n] == truth.tree[base] and n not in merged}
            for method in METHODS:
                made = [recipe for recipe in chosen if (recipe.base, recipe.method) == (base, method)]
                if not made:
                    continue
                joined = {recipe.name: sketch_of(make(folder, recipe), recipe.name) for recipe in made}
                found = decided({**tree, **joined})
                rows[method, "all"].append(count(found, made))
                family.others |= tree.keys() & found.keys()
                family.false |= {n for n in tree if n in found and found[n].relation is Relation.MERGED_FROM}
                gone = list(made[0].weights)[-1]
                rest = {name: sketch for name, sketch in {**tree, **joined}.items() if name != gone}
                rows[method, "missing"].append(count(decided(rest), made[:1], gone))
    return family


def table(name: str, seeds: Sequence[int], family: MethodCounts, seconds: float) -> list[str]:
    """Markdown: shares with their spread over bases and seeds."""
    lines = [
        f"`{name}`, seeds {', '.join(map(str, seeds))}: {len(family.false)} of {len(family.others)} other models called merges"
        f"{': ' + ', '.join(sorted(family.false)) if family.false else ''}; {seconds:.0f} s of processor time.",
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for method in METHODS:
        every = family.rows.get((method, "all"), [])
        if sum(one["merges"] for one in every):
            lines.append(_row(method, every, family.rows[method, "missing"], method in NAMED_BASE))
    whole, gone = (
        [one for (_, k), some in family.rows.items() if k == kind for one in some] for kind in ("all", "missing")
    )
    return [*lines, _row("all", whole, gone, True)]


def _row(name: str, every: Sequence[Counter[str]], missing: Sequence[Counter[str]], with_base: bool) -> str:
    total, gone = sum(every, Counter[str]()), sum(missing, Counter[str]())
    shares = [one["exact"] / one["merges"] for one in every if one["merges"]]
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    return (
        f"| {name} | {total['merges']} | {statistics.mean(shares or [0.0]):.2f} ± {spread:.2f} "
        f"| {total['right'] / max(1, total['named']):.3f} | {total['right'] / max(1, total['true']):.3f} "
        f"| {total['base'] if with_base else '–'} | {total['other relation']} "
        f"| {gone['named'] - gone['right']} of {gone['merges']} | {gone['unseen']} of {gone['merges']} |"
    )


if __name__ == "__main__":
    main()
