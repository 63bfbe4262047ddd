"""Options of a detection: the threshold, the kinds of evidence that may decide, and the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

METHOD = "lineage"
THRESHOLD = 0.80
MISSING_PARENTS = 0.25  # share of parents that are private, deleted or not at hand, before looking at anything


@dataclass(frozen=True, slots=True)
class Options:
    """threshold: probability below which nothing is asserted; the switches turn off kinds of evidence: dates, claims, the trained detector.

    missing_parents: the stated share of parents that are not at hand, see missing_parent.py.
    method, settings: which of `detect.methods.registry` decides, and its own options as text; this file is the method `lineage`.
    """

    threshold: float = THRESHOLD
    dates: bool = True
    declared: bool = True
    detector: bool = True
    method: str = METHOD
    settings: Mapping[str, str] = field(default_factory=dict)
    missing_parents: float = MISSING_PARENTS
