"""Plain rules that others use or would try first, on the same sketches: what `bench/real_families.py` prints beside ours.

nearest: the parent is the nearest model. norm: the nearest among those of smaller length (Neural Phylogeny's direction, Yu & Wang, ICLR
2025, whose distance to a random start is the length in expectation). kurtosis: the nearest among those of higher kurtosis (MoTHer's
direction for specialisation, Horwitz et al., ICLR 2025); low kurtosis: its other sign. All get what ours finds out by itself for free:
only models that are related (excess cosine of units) are candidates, and a model without candidates is a root.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.families import read_sketches
from lineage.detect.align import NotComparable, Part, align
from lineage.detect.clustering import families
from lineage.detect.gram import gram, squared_lengths
from lineage.detect.groups import comparable_sets
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.shared_start import structure_kept

RULES = ("nearest", "norm", "kurtosis", "low kurtosis")


def plain_parents(folder: Path) -> dict[str, dict[str, str | None]]:
    """rule -> model -> parent, for every model of a family folder that can be compared."""
    sketches = read_sketches(folder)
    found: dict[str, dict[str, str | None]] = {rule: {} for rule in RULES}
    for subjects in comparable_sets(sketches):
        names = [subject.id for subject in subjects]
        if len(names) < 2:
            continue
        try:
            layers = align([subject.sketch for subject in subjects], torch.device("cpu"))
        except NotComparable:
            continue
        distance, length = gram(layers).distances(), squared_lengths(layers)
        kurtosis = torch.stack([_kurtosis(layer.values) for layer in layers if layer.part is Part.BODY]).sum(0)
        for members in families(relatedness(layers), structure_kept(layers)):
            for child in members:
                others = [m for m in members if m != child]
                for rule, allowed in (
                    ("nearest", others),
                    ("norm", [m for m in others if length[m] < length[child]]),
                    ("kurtosis", [m for m in others if kurtosis[m] > kurtosis[child]]),
                    ("low kurtosis", [m for m in others if kurtosis[m] < kurtosis[child]]),
                ):
                    best = min(allowed, key=lambda m: float(distance[m, child]), default=None)
                    found[rule][names[child]] = None if best is None else names[best]
    return found


def _kurtosis(values: Tensor) -> Tensor:
    """(m, u, w) -> (m,) kurtosis of all values of each model."""
    flat = values.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return centred.pow(4).mean(1) / centred.square().mean(1).square().clamp(min=1e-300)
