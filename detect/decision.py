"""What detection says about one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lineage.detect.reasons import NONE, Reason
from lineage.graphdb.schema import TIED, Relation


class AnswerKind(StrEnum):
    PARENT = "parent"
    ROOT = "root"  # compared with relatives, and none of them is its parent
    NO_RELATIVES = "no_relatives"  # compared, if there was anything to compare it with, and related to none
    UNDECIDED = "undecided"  # one of the candidates, or an unseen model: cannot tell which


WITHOUT_PARENT = (AnswerKind.ROOT, AnswerKind.NO_RELATIVES, AnswerKind.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be the parent, with its probability."""

    parent: str
    probability: float


@dataclass(frozen=True, slots=True)
class Decision:
    """
    Attributes:
        model: the id that the caller gave.
        probability: of the answer; of the best candidate where undecided.
        candidates: possible parents, most probable first, the answer's parent among them.
        decided_by: kinds of evidence that decided, strongest first.
        evidence: JSON-serialisable numbers behind the decision.
        reason: template and numbers of a sentence for people; `str(reason)` is the sentence with ids of models.
        siblings: with it the models that may all come from one that is not at hand, itself included; evidence says how likely that is.
        other_parts: what other backbones of the model say where they have another parent; their evidence names the part.
        merged_from: of a merge, its parents and their shares of the weights, the larger one (`parent`) first; else empty.
        bases: of an adapter of several parts of a pipeline, all of those parts; else empty.
    """

    model: str
    answer: AnswerKind
    probability: float
    parent: str | None = None
    relation: Relation | None = None
    candidates: tuple[Candidate, ...] = ()
    decided_by: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    reason: Reason = NONE
    siblings: tuple[str, ...] = ()
    merged_from: tuple[tuple[str, float], ...] = ()
    other_parts: tuple[Decision, ...] = ()
    bases: tuple[str, ...] = ()

    @property
    def parents(self) -> tuple[tuple[str, float | None], ...]:
        """Asserted parents with their shares of the weights: none, one without a share, those of a merge, or the parts of a pipeline."""
        if self.parent is None:
            return ()
        return self.merged_from or tuple((base, None) for base in self.bases or (self.parent,))

    @property
    def likeliest(self) -> str | None:
        """The parent, or the first of the candidates."""
        return self.parent or next((candidate.parent for candidate in self.candidates), None)

    @property
    def named(self) -> frozenset[str]:
        """The parent and the candidates."""
        return frozenset(name for name in (self.parent, *(c.parent for c in self.candidates)) if name is not None)

    @property
    def tied_with(self) -> str | None:
        """The model with the same weights that represents its group, where nothing says which of them is the copy."""
        original = self.reason.models.get("original") if self.reason.key in TIED else None
        return original if isinstance(original, str) else None

    def withdrawn(self, reason: Reason, **evidence: Any) -> Decision:
        """The same without its parent, for a reason and with what tells it; the candidates stay."""
        return replace(
            self,
            answer=AnswerKind.UNDECIDED,
            parent=None,
            relation=None,
            decided_by=(),
            evidence={**self.evidence, **evidence},
            reason=reason,
        )


def parts_in(evidence: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of the child that the evidence of an edge names."""
    return tuple(evidence.get("parts", ())) or tuple(filter(None, [evidence.get("part")]))
