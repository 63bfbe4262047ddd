"""What the samples of a folder's models say of a model and the one that its card names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineage.detect.align import Layer, NotComparable, align
from lineage.detect.arrays import torch
from lineage.detect.gram import gram
from lineage.detect.parts import in_common
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.sketch_store import Sketch

LEAST_RELATED = 0.05  # relatedness (1 for a copy, 0 for models that started apart) of what is not surely a stranger
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

    def _aligned(self, *models: str) -> list[Layer] | None:
        try:
            sketches = in_common([self.samples[model] for model in models])
            return align(sketches, torch.device("cpu"))
        except (NotComparable, KeyError):
            return None
