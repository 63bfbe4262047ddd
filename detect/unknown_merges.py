"""Decisions about models that cannot have been trained from what the tree gives them, since they are merges of models that were not found.

In: a family's decisions and values. Out: the same, undecided where values of the model were dropped as merges drop them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.dropped_values import kept_values
from lineage.detect.family_values import plain, stored_digits
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation


def with_unknown_merges(decisions: Sequence[Decision], layers: Sequence[Layer], root: int) -> list[Decision]:
    """
    Args:
        decisions: one for each model of the layers, in their order; root: of the family's tree, which may be the base of a merge.
    """
    tensors = [plain(layer.values) for layer in layers if layer.part is not Part.REST]  # (m, u, w) each
    digits = stored_digits([tensor.reshape(len(tensor), -1) for tensor in tensors])
    place = {decision.model: i for i, decision in enumerate(decisions)}

    def of(model: int) -> list[np.ndarray]:
        return [tensor[model] for tensor in tensors]

    found = list(decisions)
    for child, decision in enumerate(decisions):
        if decision.relation is not Relation.FINE_TUNED_FROM or decision.parent not in place:
            continue
        for base in dict.fromkeys([place[decision.parent], root]):
            kept = kept_values(of(child), of(base), int(digits[child])) if base != child else None
            if kept is not None and kept.dropped:
                found[child] = _undecided(decision, decisions[base].model, kept.share)
                break
    return found


def _undecided(decision: Decision, base: str, share: float) -> Decision:
    return replace(
        decision,
        answer=AnswerKind.UNDECIDED,
        parent=None,
        relation=None,
        decided_by=(),
        evidence={**decision.evidence, "dropped_values": round(share, 4)},
        reason=Reason("merge_unknown", {"percent": 100 * share}, {"base": base}),
    )
