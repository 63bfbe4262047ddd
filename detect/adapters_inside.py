"""Models stored with an adapter that was not merged: the base's own weights bit for bit, and low-rank halves or the like beside them.

Trainers that store everything write such files. The body is the base's, so nothing in it was trained; the adapter says which of two
models of equal body came after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.arrays import Tensor
from lineage.detect.backbone import is_adapter
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.identical_bodies import EQUAL
from lineage.detect.model_input import Subject
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

PROBABILITY = 0.97
MOST_NAMED = 4


def with_adapters(subjects: Sequence[Subject], relative: Tensor) -> dict[str, Decision]:
    """Decisions about models with an adapter inside whose body is that of others without one, by their ids.

    Args:
        relative: (m, m) squared distances of the bodies over squared length.
    """
    inside = [any(is_adapter(name) for name in subject.sketch.layout) for subject in subjects]
    decisions: dict[str, Decision] = {}
    for i, subject in enumerate(subjects):
        if not inside[i]:
            continue
        equal = [j for j in (relative[i] <= EQUAL).nonzero()[:, 0].tolist() if not inside[j]]
        if equal:
            decisions[subject.id] = _decision(subject.id, [subjects[j].id for j in equal])
    return decisions


def _decision(model: str, bases: Sequence[str]) -> Decision:
    chance = PROBABILITY / len(bases)
    sure = len(bases) == 1
    return Decision(
        model,
        AnswerKind.PARENT if sure else AnswerKind.UNDECIDED,
        chance,
        bases[0] if sure else None,
        Relation.FINE_TUNED_FROM if sure else None,
        tuple(Candidate(base, round(chance, 4)) for base in bases[:MOST_NAMED]),
        ("exact sharing",) if sure else (),
        {"equal_bodies": len(bases) + 1},
        Reason("adapter_inside", models={"models": tuple(bases[:MOST_NAMED])}),
    )
