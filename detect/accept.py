"""Probabilities of a family -> decisions: what is asserted, and what is said where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lineage.detect.decision import Answer, Candidate, Decision
from lineage.graphdb.schema import Relation

THRESHOLD = 0.80
SURE = 2.0  # log-odds from which a direction may not be contradicted
WORTH_NAMING = 0.02  # candidates below this are not listed


@dataclass(frozen=True, slots=True)
class FamilyEvidence:
    """Numbers of one family, for the record on each edge.

    Attributes:
        parent: (m, m), [child, parent] probabilities; root: (m,).
        z, gamma: (m, m), [a, b], growth.
        learning_free, learned: (m, m), [a, b], log-odds that a came first, of signals/direction.py and of the trained detector (0
            where it is switched off); counted, decayed: of counters and of bare decay.
        slope: (m,), inheritance slope of the best parent; nan where the parent is the root.
        relative_distance: (m, m), |a - b| / |a|; related: (m, m), excess cosine.
        values: number of values compared.
        unseen: probability that the root and its children come from a parent that is not at hand.
    """

    parent: Tensor
    root: Tensor
    z: Tensor
    gamma: Tensor
    learning_free: Tensor
    learned: Tensor
    counted: Tensor
    decayed: Tensor
    slope: Tensor
    relative_distance: Tensor
    related: Tensor
    values: int
    unseen: float


def accept(members: Sequence[tuple[str, str]], family: FamilyEvidence, threshold: float) -> list[Decision]:
    """One decision a member, in order. members: id and name of each."""
    ids, names = [member[0] for member in members], [member[1] for member in members]
    return [_accept_one(index, ids, names, family, threshold) for index in range(len(ids))]


def _accept_one(
    child: int, ids: Sequence[str], names: Sequence[str], family: FamilyEvidence, threshold: float
) -> Decision:
    ranked = sorted(((p, -i) for i, p in enumerate(family.parent[child].tolist()) if p >= WORTH_NAMING), reverse=True)
    candidates = tuple(Candidate(ids[-i], round(p, 4)) for p, i in ranked)
    none = float(family.root[child])
    agreed = not ranked or not _contradict(child, -ranked[0][1], family)
    if ranked and ranked[0][0] >= threshold and agreed:
        probability, best = ranked[0][0], -ranked[0][1]
        return Decision(
            model=ids[child],
            answer=Answer.PARENT,
            probability=probability,
            parent=ids[best],
            relation=Relation.FINE_TUNED_FROM,
            candidates=candidates,
            decided_by=_decided_by(child, best, family),
            evidence=edge_evidence(child, best, family),
            reason=_sentence(child, names[best], best, family),
        )
    if none >= threshold or not ranked:
        reason = f"the oldest of {len(ids)} related models that are known"
        return Decision(ids[child], Answer.ROOT, none, candidates=candidates, decided_by=("growth",), reason=reason)
    first, second = names[-ranked[0][1]], names[-ranked[1][1]] if len(ranked) > 1 else None
    if not agreed:
        reason = f"the trained detector and the learning-free evidence contradict each other about {first}"
    elif second and none < ranked[1][0]:
        reason = f"cannot tell {first} and {second} apart as its parent"
    else:
        reason = f"cannot tell whether {first} is its parent or its child, or both come from an unseen one"
    return Decision(
        ids[child],
        Answer.UNDECIDED,
        max(ranked[0][0], none),
        candidates=candidates,
        evidence=edge_evidence(child, -ranked[0][1], family),
        reason=reason,
    )


def edge_evidence(child: int, parent: int, family: FamilyEvidence) -> dict[str, Any]:
    """The numbers for and against one edge."""
    slope = float(family.slope[child])
    return {
        "relative_distance": round(float(family.relative_distance[parent, child]), 6),
        "related": round(float(family.related[parent, child]), 4),
        "growth_z": round(float(family.z[parent, child]), 2),
        "growth_gamma": round(float(family.gamma[parent, child]), 3),
        "direction_log_odds": round(float(family.learning_free[parent, child]), 2),
        "detector_log_odds": round(float(family.learned[parent, child]), 2),
        "detector_agrees": _agree(child, parent, family),
        "counters_log_odds": float(family.counted[parent, child]),
        "decay_log_odds": float(family.decayed[parent, child]),
        "inheritance_slope": None if slope != slope else round(slope, 3),
        "unseen_parent": round(family.unseen, 3),
        "family_size": len(family.root),
        "values_compared": family.values,
    }


def _agree(child: int, parent: int, family: FamilyEvidence) -> bool | None:
    """Whether the trained detector and the learning-free evidence name the same of the two as the earlier one; None where one is silent."""
    product = float(family.learning_free[parent, child] * family.learned[parent, child])
    return None if product == 0 else product > 0


def _contradict(child: int, parent: int, family: FamilyEvidence) -> bool:
    """Whether both are sure of opposite directions."""
    both = (float(family.learning_free[parent, child]), float(family.learned[parent, child]))
    return _agree(child, parent, family) is False and min(map(abs, both)) > SURE


def _decided_by(child: int, parent: int, family: FamilyEvidence) -> tuple[str, ...]:
    """Signals that speak for the edge, the one that says more about it first."""
    inherited = float(family.slope[child]) == float(family.slope[child])
    said = ["inheritance"] if inherited else []
    if float(family.counted[parent, child]) > 0:
        said.append("counters")
    if float(family.decayed[parent, child]) > 0:
        said.append("decay")
    if float(family.learned[parent, child]) > 0:
        said.append("detector")
    if float(family.learning_free[parent, child]) > 0 or not said:
        said.append("growth")
    if not inherited and len(family.root) > 2:
        said.append("inheritance")
    return tuple(said)


def _sentence(child: int, name: str, parent: int, family: FamilyEvidence) -> str:
    z, slope = float(family.z[parent, child]), float(family.slope[child])
    bare = (
        f"; weights without a gradient are those of {name}, shrunk by decay"
        if family.decayed[parent, child] > 0
        else ""
    )
    kept = f"; what {name} had learned before is still in it (slope {slope:.2f})" if slope == slope else ""
    return f"its units grew out of those of {name} (growth z = {z:+.1f}){bare}{kept}"
