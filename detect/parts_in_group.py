"""Models that have one backbone twice, such as the two towers of CLIP: what one of their parts shows about the other.

Which of two models came first is one question for all of their parts. A part in which nothing shows it follows another part that does;
a model that would be older in one part, and has none of the part in which the other one is the oldest, is not called a root.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from lineage.detect.combine_decisions import PartOfModel
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.groups import model_of
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

P = TypeVar("P", bound=PartOfModel)


def agreeing(said: Sequence[tuple[P, Decision]]) -> list[tuple[P, Decision]]:
    """What a group says of the parts of models, in the same order, each beside the other parts of its model."""
    parts: dict[str, list[Decision]] = defaultdict(list)
    children: dict[str, set[str]] = defaultdict(set)
    for _, decision in said:
        parts[model_of(decision.model)].append(decision)
        if decision.relation is not Relation.COPY_OF:
            for parent, _ in decision.parents:
                children[model_of(parent)].add(model_of(decision.model))
    twice = {model: own for model, own in parts.items() if own[1:]}
    if not twice:
        return list(said)
    settled = [(part, _settled(decision, twice, children)) for part, decision in said]
    of_part = {decision.model: decision for _, decision in settled}
    doubted: dict[str, str] = {}
    for _, decision in settled:
        others = twice.get(model_of(decision.model), [])
        first = of_part.get(str(decision.evidence.get("equal_to")), decision)
        if any(other.answer is AnswerKind.ROOT for other in others):
            if _open(first):
                doubted.setdefault(first.likeliest or "", decision.model)
            elif first is not decision:
                doubted.setdefault(first.model, decision.model)
    equal: dict[str, set[str]] = defaultdict(set)
    for _, decision in settled:
        if isinstance(original := decision.evidence.get("equal_to"), str):
            equal[original] |= {original, decision.model}
    return [(part, _of_one_parent(_doubted(decision, doubted, twice), equal, twice)) for part, decision in settled]


def _open(decision: Decision) -> bool:
    """Whether nothing shows the direction; which of equal parts is the copy is another question, see equal_parts.py."""
    return decision.answer is AnswerKind.UNDECIDED and "equal_to" not in decision.evidence


def _settled(decision: Decision, twice: dict[str, list[Decision]], children: dict[str, set[str]]) -> Decision:
    """A part without a direction whose candidates all came from its model in another part, in which that model is the oldest."""
    model = model_of(decision.model)
    root = next((other for other in twice.get(model, ()) if other.answer is AnswerKind.ROOT), None)
    named = {model_of(c.parent) for c in decision.candidates}
    if root is None or not _open(decision) or not named or not named <= children[model]:
        return decision
    return replace(root, model=decision.model)


def _of_one_parent(decision: Decision, equal: dict[str, set[str]], twice: dict[str, list[Decision]]) -> Decision:
    """A part that comes from one of several equal ones: from the one of the model that another part comes from."""
    if decision.parent is None or decision.parent not in equal or decision.merged_from:
        return decision
    above = {model_of(d.parent) for d in twice.get(model_of(decision.model), ()) if d.parent is not None}
    own = [part for part in sorted(equal[decision.parent]) if model_of(part) in above - {model_of(decision.parent)}]
    if len(own) != 1 or model_of(own[0]) == model_of(decision.model):
        return decision
    names = {decision.parent: own[0], own[0]: decision.parent}
    candidates = tuple(replace(c, parent=names.get(c.parent, c.parent)) for c in decision.candidates)
    reason = decision.reason.renamed(lambda name: names.get(name, name))
    return replace(decision, parent=own[0], candidates=candidates, reason=reason)


def _doubted(decision: Decision, doubted: dict[str, str], twice: dict[str, list[Decision]]) -> Decision:
    """A root that has one part of a model which is the oldest in its other part."""
    other = doubted.get(decision.model)
    if other is None or decision.answer is not AnswerKind.ROOT or model_of(decision.model) in twice:
        return decision
    candidates = decision.candidates or (Candidate(other, round(1 - decision.probability, 4)),)
    without = decision.withdrawn(Reason("oldest_in_other_part", models={"parent": model_of(other)}))
    return replace(without, candidates=candidates, probability=candidates[0].probability)
