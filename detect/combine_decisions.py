"""One decision about a model from those of its groups, one for each set of backbones.

The parent in the largest backbone that has one is the model's; other parents in other backbones are decisions about those parts, kept
with it. Parts with the same parent and relation make one decision, which names them all. Where a much larger part has candidates and no
parent, the model is undecided, and so it is where a part that is no smaller may as well come from another of the same models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.groups import model_of
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

COPIES = (Relation.QUANTIZED_FROM, Relation.COPY_OF)
LIKELY = 0.2  # probability of all candidates from which on a part may have a parent
RIVAL = 0.5  # of the parent's probability: another model with as much may be it as well
MUCH_LARGER = 2.0  # an undecided part is what a model is about, where one with a parent has less than half its values


class PartOfModel(Protocol):
    """Which parts of a model a decision is about, the largest first, and how many values they have."""

    @property
    def parts(self) -> tuple[str, ...]: ...

    @property
    def values(self) -> int: ...


def combined(model: str, said: Sequence[tuple[PartOfModel, Decision]]) -> Decision:
    """
    Args:
        model: its id; said: the decision about it in each of its groups, at least one.
    """
    ordered = sorted(said, key=lambda pair: -pair[0].values)
    plain = [(member, without_parts(model, decision)) for member, decision in ordered]
    if len(plain) == 1:
        return plain[0][1]
    asserted = [(member, decision) for member, decision in plain if decision.parent is not None]
    open_part = next(((m, d) for m, d in plain if d.answer is AnswerKind.UNDECIDED and d.candidates), None)
    alike: dict[tuple[str | None, object], list[tuple[PartOfModel, Decision]]] = defaultdict(list)
    for member, decision in asserted:
        alike[decision.parent, decision.relation].append((member, decision))
    if asserted and open_part is not None and open_part[0].values > MUCH_LARGER * asserted[0][0].values:
        return replace(_about([open_part]), other_parts=tuple(map(_about, alike.values())))
    if asserted and open_part is not None and _has_rival(open_part, asserted[0]):
        weighed = open_part[1].named
        elsewhere = [pairs for pairs in alike.values() if weighed.isdisjoint(pairs[0][1].named)]
        return replace(_about([open_part]), other_parts=tuple(map(_about, elsewhere)))
    if not asserted:
        telling = [(member, d) for member, d in plain if d.answer is not AnswerKind.NO_RELATIVES]
        if not telling:
            return plain[0][1]
        # a part that is another model's bit for bit tells less than one that was trained
        trained = [
            pair for pair in telling if pair[1].answer is AnswerKind.UNDECIDED and "equal_to" not in pair[1].evidence
        ]
        (member, first), *_ = trained if trained and "equal_to" in telling[0][1].evidence else telling
        if first.answer is AnswerKind.ROOT and open_part is not None and _chance(open_part[1]) >= LIKELY:
            return _about([open_part])  # the oldest in one part may have another from elsewhere
        return (
            _about([(member, first)]) if first.answer is AnswerKind.UNDECIDED and len(telling) < len(plain) else first
        )
    if len(alike) == 1 and len(asserted) == len(plain):
        return asserted[0][1]
    main, *others = map(_about, alike.values())
    if main.relation in COPIES and not others:  # a copy of a part is no copy of the model
        if open_part is not None:
            return replace(_about([open_part]), other_parts=(main,))
        main = replace(main, relation=Relation.FINE_TUNED_FROM)
    if main.relation in COPIES and {other.parent for other in others} == {main.parent}:
        return others[0]  # one part was trained, the others are still the parent's
    return replace(main, other_parts=tuple(others))


def _has_rival(open_part: tuple[PartOfModel, Decision], asserted: tuple[PartOfModel, Decision]) -> bool:
    """Whether a part that is no smaller may come from another model, beside the one that it is asserted to come from in a part."""
    (larger, undecided), (smaller, decision) = open_part, asserted
    known = {c.parent for c in decision.candidates}
    if larger.values < smaller.values or decision.parent not in {c.parent for c in undecided.candidates} | known:
        return False
    parents = {parent for parent, _ in decision.parents}
    least = RIVAL * sum(c.probability for c in undecided.candidates if c.parent in parents)
    return any(c.probability >= max(least, LIKELY) and c.parent in known - parents for c in undecided.candidates)


def _chance(decision: Decision) -> float:
    return sum(candidate.probability for candidate in decision.candidates)


def _about(said: Sequence[tuple[PartOfModel, Decision]]) -> Decision:
    """The first of some decisions, which names the parts of the model that all of them are about."""
    decision = said[0][1]
    parts = list(dict.fromkeys(part for member, _ in said for part in member.parts if part))
    if not parts:
        return decision
    several = {"parts": parts} if parts[1:] else {}
    return replace(decision, evidence={**decision.evidence, "part": ", ".join(parts), **several})


def without_parts(model: str, decision: Decision) -> Decision:
    """A decision under the ids of models; what it says of two parts of one model is nothing about that model's parent."""
    if all(name == model_of(name) for name in (decision.model, *(c.parent for c in decision.candidates))):
        return decision
    candidates: dict[str, Candidate] = {}
    for candidate in decision.candidates:
        if model_of(candidate.parent) != model:
            known = candidates.get(model_of(candidate.parent))
            chance = candidate.probability + (known.probability if known else 0.0)
            candidates[model_of(candidate.parent)] = Candidate(model_of(candidate.parent), min(1.0, chance))
    parent = decision.parent and model_of(decision.parent)
    if parent == model:
        return Decision(model, AnswerKind.NO_RELATIVES, decision.probability, reason=Reason("only_itself"))
    return replace(
        decision,
        model=model,
        parent=parent,
        candidates=tuple(candidates.values()),
        siblings=tuple(dict.fromkeys(map(model_of, decision.siblings))),
        merged_from=tuple((model_of(name), share) for name, share in decision.merged_from),
        reason=decision.reason.renamed(model_of),
    )
