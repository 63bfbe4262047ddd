"""What the samples of a folder's models say of a model and the one that its card names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lineage.detect.align import Layer, NotComparable, align
from lineage.detect.arrays import torch
from lineage.detect.gram import gram
from lineage.detect.parts import in_common, part_of, parts_of
from lineage.detect.signals.content import equal_tensors
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.sketch_store import Sketch

LEAST_RELATED = 0.05  # relatedness (1 for a copy, 0 for models that started apart) of what is not surely a stranger
FEWEST_VALUES = 4096  # of a backbone, in both samples, before two models are called strangers
FEWEST_ROWS = 8  # of a matrix whose rows are compared by length
SAME_LENGTHS = 0.95  # correlation of the lengths of rows, which another order of the columns leaves as they are
MOST_KEPT = 0.3  # share of what a model had learned that a model from another branch may have as well
MOST_ALIKE = 0.6  # cosine of what two models on different branches learned; an interpolation of the two has more


@dataclass(frozen=True, slots=True)
class SampledClaims:
    """samples: by the ids of the models."""

    samples: Mapping[str, Sketch]

    def related(self, model: str, base: str) -> bool | None:
        """Whether two models have anything in common; None where they cannot be compared."""
        layers = self._aligned(base, model)
        return None if layers is None else float(relatedness(layers)[0, 1]) >= LEAST_RELATED

    def lacks(self, model: str, base: str, since: str) -> bool | None:
        """Whether a model lacks what `base` had learned since their common ancestor; None where they cannot be compared."""
        layers = self._aligned(since, base, model)
        if layers is None:
            return None
        slopes = inheritance(gram(layers), 0, torch.tensor([[1], [2], [1]]))
        kept, back = float(slopes.total[2, 0]), float(slopes.total[1, 0])
        if not (kept == kept and back == back):
            return None  # one of them equals the ancestor
        return kept <= MOST_KEPT and max(kept * back, 0.0) ** 0.5 <= MOST_ALIKE

    def strangers(self, model: str, base: str) -> bool:
        """Whether all backbones of a model were compared with a base and have nothing in common with it, in another order neither."""
        if model not in self.samples or base not in self.samples:
            return False
        own, its = self.samples[model], self.samples[base]
        there = {part.backbone.key: part for part in reversed(parts_of(its))}
        parts = parts_of(own)
        return bool(parts) and all(
            (other := there.get(part.backbone.key)) is not None
            and other.depth == part.depth
            and _strangers(part_of(own, {part.backbone: ""}), part_of(its, {other.backbone: ""}))
            for part in parts
        )

    def _aligned(self, *models: str) -> list[Layer] | None:
        try:
            sketches = in_common([self.samples[model] for model in models])
            return align(sketches, torch.device("cpu"))
        except (NotComparable, KeyError):
            return None


def _strangers(own: Sketch, its: Sketch) -> bool:
    """Whether two samples of one backbone have nothing in common: no values, no tensor, and no lengths of rows."""
    try:
        layers = align([own, its], torch.device("cpu"))
    except NotComparable:
        return False
    if sum(layer.values[0].numel() for layer in layers) < FEWEST_VALUES or equal_tensors(own, its):
        return False
    return float(relatedness(layers)[0, 1]) < LEAST_RELATED and not _same_lengths(own, its)


def _same_lengths(own: Sketch, its: Sketch) -> bool:
    """Whether the rows of most matrices are as long in both models, as where the columns are in another order or were turned."""
    alike = []
    for name in own.samples.keys() & its.samples.keys():
        one, other = own.samples[name], its.samples[name]
        if one.shape != other.shape or len(one.shape) < 2:
            continue
        wide = int(np.prod(one.shape[1:]))
        start, stop = (edge // wide * wide for edge in one.common(other))
        start += wide * (start < max(one.start, other.start))
        if stop - start < FEWEST_ROWS * wide:
            continue
        lengths = [
            np.linalg.norm(s.values()[start - s.start : stop - s.start].reshape(-1, wide), axis=1) for s in (one, other)
        ]
        if all(float(length.std()) > 0 for length in lengths):
            alike.append(float(np.corrcoef(*lengths)[0, 1]) > SAME_LENGTHS)
    return 2 * sum(alike) > len(alike)
