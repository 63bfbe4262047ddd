"""Parts of a model that have no parent under their names, each as a model of its own, so that it can be looked for under other names.

A file of a whole pipeline has a text encoder, a U-Net and a decoder; their originals may be three models, each with names of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.groups import GroupMember, part_id
from lineage.detect.model_input import Subject
from lineage.detect.parts import part_of, parts_of
from lineage.graphdb.schema import keys_in

_UNRELATED = (AnswerKind.NO_RELATIVES, AnswerKind.ROOT)


def unrelated_parts(
    subject: Subject, said: Sequence[tuple[GroupMember, Decision]]
) -> list[tuple[GroupMember, Decision]]:
    """
    Args:
        said: the decisions about a model in each of its groups.
    Returns:
        The parts without a parent, with the decisions about them; none of a model that has one part.
    """
    if subject.quantized or len(parts := parts_of(subject.sketch)) < 2:
        return []
    found = []
    for member, decision in said:
        keys = keys_in(member.subject.sketch.signature)
        for named in parts if decision.answer in _UNRELATED else ():
            if named.backbone.key in keys:
                part = named.backbone.part
                own = replace(subject, id=part_id(subject.id, part), name=subject.label)
                own = replace(own, sketch=part_of(subject.sketch, {named.backbone: ""}))
                values = named.backbone.values
                found.append((GroupMember(own, part, values, named.depth), replace(decision, model=own.id)))
    return found
