"""Groups of models -> one decision for each model.

Within a group the models of equal depth are compared as a whole; a model that lacks much of what the others have is compared on its own,
with all of them, so that it does not shrink what the others have in common. Models that get no parent so are compared block by block
(no_relatives.py). A model that is in several groups gets one decision of all of them (combine_decisions.py), and a model without a parent
in any is compared with those of other names (renamed.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lineage.detect.cohorts import Decide, classes, decided_in_cohorts
from lineage.detect.combine_decisions import PartOfModel, combined, without_parts
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.equal_parts import has_equals
from lineage.detect.folded import across_norms, keeps_norms, norms_apart
from lineage.detect.groups import Group, GroupMember, comparable, groups_of, pieces
from lineage.detect.groups_together import together
from lineage.detect.model_input import Subject
from lineage.detect.nearest_relative import not_alone
from lineage.detect.no_relatives import by_blocks
from lineage.detect.overlap import NEARLY_ALL, lowered, overlap
from lineage.detect.parts_in_group import agreeing
from lineage.detect.renamed import across_names, kin_of_other_names
from lineage.detect.taken_layers import with_taken_layers
from lineage.detect.unrelated_parts import KeyedPart, unrelated_parts
from lineage.graphdb.schema import Relation, share_key

PARTLY_RELATED = 0.05  # cosine of models of several backbones above that of strangers: one backbone may be of another's


def decide_groups(subjects: Sequence[Subject], decide: Decide, threshold: float | None = None) -> list[Decision]:
    """Decisions about models of any backbones, in the order given.

    Args:
        decide: decides about models of one backbone and depth, like `detect.pipeline.decide`.
        threshold: probability below which no parent of another depth is asserted; None where nothing counts but what `decide` says.
    """
    decided = [decide_group(group, decide, threshold) for group in groups_of(subjects)]
    found = together(decided)
    decisions = [combined(subject.id, found[subject.id]) for subject in subjects]
    if threshold is None:
        return decisions
    return with_other_names(subjects, decisions, found, decide, threshold)


def with_other_names(
    subjects: Sequence[Subject],
    decisions: Sequence[Decision],
    said: Mapping[str, Sequence[tuple[KeyedPart, Decision]]],
    decide: Decide,
    threshold: float,
) -> list[Decision]:
    """The decisions about models, once models and parts without a parent were compared with models of other names.

    Args:
        said: what the groups say of the parts of each model; of a model that is not in it nothing more is asked.
    """
    apart = [part for s in subjects for part in unrelated_parts(s, said.get(s.id, ()))]
    parts = [(part.subject, decision) for part, decision in apart]
    found = across_names(subjects, decisions, decide, comparable, threshold, parts)
    changed: dict[str, list[tuple[PartOfModel, Decision]]] = defaultdict(list)
    for (part, before), after in zip(apart, found[len(subjects) :], strict=True):
        if after is not before:
            changed[part.model].append((part, after))
    together = [
        combined(d.model, [*said[d.model], *changed[d.model]]) if d.model in changed else without_parts(d.model, d)
        for d in found[: len(subjects)]
    ]
    return not_alone(together)


def decide_about(
    subject: Subject, known: Sequence[Subject], decide: Decide, threshold: float | None = None
) -> Decision:
    """The decision about one model beside others, of which those count that share a backbone with it."""
    groups = groups_of([subject, *known])
    own = [group for group in groups if any(member.model == subject.id for member in group.members)]
    decided = [decide_group(group, decide, threshold) for group in own]
    if any(has_equals(decision) for pairs in decided for _, decision in pairs):  # other parts tell which came first
        decided += [decide_group(group, decide, threshold) for group in groups if group not in own]
    said = together(decided)[subject.id]
    found = combined(subject.id, said)
    if threshold is None:
        return found
    searched = [part.subject for part, _ in unrelated_parts(subject, said)]
    searched += [subject] if found.answer is not AnswerKind.PARENT else []
    strange = [other for one in searched for other in kin_of_other_names(one, known)]
    if not strange:
        return found
    namings = [other.sketch.signature for other in strange]
    around = [s for s in known if any(share_key(s.sketch.signature, n) for n in (*namings, subject.sketch.signature))]
    return decide_groups([subject, *around], decide, threshold)[0]


def decide_group(group: Group, decide: Decide, threshold: float | None = None) -> list[tuple[GroupMember, Decision]]:
    """What one group says of each of its members; see `decide_groups`. Of several backbones also what one of them says alone of members
    that have something in common with others, and yet no relative in all of them together."""
    said = _decided_together(group, decide, threshold)
    apart = {m.subject.id for m, d in said if _partly_related(d)} if threshold is not None else set()
    for part in group.parts if apart else ():
        said += [(m, d) for m, d in _decided_together(part, decide, threshold) if m.subject.id in apart]
    return agreeing(said) if threshold is not None else said


def _partly_related(decision: Decision) -> bool:
    nearest = decision.evidence.get("related")
    return decision.answer is AnswerKind.NO_RELATIVES and isinstance(nearest, float) and nearest >= PARTLY_RELATED


def _decided_together(group: Group, decide: Decide, threshold: float | None) -> list[tuple[GroupMember, Decision]]:
    said: list[tuple[GroupMember, Decision]] = []
    members_of = {member.subject.id: member for member in group.members}
    keep = {name: keeps_norms(m.subject.sketch) if threshold is not None else None for name, m in members_of.items()}
    for members in pieces(group.members):
        # `decide` sets packed copies apart itself
        packed = [m for m in members if m.subject.quantized] if threshold is not None else []
        others = [m for m in members if threshold is None or not m.subject.quantized]
        together_or_apart = [others]
        if threshold is not None and not packed:
            together_or_apart = [[others[i] for i in some] for some in classes([m.subject.sketch for m in others])]
        for alike in together_or_apart:
            kept, *folded = norms_apart([m.subject for m in alike], keep)
            found = decided_in_cohorts(kept, decide, [m.subject for m in packed])
            for some in folded:
                found |= decided_in_cohorts(some, decide)
            said += [(m, found[m.subject.id]) for m in (*alike, *packed)]
    if threshold is None:
        return said
    full = [m.subject for m, _ in said if not m.subject.quantized]
    across = across_norms(full, keep, {m.subject.id: d for m, d in said})
    said = [(m, across.get(m.subject.id, d)) for m, d in said]
    said = [_by_overlap(pair, members_of, threshold) for pair in said]
    return by_blocks(with_taken_layers(said, threshold, decide), threshold, decide)


def _by_overlap(
    pair: tuple[GroupMember, Decision], members: Mapping[str, GroupMember], threshold: float
) -> tuple[GroupMember, Decision]:
    """A decision with the share of the model that was compared with its parent, and less probable where that is little."""
    member, decision = pair
    parent = members.get(decision.likeliest or "")
    if parent is None or member.subject.quantized or decision.relation in (Relation.COPY_OF, Relation.QUANTIZED_FROM):
        return pair
    share = overlap(member.subject.sketch, parent.subject.sketch)
    if share >= NEARLY_ALL:
        return pair
    return member, lowered(decision, share, threshold)
