"""Parts of a model that have no parent under their names, each as a model of its own, so that it can be looked for under other names.

A file of a whole pipeline has a text encoder, a U-Net and a decoder; their originals may be three models, each with names of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lineage.detect.combine_decisions import PartOfModel
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.groups import part_id
from lineage.detect.model_input import Subject
from lineage.detect.parts import part_of, parts_of

_UNRELATED = (AnswerKind.NO_RELATIVES, AnswerKind.ROOT)


class KeyedPart(PartOfModel, Protocol):
    """The part of a model that a decision is about, with the keys of its backbones."""

    @property
    def keys(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class ModelPart:
    """One backbone of a model. subject: the part as a model of its own."""

    subject: Subject
    model: str
    parts: tuple[str, ...]
    values: int


def unrelated_parts(subject: Subject, said: Sequence[tuple[KeyedPart, Decision]]) -> list[tuple[ModelPart, Decision]]:
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
        for named in parts if decision.answer in _UNRELATED else ():
            if named.backbone.key in member.keys:
                sketch = part_of(subject.sketch, {named.backbone: ""})
                name = part_id(subject.id, named.backbone.part)
                own = replace(subject, id=name, name=subject.label, sketch=sketch)
                part = ModelPart(own, subject.id, (named.backbone.part,), named.backbone.values)
                found.append((part, replace(decision, model=name)))
    return found
