"""Families of known lineage -> examples to train and to measure the detector on.

In: a family's truth (as `truth.json` says it: pairs (child, parent, relation), roots, unknown, duplicates) and its sketches. Out: one
Example for each set of related models of one architecture, prepared as detection prepares them: copies and quantized files are not
among them, and models of one frozen body stand as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lineage.detect.align import Layer, NotComparable, align
from lineage.detect.clustering import families
from lineage.detect.detector.tokens import Tokens, tokens
from lineage.detect.gram import gram, squared_lengths
from lineage.detect.groups import comparable_sets
from lineage.detect.identical_bodies import EQUAL
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.shared_start import structure_kept
from lineage.detect.sketch_store import Sketch

ROOT, UNKNOWN = -1, -2
COPIED = ("copy", "cast", "quantized")


@dataclass(frozen=True, slots=True)
class Example:
    """Related models of one architecture.

    Attributes:
        family, architecture, split: as the truth names them; the architecture is the family's name where it names none.
        models: m ids; parent: (m,) int64: index of each one's parent, ROOT, or UNKNOWN.
        pairs: (p, 2) int64, every pair once; tokens: of these pairs.
    """

    family: str
    architecture: str
    split: str | None
    models: tuple[str, ...]
    parent: Tensor
    pairs: Tensor
    tokens: Tokens

    def ancestors(self, model: int) -> tuple[list[int], int | None]:
        """A model's ancestors, parent first, and its root; None for the root where the line leads to what is not known."""
        line: list[int] = []
        at = model
        while self.parent[at] >= 0:
            at = int(self.parent[at])
            line.append(at)
        return line, at if self.parent[at] == ROOT else None


def examples_of(
    name: str, truth: Mapping[str, Any], sketches: Mapping[str, Sketch], device: torch.device
) -> list[Example]:
    """Examples of one family; those without any known parent or root are left out."""
    lineage = _Lineage.of(truth)
    used = {model: sketch for model, sketch in sketches.items() if model not in lineage.dropped}
    found = []
    for subjects in comparable_sets(used):
        models = [subject.id for subject in subjects]
        if len(models) < 2:
            continue
        try:
            layers = align([subject.sketch for subject in subjects], device)
        except NotComparable:
            continue
        related = relatedness(layers)
        for members in families(related, structure_kept(layers)):
            own = torch.tensor(members)
            names = [models[i] for i in members]
            mine = [layer.of(own) for layer in layers]
            stand = _standing(names, mine, lineage)
            kept = sorted(set(stand))
            if len(kept) < 2:
                continue
            index = torch.tensor(kept)
            parent = lineage.parents([names[i] for i in kept], {names[i]: names[j] for i, j in enumerate(stand)})
            if bool((parent == UNKNOWN).all()):
                continue
            mine = [layer.of(index) for layer in mine]
            pairs = torch.combinations(torch.arange(len(kept)))
            described = tokens(mine, pairs.to(device))
            found.append(
                Example(
                    family=name,
                    architecture=str(truth.get("architecture", name)),
                    split=truth.get("split"),
                    models=tuple(names[i] for i in kept),
                    parent=parent,
                    pairs=pairs,
                    tokens=Tokens(*(each.cpu() for each in (described.odd, described.even, described.present))),
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class _Lineage:
    """What truth says. parent: child -> parent, but of copies and merges.

    dropped: models that are copies; silent: models whose parent is not asked for.
    """

    parent: dict[str, str]
    roots: frozenset[str]
    dropped: frozenset[str]
    silent: frozenset[str]

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> _Lineage:
        def names(key: str) -> set[str]:
            return {row["model"] if isinstance(row, dict) else str(row) for row in truth.get(key, [])}

        copied = {pair["child"] for pair in truth["pairs"] if pair["relation"] in COPIED}
        twice = {
            model
            for equal in truth.get("duplicates", [])
            for model in sorted(equal, key=lambda n: (n in copied, n))[1:]
        }
        blended = {pair["child"] for pair in truth["pairs"] if pair["relation"] == "merge"}
        parent = {
            pair["child"]: pair["parent"] for pair in truth["pairs"] if pair["relation"] not in (*COPIED, "merge")
        }
        return cls(
            parent,
            frozenset(names("roots")),
            frozenset(copied | twice),
            frozenset(names("unknown") | names("ancestor_only") | blended),
        )

    def generation(self, model: str) -> int:
        steps = 0
        while model in self.parent:
            model, steps = self.parent[model], steps + 1
        return steps

    def parents(self, models: list[str], stands_for: Mapping[str, str]) -> Tensor:
        """(m,) int64 for the models that are left; `stands_for` names for every model the one of equal body that was kept."""
        place = {model: i for i, model in enumerate(models)}
        rows = []
        for model in models:
            parent = self.parent.get(model)
            while parent and stands_for.get(parent) == model:
                parent = self.parent.get(parent)
            if model in self.silent or (parent is None and model not in self.roots):
                rows.append(UNKNOWN)
            elif parent is None:
                rows.append(ROOT)
            else:
                rows.append(place.get(stands_for.get(parent, parent), UNKNOWN))
        return torch.tensor(rows)


def _standing(names: list[str], layers: list[Layer], lineage: _Lineage) -> list[int]:
    """For each model the index of its body's representative: the oldest of those that are equal bit for bit."""
    relative = gram(layers).distances().cpu() / squared_lengths(layers).cpu()[:, None]
    stand = list(range(len(names)))
    chosen: list[int] = []
    for i in sorted(range(len(names)), key=lambda i: (lineage.generation(names[i]), names[i])):
        same = next((j for j in chosen if relative[i, j] <= EQUAL), None)
        stand[i] = i if same is None else same
        if same is None:
            chosen.append(i)
    return stand
