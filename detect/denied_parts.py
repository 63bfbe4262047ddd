"""Parts of whole models beside each other: what a model's other part denies is not asserted from one part alone.

Models that hold only a part, such as an encoder, are compared with whole models in that part, so these are decided about part by part.
Where a sibling's frozen encoder is still that of an unseen base, the encoders of all others come from it, as far as they show. But a whole
model comes from another one in all that both have: where that is not even a candidate in their other part, the edge is withdrawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lineage.detect.combine_decisions import COPIES, MUCH_LARGER
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.equal_parts import MemberOfGroup
from lineage.detect.groups import model_of
from lineage.detect.reasons import Reason

M = TypeVar("M", bound=MemberOfGroup)


@dataclass(frozen=True, slots=True)
class _OpenPart:
    """A part of a model without a parent. sized: models of its group -> values of the part in them; named: candidates, and models that are
    one of these in this part."""

    values: int
    sized: dict[str, int]
    named: frozenset[str]


def without_denied(said: Sequence[Sequence[tuple[M, Decision]]]) -> list[list[tuple[M, Decision]]]:
    """The decisions of all groups, in the same order.

    Args:
        said: what each group says of its members.
    """
    open_parts: dict[str, list[tuple[int, _OpenPart]]] = defaultdict(list)
    for place, pairs in enumerate(said):
        sized = {member.model: member.values for member, _ in pairs}
        for member, decision in pairs:
            if decision.answer is AnswerKind.UNDECIDED and decision.candidates:
                found = _OpenPart(member.values, sized, _named(decision, pairs))
                open_parts[member.model].append((place, found))
    return [
        [
            (m, _withdrawn(m, d, [part for other, part in open_parts.get(m.model, ()) if other != place]))
            for m, d in pairs
        ]
        for place, pairs in enumerate(said)
    ]


def _named(decision: Decision, pairs: Sequence[tuple[M, Decision]]) -> frozenset[str]:
    named = {model_of(name) for name in decision.named}
    equal = {m.model for m, d in pairs if model_of(str(d.evidence.get("equal_to"))) in named}
    return frozenset(named | equal)


def _withdrawn(member: MemberOfGroup, decision: Decision, others: Sequence[_OpenPart]) -> Decision:
    if decision.parent is None or decision.relation in COPIES:
        return decision
    parents = {model_of(name) for name, _ in decision.parents}
    for part in others:
        alike = {name for name in parents if part.sized.get(name) == part.values}
        if MUCH_LARGER * part.values >= member.values and alike == parents and not parents & part.named:
            return decision.withdrawn(Reason("denied_by_part", models={"parent": decision.parent}))
    return decision
