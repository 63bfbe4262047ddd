"""A model to decide about: its sketch, with what is known of it beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from lineage.detect.sketch_store import Sketch


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to decide about.

    Attributes:
        id: whatever the caller knows it by, unique.
        name: what people call it, for sentences; the id if None.
        quantized: its values were unpacked from few bits: a copy of one of the others, and never a parent.
        created_at: when it was first published; None where unknown.
        declared: ids of subjects that its card names as its base.
    """

    id: str
    sketch: Sketch
    created_at: datetime | None = None
    declared: frozenset[str] = field(default_factory=frozenset)
    name: str | None = None
    quantized: bool = False

    @property
    def label(self) -> str:
        return self.name or self.id
