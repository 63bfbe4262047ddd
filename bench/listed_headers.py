"""10,000 headers drawn from a real listing -> groups: how many, the largest, who meets by mistake, how long it takes.

The listing gives model types and numbers of parameters; the header of a type is the one that the library made (tests/detect/
architectures.json.xz) with its blocks repeated and its widths scaled to that number. So models of one type and size meet, and
others must not, but for types whose blocks are the same by design. Beside grouping, what parsing the JSON of the same headers costs, which
nothing that reads files can be without. Headers of usual length are timed a second time, one after the other, when the names in them have
been seen, as in a crawl that has run for a while.

    python -m bench.listed_headers LISTING.csv [--results]      # columns `architecture` and `parameters_raw`
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.architectures import Spec, read
from bench.results_section import put_section
from lineage.detect.backbone import backbones_of, signature_from
from lineage.graphdb.schema import keys_in

HEADERS, SEED = 10_000, 1
USUAL = 500  # tensors: more have mixtures of experts, one module for each
VOCABULARY = 1_000  # a dimension that is no width from this on, if it is a table's first
WIDE = 16  # a dimension from which on it is a width
HEADING = "## Groups of a real listing"
Header = tuple[Spec, ...]


def drawn(listing: Sequence[tuple[str, int]], count: int) -> list[tuple[str, int, str]]:
    """(model type, parameters, class) with types as often as the listing has them, classes of a type by chance."""
    library = read()
    dice = random.Random(SEED)
    known = [(kind, size) for kind, size in listing if kind in library]
    found = []
    for _ in range(count):
        kind, size = dice.choice(known)
        found.append((kind, size, dice.choice(sorted(library[kind]))))
    return found


def sized(kind: str, called: str, size: int) -> Header:
    """The header of a class with about as many values as asked for. One size of a type has one depth and one width."""
    header = tuple(read_once()[kind][called])
    depth = random.Random(f"{kind} {size}").choice([12, 16, 24, 28, 32, 40])
    deep = _deepened(header, depth)
    held = sum(_values(spec.shape) for spec in deep)
    step = max(1, round(16 * (size / max(1, held)) ** 0.5))  # sixteenths of the default width
    return tuple(Spec(s.name, s.dtype, tuple(_scaled(d, step) for d in s.shape)) for s in deep)


@cache
def read_once() -> dict[str, dict[str, list[Spec]]]:
    return read()


def _scaled(width: int, step: int) -> int:
    return width * step // 16 if width >= WIDE and width % 16 == 0 else width


def _values(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _deepened(header: Header, depth: int) -> Header:
    """Blocks of the largest list as often as a real model has them."""
    containers = [c for b in backbones_of(header)[:1] for c in b.containers if "*" not in c]
    if not containers:
        return header
    start = f"{containers[0]}." if containers[0] else ""
    last = max(
        int(n) for s in header if s.name.startswith(start) and (n := s.name[len(start) :].split(".")[0]).isdigit()
    )
    block = [s for s in header if s.name.startswith(f"{start}{last}.")]
    more = [
        Spec(f"{start}{number}.{s.name[len(f'{start}{last}.') :]}", s.dtype, s.shape)
        for number in range(last + 1, depth)
        for s in block
    ]
    return (*header, *more)


def as_json(header: Header) -> bytes:
    """The header as a file has it, but for the places of the tensors."""
    return json.dumps({s.name: {"dtype": s.dtype, "shape": s.shape, "data_offsets": [0, 0]} for s in header}).encode()


@dataclass(frozen=True, slots=True)
class GroupingTime:
    headers: int
    tensors: int
    seconds: float


def usual_again(models: Iterable[tuple[str, int, str]]) -> GroupingTime:
    """Grouping of headers of usual length, names in them seen before, no header seen before."""
    tensors, count, seconds = 0, 0, 0.0
    for kind, size, called in models:
        header = sized(kind, called, size)
        if len(header) > USUAL:
            continue
        backbones_of(header)
        widened = [Spec(s.name, s.dtype, tuple(2 * d for d in s.shape)) for s in header]
        began = time.process_time()
        keys_in(signature_from(backbones_of(widened)))
        seconds += time.process_time() - began
        tensors += len(header)
        count += 1
    return GroupingTime(count, tensors, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listing", type=Path)
    parser.add_argument("--headers", type=int, default=HEADERS)
    parser.add_argument("--results", action="store_true", help="write the table into RESULTS.md")
    given = parser.parse_args()
    with given.listing.open() as file:
        rows = [(row["architecture"], int(row["parameters_raw"] or 0)) for row in csv.DictReader(file)]
    models = drawn(rows, given.headers)
    groups: dict[str, list[int]] = defaultdict(list)
    known: dict[tuple[str, int, str], tuple[str, ...]] = {}
    tensors, seconds, parsing, size_bytes = 0, 0.0, 0.0, 0
    for number, model in enumerate(models):
        if model not in known:
            kind, size, called = model
            header = sized(kind, called, size)
            tensors += len(header)
            began = time.process_time()
            known[model] = keys_in(signature_from(backbones_of(header)))
            seconds += time.process_time() - began
            raw = as_json(header)
            size_bytes += len(raw)
            began = time.process_time()
            json.loads(raw)
            parsing += time.process_time() - began
        for key in known[model]:
            groups[key].append(number)
    usual = usual_again(known)
    listed = {(kind, size) for kind, size, _ in models}
    mixed = {key: {models[i][:2] for i in inside} for key, inside in groups.items()}
    types = [sorted({kind for kind, _ in there}) for there in mixed.values()]
    sizes_meeting = sum(len({size for _, size in there}) > 1 for there in mixed.values())
    table = [
        "| measured | value |",
        "| --- | ---: |",
        f"| headers drawn, different ones, tensors in the latter | {len(models):,}, {len(known):,}, {tensors:,} |",
        f"| model types, pairs of type and size | {len({kind for kind, _ in listed})}, {len(listed)} |",
        f"| listed models whose type the library does not make | {sum(k not in read_once() for k, _ in rows)} of {len(rows)} |",
        f"| groups | {len(groups):,} |",
        f"| largest group, median group | {max(map(len, groups.values())):,}, {sorted(map(len, groups.values()))[len(groups) // 2]} |",
        f"| groups of several types | {sum(len(kinds) > 1 for kinds in types)} |",
        f"| groups of several sizes | {sizes_meeting} |",
        f"| headers without a group | {sum(not known[model] for model in models)} |",
        f"| processor time of the different ones, headers a minute, tensors a second | {seconds:.1f} s, "
        f"{60 * len(known) / seconds:,.0f}, {tensors / seconds:,.0f} |",
        f"| of these with at most {USUAL} tensors, again when their names have been seen, tensors in them, headers a minute | "
        f"{usual.headers:,}, {usual.tensors:,}, {60 * usual.headers / usual.seconds:,.0f} |",
        f"| parsing their JSON, headers a minute, MB a second; grouping over parsing | {parsing:.1f} s, {60 * len(known) / parsing:,.0f}, "
        f"{size_bytes / parsing / 1e6:.0f}; {seconds / parsing:.2f} |",
    ]
    print("\n".join(table))
    for kinds in sorted({tuple(kinds) for kinds in types if len(kinds) > 1}):
        print("meet:", ", ".join(kinds))
    if given.results:
        put_section(HEADING, _ABOUT, table)


_ABOUT = """`python -m bench.listed_headers LISTING.csv --results`: model types and numbers of parameters of a listing (963 models that are
downloaded most, April 2026), drawn with replacement; headers as the library makes them, with 12 to 40 blocks and widths scaled to that
number."""


if __name__ == "__main__":
    main()
