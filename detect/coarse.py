"""Models that are others of their family in fewer bits: rounded to a coarser dtype, or unpacked from a quantised file."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lineage.detect.accept import WORTH_NAMING
from lineage.detect.decision import Answer, Candidate, Decision
from lineage.detect.signals.content import is_rounded_copy, precision
from lineage.detect.subject import Options, Subject
from lineage.graphdb.schema import Relation

NEAR = 2.0**-6  # relative distance under which one model may be the other one rounded


def rounded(subjects: Sequence[Subject], relative: Tensor) -> dict[str, Decision]:
    """Decisions for models that are another member's values in a coarser dtype."""
    digits = [precision(s.sketch) for s in subjects]
    decisions: dict[str, Decision] = {}
    for i, j in (relative < NEAR**2).fill_diagonal_(False).nonzero().tolist():
        coarse, fine = subjects[i], subjects[j]
        if digits[i] < digits[j] and coarse.id not in decisions and is_rounded_copy(coarse.sketch, fine.sketch):
            decisions[coarse.id] = Decision(
                model=coarse.id,
                answer=Answer.PARENT,
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
                reason=f"every value compared is that of {fine.label} rounded to {digits[i]} binary digits",
            )
    return decisions


def quantised(subjects: Sequence[Subject], relative: Tensor, options: Options) -> dict[str, Decision]:
    """Decisions for models unpacked from few bits: a copy of the nearest model that was not, if no other is nearly as near."""
    decisions: dict[str, Decision] = {}
    full = [i for i, subject in enumerate(subjects) if not subject.quantised]
    for i, subject in enumerate(subjects):
        if not subject.quantised:
            continue
        near = sorted((float(relative[i, j]), j) for j in full)[:3]
        if not near:
            reason = "a quantised copy; the model that it is a copy of is not known"
            decisions[subject.id] = Decision(subject.id, Answer.ROOT, 0.99, decided_by=("relatedness",), reason=reason)
            continue
        weights = [(near[0][0] + 1e-30) / (distance + 1e-30) for distance, _ in near]  # (1, below 1, ...)
        chance = [0.98 * w**2 / sum(v**2 for v in weights) for w in weights]
        candidates = tuple(
            Candidate(subjects[j].id, round(p, 4)) for (_, j), p in zip(near, chance, strict=True) if p >= WORTH_NAMING
        )
        best = subjects[near[0][1]]
        tells = chance[0] >= options.threshold
        decisions[subject.id] = Decision(
            model=subject.id,
            answer=Answer.PARENT if tells else Answer.UNDECIDED,
            probability=chance[0],
            parent=best.id if tells else None,
            relation=Relation.QUANTIZED_FROM if tells else None,
            candidates=candidates,
            decided_by=("content",) if tells else (),
            evidence={
                "relative_distance": round(near[0][0] ** 0.5, 6),
                "values_compared": subject.sketch.sampled_values,
            },
            reason=f"a quantised copy, nearest to {best.label}" + ("" if tells else ", but to others nearly as much"),
        )
    return decisions
