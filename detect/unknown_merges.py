"""Decisions about models that cannot have been trained from what the tree gives them, since they are merges of models that were not found.

In: a family's decisions and values. Out: the same, undecided where values of the model were dropped as merges drop them, or where some
values are exactly those of one relative and others those of another, as merges leave them that elect one sign of each value (SCE, TIES).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.decision import Decision
from lineage.detect.dropped_values import KeptValues, kept_values
from lineage.detect.family_values import plain, rounded, stored_digits
from lineage.detect.ratio_peaks import spread
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

FEW = 256  # values of a tensor by which the models are found that a child has values of
SHARED = 0.2  # of such values of two models, what they may share: a parent of two merges has the same ones in both


def with_unknown_merges(
    decisions: Sequence[Decision], layers: Sequence[Layer], root: int, sources: np.ndarray | None = None
) -> list[Decision]:
    """
    Args:
        decisions: one for each model of the layers, in their order; root: of the family's tree, which may be the base of a merge.
        sources: (m, m) bool, [child, parent], see possible_sources.py; None: any.
    """
    tensors = [plain(layer.values) for layer in layers if layer.part is not Part.REST]  # (m, u, w) each
    flat = [tensor.reshape(len(tensor), -1) for tensor in tensors]
    digits = stored_digits(flat)
    some = np.concatenate([tensor[:, spread(tensor.shape[1], FEW)] for tensor in flat], 1)  # (m, v)
    rounded_to = {count: rounded(some, count).astype(np.float32) for count in set(digits.tolist())}
    place = {decision.model: i for i, decision in enumerate(decisions)}

    def kept(child: int, other: int) -> KeptValues:
        own, theirs = ([tensor[model] for tensor in tensors] for model in (child, other))
        return kept_values(own, theirs, int(digits[child]))

    def possible(child: int, parent: int) -> Iterator[tuple[int, ...]]:
        """The models that a child may have dropped values of: its parent, the root, and where those do not, two others together."""
        some = [base for base in dict.fromkeys([parent, root]) if base != child]
        yield from ((base,) for base in some if sources is None or sources[child, base])
        never = [] if sources is None else np.flatnonzero(~sources[child]).tolist()
        yield _two_with_own_values(rounded_to[int(digits[child])], child, parent, never)

    found = list(decisions)
    for child, decision in enumerate(decisions):
        if decision.relation is not Relation.FINE_TUNED_FROM or decision.parent not in place:
            continue
        for bases in possible(child, place[decision.parent]):
            stayed = [kept(child, base) for base in bases]
            if stayed and all(one.dropped for one in stayed):
                names = tuple(decisions[base].model for base in bases)
                share = sum(one.share for one in stayed)
                reason = Reason("merge_unknown", {"percent": 100 * share}, {"models": names})
                found[child] = decision.withdrawn(reason, dropped_values=round(share, 4))
                break
    return found


def _two_with_own_values(values: np.ndarray, child: int, parent: int, never: Sequence[int] = ()) -> tuple[int, ...]:
    """The two models that have most of the values (m, v) in common with a child that its parent has not, if these are others of each."""
    own = values[child] != values[parent]
    equal = (values == values[child]) & own  # (m, v)
    equal[[child, parent, *never]] = False
    count = equal.sum(1)
    first, second = np.argsort(-count, kind="stable")[:2].tolist()
    both = int((equal[first] & equal[second]).sum())
    return (first, second) if both < SHARED * int(count[second]) else ()
