"""Sketches of one signature -> one decision for each model: its parent, or root, or cannot tell.

content identity -> related pairs -> families -> growth and inheritance -> tree -> acceptance. Nothing here knows of a Hub or a graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lineage.detect.acceptance import FamilyEvidence, accept
from lineage.detect.align import NotComparable, align
from lineage.detect.annotations import with_runs, with_siblings
from lineage.detect.arrays import Tensor, torch
from lineage.detect.between import with_parents_between
from lineage.detect.clustering import families
from lineage.detect.common_starts import common_starts, with_common_starts
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.equal_parts import has_equals, with_equals_of_parents, with_parent_of_equal
from lineage.detect.family_values import plain
from lineage.detect.geometry import nearly_equal_to
from lineage.detect.handed_down import with_handed_down
from lineage.detect.identical_bodies import spread
from lineage.detect.measurement import SettledFamily, measure, settle
from lineage.detect.merges import merged_decision, with_bases
from lineage.detect.missing_parent import missing_parents, with_same_base
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.packing_format import CASTS, packing_of
from lineage.detect.possible_sources import possible_sources
from lineage.detect.quantized_copies import ORIGINAL_UNSEEN, decide_copies
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import copies
from lineage.detect.signals.low_rank import with_merged_adapters
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.shared_start import kin, over_relatives, structure_kept
from lineage.detect.signature import natural_key
from lineage.detect.sums_of_steps import with_sums_of_steps
from lineage.detect.tree import decide_tree
from lineage.detect.unknown_merges import with_unknown_merges
from lineage.graphdb.schema import LOCAL, Relation

LARGER = 1.1  # times as many values: another model around it
METHOD_VERSION = "96"


def decide(
    subjects: Sequence[Subject], options: Options | None = None, device: torch.device | None = None
) -> list[Decision]:
    """Decide about models of one signature, in the order given."""
    options = options or Options()
    by_model: dict[str, Decision] = {}
    packed = {subject.id: how for subject in subjects if (how := packing_of(subject)) is not None}
    unseen = _cast_of_unseen(packed, subjects, options)
    packed = {name: how for name, how in packed.items() if name not in unseen}
    at_hand = frozenset(subject.id for subject in subjects)
    subjects = [
        replace(s, quantization=s.quantization if s.id in packed else None, elsewhere=s.declared - at_hand)
        for s in subjects
    ]
    full = [subject for subject in subjects if subject.id not in packed]
    for found in families_of(full, options, device or torch.device("cpu")):
        for decision in _decide_family(found, options) if isinstance(found, SettledFamily) else [found]:
            by_model[decision.model] = decision
    if packed:
        by_model |= _decide_packed(packed, subjects, full, by_model, options)
    decided = [with_parent_of_equal(by_model[subject.id], by_model) for subject in subjects]
    return with_equals_of_parents(decided)


def _cast_of_unseen(packed: Mapping[str, str], subjects: Sequence[Subject], options: Options) -> set[str]:
    """The packed models that are casts to 16 bits or none at all, as GGUF F16, of no model at hand: models like others, in another file.

    Args:
        packed: id of each -> how it is packed.
    """
    casts = {name: how for name, how in packed.items() if how in CASTS}
    full = [subject for subject in subjects if subject.id not in packed]
    return {d.model for d in decide_copies(casts, subjects, full, options) if d.reason.key in ORIGINAL_UNSEEN}


def _decide_packed(
    packed: Mapping[str, str],
    subjects: Sequence[Subject],
    full: Sequence[Subject],
    by_model: Mapping[str, Decision],
    options: Options,
) -> dict[str, Decision]:
    """Decisions about packed copies, once the other models were decided about, and those that become the original of one.

    Args:
        packed: id of each copy -> how it is packed.
    """
    equal = {d.model: d for group in _copied([s for s in subjects if s.id in packed], options) for d in group}
    copies = {name: how for name, how in packed.items() if name not in equal}
    originals = [subject for subject in full if _may_be_original(by_model[subject.id])]
    found = {decision.model: decision for decision in decide_copies(copies, subjects, originals, options)}
    named = Counter(decision.parent for decision in found.values() if decision.parent is not None)
    alone = {
        name: replace(by_model[name], reason=Reason("original", {"count": count}))
        for name, count in named.items()
        if by_model[name].reason.key == "alone"
    }
    return alone | found | equal


def _may_be_original(decision: Decision) -> bool:
    """Whether a model is no rounded or exact copy of another one, which is then asked in its place; a pruned one has values of its own."""
    if "pruned_share" in decision.evidence:
        return True
    return decision.relation not in (Relation.QUANTIZED_FROM, Relation.COPY_OF) and "equal_to" not in decision.evidence


def families_of(
    subjects: Sequence[Subject], options: Options, device: torch.device
) -> Iterator[SettledFamily | Decision]:
    """Families of related models to be decided, and decisions about those that are copies, alone, or cannot be compared."""
    copied = [decision for group in _copied(subjects, options) for decision in group]
    yield from copied
    known = {decision.model for decision in copied}
    originals = {decision.evidence["equal_to"] for decision in copied}
    subjects = [replace(s, copied=s.id in originals) for s in subjects if s.id not in known]
    if len(subjects) < 2:
        reason = _of_copies(copied) if copied else Reason("alone")
        yield from (_alone(s, reason) for s in subjects)
        return
    try:
        layers = align([s.sketch for s in subjects], device)
    except NotComparable as error:
        reason = Reason("could_not_compare", {"message": error.message})
        yield from (Decision(s.id, AnswerKind.UNDECIDED, 0.0, reason=reason) for s in subjects)
        return
    related, shared = relatedness(layers), structure_kept(layers)
    found = families(related, shared)
    starts = common_starts([subject.id for subject in subjects], found, related.cpu())
    for members in found:
        own = [subjects[i] for i in members]
        if len(own) == 1:
            yield _unrelated(members[0], subjects, related[members[0]], starts)
            continue
        index = torch.tensor(members)
        mine = [layer.of(index) for layer in layers]
        here = index.to(device)
        kept = over_relatives(shared[here][:, here].cpu())
        yield replace(settle(own, mine, related[here][:, here].cpu(), kept, options), starts=starts)


def relatives_of(subject: Subject, known: Sequence[Subject], device: torch.device, at_most: int = 64) -> list[Subject]:
    """Those of the known models that are nearest to one model, so that a lookup need not decide about a whole architecture.

    All of them if they are few; the order of `known` is kept.
    """
    if len(known) <= at_most:
        return list(known)
    known = [other for other in known if not other.quantized] if not subject.quantized else known
    excess: list[float] = []
    for start in range(0, len(known), at_most):
        part = known[start : start + at_most]
        excess += relatedness(align([subject.sketch, *(s.sketch for s in part)], device))[0, 1:].tolist()
    chosen = sorted(sorted(range(len(known)), key=lambda i: -excess[i])[:at_most])
    return [known[i] for i in chosen]


def _copied(subjects: Sequence[Subject], options: Options) -> list[list[Decision]]:
    """Decisions for the copies in every group of equal content; the group's representative gets none here."""
    groups = []
    for first, others in copies([subject.sketch for subject in subjects]).items():
        members = [subjects[i] for i in (first, *others)]
        original, told_by = _original(members, options)
        groups.append([_copy(s, original, told_by, len(members)) for s in members if s is not original])
    return groups


def _original(members: Sequence[Subject], options: Options) -> tuple[Subject, str | None]:
    """Which of several equal models came first, and the kind of evidence that tells; None where nothing does."""
    ids = {s.id for s in members}
    if options.declared:
        silent = [s for s in members if not s.declared & ids]
        if len(silent) == 1:
            doubted = options.dates and silent[0].younger_than_any(members)
            return silent[0], None if doubted else "declared"
    if options.dates:
        dated = [(s.created_at, i) for i, s in enumerate(members) if s.created_at]
        if len(dated) == len(members) and len({d for d, _ in dated}) > 1:
            return members[min(dated)[1]], "dates"
    published = [s for s in members if not s.id.startswith(LOCAL)]
    if len(published) == 1:
        return published[0], "published"  # what lies on disk was fetched from there
    # of a model and one that has it as a part, the model; of a model and an export of it, the one with more of its tensors
    least = LARGER * min(s.sketch.total_values for s in members)
    return min(
        members,
        key=lambda s: (s.sketch.total_values > least, -len(s.sketch.layout), len(s.label), natural_key(s.label)),
    ), None


def _copy(subject: Subject, original: Subject, told_by: str | None, equal: int) -> Decision:
    """Equal content has no direction: without other evidence the copy is a tie, never settled by a coin."""
    whole = subject.sketch.sampled_values == subject.sketch.total_values
    identical = subject.sketch.digest == original.sketch.digest
    compared = "same_files" if identical else "equal_values"
    probability = 0.999 if identical or whole else 0.98
    probability = probability if told_by else 1 / equal
    return Decision(
        model=subject.id,
        answer=AnswerKind.PARENT if told_by else AnswerKind.UNDECIDED,
        probability=probability,
        parent=original.id if told_by else None,
        relation=Relation.COPY_OF if told_by else None,
        candidates=(Candidate(original.id, probability),),
        decided_by=("content", told_by) if told_by else (),
        evidence={
            "same_files": identical,
            "values_compared": subject.sketch.sampled_values,
            "values_in_all": subject.sketch.total_values,
            "equal_to": original.id,
        },
        reason=Reason(
            f"copy_{compared}" if told_by else f"tie_{compared}",
            {} if identical else {"values": subject.sketch.sampled_values},
            {} if told_by else {"original": original.id},
        ),
    )


def _unrelated(model: int, subjects: Sequence[Subject], related: Tensor, starts: Mapping[str, Reason]) -> Decision:
    """A model in a family of its own. related: (m,) its excess cosine with each; starts: of models, see common_starts.py."""
    others = related.clone()
    others[model] = -torch.inf
    excess = float(others.max())
    reason = Reason("unrelated", {"count": len(subjects) - 1})
    (decision,) = with_common_starts([_alone(subjects[model], reason, excess)], starts)
    return decision


def _alone(subject: Subject, reason: Reason, nearest_excess: float | None = None) -> Decision:
    evidence = {} if nearest_excess is None else {"related": round(nearest_excess, 4)}
    return Decision(subject.id, AnswerKind.ROOT, 0.99, decided_by=("relatedness",), evidence=evidence, reason=reason)


def _of_copies(decisions: Sequence[Decision]) -> Reason:
    """Why a model is a root that nothing but copies is related to: it is their original, or one of equals."""
    count = {"count": len(decisions)}
    if any("disguise" in decision.evidence for decision in decisions):
        return Reason("original_altered", count)
    equals = all(decision.parent is None and has_equals(decision) for decision in decisions)
    return Reason("same_weights" if equals else "original", count)


def _decide_family(family: SettledFamily, options: Options) -> list[Decision]:
    if len(family.own) < 2:
        reason = _of_copies(family.decisions)
        top = [Decision(s.id, AnswerKind.ROOT, 0.99, decided_by=("content",), reason=reason) for s in family.own]
        return family.decisions + spread(with_common_starts(top, family.starts), family.equals, options.threshold)
    found = measure(family, options)
    tree = decide_tree(found.geometry, found.units, found.roots, found.evidence, found.characters, found.tensors)
    unseen = missing_parents(tree, family, found, options.missing_parents)
    parent = (tree.parent - unseen) * kin(family.shared)
    parent = with_handed_down(parent, family.distance, found.tensors, [s.sketch for s in family.own], family.mixed)
    evidence = FamilyEvidence(
        tree=tree,
        evidence=found.evidence,
        pairs=found.pairs,
        parent=parent,
        unseen=1 - tree.root - parent.sum(1),
        distance=family.distance,
        relative_distance=(family.distance / family.lengths[None, :]).sqrt(),
        related=family.related,
        equal=found.characters.equal,
        values=sum(layer.values[0].numel() for layer in family.layers),
    )
    names = [(s.id, s.label) for s in family.own]
    said = with_same_base(accept(names, evidence, options.threshold), found.evidence.declared)
    sources = possible_sources(family.own, options, range(len(family.own)))
    said = with_unknown_merges(said, family.layers, tree.best_root, sources)
    said = with_sums_of_steps(said, plain(family.distance), family.mixed.keys(), sources)
    said = with_parents_between(said, plain(family.distance), tree.best_parent.tolist(), tree.best_root)
    said = with_merged_adapters(with_runs(said, family.layers), family.own)
    said = with_siblings(said, tree.best_root, tree.best_parent, evidence.unseen)
    ids = [s.id for s in family.own]
    said = [merged_decision(ids, family.mixed[i]) if i in family.mixed else one for i, one in enumerate(said)]
    said = with_common_starts(said, family.starts, ids[tree.best_root])
    above = {ids[child]: ids[parent] for child, parent in enumerate(tree.best_parent.tolist()) if parent >= 0}
    oldest = frozenset(ids[i] for i in nearly_equal_to(tree.best_root, family.distance))
    return with_bases(family.decisions + spread(said, family.equals, options.threshold), above, oldest)
