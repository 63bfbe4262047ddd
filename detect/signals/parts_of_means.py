"""Parts of means: what a model is a weighted mean of was there before it, and before what was trained from it (detect/tuned_merges.py)."""

from __future__ import annotations

from lineage.detect.arrays import Tensor
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.tuned_merges import parts_first


class PartsOfMeansSignal:
    name = "merge"
    kind = Kind.CERTAIN
    phrase = "its weights are one weighted mean of its parents' weights"

    def measure(self, family: SignalInputs) -> Tensor:
        return parts_first(family.mixed, family.geometry.distance)
