"""Families of models in folders, made with whatever library: what does a scan say of them, and do the two directions point the right way?

    python -m bench.scanned_families FOLDER [FOLDER …]

Each folder holds one model a sub-folder and `truth.json`: {model: its parent, a list of models that may be named, or null}. Counted are
children with a parent of the truth, children with another one, undecided ones, and children that are called a root; and of all pairs of a
model and an ancestor of it in one family the share for which growth and the trained detector say that the ancestor came first. Dates and
cards are not looked at.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import lineage.detect.pipeline as pipeline
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.measurement import Measurement, SettledFamily
from lineage.detect.options import Options
from lineage.scanning import decide_about, read_folder

DIRECTIONS = ("growth", "detector")
Truth = Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class Tally:
    """answers: of children; right: pairs for which a direction is right, by its name; pairs: all of them."""

    answers: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    pairs: int = 0

    def add(self, other: Tally) -> None:
        self.answers += other.answers
        self.right += other.right
        self.pairs += other.pairs

    def row(self, name: str) -> str:
        children = self.answers.total()
        cells = [f"{self.answers[a]}" for a in ("right", "wrong", "undecided", "root")]
        shares = [f"{self.right[d] / self.pairs:.2f}" if self.pairs else "" for d in DIRECTIONS]
        return f"| {name} | {children} | {' | '.join(cells)} | {self.pairs} | {' | '.join(shares)} |"


def read_truth(folder: Path) -> Truth:
    found = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return {m: (p,) if isinstance(p, str) else tuple(p or ()) for m, p in found.items()}


def ancestors(model: str, truth: Truth) -> list[str]:
    """Of a model whose parent is one, the parent and what is above it, as far as that is."""
    above: list[str] = []
    while len(truth.get(model, ())) == 1 and truth[model][0] not in above:
        model = truth[model][0]
        above.append(model)
    return above


def answer(decision: Decision, truth: Truth) -> str:
    given = {_of(name, truth) for name, _ in decision.parents}
    if given:
        return "right" if given <= set(truth[_of(decision.model, truth)]) else "wrong"
    return "root" if decision.answer is AnswerKind.ROOT else "undecided"


def _of(model: str, truth: Truth) -> str:
    """The model of the truth that a scanned one is: of several in a folder it has the folder's name before its own."""
    return model if model in truth else model.split("/")[0]


@contextmanager
def measured() -> Iterator[list[tuple[SettledFamily, Measurement]]]:
    """What detection measures of families meanwhile."""
    seen: list[tuple[SettledFamily, Measurement]] = []
    before = pipeline.measure

    def kept(family: SettledFamily, options: Options) -> Measurement:
        found = before(family, options)
        seen.append((family, found))
        return found

    pipeline.measure = kept  # type: ignore[assignment]
    try:
        yield seen
    finally:
        pipeline.measure = before


def counted(folder: Path) -> Tally:
    truth, found = read_truth(folder), Tally()
    with measured() as seen:
        decisions = decide_about(read_folder(folder), Options(dates=False, declared=False))
    found.answers = Counter(answer(d, truth) for d in decisions if truth.get(_of(d.model, truth)))
    known: set[tuple[str, str]] = set()
    for family, measurement in seen:
        names = [_of(s.label, truth) for s in family.own]
        for child, name in enumerate(names):
            for above in (a for a in ancestors(name, truth) if a in names and (name, a) not in known):
                known.add((name, above))
                for direction in DIRECTIONS:
                    log_odds = measurement.evidence.signals[direction][child, names.index(above)]
                    found.right[direction] += bool(log_odds > 0)
    found.pairs = len(known)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    print("| family | children | right | wrong | undecided | called a root | pairs | growth right | detector right |")
    print("| --- " + "| ---: " * 8 + "|")
    everything = Tally()
    for folder in parser.parse_args().folders:
        one = counted(folder)
        print(one.row(folder.name), flush=True)
        everything.add(one)
    print(everything.row("all"))


if __name__ == "__main__":
    main()
