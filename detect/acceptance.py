"""Probabilities of a family -> decisions: what is asserted, and what is said where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineage.detect.arrays import Tensor
from lineage.detect.clustering import RELATED
from lineage.detect.decided_by import LEAST, ancestor_terms, by_signal, root_terms, strongest_first
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.geometry import NEARLY_EQUAL
from lineage.detect.reasons import GROWTH_TELLS, Reason
from lineage.detect.signals.interface import Kind
from lineage.detect.signals.pairs import PairEvidence
from lineage.detect.signals.registry import of_kind
from lineage.detect.tree import Evidence, FamilyTree
from lineage.graphdb.schema import Relation

CONFIDENT_DIRECTION_LOG_ODDS = 2.0  # log-odds from which a direction may not be contradicted
TURNED_ROUND_LOG_ODDS = 1.0  # log-odds of both that the child came first, beyond which it is no child
OF_ITSELF = RELATED / 2  # relatedness below which only other models, such as a merge of both, hold two in one family
# of the parent's length, between parent and child: documented ones lie up to 1.4 apart, trainings of one start up to 9
FARTHEST = 2.0
FEWEST_VALUES = 512  # compared, below which chance makes relatives and directions
AS_LIKELY_AS_NOT = 0.5  # most that is said of a parent where its own evidence is against what the family's trees say
WORTH_NAMING = 0.02  # candidates below this are not listed
# share of what a claimed base changed since the parent, from which the child may as well be a merge of it with a model that is not at hand
PARTLY_OF_IT = 0.2
MAY_BE_MERGED = 0.9  # most that is said of the parent then


@dataclass(frozen=True, slots=True)
class FamilyEvidence:
    """Numbers of one family, for the decisions and the record on each edge.

    Attributes:
        parent: (m, m), [child, parent] probabilities, those of an unseen parent taken off; unseen: (m,) the latter.
        distance: (m, m) squared; relative_distance: (m, m), [child, parent], |child - parent| / |parent|; related: (m, m), excess
            cosine.
        equal: (m, m) share of values that are equal bit for bit; values: number of values compared.
    """

    tree: FamilyTree
    evidence: Evidence
    pairs: PairEvidence
    parent: Tensor
    unseen: Tensor
    distance: Tensor
    relative_distance: Tensor
    related: Tensor
    equal: Tensor
    values: int


def accept(members: Sequence[tuple[str, str]], family: FamilyEvidence, threshold: float) -> list[Decision]:
    """One decision a member, in order. members: id and name of each."""
    ids = [member[0] for member in members]
    return [_accept_one(index, ids, family, threshold) for index in range(len(ids))]


def _accept_one(child: int, ids: Sequence[str], family: FamilyEvidence, threshold: float) -> Decision:
    ranked = [
        (p, -i)
        for p, i in sorted(
            ((p, -i) for i, p in enumerate(family.parent[child].tolist()) if p >= WORTH_NAMING), reverse=True
        )
    ]
    candidates = tuple(Candidate(ids[i], round(p, 4)) for p, i in ranked)
    none, unseen = float(family.tree.root[child]), float(family.unseen[child])
    if ranked:
        best = ranked[0][1]
        alike = nearly_equal(child, best, [i for _, i in ranked], family.distance)
        probability = sum(p for p, i in ranked if i == best or i in alike)
        agreed, turned = not _contradict(child, best, family), _turned_round(child, best, family)
        related = float(family.related[child, best]) >= OF_ITSELF
        enough = family.values >= FEWEST_VALUES
        apart = float(family.relative_distance[child, best])
        near = apart <= FARTHEST
        claimed, share = _claimed_beside(child, best, alike, family)
        if share >= PARTLY_OF_IT:
            probability = min(probability, MAY_BE_MERGED)
        told_otherwise = _told_otherwise(child, best, family.evidence)
        later = float(family.evidence.signals["counters"][child, best]) < 0
        denied = turned or told_otherwise or later
        if probability >= threshold and agreed and related and near and enough and not denied:
            evidence = edge_evidence(child, best, family)
            reason = _reason(child, ids[best], best, family)
            if alike:
                evidence["nearly_equal"] = [ids[i] for i in alike]
                reason = reason.and_then(Reason("or_nearly_equal", models={"models": tuple(ids[i] for i in alike)}))
            if share >= PARTLY_OF_IT:
                reason = reason.and_then(Reason("partly_of_claimed", {"share": share}, {"claimed": ids[claimed]}))
            return Decision(
                model=ids[child],
                answer=AnswerKind.PARENT,
                probability=probability,
                parent=ids[best],
                relation=Relation.FINE_TUNED_FROM,
                candidates=candidates,
                decided_by=_decided_by(child, best, family),
                evidence=evidence,
                reason=reason,
            )
    if not ranked and none < min(unseen, threshold):
        return Decision(ids[child], AnswerKind.UNDECIDED, none, reason=Reason("of_unseen", {"count": len(ids)}))
    if none >= threshold or not ranked:
        reason = Reason("oldest", {"count": len(ids)})
        return Decision(ids[child], AnswerKind.ROOT, none, candidates=candidates, decided_by=("growth",), reason=reason)
    first, second = ids[best], ids[ranked[1][1]] if len(ranked) > 1 else None
    withheld = probability >= threshold
    if not enough:
        reason = Reason("few_values", {"values": family.values}, {"parent": first})
    elif not related:
        reason = Reason("related_by_others", models={"parent": first})
    elif not near:
        reason = Reason("too_far", {"distance": apart}, {"parent": first})
    elif not agreed:
        reason = Reason("contradiction", models={"parent": first})
    elif later and withheld:
        reason = Reason("more_batches", models={"parent": first})
    elif not turned and second and max(none, unseen) < ranked[1][0]:
        reason = Reason("two_candidates", models={"first": first, "second": second})
    elif told_otherwise and withheld:
        reason = Reason("told_otherwise", models={"parent": first})
    elif turned and withheld:
        reason = Reason("turned_round", models={"parent": first})
    elif turned or none > unseen:
        reason = Reason("no_direction", models={"parent": first})
    else:
        reason = Reason("unseen_parent", {"distance": apart}, {"parent": first})
    evidence = edge_evidence(child, best, family)
    if withheld:  # what speaks against these two alone, the probability of the family's trees does not hold
        candidates = tuple(Candidate(c.parent, min(c.probability, AS_LIKELY_AS_NOT)) for c in candidates)
    return Decision(
        ids[child],
        AnswerKind.UNDECIDED,
        max(candidates[0].probability, none),
        candidates=candidates,
        evidence=evidence,
        reason=reason,
    )


def nearly_equal(child: int, best: int, candidates: Sequence[int], distance: Tensor) -> list[int]:
    """Those candidates that are nearer to the best one than NEARLY_EQUAL of the child's distance from it: for the threshold they are one.

    Args:
        distance: (m, m) squared.
    """
    limit = NEARLY_EQUAL**2 * float(distance[child, best])
    return [i for i in candidates if i not in (best, child) and float(distance[i, best]) < limit]


def _claimed_beside(child: int, parent: int, alike: Sequence[int], family: FamilyEvidence) -> tuple[int, float]:
    """Of the models that the child's card names, other than its parent, the one whose change since the parent is in the child the most, and
    the share of it that is, from squared distances; the parent and 0 where the card names none."""
    found, apart = (parent, 0.0), family.distance
    for claimed in (family.evidence.declared[child] > 0).nonzero().flatten().tolist():
        moved = float(apart[claimed, parent])
        if claimed not in (parent, *alike) and moved > 0:
            share = (float(apart[child, parent]) + moved - float(apart[child, claimed])) / (2 * moved)
            found = max(found, (claimed, share), key=lambda each: each[1])
    return found


def edge_evidence(child: int, parent: int, family: FamilyEvidence) -> dict[str, Any]:
    """The numbers for and against one edge."""
    slope = float(family.tree.best_tree.slope[child])
    pairs, evidence = family.pairs, family.evidence
    return {
        "relative_distance": round(float(family.relative_distance[child, parent]), 6),
        "related": round(float(family.related[child, parent]), 4),
        "growth_z": round(float(pairs.growth_z[child, parent]), 2),
        "growth_gamma": round(float(pairs.growth_gamma[child, parent]), 3),
        "direction_log_odds": round(float(evidence.growth[child, parent]), 2),
        "detector_log_odds": round(float(evidence.detector[child, parent]), 2),
        "detector_agrees": _agree(child, parent, family),
        **{f"{name}_log_odds": odds for name, odds in certain_log_odds(child, parent, evidence).items()},
        "inheritance_slope": None if slope != slope else round(slope, 3),
        "equal_values": round(float(family.equal[child, parent]), 4),
        "unseen_parent": round(float(family.unseen[child]), 3),
        "family_size": len(family.tree.root),
        "values_compared": family.values,
    }


def _agree(child: int, parent: int, family: FamilyEvidence) -> bool | None:
    """Whether the trained detector and the learning-free evidence name the same of the two as the earlier one; None where one is silent."""
    growth, detector = _directions(child, parent, family)
    return None if growth * detector == 0 else growth * detector > 0


def _contradict(child: int, parent: int, family: FamilyEvidence) -> bool:
    """Whether both are sure of opposite directions."""
    sure = min(map(abs, _directions(child, parent, family))) > CONFIDENT_DIRECTION_LOG_ODDS
    return sure and _agree(child, parent, family) is False


def _turned_round(child: int, parent: int, family: FamilyEvidence) -> bool:
    """Whether both say that the child came first: being the middle of a family does not make a model the parent of its root."""
    return max(_directions(child, parent, family)) < -TURNED_ROUND_LOG_ODDS


def _told_otherwise(child: int, parent: int, evidence: Evidence) -> bool:
    """Whether the parent was published after the child, and its card names the child as its base."""
    return bool(evidence.declared[parent, child] > 0) and bool(evidence.dates[child, parent] < 0)


def _directions(child: int, parent: int, family: FamilyEvidence) -> tuple[float, float]:
    """Log-odds of growth and of the trained detector that the parent came first, at right angles; 0 where one is silent."""
    evidence, here = family.evidence, (child, parent)
    upright = float(evidence.upright[here])  # of this pair alone: it is asked for every model of a large family
    return upright * float(evidence.growth[here]), upright * float(evidence.detector[here])


def _decided_by(child: int, parent: int, family: FamilyEvidence) -> tuple[str, ...]:
    """Kinds of evidence that moved the decision, strongest first."""
    outside = {
        "dates": float(family.evidence.dates[child, parent] > 0),
        "declared": float(family.evidence.declared[child, parent] > 0),
    }
    certain = certain_log_odds(child, parent, family.evidence)
    ancestor = by_signal(ancestor_terms(family.tree, child, parent), certain)
    terms = [root_terms(family.tree, child, parent), ancestor, outside]
    # what is silent about these two may have moved the choice of a root far away, which is not said of this edge
    silent = {name for name, odds in certain.items() if odds <= 0}
    spoken = [{kind: odds for kind, odds in some.items() if kind not in silent} for some in terms]
    terms = spoken if any(odds > LEAST for some in spoken for odds in some.values()) else terms
    if not outside["declared"]:  # cards of other models may speak for the root, and this one for another parent
        terms = [{kind: odds for kind, odds in some.items() if kind != "declared"} for some in terms]
    return strongest_first(*terms)


def certain_log_odds(child: int, parent: int, evidence: Evidence) -> dict[str, float]:
    """What each signal that is added as it is says about one pair."""
    return {s.name: float(evidence.signals[s.name][child, parent]) for s in of_kind(Kind.CERTAIN)}


def _reason(child: int, name: str, parent: int, family: FamilyEvidence) -> Reason:
    """Why an edge is asserted. name: id of the parent."""
    z, slope = float(family.pairs.growth_z[child, parent]), float(family.tree.best_tree.slope[child])
    models = {"parent": name}
    more = []
    if float(family.evidence.signals["decay"][child, parent]) > 0:
        scaled = float(family.pairs.decay[child, parent]) > 0 and not float(family.pairs.one_factor[child, parent])
        more.append(Reason("scaled_units" if scaled else "decayed", models=models))
    if float(family.evidence.signals["layers"][child, parent]) > 0:
        more.append(Reason("made_over", models=models))
    if slope == slope:
        more.append(Reason("inherited", {"slope": slope}, models))
    return Reason("grew" if z >= GROWTH_TELLS else "not_grown", {"z": z}, models, then=tuple(more))
