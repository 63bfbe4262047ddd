"""A parent that lies between its child and a third model, as what was merged from both does, is not asserted.

Seen from a model, what was trained from it goes one way and what others learned has little to do with that: of 250 true parents of tuned
families no third model made a cosine below that of the parent's own ancestors by more than 0.16. Seen from a merge of two they lie
opposite each other, however single values of it were dropped: -0.49 for one of mergekit's `breadcrumbs`, -1 for a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

OPPOSITE = 0.3  # below the cosine of the parent's ancestors, and below 0


def with_parents_between(
    decisions: Sequence[Decision], distance: np.ndarray, above: Sequence[int], root: int
) -> list[Decision]:
    """
    Args:
        decisions: of each model of a family; distance: (m, m) squared; above: the parent of each in the family's tree, -1 of its root.
        root: of the tree: that nothing lies opposite seen from it has been asked before (signals/opposition.py).
    """
    place = {decision.model: i for i, decision in enumerate(decisions)}
    found = list(decisions)
    for child, decision in enumerate(decisions):
        if decision.relation is not Relation.FINE_TUNED_FROM or decision.parent not in place:
            continue
        parent = place[decision.parent]
        if parent != root and (third := _opposite(distance, child, parent, above)) is not None:
            found[child] = _undecided(decision, decisions[third].model)
    return found


def _opposite(distance: np.ndarray, child: int, parent: int, above: Sequence[int]) -> int | None:
    """The model that lies most opposite to the child, seen from the parent, if it lies so far as those of a merge do."""
    from_parent = distance[parent]
    moved = np.sqrt(np.maximum(from_parent * distance[parent, child], 1e-300))
    cosine = (from_parent + distance[parent, child] - distance[child]) / (2 * moved)  # (m,)
    lineage = _line(parent, above)
    ancestors = float(cosine[lineage].min(initial=0.0))
    others = np.ones(len(cosine), bool)
    others[[child, parent, *lineage]] = False
    others[[model for model in range(len(cosine)) if child in _line(model, above)]] = False
    others &= from_parent > 0
    third = int(np.where(others, cosine, np.inf).argmin())
    return third if others[third] and cosine[third] < ancestors - OPPOSITE else None


def _line(model: int, above: Sequence[int]) -> list[int]:
    found: list[int] = []
    while (model := above[model]) >= 0 and model not in found:
        found.append(model)
    return found


def _undecided(decision: Decision, third: str) -> Decision:
    return replace(
        decision,
        answer=AnswerKind.UNDECIDED,
        parent=None,
        relation=None,
        decided_by=(),
        evidence={**decision.evidence, "between": third},
        reason=Reason("between", models={"parent": str(decision.parent), "third": third}),
    )
