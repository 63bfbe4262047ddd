"""Signals whose numbers come from the one pass over the units of all pairs (pairs.py), and from the trained detector."""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.decay import LOG_ODDS
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.signals.shrunk_rows import shrunk_rows


class GrowthSignal:
    name = "growth"
    kind = Kind.FITTED
    phrase = "units that moved more also grew more, as training makes them"

    def measure(self, family: SignalInputs) -> Tensor:
        """See direction.py."""
        return family.pairs.direction


class DetectorSignal:
    name = "detector"
    kind = Kind.FITTED
    phrase = "the trained detector's estimate of the direction; it reads neither names nor dates"

    def measure(self, family: SignalInputs) -> Tensor:
        """See detector/scoring.py."""
        return family.learned()


class DecaySignal:
    name = "decay"
    kind = Kind.CERTAIN
    phrase = "weights without a gradient are the parent's weights, shrunk by one factor"

    def measure(self, family: SignalInputs) -> Tensor:
        """See decay.py, and for models in 16 bits shrunk_rows.py."""
        sharp = family.pairs.decay
        return torch.where(sharp != 0, sharp, LOG_ODDS * shrunk_rows(family.layers))
