"""Pruned copies: a model of which many values were set to zero, all others being another model's bit for bit.

Pruning by size takes the smallest values of each row, so all that tells an older model from a younger one by the size of its values is
turned round by it. Zeros where another model has values, beside values that are the other one's own, say without doubt which was first. A
model that is much nearer to a pruned copy than to its original was trained from the copy: what made the copy can not have undone that.

In: values of a family. Out: decisions about such copies and about what was trained from them; neither takes part in the tree of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.family_values import plain
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

LEAST = 0.05  # share of a model's values that are zero where its original's are not
SAME = 0.999  # share of its other values that are the original's
NEARER = 0.5  # of the squared distance to the original, below which a model comes from the pruned copy
SURE = 0.98


@dataclass(frozen=True, slots=True)
class PrunedCopy:
    """original: place of the model that it is of; share: of its values that were set to zero."""

    original: int
    share: float


def pruned_copies(layers: Sequence[Layer], distance: np.ndarray) -> dict[int, PrunedCopy]:
    """
    Args:
        layers: of m models; distance: (m, m) squared.
    Returns:
        model -> what it is a pruned copy of: of several the nearest.
    """
    rows = [plain(layer.values).reshape(len(distance), -1) for layer in layers if layer.part is not Part.REST]
    if not rows:
        return {}
    total = sum(row.shape[1] for row in rows)
    zeros = np.sum([(row == 0).sum(1) for row in rows], axis=0) / total  # (m,)
    found: dict[int, PrunedCopy] = {}
    for model in np.flatnonzero(zeros >= LEAST).tolist():
        for other in np.argsort(distance[model], kind="stable").tolist():
            if zeros[other] > zeros[model] - LEAST:
                continue
            share = _share_pruned((row[[model, other]] for row in rows), total)
            if share is not None:
                found[model] = PrunedCopy(other, share)
                break
    return found


def _share_pruned(pairs: Iterable[np.ndarray], total: int) -> float | None:
    """pairs: (2, v) values of a model and another one in each tensor; None where it is no pruned copy of it."""
    gone = kept = same = 0
    for own, other in pairs:
        left = own != 0
        gone += int(((other != 0) & ~left).sum())
        kept += int(left.sum())
        same += int((own == other)[left].sum())
        if same < SAME * kept - len(own):
            return None
    return gone / total if kept and gone >= LEAST * total and same >= SAME * kept else None


def from_pruned(found: dict[int, PrunedCopy], distance: np.ndarray) -> dict[int, int]:
    """Model -> the pruned copy that it was trained from, of those that are nearer to one than to anything else."""
    apart = distance.copy()
    np.fill_diagonal(apart, np.inf)
    nearest = {model: int(apart[model].argmin()) for model in range(len(apart)) if model not in found}
    return {
        model: copy
        for model, copy in nearest.items()
        if copy in found and apart[model, copy] < NEARER * apart[model, found[copy].original]
    }


def pruned_decisions(ids: Sequence[str], layers: Sequence[Layer], distance: np.ndarray) -> dict[str, Decision]:
    """Decisions about pruned copies and what was trained from them, by id.

    Args:
        ids: of m models; layers, distance: see `pruned_copies`.
    """
    found = pruned_copies(layers, distance)
    said = {}
    for model, copy in found.items():
        reason = Reason("pruned", {"percent": 100 * copy.share}, {"parent": ids[copy.original]})
        evidence = {"pruned_share": round(copy.share, 4)}
        said[ids[model]] = _decision(ids[model], ids[copy.original], Relation.COPY_OF, reason, evidence)
    for model, copied in from_pruned(found, distance).items():
        share = float(distance[model, copied] / distance[model, found[copied].original]) ** 0.5
        reason = Reason("of_pruned", {"share": share}, {"parent": ids[copied], "original": ids[found[copied].original]})
        evidence = {"distance_share": round(share, 4)}
        said[ids[model]] = _decision(ids[model], ids[copied], Relation.FINE_TUNED_FROM, reason, evidence)
    return said


def _decision(model: str, parent: str, relation: Relation, reason: Reason, evidence: dict[str, float]) -> Decision:
    return Decision(
        model=model,
        answer=AnswerKind.PARENT,
        probability=SURE,
        parent=parent,
        relation=relation,
        candidates=(Candidate(parent, SURE),),
        decided_by=("content",),
        evidence=evidence,
        reason=reason,
    )
