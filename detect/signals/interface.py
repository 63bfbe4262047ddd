"""What a signal is: one kind of evidence about which of two related models came first, as log-odds.

A new signal is one file beside this one, one entry in `registry.SIGNALS`, and one test. It then counts in every decision, in the evidence
of every edge (`NAME_log_odds`), in `decided_by` and in what `lineage explain` and pages show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from lineage.detect.arrays import Tensor

if TYPE_CHECKING:
    from lineage.detect.align import Layer
    from lineage.detect.geometry import Geometry
    from lineage.detect.merges import Merge
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.signals.pairs import PairEvidence


class Kind(StrEnum):
    """How the log-odds of a signal enter a decision."""

    FITTED = "fitted"  # weighed together with others by a fit: `root.py`, `ancestor.py`
    CERTAIN = "certain"  # from what training alone does not do, so added as it is
    OUTSIDE = "outside"  # beside the weights: added as it is, and can be switched off
    CLAIM = "claim"  # about a parent, not about an order


@dataclass(frozen=True, slots=True)
class SignalInputs:
    """What signals measure: m models of one family.

    Attributes:
        models: with their sketches, dates and claims; layers: their values, aligned; geometry: where they lie.
        pairs: what has been measured in one pass over the units of all pairs that matter, see pairs.py.
        mixed: models that are means of two others, by place.
        learned: (m, m) float64, [child, parent]: what the trained detector gives; zeros where it is switched off.
    """

    models: Sequence[Subject]
    layers: Sequence[Layer]
    geometry: Geometry
    pairs: PairEvidence
    mixed: Mapping[int, Merge]
    options: Options
    learned: Callable[[], Tensor]


class Signal(Protocol):
    """
    Attributes:
        name: in `decided_by` and, with `_log_odds` after it, in the evidence; a word or two.
        phrase: what it is, for people.
    """

    name: str
    kind: Kind
    phrase: str

    def measure(self, family: SignalInputs) -> Tensor:
        """(m, m) float64, [child, parent]: log-odds that the parent came before the child; antisymmetric (but of claims), 0 where
        nothing was measured."""
