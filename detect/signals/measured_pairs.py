"""Signals whose numbers come from the one pass over the units of all pairs (pairs.py), and from the trained detector."""

from __future__ import annotations

from lineage.detect.arrays import Tensor
from lineage.detect.signals.growth import at_right_angles
from lineage.detect.signals.interface import Kind, SignalInputs


class GrowthSignal:
    name = "growth"
    kind = Kind.FITTED
    phrase = "units that moved more also grew more, as training makes them"

    def measure(self, family: SignalInputs) -> Tensor:
        """See direction.py; for less where the movement was not at right angles, see growth.py."""
        return family.pairs.direction * at_right_angles(family.pairs.growth_gamma)


class DetectorSignal:
    name = "detector"
    kind = Kind.FITTED
    phrase = "the trained detector's estimate of the direction; it reads neither names nor dates"

    def measure(self, family: SignalInputs) -> Tensor:
        """See detector/scoring.py; for less where the movement was not at right angles, see growth.py."""
        return family.learned() * at_right_angles(family.pairs.growth_gamma)


class DecaySignal:
    name = "decay"
    kind = Kind.CERTAIN
    phrase = "weights without a gradient are the parent's weights, shrunk by one factor"

    def measure(self, family: SignalInputs) -> Tensor:
        """See decay.py."""
        return family.pairs.decay
