"""Models of a group without a parent: their blocks are compared one by one, and those that match nothing have no relatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from lineage.detect.common_starts import starts_in
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.groups import GroupMember
from lineage.detect.layer_map import asserted, cut_to, decide_by_layers, layer_map, layers_text
from lineage.detect.model_input import Subject
from lineage.detect.nearest_relative import FEW, nearest_relative, with_relatives_of_copies
from lineage.detect.paired_blocks import paired_blocks
from lineage.detect.reasons import Reason

BLOCKWISE = 4096  # pairs of a group whose blocks are compared one by one
FEWEST_CANDIDATES = 8  # of one model


def by_blocks(
    said: Sequence[tuple[GroupMember, Decision]],
    threshold: float,
    decide: Callable[[Sequence[Subject]], list[Decision]],
) -> list[tuple[GroupMember, Decision]]:
    """The decisions about a group, in the same order: those about models without a parent from their blocks, where any match.

    Args:
        threshold: probability below which no parent is asserted.
        decide: decides about models of one backbone and depth.
    """
    named = {name for _, d in said for name in _named_in(d)}
    alone = sum(decision.answer is AnswerKind.ROOT for _, decision in said)
    at_most = max(FEWEST_CANDIDATES, BLOCKWISE // max(1, alone))
    full = [pair for pair in said if not pair[0].subject.quantized]
    likely = sorted(full, key=lambda pair: pair[1].model not in named)  # heads of families first
    found = []
    for member, decision in said:
        if decision.answer is AnswerKind.ROOT:
            others = [m.subject for m, _ in likely if m is not member and (m.depth != member.depth or len(said) <= FEW)]
            by_layers = decide_by_layers(member.subject, others[:at_most], decide)
            if by_layers is not None:
                decision = asserted(by_layers, threshold)
            elif not decision.candidates and decision.model not in named and not _of_several(decision):
                start = next(iter(starts_in(decision)), None)
                if start is None and decision.reason.values.get("count") != len(said) - 1:
                    # it lacks much of what the others have in common, and was compared with some of them only
                    nearest = nearest_relative(member, [m for m, _ in full])
                    start = nearest and Reason("common_start", {"cosine": nearest[1]}, {"nearest": nearest[0]})
                decision = _without_relatives(decision, len(said) - 1, start)
        found.append((member, decision))
    found = with_relatives_of_copies(_beside_cut(found, decide))
    return _with_heads(found)


def _with_heads(said: list[tuple[GroupMember, Decision]]) -> list[tuple[GroupMember, Decision]]:
    """The decisions, where a model without other relatives is the root of those that were made of its layers; undecided where that is not
    certain of any."""
    named = {name for _, d in said for name in _named_in(d)}
    parents = {name for _, d in said for name, _ in d.parents}
    found = []
    for member, decision in said:
        if decision.answer is AnswerKind.NO_RELATIVES and decision.model in named:
            if decision.model in parents:
                reason = Reason("only_layers").and_then(*starts_in(decision))
                decision = replace(decision, answer=AnswerKind.ROOT, reason=reason)
            else:
                decision = replace(
                    decision,
                    answer=AnswerKind.UNDECIDED,
                    probability=0.0,
                    decided_by=(),
                    reason=Reason("only_like_layers"),
                )
        found.append((member, decision))
    return found


def _of_several(decision: Decision) -> bool:
    """Whether a root was found to be one of several relatives, though none of them is said to come from it."""
    return decision.reason.key == "oldest" and int(decision.reason.values["count"]) > 1


def _beside_cut(
    said: Sequence[tuple[GroupMember, Decision]], decide: Callable[[Sequence[Subject]], list[Decision]]
) -> list[tuple[GroupMember, Decision]]:
    """The decisions, with new ones about models that could not be decided among those of their depth.

    Where one of these has its blocks from a model of another depth, that model, cut to these blocks, is compared with them all.
    """
    subject = {member.subject.id: member.subject for member, _ in said}
    again: dict[str, Decision] = {}
    for head, decision in said:
        parent = subject.get(next((c.parent for c in decision.candidates), ""))
        layers = decision.evidence.get("layers")
        piece = [m.subject for m, _ in said if m.depth == head.depth and not m.subject.quantized]
        if parent is None or not isinstance(layers, str) or not 1 < len(piece) <= FEW:
            continue
        there = layer_map(*paired_blocks(head.subject.sketch, parent.sketch))
        if there.unchanged:
            continue  # the model is the other one's blocks as they are
        cut = replace(parent, sketch=cut_to(head.subject.sketch, parent.sketch, there))
        for one in decide([*piece, cut]):
            if one.model not in (head.subject.id, parent.id):
                evidence = (
                    {**one.evidence, "layers": layers_text(head.subject.sketch, parent.sketch, there)}
                    if parent.id in (one.parent, *_first(one))
                    else {}
                )
                again[one.model] = replace(one, evidence=evidence or one.evidence)
    return [
        (
            m,
            again[d.model]
            if d.answer is AnswerKind.UNDECIDED and d.model in again and "layers" not in d.evidence
            else d,
        )
        for m, d in said
    ]


def _first(decision: Decision) -> tuple[str, ...]:
    """The most probable candidate, where there is one."""
    return tuple(c.parent for c in decision.candidates[:1])


def _named_in(decision: Decision) -> Iterator[str]:
    """The models that a decision names, its own aside."""
    yield from (candidate.parent for candidate in decision.candidates)
    yield from (name for name, _ in decision.parents)
    yield from decision.siblings


def _without_relatives(decision: Decision, others: int, start: Reason | None) -> Decision:
    nearest = decision.evidence.get("related")
    reason = Reason("no_relatives", {"count": others}) if others else Reason("no_other_backbone")
    if others and start is not None:
        reason = Reason("no_near_relatives", {"count": others}).and_then(start)
    elif others and nearest is not None:
        reason = reason.and_then(Reason("nearest_cosine", {"cosine": nearest}))
    evidence = {**decision.evidence, "compared_with": others}
    return replace(decision, answer=AnswerKind.NO_RELATIVES, evidence=evidence, reason=reason)
