"""A parent that lies between its child and a third model, as what was merged from both does, is not asserted.

Seen from a model, what was trained from it goes one way and what others learned has little to do with that: of 250 true parents of tuned
families no third model made a cosine below that of the parent's own ancestors by more than 0.16. Seen from a merge of two they lie
opposite each other, however single values of it were dropped: -0.49 for one of mergekit's `breadcrumbs`, -1 for a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.decision import Decision
from lineage.detect.line_of_descent import line_of_descent
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
    parents = {model: parent for model, parent in enumerate(above) if parent >= 0}
    lines = [line_of_descent(model, parents) for model in range(len(decisions))]
    found = list(decisions)
    for child, decision in enumerate(decisions):
        if decision.relation is not Relation.FINE_TUNED_FROM or decision.parent not in place:
            continue
        parent = place[decision.parent]
        if any(reason.key == "scaled_units" for reason in decision.reason.then):
            continue  # scaling takes a model anywhere, and makes no mean
        if parent != root and (third := _opposite(distance, child, parent, lines)) is not None:
            other = decisions[third].model
            reason = Reason("between", models={"parent": decision.parent, "third": other})
            found[child] = decision.withdrawn(reason, between=other)
    return found


def _opposite(distance: np.ndarray, child: int, parent: int, lines: Sequence[Sequence[int]]) -> int | None:
    """The model that lies most opposite to the child, seen from the parent, if it lies so far as those of a merge do.

    Args:
        lines: the ancestors of each model.
    """
    from_parent = distance[parent]
    moved = np.sqrt(np.maximum(from_parent * distance[parent, child], 1e-300))
    cosine = (from_parent + distance[parent, child] - distance[child]) / (2 * moved)  # (m,)
    ancestors = float(cosine[lines[parent]].min(initial=0.0))
    others = np.ones(len(cosine), bool)
    others[[child, parent, *lines[parent]]] = False
    others[[model for model, line in enumerate(lines) if child in line]] = False
    others &= from_parent > 0
    third = int(np.where(others, cosine, np.inf).argmin())
    return third if others[third] and cosine[third] < ancestors - OPPOSITE else None
