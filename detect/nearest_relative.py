"""The member of a group that is nearest to one of its models, where decisions name none: by relatedness of the two alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from lineage.detect.align import NotComparable, align
from lineage.detect.arrays import torch
from lineage.detect.clustering import RELATED
from lineage.detect.common_starts import starts_in
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.groups import GroupMember
from lineage.detect.reasons import Reason
from lineage.detect.signals.relatedness import relatedness
from lineage.graphdb.schema import Relation

FEW = 48  # group size up to which a model is compared with every other one


def nearest_relative(member: GroupMember, others: Sequence[GroupMember]) -> tuple[str, float] | None:
    """Id and relatedness (1 for a copy) of the nearest of the same depth; None where none is related, or there are too many."""
    if len(others) > FEW:
        return None
    found: dict[str, float] = {}
    for other in others:
        if other.depth == member.depth and other.model != member.model:
            with suppress(NotComparable):
                layers = align([member.subject.sketch, other.subject.sketch], torch.device("cpu"))
                found[other.subject.id] = float(relatedness(layers)[0, 1])
    nearest = max(found, key=found.__getitem__, default=None)
    return None if nearest is None or found[nearest] < RELATED else (nearest, found[nearest])


def with_relatives_of_copies(said: Sequence[tuple[GroupMember, Decision]]) -> list[tuple[GroupMember, Decision]]:
    """The decisions about a group, where a quantized copy without a known original names its nearest relative, and a model whose only
    relatives are such copies does not say that it has none."""
    members = [member for member, decision in said if "equal_to" not in decision.evidence]
    copies = [decision for _, decision in said if decision.reason.key in ("packed_unknown", "packed_unseen")]
    found = []
    for member, decision in said:
        if decision.reason.key == "packed_unknown" and not decision.candidates:
            nearest = nearest_relative(member, members)
            if nearest is not None:
                clause = Reason("packed_kin", {"cosine": nearest[1]}, {"nearest": nearest[0]})
                decision = replace(decision, reason=decision.reason.and_then(clause))
        elif decision.reason.key == "alone":
            related = sum(decision.model in copy.named for copy in copies)
            if related:
                decision = replace(decision, reason=Reason("only_copies", {"count": related}))
        found.append((member, decision))
    return found


def not_alone(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions about all models, where one that others come from or are equal to, under other names too, does not say that it is the
    only model, nor that it has no relatives; and of models with equal bodies, of which none is known to be the first, none is a root."""
    below: dict[str, list[Decision]] = defaultdict(list)
    equal: Counter[str] = Counter()
    no_first: dict[str, Decision] = {}  # of models with equal bodies, what is said of another of them
    for decision in decisions:
        for parent, _ in decision.parents:
            below[parent].append(decision)
        if decision.tied_with is not None:
            equal[decision.tied_with] += 1
        if decision.answer is AnswerKind.UNDECIDED and decision.reason.key in ("equal_bodies", "equal_parts"):
            no_first |= dict.fromkeys(decision.named & set(decision.reason.models["models"]), decision)
    found = []
    for decision in decisions:
        children = below[decision.model]
        alone = decision.reason.key in ("alone", "unrelated") or decision.answer is AnswerKind.NO_RELATIVES
        if decision.answer is AnswerKind.ROOT and decision.model in no_first:
            decision = _one_of_equals(decision, no_first[decision.model])
        elif alone and not children and equal[decision.model]:
            reason = Reason("same_weights", {"count": equal[decision.model]}).and_then(*starts_in(decision))
            decision = replace(decision, answer=AnswerKind.ROOT, reason=reason)
        elif alone and children:
            copies = all(child.relation in (Relation.COPY_OF, Relation.QUANTIZED_FROM) for child in children)
            key, count = ("original", len(children)) if copies else ("oldest", len(children) + 1)
            reason = Reason(key, {"count": count}).and_then(*starts_in(decision))
            decision = replace(decision, answer=AnswerKind.ROOT, reason=reason)
        found.append(decision)
    return found


def _one_of_equals(root: Decision, other: Decision) -> Decision:
    """A root with the body of another model that may as well be the first of the two."""
    chance = max((c.probability for c in other.candidates if c.parent == root.model), default=0.5)
    candidates = (Candidate(other.model, chance), *root.candidates)
    return replace(root.withdrawn(other.reason), probability=chance, candidates=candidates)
