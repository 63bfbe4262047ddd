"""Which models are compared with which: groups of one backbone, and the pieces of a group that are compared as a whole.

A model is in one group for each of its backbones. Groups with the same members are one. Found by key: no model is compared with another
to find its group. group_decisions.py decides about groups, combine_decisions.py about models that are in several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lineage.detect.backbone_names import NamedBackbone
from lineage.detect.model_input import Subject
from lineage.detect.parts import part_of, parts_of
from lineage.detect.sketch_file import Sketch
from lineage.graphdb.schema import keys_in

_AGAIN = "\n"  # before the path of a part, in the id of a model that has one backbone twice


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A model as a member of a group. subject: with the sketch of the group's backbones alone; parts: their paths in the model, the largest
    first."""

    subject: Subject
    parts: tuple[str, ...]
    values: int
    depth: tuple[int, ...]

    @property
    def model(self) -> str:
        """Id of the model, which the subject's own id extends where the model has one backbone twice."""
        return model_of(self.subject.id)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its backbones in this group."""
        return keys_in(self.subject.sketch.signature)


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
        Group((signature,), tuple(GroupMember(s, (), s.sketch.total_values, ()) for s in some))
        for signature, some in whole.items()
    ]
    return groups


def pieces(members: Iterable[GroupMember]) -> list[list[GroupMember]]:
    """Members of equal depth, which can be compared in one piece."""
    by_depth: dict[tuple[int, ...], list[GroupMember]] = defaultdict(list)
    for member in members:
        by_depth[member.depth].append(member)
    return list(by_depth.values())


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
    here = next((m.subject for m in piece if m.model == subject.id), subject)
    return here, [m.subject for m in piece if m.model != subject.id]


def comparable_sets(sketches: Mapping[str, Sketch]) -> list[list[Subject]]:
    """Models that can be compared in one piece, each restricted to what they share: for fits and benches that align them themselves."""
    subjects = [Subject(name, sketch) for name, sketch in sketches.items()]
    return [[m.subject for m in piece] for group in groups_of(subjects) for piece in pieces(group.members)]


def model_of(subject: str) -> str:
    """Id of the model that a subject of a group is, or is a part of."""
    return subject.partition(_AGAIN)[0]


def part_id(model: str, part: str) -> str:
    """Id of a part of a model as a subject of its own."""
    return f"{model}{_AGAIN}{part}"


def _group(keys: Sequence[str], having: Sequence[Sequence[tuple[Subject, NamedBackbone]]]) -> Group:
    members = []
    ids = [subject.id for subject, _ in having[0]]
    parts: dict[str, list[NamedBackbone]] = defaultdict(list)  # of models that have the backbone twice
    for subject, named in having[0]:
        parts[subject.id].append(named)
    for place, (subject, _) in enumerate(having[0]):
        own = [found[place][1] for found in having]
        labels = {
            n.backbone: f"{label}." if len(own) > 1 else "" for n, label in zip(own, _labels(having), strict=True)
        }
        sketch = part_of(subject.sketch, labels)
        twice = ids.count(subject.id) > 1 if len(ids) < 10_000 else False
        name = part_id(subject.id, own[0].backbone.part) if twice else subject.id
        declared = _declared(subject, own[0], parts)
        members.append(
            GroupMember(
                replace(subject, id=name, sketch=sketch, declared=declared, name=subject.label),
                tuple(n.backbone.part for n in sorted(own, key=lambda n: -n.backbone.values)),
                sum(n.backbone.values for n in own),
                tuple(d for n in own for d in n.depth),
            )
        )
    return Group(tuple(keys), tuple(members), tuple(having))


def _declared(subject: Subject, own: NamedBackbone, parts: Mapping[str, Sequence[NamedBackbone]]) -> frozenset[str]:
    """Ids of the models that a card names, as they are in a group: of one that has the backbone twice the part with the same path, else
    its parts of the same depth, with which alone this one is compared."""
    found = set(subject.declared)
    for model in subject.declared:
        its = parts.get(model, ())
        if len(its) > 1:
            alike = [named for named in its if named.backbone.part == own.backbone.part]
            alike = alike or [named for named in its if named.depth == own.depth] or list(its)
            found = (found - {model}) | {part_id(model, named.backbone.part) for named in alike}
    return frozenset(found)


def _labels(having: Sequence[Sequence[tuple[Subject, NamedBackbone]]]) -> list[str]:
    """One word for each backbone of a group, from the paths that the parts have in its first member."""
    labels: list[str] = []
    for found in having:
        word = found[0][1].backbone.part.rpartition(".")[2] or "body"
        labels.append(word if word not in labels else f"{word}{len(labels)}")
    return labels
