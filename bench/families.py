"""Folders of model families with known lineage: `FAMILY/<id>.safetensors` and `FAMILY/truth.json`.

truth.json: `pairs` (child, parent, relation), `roots`, `unknown` (no claim; left out of scores), `trees` (models of common descent),
`same_run` (checkpoints of one run: one for the other is no error), `duplicates` (equal weights), at times `split`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lineage.crawler.weights import LocalFile, Weights
from lineage.detect.decision import Decision
from lineage.detect.group_decisions import decide_groups
from lineage.detect.groups import comparable_sets
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import Sketch, make_sketch
from lineage.graphdb.schema import Failure

SCAN_BUDGET_VALUES = 1 << 20  # models up to a million values whole

Found = TypeVar("Found")


@dataclass(frozen=True)
class Truth:
    """truth.json of one family, by model id. parent: the first named one of a merge; parents: all of them."""

    parent: dict[str, str]
    parents: dict[str, frozenset[str]]
    roots: frozenset[str]
    unknown: frozenset[str]
    tree: dict[str, str]
    run: dict[str, int]
    same: dict[str, int]

    def alike(self, one: str, other: str) -> bool:
        """Whether one may stand for the other: equal weights."""
        return one == other or (one in self.same and self.same.get(one) == self.same.get(other))

    def right(self, child: str, said: str) -> bool:
        """Whether the named parent is one of the child's parents, or a model of equal weights."""
        return any(self.alike(said, parent) for parent in self.parents.get(child, ()))

    def line(self, name: str) -> list[str]:
        """Ancestors, nearest first."""
        found: list[str] = []
        while name in self.parent and len(found) < 1000:
            name = self.parent[name]
            found.append(name)
        return found

    def same_run(self, one: str, other: str) -> bool:
        return self.alike(one, other) or (one in self.run and self.run.get(one) == self.run.get(other))


def folders(roots: Iterable[Path], split: str | None = None) -> Iterator[Path]:
    """Folders of families, in order. split: of families that name one, only this half."""
    for root in roots:
        for path in sorted(root.glob("*/truth.json")):
            if split is None or json.loads(path.read_text()).get("split") in (None, split):
                yield path.parent


def by_kind(
    roots: Iterable[Path], split: str | None, read: Callable[[Path], Iterable[Found]]
) -> dict[str, list[Found]]:
    """What `read` gives of each folder, by architecture, so that a whole kind of families can be left out."""
    kinds: dict[str, list[Found]] = {}
    for folder in folders(roots, split):
        kind = json.loads((folder / "truth.json").read_text()).get("architecture", folder.name)
        kinds.setdefault(kind, []).extend(read(folder))
    return {kind: found for kind, found in kinds.items() if found}


def decide_all(sketches: Mapping[str, Sketch], options: Options) -> dict[str, Decision]:
    """What the method `lineage` says about models, by id, each architecture on its own. Nothing but weights is given."""
    subjects = [Subject(name, sketch) for name, sketch in sketches.items()]
    return {d.model: d for d in decide_groups(subjects, lambda some: decide(some, options), options.threshold)}


def of_one_signature(sketches: Mapping[str, Sketch]) -> list[list[Subject]]:
    """The models that can be compared in one piece, in the order given."""
    return comparable_sets(sketches)


def read_truth(folder: Path) -> Truth:
    data = json.loads((folder / "truth.json").read_text())

    def names(rows: list[Any]) -> frozenset[str]:
        return frozenset(row["model"] if isinstance(row, dict) else row for row in rows)

    parents: dict[str, list[str]] = {}
    for pair in data["pairs"]:
        parents.setdefault(pair["child"], []).append(pair["parent"])
    return Truth(
        parent={child: named[0] for child, named in parents.items()},
        parents={child: frozenset(named) for child, named in parents.items()},
        roots=names(data["roots"]),
        unknown=names(data.get("unknown", [])),
        tree={model: name for name, members in data["trees"].items() for model in members},
        run={model: i for i, members in enumerate(data.get("same_run", [])) for model in members},
        same={model: i for i, members in enumerate(data.get("duplicates", [])) for model in members},
    )


def read_sketches(folder: Path, budget_values: int = SCAN_BUDGET_VALUES) -> dict[str, Sketch]:
    """Sketches of all models of a family that can be read, by id."""
    sketches = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights = Weights([LocalFile(path)])
        try:
            blocks = plan(weights.header, budget_values)
            sketches[path.stem] = make_sketch(path.stem.encode().hex(), weights.header, weights.read(blocks))
        except Failure:
            continue
    return sketches
