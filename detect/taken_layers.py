"""Models that are some of the layers of a deeper one bit for bit, and what was trained on from these.

Among models of its own depth such a model looks like a child of whatever is there, and its own children look like its parents. What it
was made of is certain, and so it came before the models of its depth that are near to it. In: what the models of one depth say of each
other. Out: the same, with the deeper model as parent of each whose every value it has, and new decisions about undecided ones beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.decode import round_to
from lineage.detect.groups import GroupMember
from lineage.detect.layer_map import LayerMap, asserted, comes_from, cut_to, layer_map, layers_text, nearest_by_layers
from lineage.detect.model_input import Subject
from lineage.detect.paired_blocks import Blocks, paired_blocks
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import DIGITS, FEWEST_EQUAL
from lineage.detect.sketch_file import Sample, Sketch
from lineage.graphdb.schema import Relation

PAIRS = 4096  # of a group whose first blocks are compared
FEWEST_DEEPER = 8  # of one model
BESIDE = 24  # models of other depths that are weighed beside those that a model may have been trained from
COMPARED = 0.5  # of the child's sampled values that both samples must hold

Said = list[tuple[GroupMember, Decision]]
Decide = Callable[[Sequence[Subject]], list[Decision]]


def with_taken_layers(said: Sequence[tuple[GroupMember, Decision]], threshold: float, decide: Decide) -> Said:
    """The decisions about a group, in the same order.

    Args:
        threshold: probability below which no parent is asserted.
        decide: decides about models of one backbone and depth.
    """
    members = [(m, d) for m, d in said if not m.subject.quantized and m.depth and not _is_copy(d)]
    if len({m.depth for m, _ in members}) < 2:
        return list(said)
    at_most = max(FEWEST_DEEPER, PAIRS // len(members))
    found: dict[str, Decision] = {}
    sources: dict[str, dict[str, LayerMap]] = {}
    for member, decision in members:
        deeper = [o.subject for o, _ in members if sum(o.depth) > sum(member.depth)][:at_most]
        whole = {o.id: (o, there) for o in deeper if (there := taken_from(member.subject, o)) is not None}
        if whole and not _same_blocks(member, decision, members):
            sources[member.subject.id] = {name: there for name, (_, there) in whole.items()}
            made_of = asserted(nearest_by_layers(member.subject, list(whole.values())), threshold)
            if made_of.reason.key == "layers_chosen":
                made_of = replace(made_of, reason=Reason("layers_equal", made_of.reason.values, made_of.reason.models))
            found[decision.model] = made_of
    parents = {name for name, decision in found.items() if decision.answer is AnswerKind.PARENT}
    certain = {name: made for name, made in sources.items() if name in parents}
    for member, decision in members:
        if decision.model not in found and decision.answer in (AnswerKind.UNDECIDED, AnswerKind.ROOT):
            again = _beside(member, members, certain, decide)
            if again is not None:
                found[decision.model] = again
    return [(m, found.get(d.model, d)) for m, d in said]


def _is_copy(decision: Decision) -> bool:
    """Whether a model has the values of another one, exact or rounded: none of its own."""
    if decision.evidence.keys() & {"disguise", "pruned_share"}:
        return False
    return decision.relation in (Relation.COPY_OF, Relation.QUANTIZED_FROM) or "equal_to" in decision.evidence


def _same_blocks(member: GroupMember, decision: Decision, members: Said) -> bool:
    """Whether the parent that a model has among those of its depth has the same blocks."""
    parent = next((o.subject for o, _ in members if o.subject.id == decision.parent), None)
    return parent is not None and layer_map(*paired_blocks(member.subject.sketch, parent.sketch)).unchanged


def taken_from(child: Subject, parent: Subject) -> LayerMap | None:
    """Which blocks of a deeper model a model consists of, where all values that both samples hold are equal, in the precision of the
    child; None where one is not."""
    own, its = paired_blocks(child.sketch, parent.sketch)
    if not own or len(own) >= len(its) or not _first_block_in(own, its):
        return None
    there = layer_map(own, its)
    if there.covered < 1.0 or not comes_from(child, parent, there):
        return None
    return there if _all_equal(child.sketch, cut_to(child.sketch, parent.sketch, there).samples) else None


def _first_block_in(own: Blocks, its: Blocks) -> bool:
    """Whether the largest sample of the first block is that of some block of the other: quickly tells most models apart."""
    name = max(own[0], key=lambda n: len(own[0][n].raw), default="")
    return any(name in block and _equal(own[0][name], block[name]) > 0 for block in its)


def _all_equal(child: Sketch, samples: Mapping[str, Sample]) -> bool:
    compared = 0
    for name, sample in child.samples.items():
        if (other := samples.get(name)) is not None:
            equal = _equal(sample, other)
            if equal < 0:
                return False
            compared += equal
    return compared >= max(FEWEST_EQUAL, COMPARED * child.sampled_values)


def _equal(one: Sample, other: Sample) -> int:
    """How many values both samples hold, all of them equal once rounded as the first one is; -1 where they are not."""
    if one.shape != other.shape:
        return -1
    start, stop = one.common(other)
    if start >= stop:
        return 0
    mine, its = (s.values()[start - s.start : stop - s.start] for s in (one, other))
    if 0 < DIGITS.get(one.dtype, 0) < DIGITS.get(other.dtype, 0):
        its = round_to(its, one.dtype)
    return stop - start if np.array_equal(mine, its) else -1


def _beside(
    member: GroupMember, members: Said, sources: Mapping[str, Mapping[str, LayerMap]], decide: Decide
) -> Decision | None:
    """What is said of a model beside those of its depth that are a deeper model's layers, which came before it, and beside other deeper
    models, cut as it is; None where there are none, or nothing becomes surer.

    Args:
        sources: of each model that is some layers of deeper ones, these.
    """
    alike = [o for o, _ in members if o.depth == member.depth and o.subject.id != member.subject.id]
    first = [replace(o.subject, stage=0) for o in alike if o.subject.id in sources]
    if not first:
        return None
    others = [o.subject for o in alike if o.subject.id not in sources]
    same = {name for one in first for name in sources[one.id]}
    cuts: dict[str, tuple[Subject, str]] = {}
    for other, _ in members:
        if sum(other.depth) > sum(member.depth) and other.subject.id not in same and len(cuts) < BESIDE:
            own, its = paired_blocks(member.subject.sketch, other.subject.sketch)
            there = layer_map(own, its)
            if there.covered == 1.0 and comes_from(member.subject, other.subject, there):
                cut = cut_to(member.subject.sketch, other.subject.sketch, there)
                text = layers_text(member.subject.sketch, other.subject.sketch, there)
                cuts[other.subject.id] = replace(other.subject, sketch=cut, stage=0), text
    again = decide([replace(member.subject, stage=1), *first, *others, *(cut for cut, _ in cuts.values())])[0]
    if again.answer not in (AnswerKind.PARENT, AnswerKind.UNDECIDED) or not again.candidates:
        return None
    if again.likeliest in cuts:
        return replace(again, evidence={**again.evidence, "layers": cuts[again.likeliest][1]})
    return replace(again, reason=_with_source(again.reason, sources))


def _with_source(reason: Reason, sources: Mapping[str, Mapping[str, LayerMap]]) -> Reason:
    """A reason that says why a model of the same depth came first: not by having more layers."""
    parent = reason.models.get("parent")
    if reason.key == "made_over" and isinstance(parent, str) and parent in sources:
        reason = Reason("taken_before", models={"parent": parent, "models": tuple(sources[parent])}, then=reason.then)
    return replace(reason, then=tuple(_with_source(clause, sources) for clause in reason.then))
