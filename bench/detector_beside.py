"""Families -> examples for the trained detector, with what other methods say of the direction of the same true pairs.

Growth, growth and decay, norm, kurtosis and effective rank need no training. Neural Phylogeny's detector is trained on the same half of the
zoo, with the same architectures left out (`np_detectors`); it sees the first 32 x 32 values of one matrix, so it can be asked about any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.families import read_sketches
from lineage.detect.align import align
from lineage.detect.detector.examples import Example, examples_of
from lineage.detect.detector.tokens import ODD
from lineage.detect.methods.np_detector import PhylogenyDetector, PhylogenyPlan, Pool, crops, fit
from lineage.detect.methods.plain import effective_rank
from lineage.detect.methods.to_decisions import CannotTake
from lineage.detect.methods.values import AUTO
from lineage.detect.model_input import Subject
from lineage.detect.signals.direction import direction
from lineage.detect.signals.growth import growth

CPU = torch.device("cpu")
NP_PLAN = PhylogenyPlan(epochs=20)  # the learning rate is down to a thousandth after as many


@dataclass(frozen=True)
class KnownExample:
    """An example, the recipes of its models, and what learning-free evidence says of its true pairs: (n,) positive if right.

    Attributes:
        crops: (m, 32, 32) what np-detector sees of each model; None where it cannot take them.
    """

    example: Example
    recipes: dict[str, Any]
    others: dict[str, Tensor]
    crops: Tensor | None

    @property
    def true_pairs(self) -> Tensor:
        """(n, 2) indices of (parent, child)."""
        parent = self.example.parent
        child = (parent >= 0).nonzero()[:, 0]
        return torch.stack([parent[child], child], 1)


def read(folder: Path, cache: Path) -> list[KnownExample]:
    """What is known of a family; from the cache where it is there."""
    kept = cache / "examples" / f"{folder.name}.pt"
    if kept.exists():
        return torch.load(kept, weights_only=False)  # our own file
    truth, sketches = loads((folder / "truth.json").read_text()), read_sketches(folder)
    recipes = {m["id"]: m.get("recipe") or {} for m in truth.get("models", [])}
    found = []
    for example in examples_of(folder.name, truth, sketches, CPU):
        known = KnownExample(example, recipes, {}, None)
        pairs = known.true_pairs
        layers = align([sketches[m] for m in example.models], CPU)
        alone = {name: alone_of(example, pairs, name) for name in ("norm", "kurtosis")}
        rank = effective_rank(layers)
        alone["effective rank"] = rank[pairs[:, 1]] - rank[pairs[:, 0]]
        free = {"growth": growth(layers, pairs).z, "growth and decay": direction(layers, pairs)} if len(pairs) else {}
        try:
            seen = crops([Subject(m, sketches[m]) for m in example.models], AUTO, CPU)
        except CannotTake:
            seen = None
        found.append(replace(known, others=free | alone, crops=seen))
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found, kept)
    return found


def alone_of(example: Example, pairs: Tensor, name: str) -> Tensor:
    """(n,) mean over layers of a model's own number, child less parent."""
    place = {(a, b): i for i, (a, b) in enumerate(example.pairs.tolist())}
    rows = []
    for parent, child in pairs.tolist():
        turned = parent > child
        at = place[min(parent, child), max(parent, child)]
        present = example.tokens.present[at]
        value = example.tokens.odd[at, present, ODD.index(name)].mean() if bool(present.any()) else torch.zeros(())
        rows.append(-value if turned else value)
    return torch.stack(rows) if rows else torch.zeros(0)


def np_detectors(
    zoo: Sequence[KnownExample],
    real: Sequence[KnownExample],
    parts: Sequence[Sequence[int]],
    learn: Callable[[Example], bool],
) -> tuple[list[KnownExample], list[KnownExample]]:
    """The same with what np-detector says of the true pairs: for each part of the zoo one that was trained on the others, for real
    families one that was trained on all that are to be learned from."""
    own = {i for i, known in enumerate(zoo) if learn(known.example)}
    answered = dict(enumerate(zoo))
    for part in parts:
        network = trained_on([zoo[i] for i in sorted(own - set(part))])
        answered |= {i: _asked(zoo[i], network) for i in part}
    network = trained_on([zoo[i] for i in sorted(own)])
    return [answered[i] for i in range(len(zoo))], [_asked(known, network) for known in real]


def trained_on(known: Sequence[KnownExample]) -> PhylogenyDetector:
    """Models of families of one architecture are mixed, as far as a family's sizes allow to compare their crops."""
    by_kind: dict[str, list[KnownExample]] = {}
    for one in known:
        if one.crops is not None:
            by_kind.setdefault(one.example.architecture, []).append(one)
    pools = []
    for group in by_kind.values():
        children: dict[int, list[int]] = {}
        first = 0
        for one in group:
            for parent, child in one.true_pairs.tolist():
                children.setdefault(first + parent, []).append(first + child)
            first += len(one.example.models)
        pools.append(Pool(torch.cat([one.crops for one in group if one.crops is not None]), children))
    return fit(pools, NP_PLAN, CPU)


@torch.inference_mode()
def _asked(known: KnownExample, network: PhylogenyDetector) -> KnownExample:
    """A pair's direction: how much likelier the network finds the one as parent of the other than the other way round."""
    pairs = known.true_pairs
    if known.crops is None or not len(pairs):
        return known
    logits = network(known.crops)  # [model, candidate parent]
    said = logits[pairs[:, 1], pairs[:, 0]] - logits[pairs[:, 0], pairs[:, 1]]
    return replace(known, others={**known.others, "np-detector": said})
