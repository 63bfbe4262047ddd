"""Are models of every architecture linked to what they were loaded from? Weights of derived_models.py, decided as `lineage scan` does.

Twice: the models of one type, or of one library's family, together; and all models in one folder, where every edge between types is
false. Weights are deleted when they were read, unless kept.

    python -m bench.derived --out FOLDER [--libraries] [--only bert,vit] [--keep]
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.derived_libraries import libraries
from bench.derived_models import DerivedModel, Maker, classes_of, make, said
from bench.linked import LinkCounts
from lineage.detect.options import Options
from lineage.reading import Reading
from lineage.scanning import FolderReading, decide_about, read_folder

OLD = "0_Transformer"  # folder of the encoder in old files of sentence-transformers
OF_TYPE, ALL = "models of one type", "all types in one folder"


@dataclass(slots=True)
class Count(LinkCounts):
    """between: edges to models of other types."""

    between: int = 0


def read(folder: Path) -> FolderReading:
    """What was stored of one type."""
    found = read_folder(folder)
    for name, reason in found.unreadable.items():
        print(f"not read: {folder.name}/{name}: {reason}", flush=True)
    return found


def count_type(made: Sequence[DerivedModel], found: FolderReading, count: Count) -> None:
    together = {d.model: d for d in decide_about(found, Options())}
    for child in made:
        if child.base is None or child.failed:
            continue
        decision = next((together[name] for name in (child.name, f"{child.name}/{OLD}") if name in together), None)
        if decision is None or child.base not in together:
            count.unread(f"{child.kind}/{child.called}")
        else:
            count.add(decision, child.base, f"{child.kind}/{child.called} ({decision.answer})")


def count_all(made: Sequence[DerivedModel], readings: Mapping[str, Reading], count: Count) -> float:
    """All types together; seconds that it took."""
    began = time.monotonic()
    decisions = {d.model: d for d in decide_about(FolderReading(readings, {}), Options())}
    for child in made:
        name = f"{child.kind}/{child.name}"
        if child.base is not None and not child.failed and name in decisions:
            decision = decisions[name]
            count.add(decision, f"{child.kind}/{child.base}", f"{child.kind}/{child.called} ({decision.answer})")
    for name, decision in decisions.items():
        for other in decision.named:
            if other.split("/")[0] != name.split("/")[0]:
                count.between += 1
                print(f"between types: {name} {other} {decision.answer} {decision.probability:.3f}", flush=True)
    return time.monotonic() - began


def makers(of_libraries: bool) -> Iterator[tuple[str, Maker]]:
    """(name, what stores its models in a folder with a seed): of every type of transformers, or of the other libraries."""
    if of_libraries:
        yield from libraries()
        return
    for kind, config_class, classes in classes_of():
        yield kind, partial(make, kind, config_class, classes)


def stored(
    every: Iterable[tuple[str, Maker]], out: Path, only: Sequence[str], keep: bool
) -> Iterator[tuple[list[DerivedModel], FolderReading]]:
    for number, (kind, maker) in enumerate(every):
        if only and kind not in only:
            continue
        folder = out / kind
        shutil.rmtree(folder, ignore_errors=True)
        try:
            made = list(maker(folder, 1000 + number))
        except Exception as error:
            print(f"not made: {kind}: {said(error)}", flush=True)
            continue
        for model in made:
            if model.failed:
                print(f"not made: {kind}/{model.called}: {model.failed}", flush=True)
        if any(not m.failed for m in made):
            yield made, read(folder)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="model types, with commas between")
    parser.add_argument("--libraries", action="store_true", help="diffusers, timm, sentence-transformers and peft")
    parser.add_argument("--keep", action="store_true", help="leave the weights on the disk")
    given = parser.parse_args()
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    counts = {name: Count() for name in (OF_TYPE, ALL)}
    everything: dict[str, Reading] = {}
    models: list[DerivedModel] = []
    began = time.process_time()
    only = [kind for kind in given.only.split(",") if kind]
    for made, found in stored(makers(given.libraries), given.out, only, given.keep):
        count_type(made, found, counts[OF_TYPE])
        models += made
        everything |= {f"{made[0].kind}/{name}": reading for name, reading in found.readings.items()}
        done = counts[OF_TYPE]
        print(f"{made[0].kind}: {done.linked} of {done.children}, {time.process_time() - began:.0f} s", flush=True)
    seconds = count_all(models, everything, counts[ALL])
    for name, count in counts.items():
        for missed in count.missed:
            print(f"missed, {name}: {missed}")
    print(f"all types: {len(everything)} models, {seconds:.0f} s")
    for name, c in counts.items():
        print(json.dumps({name: [c.children, c.right, c.linked, c.wrong, c.between]}))


if __name__ == "__main__":
    main()
