"""How much of two models was compared: in the evidence, and in the probability where it is little.

Two models of one backbone usually have all of their sampled tensors in common. Where they have few (blocks of other makes, tensors found by
values under other names), the rest of the one may come from elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.reasons import Reason
from lineage.detect.sketch_file import Sketch

NEARLY_ALL = 0.9  # of the smaller sample: nothing to be said about it
ENOUGH = 0.25  # from which on the probability stays as it is
LEAST = 0.6  # factor of the probability where nothing is in common


def overlap(first: Sketch, second: Sketch) -> float:
    """Share of the smaller sample that both models have, in tensors of one name with rows of one shape."""
    common = 0
    for name, own in first.samples.items():
        its = second.samples.get(name)
        if its is not None and its.shape[1:] == own.shape[1:] and len(its.shape) == len(own.shape):
            start, stop = own.common(its)
            common += max(0, stop - start)
    return common / max(1, min(first.sampled_values, second.sampled_values))


def _of_part(reason: Reason, share: float) -> Reason:
    """A reason that speaks of whole bodies, made to say no more than what was compared."""
    values, rest = {**reason.values, "percent": 100 * share}, (reason.models, reason.reasons, reason.then)
    if reason.key == "equal_body":
        return Reason("equal_part", values, *rest)
    return Reason("equal_parts", values, *rest) if reason.key == "equal_bodies" else reason


def lowered(decision: Decision, share: float, threshold: float) -> Decision:
    """A decision whose evidence says how much was compared, less probable where that is little.

    Args:
        share: of the smaller model, 0 to 1.
        threshold: probability below which no parent is asserted.
    """
    factor = LEAST + (1 - LEAST) * min(1.0, share / ENOUGH)
    evidence = {**decision.evidence, "compared_share": round(share, 3)}
    decision = replace(decision, reason=_of_part(decision.reason, share))
    if factor == 1.0:
        return replace(decision, evidence=evidence)
    chance = decision.probability * factor
    candidates = tuple(Candidate(c.parent, round(c.probability * factor, 4)) for c in decision.candidates)
    found = replace(decision, evidence=evidence, candidates=candidates, probability=chance)
    if decision.answer is AnswerKind.PARENT and chance < threshold:
        return replace(found, answer=AnswerKind.UNDECIDED, parent=None, relation=None, decided_by=(), merged_from=())
    return found
