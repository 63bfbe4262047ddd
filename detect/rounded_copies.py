"""Models whose values are another one's in a coarser dtype -> decisions: casts to bf16, fp16 or fewer digits."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.arrays import Tensor
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import is_rounded_copy, precision
from lineage.graphdb.schema import Relation

MAX_ROUNDED_DISTANCE = 2.0**-6  # relative distance under which one model may be the other one rounded
CASTS = {8: "bf16", 11: "fp16", 24: "fp32"}  # digits of the significand -> what a file of them is called


def rounded(subjects: Sequence[Subject], relative: Tensor) -> dict[str, Decision]:
    """Decisions for models that are another member's values in a coarser dtype."""
    digits = [precision(s.sketch) for s in subjects]
    decisions: dict[str, Decision] = {}
    for i, j in (relative < MAX_ROUNDED_DISTANCE**2).fill_diagonal_(False).nonzero().tolist():
        coarse, fine = subjects[i], subjects[j]
        if digits[i] < digits[j] and coarse.id not in decisions and is_rounded_copy(coarse.sketch, fine.sketch):
            decisions[coarse.id] = Decision(
                model=coarse.id,
                answer=AnswerKind.PARENT,
                probability=0.999,
                parent=fine.id,
                relation=Relation.QUANTIZED_FROM,
                candidates=(Candidate(fine.id, 0.999),),
                decided_by=("content",),
                evidence={
                    "values_compared": coarse.sketch.sampled_values,
                    "digits": digits[i],
                    "digits_of_parent": digits[j],
                },
                reason=rounded_reason(digits[i], fine.id),
            )
    return decisions


def rounded_reason(digits: int, parent: str) -> Reason:
    if digits not in CASTS:
        return Reason("rounded", {"digits": digits}, {"parent": parent})
    return Reason("cast", {"dtype": CASTS[digits]}, {"parent": parent})
