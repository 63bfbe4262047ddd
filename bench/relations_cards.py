"""Honest cards of merges and of quantized copies, beside what the weights show: is one accused?

    python -m bench.relations_cards [FAMILY...] [--seed 1] [--formats REGEX] [--write]    (needs: pip install -e '.[hub-family,quantized]')

FAMILY: folders of `bench.hub_family`; bench/relations_merges.py makes merges of their models by each method of mergekit. Every merge has a
card and a `mergekit_config.yml` that name its base and its parents; all of them and all models of the base are crawled into one graph and
decided, and `declared` compares. Then the same without one parent of each. With `--formats`, copies by the libraries of bench/quantizers.py
whose card names their original, beside its sisters, with the original and without. Reach: 0 honest cards contradicted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from bench.families import read_truth
from bench.quantizers import quantizers
from bench.relations_merges import Recipe, make, recipes
from bench.relations_quantized import HEADS, KEYS, ORIGINALS, architectures
from bench.relations_quantized import family as quantized_family
from bench.results_section import put_section
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.pipeline import METHOD_VERSION
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.store import open_store
from lineage.queries.claim_check import compare

AGREEMENTS = ("agree", "cannot tell", "contradicts", "not read")
ABOUT = "Every card is honest; `declared` compares it with what the weights show. Reach: none contradicted."


def judged(folder: Path, names: list[str], wrong: list[str]) -> Counter[str]:
    """Crawls a folder into a graph, decides, and counts what becomes of the claims of some models."""
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place, open_store(str(Path(place) / "home")) as graph:
        sketches = SketchStore(Path(place) / "home" / "sketches")
        crawl_into(graph, sketches, Path(place) / "home" / "progress.sqlite", CrawlOptions(folder=folder))
        detect_into(graph, sketches, Options(), "bench")
        for name in names:
            model = graph.model(name)
            if model is None:
                count["not read"] += 1
                continue
            (found,) = compare(graph, [model.hub_id])
            count[str(found.agreement)] += 1
            if str(found.agreement) == "contradicts":
                wrong.append(f"{name}: {found.reason}")
    return count


def merges(folder: Path, seed: int, wrong: list[str]) -> Mapping[str, Counter[str]]:
    """Counts for all parents at hand, and for one of each missing."""
    torch.manual_seed(seed)
    truth, rows = read_truth(folder), {"all parents": Counter[str](), "one missing": Counter[str]()}
    merged = {child for child, parents in truth.parents.items() if len(parents) > 1}
    chosen = list(recipes(folder, 2, seed))
    for base in sorted({recipe.base for recipe in chosen}):
        own = [recipe for recipe in chosen if recipe.base == base]
        for row, without in (("all parents", set()), ("one missing", {[*recipe.weights][-1] for recipe in own})):
            with tempfile.TemporaryDirectory() as place:
                for name in truth.tree.keys() - merged - without:
                    if truth.tree[name] == truth.tree[base]:
                        (Path(place) / name).mkdir()
                        shutil.copy(folder / f"{name}.safetensors", Path(place) / name / "model.safetensors")
                for recipe in own:
                    _publish(folder, recipe, Path(place) / recipe.name)
                rows[row] += judged(Path(place), [recipe.name for recipe in own], wrong)
    return {f"merges of {folder.name}, {row}": count for row, count in rows.items()}


def _publish(folder: Path, recipe: Recipe, place: Path) -> None:
    """A merge as mergekit leaves it: weights, card, recipe."""
    place.mkdir()
    save_file(make(folder, recipe), place / "model.safetensors")
    named = list(dict.fromkeys([recipe.base, *recipe.weights]))
    (place / "README.md").write_text("---\nbase_model:\n" + "".join(f"- {n}\n" for n in named) + "---\n")
    models = "".join(f"- model: {n}\n" for n in recipe.weights)
    (place / "mergekit_config.yml").write_text(
        f"merge_method: {recipe.method}\nbase_model: {recipe.base}\nmodels:\n{models}"
    )


def copies(formats: str, seed: int, wrong: list[str]) -> Mapping[str, Counter[str]]:
    """Counts for copies of the first architecture beside their original, and without it."""
    rows = {"original at hand": Counter[str](), "original gone": Counter[str]()}
    name, made = next(iter(architectures().items()))
    with tempfile.TemporaryDirectory() as place:
        models, work = Path(place) / "models", Path(place) / "work"
        quantized_family(name, made, models, seed)
        for form, (_, _, quantize) in quantizers(HEADS, KEYS).items():
            if not re.search(formats, form):
                continue
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(models, work)
            for original in ORIGINALS:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    quantize(models / original, work / f"copy-of-{original}")
                (work / f"copy-of-{original}" / "README.md").write_text(f"---\nbase_model: {original}\n---\n")
            of_copies = [f"copy-of-{original}" for original in ORIGINALS]
            rows["original at hand"] += judged(work, of_copies, wrong)
            for original in ORIGINALS:
                shutil.move(work / original, Path(place) / "gone")
                rows["original gone"] += judged(work, [f"copy-of-{original}"], wrong)
                shutil.move(Path(place) / "gone", work / original)
            print(form, {row: dict(count) for row, count in rows.items()}, file=sys.stderr, flush=True)
    return {f"quantized copies, {row}": count for row, count in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--formats", help="a regular expression: the formats whose names match it")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    rows: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for folder in arguments.families:
        rows |= merges(folder, arguments.seed, wrong)
        print(rows, wrong, file=sys.stderr, flush=True)
    if arguments.formats is not None:
        rows |= copies(arguments.formats, arguments.seed, wrong)
    lines = [f"| honest cards of | cards | {' | '.join(AGREEMENTS)} |", "| --- |" + " ---: |" * (1 + len(AGREEMENTS))]
    for row, count in rows.items():
        lines.append(f"| {row} | {count.total()} | {' | '.join(str(count[a]) for a in AGREEMENTS)} |")
    lines += ["", *(f"- {line}" for line in wrong)] if wrong else []
    print("\n".join(lines))
    if arguments.write:
        named = " ".join(folder.name for folder in arguments.families)
        formats = "" if arguments.formats is None else f" --formats '{arguments.formats}'"
        about = f"`python -m bench.relations_cards {named} --seed {arguments.seed}{formats} --write`. {ABOUT}"
        put_section(f"## Honest cards of merges and quantized copies, version {METHOD_VERSION}", about, lines)
    print(json.dumps({"bench": "relations_cards", **sum(rows.values(), Counter())}))


if __name__ == "__main__":
    main()
