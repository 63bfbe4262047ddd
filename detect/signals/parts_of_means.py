"""Parts of means: what a model is a weighted mean of was there before it (detect/merges.py)."""

from __future__ import annotations

from lineage.detect.arrays import Tensor
from lineage.detect.merges import parts_first
from lineage.detect.signals.interface import Kind, SignalInputs


class PartsOfMeansSignal:
    name = "merge"
    kind = Kind.CERTAIN
    phrase = "its weights are one weighted mean of its parents' weights"

    def measure(self, family: SignalInputs) -> Tensor:
        return parts_first(family.mixed, len(family.models))
