"""The list of signals."""

from __future__ import annotations

from lineage.detect.signals.counters import CountersSignal
from lineage.detect.signals.dates_and_claims import ClaimsSignal, DatesSignal
from lineage.detect.signals.digits import DigitsSignal
from lineage.detect.signals.heads import HeadsSignal
from lineage.detect.signals.interface import Kind, Signal
from lineage.detect.signals.made_over import MadeOverSignal
from lineage.detect.signals.measured_pairs import DecaySignal, DetectorSignal, GrowthSignal
from lineage.detect.signals.parts_of_means import PartsOfMeansSignal

SIGNALS: tuple[Signal, ...] = (
    GrowthSignal(),
    DetectorSignal(),
    CountersSignal(),
    DecaySignal(),
    DigitsSignal(),
    PartsOfMeansSignal(),
    MadeOverSignal(),
    HeadsSignal(),
    DatesSignal(),
    ClaimsSignal(),
)


def of_kind(*kinds: Kind) -> tuple[Signal, ...]:
    """The signals of some kinds, in the order of the list."""
    return tuple(signal for signal in SIGNALS if signal.kind in kinds)
