"""Parents as a published method names them -> decisions. Such methods do not abstain: what they name is asserted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.methods.registry import MethodInputs, decide_with
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.reasons import OF_METHOD, Reason
from lineage.graphdb.schema import Failure, Relation, counted

if TYPE_CHECKING:
    import torch


class CannotTake(Failure):
    """Models that a method cannot work on: one alone, or tensors that it does not know what to do with."""

    exit_code = 4


def at_least(count: int, subjects: Sequence[Subject], name: str) -> None:
    """
    Raises:
        CannotTake: there are fewer models than the method needs.
    """
    if len(subjects) < count:
        found = counted(len(subjects), "model")
        raise CannotTake(
            f"method {name} needs {counted(count, 'model')} of one architecture, not {found}", "add models to compare"
        )


def decide_or_say(
    name: str, subjects: Sequence[Subject], options: Options, device: torch.device, given: MethodInputs | None = None
) -> list[Decision]:
    """`decide_with`, where models that the method cannot take are undecided for that reason: one architecture among several."""
    try:
        return decide_with(name, subjects, options, device, given)
    except CannotTake as failure:
        reason = Reason("could_not_compare", {"message": failure.message})
        return [Decision(subject.id, AnswerKind.UNDECIDED, 0.0, reason=reason) for subject in subjects]


def as_decisions(
    name: str,
    subjects: Sequence[Subject],
    parents: Sequence[int | None],
    probability: Sequence[float] | None = None,
    candidates: Sequence[Sequence[tuple[int, float]]] | None = None,
    evidence: Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> list[Decision]:
    """
    Args:
        parents: for each subject the index of its parent, None for a root.
        probability: the method's own score of its answer, 0 to 1; 1 where it has none.
        candidates: other possible parents of each subject with their scores, if the method gives any.
        values: what fills the method's own template beside the parent, see `Method.reason`.
    """
    decisions = []
    for place, (subject, parent) in enumerate(zip(subjects, parents, strict=True)):
        sure = 1.0 if probability is None else float(probability[place])
        numbers = dict(evidence[place]) if evidence else {}
        if parent is None:
            decisions.append(
                Decision(
                    subject.id,
                    AnswerKind.ROOT,
                    sure,
                    decided_by=(name,),
                    evidence=numbers,
                    reason=Reason("names_no_parent", {"method": name}),
                )
            )
            continue
        others = sorted(candidates[place], key=lambda pair: -pair[1]) if candidates else [(parent, sure)]
        decisions.append(
            Decision(
                model=subject.id,
                answer=AnswerKind.PARENT,
                probability=sure,
                parent=subjects[parent].id,
                relation=Relation.FINE_TUNED_FROM,
                candidates=tuple(Candidate(subjects[other].id, float(score)) for other, score in others),
                decided_by=(name,),
                evidence=numbers,
                reason=Reason(OF_METHOD + name, values or {}, {"parent": subjects[parent].id}),
            )
        )
    return decisions
