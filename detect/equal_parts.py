"""Parts that several models have in common bit for bit, such as a frozen encoder: which of these models others have it from.

Within the group of that part alone nothing tells; another part may: where one of the models comes from another of them in its decoder, the
other one had the encoder first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from lineage.detect.combine_decisions import PartOfModel
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.groups import model_of
from lineage.detect.reasons import Reason
from lineage.detect.signature import natural_key
from lineage.graphdb.schema import Relation

NAMED = 3  # models with the same weights as a parent
LIKELY = 0.5  # probability of a candidate that counts as a parent here


class MemberOfGroup(PartOfModel, Protocol):
    """Which model a decision is about, and which part of it."""

    @property
    def model(self) -> str: ...


M = TypeVar("M", bound=MemberOfGroup)


def with_originals(said: Sequence[Sequence[tuple[M, Decision]]]) -> list[list[tuple[M, Decision]]]:
    """The decisions of all groups, with the model that came first as the representative of each set of equal ones.

    Args:
        said: what each group says of its members.
    """
    above: dict[str, set[str]] = defaultdict(set)
    for pairs in said:
        for member, decision in pairs:
            if decision.parent is not None and decision.relation is not Relation.COPY_OF:
                above[member.model] |= {model_of(name) for name, _ in decision.parents}
            elif decision.parent is None and not has_equals(decision):
                above[member.model] |= {model_of(c.parent) for c in decision.candidates if c.probability >= LIKELY}
    return [_with_originals(pairs, above) for pairs in said]


def by_model(said: Sequence[Sequence[tuple[M, Decision]]]) -> dict[str, list[tuple[M, Decision]]]:
    """What the groups say, for each model, in the order of the groups."""
    found: dict[str, list[tuple[M, Decision]]] = defaultdict(list)
    for pairs in said:
        for member, decision in pairs:
            found[member.model].append((member, decision))
    return found


def has_equals(decision: Decision) -> bool:
    """Whether a model, or a part of it, is another one's bit for bit, and nothing in that part says which of them is the copy."""
    return isinstance(decision.evidence.get("equal_to"), str) and decision.relation is not Relation.COPY_OF


def with_parent_of_equal(decision: Decision, by_model: Mapping[str, Decision]) -> Decision:
    """Which of equal models is the copy is undetermined; their common parent is not: each gets the parent of the group."""
    equal = by_model.get(str(decision.evidence.get("equal_to")))
    if decision.answer is not AnswerKind.UNDECIDED or equal is None or equal.answer is not AnswerKind.PARENT:
        return decision
    return replace(
        equal,
        model=decision.model,
        evidence={**equal.evidence, **decision.evidence},
        reason=decision.reason.and_then(Reason("parent_of_both", reasons={"reason": equal.reason})),
    )


def with_equals_of_parents(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions, in the same order: where a parent represents models with the same weights, these are named."""
    equal: dict[str, list[str]] = defaultdict(list)  # representative -> models equal to it
    for decision in decisions:
        if decision.tied_with is not None:
            equal[decision.tied_with].append(decision.model)
    return [_with_equals_of_parent(decision, equal.get(decision.parent or "", ())) for decision in decisions]


def _with_equals_of_parent(decision: Decision, others: Sequence[str]) -> Decision:
    if decision.parent is None or not others or decision.merged_from or decision.model in others:
        return decision
    names = tuple(sorted(others, key=natural_key)[:NAMED])
    clause = Reason("equals_of_parent", models={"parent": decision.parent, "models": names})
    return replace(decision, reason=decision.reason.and_then(clause))


def among_equals(model: str, decisions: Sequence[Decision]) -> Decision:
    """The decision about a model, of several; of one that represents others with the same weights and has no parent, that which of them is
    the copy is not known."""
    own = next(d for d in decisions if d.model == model)
    twin = next(
        (d for d in decisions if d.evidence.get("equal_to") == model and d.answer is AnswerKind.UNDECIDED), None
    )
    if twin is None or own.answer is AnswerKind.PARENT or own.candidates:
        return own
    return _renamed(twin, {model: twin.model, twin.model: model})


def _with_originals(pairs: Sequence[tuple[M, Decision]], above: Mapping[str, set[str]]) -> list[tuple[M, Decision]]:
    members = {decision.model: member for member, decision in pairs}
    equal: dict[str, list[str]] = defaultdict(list)
    for _, decision in pairs:
        if has_equals(decision) and decision.evidence["equal_to"] in members:
            equal[decision.evidence["equal_to"]].append(decision.model)
    exchanged: dict[str, str] = {}
    for first, copies in equal.items():
        models = {model_of(name) for name in (first, *copies)}
        oldest = [name for name in (first, *copies) if not above.get(model_of(name), set()) & models]
        if oldest and oldest[0] != first:
            exchanged |= {first: oldest[0], oldest[0]: first}
    if not exchanged:
        return list(pairs)
    renamed = [_renamed(decision, exchanged) for _, decision in pairs]
    return [(members[decision.model], decision) for decision in renamed]


def _renamed(decision: Decision, names: Mapping[str, str]) -> Decision:
    """A decision with some models in the place of others."""

    def name(model: str) -> str:
        return names.get(model, model)

    equal = decision.evidence.get("equal_to")
    return replace(
        decision,
        model=name(decision.model),
        parent=name(decision.parent) if decision.parent is not None else None,
        candidates=tuple(replace(c, parent=name(c.parent)) for c in decision.candidates),
        siblings=tuple(map(name, decision.siblings)),
        merged_from=tuple((name(model), share) for model, share in decision.merged_from),
        evidence=decision.evidence if equal is None else {**decision.evidence, "equal_to": name(str(equal))},
        reason=decision.reason.renamed(name),
    )
