"""Which models are compared with which: groups of one backbone, and what the groups say of a model put together.

A model is in one group for each of its backbones. Groups with the same members are one. Within a group the models of equal depth are
compared as a whole; a model that lacks much of what the others have is compared on its own, with all of them, so that it does not
shrink what the others have in common. Found by key: no model is compared with another to find its group.

What a model's groups say is one decision: the parent in the largest backbone that has one; other parents in other backbones are
decisions about those parts, kept with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lineage.detect.backbone_names import NamedBackbone
from lineage.detect.cohorts import cohorts
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.layer_map import asserted, decide_by_layers
from lineage.detect.model_input import Subject
from lineage.detect.overlap import NEARLY_ALL, lowered, overlap
from lineage.detect.parts import part_of, parts_of
from lineage.detect.reasons import Reason
from lineage.detect.renamed import across_names, kin_of_other_names
from lineage.detect.sketch_file import Sketch
from lineage.graphdb.schema import Relation, keys_in, share_key

Decide = Callable[[Sequence[Subject]], list[Decision]]

BLOCKWISE, FEWEST_CANDIDATES = (
    4096,
    8,
)  # pairs of a group whose blocks are compared one by one, and of one model at least
FEW = 48  # group size up to which blocks are compared even where depths are equal
PARTLY_RELATED = 0.05  # cosine of models of several backbones above that of strangers: one backbone may be of another's
_AGAIN = "\n"  # before the path of a part, in the id of a model that has one backbone twice


class PartOfModel(Protocol):
    """Which part of a model a decision is about, and how many values that part has."""

    @property
    def part(self) -> str: ...

    @property
    def values(self) -> int: ...


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A model as a member of a group. subject: with the sketch of the group's backbones alone; part: path of that part in the model."""

    subject: Subject
    part: str
    values: int
    depth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Models that share backbones. keys: of these; members: in the order given; having: of each key the models with that backbone."""

    keys: tuple[str, ...]
    members: tuple[GroupMember, ...]
    having: tuple[Sequence[tuple[Subject, NamedBackbone]], ...] = ()

    @property
    def parts(self) -> list[Group]:
        """One group for each backbone, where there are several."""
        return (
            [_group((key,), [found]) for key, found in zip(self.keys, self.having, strict=True)]
            if self.having[1:]
            else []
        )


def groups_of(subjects: Sequence[Subject], only: str | None = None) -> list[Group]:
    """Groups by backbone, in the order of their first members.

    Args:
        only: the key of one backbone: its group alone.
    """
    having: dict[str, list[tuple[Subject, NamedBackbone]]] = defaultdict(list)
    whole: dict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        named = parts_of(subject.sketch)
        if not named or (only is not None and all(n.backbone.key != only for n in named)):
            whole[subject.sketch.signature].append(subject)
        for one in named:
            if only is None or one.backbone.key == only:
                having[one.backbone.key].append((subject, one))
    same: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, found in having.items():
        same[tuple(subject.id for subject, _ in found)].append(key)
    groups = [_group(keys, [having[key] for key in keys]) for keys in same.values()]
    groups += [
        Group((signature,), tuple(GroupMember(s, "", s.sketch.total_values, ()) for s in some))
        for signature, some in whole.items()
    ]
    return groups


def _group(keys: Sequence[str], having: Sequence[Sequence[tuple[Subject, NamedBackbone]]]) -> Group:
    members = []
    ids = [subject.id for subject, _ in having[0]]
    for place, (subject, _) in enumerate(having[0]):
        own = [found[place][1] for found in having]
        labels = {
            n.backbone: f"{label}." if len(own) > 1 else "" for n, label in zip(own, _labels(having), strict=True)
        }
        sketch = part_of(subject.sketch, labels)
        twice = ids.count(subject.id) > 1 if len(ids) < 10_000 else False
        name = f"{subject.id}{_AGAIN}{own[0].backbone.part}" if twice else subject.id
        declared = frozenset(subject.declared)
        largest = max(own, key=lambda n: n.backbone.values)
        members.append(
            GroupMember(
                replace(subject, id=name, sketch=sketch, declared=declared, name=subject.label),
                largest.backbone.part,
                sum(n.backbone.values for n in own),
                tuple(d for n in own for d in n.depth),
            )
        )
    return Group(tuple(keys), tuple(members), tuple(having))


def _labels(having: Sequence[Sequence[tuple[Subject, NamedBackbone]]]) -> list[str]:
    """One word for each backbone of a group, from the paths that the parts have in its first member."""
    labels: list[str] = []
    for found in having:
        word = found[0][1].backbone.part.rpartition(".")[2] or "body"
        labels.append(word if word not in labels else f"{word}{len(labels)}")
    return labels


def decide_groups(subjects: Sequence[Subject], decide: Decide, threshold: float | None = None) -> list[Decision]:
    """Decisions about models of any backbones, in the order given.

    Args:
        decide: decides about models of one backbone and depth, like `detect.pipeline.decide`.
        threshold: probability below which no parent of another depth is asserted; None where nothing counts but what `decide` says.
    """
    found: dict[str, list[tuple[GroupMember, Decision]]] = defaultdict(list)
    for group in groups_of(subjects):
        for member, decision in decide_group(group, decide, threshold):
            found[_model(member.subject.id)].append((member, decision))
    decisions = [put_together(subject.id, found[subject.id]) for subject in subjects]
    return decisions if threshold is None else across_names(subjects, decisions, decide, comparable, threshold)


def decide_about(
    subject: Subject, known: Sequence[Subject], decide: Decide, threshold: float | None = None
) -> Decision:
    """The decision about one model beside others, of which those count that share a backbone with it."""
    said = []
    for group in groups_of([subject, *known]):
        if any(_model(member.subject.id) == subject.id for member in group.members):
            said += [(m, d) for m, d in decide_group(group, decide, threshold) if _model(m.subject.id) == subject.id]
    found = put_together(subject.id, said)
    if threshold is None or found.answer is AnswerKind.PARENT:
        return found
    strange = kin_of_other_names(subject, known)
    if not strange:
        return found
    namings = [other.sketch.signature for other in strange]
    around = [s for s in known if any(share_key(s.sketch.signature, n) for n in (*namings, subject.sketch.signature))]
    return decide_groups([subject, *around], decide, threshold)[0]


def comparable(subject: Subject, others: Sequence[Subject], key: str | None) -> tuple[Subject, list[Subject]]:
    """A model and those of the others that can be compared with it in one piece, all restricted to one backbone.

    Args:
        key: of that backbone; None: to all backbones of the model, beside the others that have the same.
    """
    if key is None:
        own = set(keys_in(subject.sketch.signature))
        others = [other for other in others if set(keys_in(other.sketch.signature)) == own]
    (group, *_) = groups_of([subject, *others], key)
    piece = next((p for p in pieces(group.members) if p[0].subject.id.startswith(subject.id)), [])
    here = next((m.subject for m in piece if _model(m.subject.id) == subject.id), subject)
    return here, [m.subject for m in piece if _model(m.subject.id) != subject.id]


def decide_group(group: Group, decide: Decide, threshold: float | None = None) -> list[tuple[GroupMember, Decision]]:
    """What one group says of each of its members; see `decide_groups`. Of several backbones also what one of them says alone of members
    that have something in common with others, and yet no relative in all of them together."""
    said = _decided_together(group, decide, threshold)
    apart = {m.subject.id for m, d in said if _partly_related(d)} if threshold is not None else set()
    for part in group.parts if apart else ():
        said += [(m, d) for m, d in _decided_together(part, decide, threshold) if m.subject.id in apart]
    return said


def _partly_related(decision: Decision) -> bool:
    nearest = decision.evidence.get("related")
    return decision.answer is AnswerKind.NO_RELATIVES and isinstance(nearest, float) and nearest >= PARTLY_RELATED


def _decided_together(group: Group, decide: Decide, threshold: float | None) -> list[tuple[GroupMember, Decision]]:
    said: list[tuple[GroupMember, Decision]] = []
    members_of = {member.subject.id: member for member in group.members}
    for members in pieces(group.members):
        apart = [
            m.subject.quantized and threshold is not None for m in members
        ]  # `decide` sets packed copies apart itself
        packed = [member for member, is_apart in zip(members, apart, strict=True) if is_apart]
        others = [member for member, is_apart in zip(members, apart, strict=True) if not is_apart]
        main, odd = cohorts([m.subject.sketch for m in others])
        first = [*(others[i] for i in main), *packed]
        said += zip(first, decide([m.subject for m in first]), strict=True)
        for i in odd:
            together = [*(others[j] for j in main), others[i]]
            said.append((others[i], decide([m.subject for m in together])[-1]))
    if threshold is None:
        return said
    return _beyond([_by_overlap(pair, members_of, threshold) for pair in said], threshold, decide)


def _by_overlap(
    pair: tuple[GroupMember, Decision], members: Mapping[str, GroupMember], threshold: float
) -> tuple[GroupMember, Decision]:
    """A decision with the share of the model that was compared with its parent, and less probable where that is little."""
    member, decision = pair
    parent = members.get(decision.parent or next((c.parent for c in decision.candidates), ""))
    if parent is None or member.subject.quantized or decision.relation in (Relation.COPY_OF, Relation.QUANTIZED_FROM):
        return pair
    share = overlap(member.subject.sketch, parent.subject.sketch)
    if share >= NEARLY_ALL:
        return pair
    return member, lowered(decision, share, threshold)


def _beyond(
    said: list[tuple[GroupMember, Decision]], threshold: float, decide: Decide
) -> list[tuple[GroupMember, Decision]]:
    """What the blocks, compared one by one, tell of models without a parent; and which of these have no relatives at all."""
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
            elif not decision.candidates and decision.model not in named:
                decision = _without_relatives(decision, len(said) - 1)
        found.append((member, decision))
    parents = {name for _, d in found for name in _named_in(d)}
    return [
        (m, replace(d, answer=AnswerKind.ROOT, reason=Reason("only_layers")))
        if d.answer is AnswerKind.NO_RELATIVES and d.model in parents
        else (m, d)
        for m, d in found
    ]


def _named_in(decision: Decision) -> Iterator[str]:
    """The models that a decision names, its own aside."""
    yield from (candidate.parent for candidate in decision.candidates)
    yield from (name for name, _ in decision.parents)
    yield from decision.siblings


def _without_relatives(decision: Decision, others: int) -> Decision:
    nearest = decision.evidence.get("related")
    reason = Reason("no_relatives", {"count": others}) if others else Reason("no_other_backbone")
    if others and nearest is not None:
        reason = reason.and_then(Reason("nearest_cosine", {"cosine": nearest}))
    evidence = {**decision.evidence, "compared_with": others}
    return replace(decision, answer=AnswerKind.NO_RELATIVES, evidence=evidence, reason=reason)


def pieces(members: Iterable[GroupMember]) -> list[list[GroupMember]]:
    """Members of equal depth, which can be compared in one piece."""
    by_depth: dict[tuple[int, ...], list[GroupMember]] = defaultdict(list)
    for member in members:
        by_depth[member.depth].append(member)
    return list(by_depth.values())


def comparable_sets(sketches: Mapping[str, Sketch]) -> list[list[Subject]]:
    """Models that can be compared in one piece, each restricted to what they share: for fits and benches that align them themselves."""
    subjects = [Subject(name, sketch) for name, sketch in sketches.items()]
    return [[m.subject for m in piece] for group in groups_of(subjects) for piece in pieces(group.members)]


def put_together(model: str, said: Sequence[tuple[PartOfModel, Decision]]) -> Decision:
    """One decision of what a model's groups say."""
    ordered = sorted(said, key=lambda pair: -pair[0].values)
    plain = [(member, _plain(model, decision)) for member, decision in ordered]
    if len(plain) == 1:
        return plain[0][1]
    asserted = [(member, decision) for member, decision in plain if decision.parent is not None]
    if not asserted:
        telling = [(member, d) for member, d in plain if d.answer is not AnswerKind.NO_RELATIVES]
        if not telling:
            return plain[0][1]
        (member, first), *_ = telling
        return (
            _about(first, member.part) if first.answer is AnswerKind.UNDECIDED and len(telling) < len(plain) else first
        )
    main_part, main = asserted[0]
    others: dict[tuple[str | None, object], Decision] = {}
    for member, decision in asserted[1:]:
        if (decision.parent, decision.relation) != (main.parent, main.relation):
            others.setdefault((decision.parent, decision.relation), _about(decision, member.part))
    if others or len(asserted) < len(plain):
        main = _about(main, main_part.part)
    return replace(main, other_parts=tuple(others.values()))


def _about(decision: Decision, part: str) -> Decision:
    """A decision that names the part of the model which it is about."""
    return replace(decision, evidence={**decision.evidence, "part": part}) if part else decision


def _model(name: str) -> str:
    return name.partition(_AGAIN)[0]


def _plain(model: str, decision: Decision) -> Decision:
    """A decision under the ids of models; what it says of two parts of one model is nothing about that model's parent."""
    if _AGAIN not in decision.model and not any(_AGAIN in c.parent for c in decision.candidates):
        return decision
    candidates: dict[str, Candidate] = {}
    for candidate in decision.candidates:
        if _model(candidate.parent) != model:
            known = candidates.get(_model(candidate.parent))
            chance = candidate.probability + (known.probability if known else 0.0)
            candidates[_model(candidate.parent)] = Candidate(_model(candidate.parent), min(1.0, chance))
    parent = decision.parent and _model(decision.parent)
    if parent == model:
        return Decision(model, AnswerKind.NO_RELATIVES, decision.probability, reason=Reason("only_itself"))
    return replace(
        decision,
        model=model,
        parent=parent,
        candidates=tuple(candidates.values()),
        siblings=tuple(dict.fromkeys(map(_model, decision.siblings))),
        merged_from=tuple((_model(name), share) for name, share in decision.merged_from),
        reason=decision.reason.renamed(_model),
    )
