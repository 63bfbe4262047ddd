"""A model to decide about: its sketch, with what is known of it beside its weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from lineage.detect.sketch_store import Sketch


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to decide about.

    Attributes:
        id: whatever the caller knows it by, unique.
        name: what people call it, for sentences; the id if None.
        quantization: how its values were packed into few bits, as `gptq 4 bits`: then it is a copy of another model, and never a
            parent; None for plain numbers.
        created_at: when its weights were first published, as far as is known; None where unknown.
        declared: ids of models that its card names as its base, whether they are decided about with it or not.
        elsewhere: those of `declared` that are not among the models decided about; `pipeline.decide` fills it in.
        copied: whether another model at hand has all of its values.
        guest: whether it is only weighed beside others, and nothing is asked about it.
        stage: the higher, the later among models whose structure tells it: fewer layers, or copies of them; None where it tells nothing.
    """

    id: str
    sketch: Sketch
    created_at: datetime | None = None
    declared: frozenset[str] = field(default_factory=frozenset)
    name: str | None = None
    quantization: str | None = None
    elsewhere: frozenset[str] = field(default_factory=frozenset)
    stage: int | None = None
    copied: bool = False
    guest: bool = False

    @property
    def quantized(self) -> bool:
        return self.quantization is not None

    def younger_than_any(self, others: Iterable[Subject]) -> bool:
        """Whether its weights were published after those of one of the others, as far as is known: that one did not come from them."""
        when = self.created_at
        return when is not None and any(s.created_at is not None and s.created_at < when for s in others)

    @property
    def label(self) -> str:
        return self.name or self.id
