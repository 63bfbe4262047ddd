"""What is decided about, and how: a model with what is known of it beside its weights, and the kinds of evidence that may decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lineage.detect.sketch_store import Sketch

METHOD = "lineage"
THRESHOLD = 0.80
MISSING_PARENTS = 0.25  # share of parents that are private, deleted or not at hand, before looking at anything


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to decide about.

    Attributes:
        id: whatever the caller knows it by, unique.
        name: what people call it, for sentences; the id if None.
        quantised: its values were unpacked from few bits: a copy of one of the others, and nobody's parent.
        created_at: when it was first published; None where unknown.
        declared: ids of subjects that its card names as its base.
    """

    id: str
    sketch: Sketch
    created_at: datetime | None = None
    declared: frozenset[str] = field(default_factory=frozenset)
    name: str | None = None
    quantised: bool = False

    @property
    def label(self) -> str:
        return self.name or self.id


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
