"""Accuracy against the number of sampled values, and what a sample of that size costs to fetch.

    python -m bench.sample_size --families FOLDER [--split report] [--values 1024 4096 ...]

The same families, their models sampled with smaller and smaller budgets. Bytes: of the sampled values as stored; reads: runs of values that
lie together in the files, each one ranged request at most.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from bench.families import decide_all, folders, read_sketches, read_truth
from bench.real_families import score
from lineage.detect.decision import AnswerKind
from lineage.detect.options import Options

VALUES = (1024, 4096, 16384, 65536, 131072, 1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--values", type=int, nargs="+", default=VALUES)
    arguments = parser.parse_args()
    options = Options(dates=False, declared=False)
    chosen = list(folders(arguments.families, arguments.split))
    result = {}
    print(
        "| values asked for | values a model | KiB a model | reads a model | right | undecided | roots given a parent | between trees |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for values in arguments.values:
        total: Counter[str] = Counter()
        models = taken = size = reads = 0
        for folder in chosen:
            sketches = read_sketches(folder, values)
            for sketch in sketches.values():
                models, taken = models + 1, taken + sketch.sampled_values
                size += sum(len(sample.raw) for sample in sketch.samples.values())
                reads += len(sketch.samples)
            said = decide_all(sketches, options)
            undecided = {name for name, d in said.items() if d.answer is AnswerKind.UNDECIDED}
            total += score(read_truth(folder), {name: d.parent for name, d in said.items()}, undecided)
        print(
            f"| {values:,} | {taken // models:,} | {size / models / 1024:.0f} | {reads / models:.0f} "
            f"| {total['right']} of {total['children']} ({total['right'] / total['children']:.3f}) | {total['undecided']} "
            f"| {total['false_parents']} of {total['roots']} | {total['between_trees']} |",
            flush=True,
        )
        result[values] = dict(total)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
