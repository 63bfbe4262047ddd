"""Models whose bodies are equal bit for bit and differ only in heads or vectors: the body was frozen, so the tree cannot part them.

One representative enters the family's tree; the uncertainty of that choice is carried into every decision. Which model of such a group
the others come from shows in their heads: a model trained on from one of them keeps its head more than the others'; one that has such a
head, and nothing of that one's, hardly comes from it; and in the sizes of their vocabularies, which were seldom changed. Where neither
differs, it cannot be decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lineage.detect.acceptance import WORTH_NAMING
from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.head_distances import UNRELATED, head_distances
from lineage.detect.reasons import Reason
from lineage.detect.signals.counters import LOG_ODDS, comparable_counts
from lineage.detect.signals.heads import Head, by_stages, head_of
from lineage.detect.signature import Role, role_of
from lineage.detect.sketch_file import Sketch
from lineage.graphdb.schema import Relation

EQUAL = 1e-14  # squared distance over squared length: nothing but rounding in sums
AS_LIKELY_AS_NOT = 0.5  # most that is said of one which counters speak against
NONE_OF_THEM = 1e-6  # probability from which on the origin of equal bodies may be another model
VOTE = 1.5  # log-odds of one model's vote
NEARER = 0.8  # a head is kept if it is nearer to one by this factor than to the next
# votes of a head that is related to one member's and has next to nothing in common with the others'; squared distances over lengths
SURE_VOTES, RELATED_HEAD, OTHER_HEAD = 3.0, 1.0, 1.6
# votes against a member of each model with a head of the same shape that has nothing in common with the member's, and of all such models:
# heads are made anew for other classes, but whose shape fits are mostly kept
AGAINST, MOST_AGAINST = 0.5, 1.5


@dataclass(frozen=True, slots=True)
class BodyGroup:
    """
    Attributes:
        members: indices of models of equal body, two or more.
        chosen: the group's representative; probability: that the others come from it; below 1 in all where they may come from none.
        counted: whether counters tell which came first.
    """

    members: tuple[int, ...]
    chosen: int
    probability: tuple[float, ...]
    counted: bool = False


def same_bodies(
    relative: Tensor,
    layers: Sequence[Layer],
    sketches: Sequence[Sketch] = (),
    counts: Sequence[float | None] = (),
) -> list[BodyGroup]:
    """
    Args:
        relative: (m, m) squared distances of the bodies over squared length; sketches: of the models, where known.
        counts: batches that each model has seen, see signals/counters.py: they go on where nothing but a head is trained.
    """
    left = set(range(relative.shape[0]))
    equal = relative <= EQUAL
    groups = []
    for first in range(relative.shape[0]):
        members = [i for i in equal[first].nonzero()[:, 0].tolist() if i in left]
        left -= set(members)
        if len(members) > 1:
            groups.append(members)
    if not groups:
        return []
    tables = [table_shapes(sketch) for sketch in sketches]
    return [_chosen(members, layers, sketches, tables, counts) for members in groups]


def table_shapes(sketch: Sketch) -> tuple[tuple[int, ...], ...]:
    """Shapes of a model's embeddings, whatever they are called."""
    samples = sketch.samples.items()
    return tuple(sorted(s.shape for name, s in samples if role_of(name, s.dtype, s.shape) is Role.EMBEDDING))


def rest_distances(layers: Sequence[Layer], members: Sequence[int]) -> Tensor:
    """(m, n) float64: squared distance of each model from the members in those heads and vectors that are not the same in all of these,
    each layer in units of its mean squared length."""
    own = torch.tensor(members)
    total = torch.zeros(len(layers[0].values), len(members), dtype=torch.float64)
    for layer in layers:
        if layer.part is Part.REST:
            flat = layer.values.flatten(1).double().cpu()
            if bool((flat[own] != flat[own[:1]]).any()):
                scale = flat.square().sum(1).mean().clamp(min=1e-300)
                total += torch.cdist(flat, flat[own]).square() / scale
    return total


def _of_tables(members: list[int], tables: Sequence[tuple[tuple[int, ...], ...]]) -> list[float]:
    """Votes of the models outside for the members whose embeddings are of the shapes of theirs, where not all members' are."""
    votes = [0.0] * len(members)
    for model, table in enumerate(tables):
        alike = [place for place, member in enumerate(members) if tables[member] == table]
        if model not in members and 0 < len(alike) < len(members):
            for place in alike:
                votes[place] += 1.0
    return votes


def _of_counts(members: list[int], counts: Sequence[float | None], sketches: Sequence[Sketch]) -> list[float]:
    """Log-odds of the members that had seen the fewest batches, or keep no count, where the counts differ and are of one module."""
    own = [counts[member] for member in members] if counts else []
    known = {count for count in own if count is not None}
    having = [sketches[member] for member, count in zip(members, own, strict=False) if count is not None and sketches]
    if len(known) > 1 and having and not bool(comparable_counts(having).all()):
        return []
    return [LOG_ODDS if count is None or count == min(known) else 0.0 for count in own] if len(known) > 1 else []


def _of_kinds(kinds: Sequence[Head | None]) -> list[float]:
    """Log-odds of the members by what their heads are for, see signals/heads.py: that of pretraining came first."""
    earliest = min((kind for kind in kinds if kind is not None), default=Head.PRETRAINING)
    behind = [0 if kind is None else kind - earliest for kind in kinds]
    return (-by_stages(torch.tensor(behind, dtype=torch.float64))).tolist()


def _of_heads(members: list[int], heads: Tensor | None, rest: Tensor) -> list[float]:
    """Every model votes for the member whose head it kept, or else whose vectors; a member's own derivatives vote as well."""
    votes = [0.0] * len(members)
    looked_at = [rest] if heads is None else [heads, rest]
    for model in range(len(rest)):
        if model in members and len(members) == 2:
            continue
        for apart in looked_at:
            to = apart[model].clone()
            if model in members:
                to[members.index(model)] = torch.inf
            order = to.argsort()
            nearest, next_one = float(to[order[0]]), float(to[order[1]])
            if nearest < NEARER**2 * next_one:
                sure = apart is not rest and nearest < RELATED_HEAD and OTHER_HEAD < next_one < torch.inf
                votes[int(order[0])] += SURE_VOTES if sure else 1.0
                break
    return votes


def _against(members: list[int], heads: Tensor) -> list[float]:
    """Votes against each member of the models outside whose head is of the shape of its own and not made of it, where none outside has one
    that is; nan: of no such shape."""
    outside = torch.tensor([model not in members for model in range(len(heads))])
    others = (heads[outside] >= OTHER_HEAD).double().sum(0)  # (n,)
    kept = (heads[outside] < OTHER_HEAD).double().sum(0)
    return torch.where(kept > 0, 0.0, (AGAINST * others).clamp(max=MOST_AGAINST)).tolist()


def _chosen(
    members: list[int],
    layers: Sequence[Layer],
    sketches: Sequence[Sketch],
    tables: Sequence[tuple[tuple[int, ...], ...]],
    counts: Sequence[float | None],
) -> BodyGroup:
    kinds = [head_of(sketches[member].layout) if sketches else None for member in members]
    # heads for a task, seeded alike, would vote for the member that has one as well
    found = head_distances(sketches, members) if sketches and len(set(kinds)) == 1 else None
    heads = None if found is None else found.nan_to_num(UNRELATED)
    votes = torch.tensor(_of_heads(members, heads, rest_distances(layers, members)), dtype=torch.float64)
    votes -= torch.tensor([0.0] * len(members) if found is None else _against(members, found), dtype=torch.float64)
    votes += torch.tensor(_of_tables(members, tables), dtype=torch.float64)
    counted = _of_counts(members, counts, sketches)
    told = torch.tensor(counted or [0.0] * len(members), dtype=torch.float64)
    told += torch.tensor(_of_kinds(kinds), dtype=torch.float64)
    probability = (VOTE * votes + told).softmax(0)
    chosen = int(probability.argmax())
    later = bool(counted) and not counted[chosen]
    if later:  # it saw more batches than another one of them: what all of them come from may not be at hand
        probability = probability.clamp(max=AS_LIKELY_AS_NOT)
    return BodyGroup(tuple(members), members[chosen], tuple(probability.tolist()), bool(counted) and not later)


@dataclass(frozen=True, slots=True)
class IdenticalBodies:
    """Models whose bodies are equal bit for bit.

    Attributes:
        members: id and name of each, two or more; chosen: index of the representative.
        probability: of each to be the one the others come from; below 1 in all where they may come from none;
            counted: see `BodyGroup`.
    """

    members: tuple[tuple[str, str], ...]
    chosen: int
    probability: tuple[float, ...]
    counted: bool = False

    @property
    def stands(self) -> str:
        """Id of the group's representative."""
        return self.members[self.chosen][0]

    @property
    def later(self) -> bool:
        """Whether the representative is no more than as likely as not because it saw more batches than another one of them."""
        return sum(self.probability) < 1 - NONE_OF_THEM


def decide_equals(group: IdenticalBodies, threshold: float) -> list[Decision]:
    """Decisions for the members that do not enter the tree."""
    sure = max(group.probability)
    tells = sure >= threshold
    reason = Reason("equal_body")
    untold = reason.and_then(Reason("equal_body_first", {"count": len(group.members)}), *_saw_more(group))
    return [
        Decision(
            model=member,
            answer=AnswerKind.PARENT if tells else AnswerKind.UNDECIDED,
            probability=sure,
            parent=group.stands if tells else None,
            relation=Relation.FINE_TUNED_FROM if tells else None,
            candidates=_candidates(
                {m: p for (m, _), p in zip(group.members, group.probability, strict=True) if m != member}
            ),
            decided_by=(("exact sharing", "counters") if group.counted else ("exact sharing",)) if tells else (),
            evidence={"equal_bodies": len(group.members)},
            reason=reason if tells else untold,
        )
        for member, _ in group.members
        if member != group.stands
    ]


def _saw_more(group: IdenticalBodies) -> list[Reason]:
    return [Reason("equal_but_later", models={"parent": group.stands})] if group.later else []


def spread(decisions: Sequence[Decision], groups: Sequence[IdenticalBodies], threshold: float) -> list[Decision]:
    """The decisions about a family's tree, once it is said how sure the choice among equals is.

    An edge to a representative may belong to any member of its group; if it is not the first of them, its parent is one of them.
    """
    by_stand = {group.stands: group for group in groups}
    return [_spread(decision, by_stand, threshold) for decision in decisions]


def _spread(decision: Decision, groups: dict[str, IdenticalBodies], threshold: float) -> Decision:
    own = groups.get(decision.model)
    if decision.merged_from or (own is None and not any(c.parent in groups for c in decision.candidates)):
        return decision
    first = max(own.probability) if own else 1.0
    chances: dict[str, float] = {}
    for candidate in decision.candidates:
        group = groups.get(candidate.parent)
        members = zip(group.members, group.probability, strict=True) if group else [((candidate.parent, ""), 1.0)]
        for (member, _), share in members:
            chances[member] = chances.get(member, 0.0) + candidate.probability * share * first
    for (member, _), share in zip(own.members, own.probability, strict=True) if own else ():
        if member != decision.model:
            chances[member] = chances.get(member, 0.0) + share
    candidates = _candidates(chances)
    above = groups.get(decision.parent or "")
    # what the decision says may be the probability of several nearly equal models
    probability = decision.probability * first * (max(above.probability) if above else 1.0)
    if probability >= threshold:
        return replace(decision, probability=probability, candidates=candidates)
    if decision.answer is AnswerKind.UNDECIDED:
        return replace(decision, candidates=candidates, reason=_of_first(decision.reason, candidates))
    near = groups.get(decision.parent or "") if own is None or first >= threshold else own
    alike = tuple(member for member, _ in near.members[:3]) if near else (decision.model,)
    return replace(
        decision,
        answer=AnswerKind.UNDECIDED,
        probability=max((c.probability for c in candidates), default=probability),
        parent=None,
        relation=None,
        decided_by=(),
        candidates=candidates,
        reason=Reason("equal_bodies", models={"models": alike}, then=tuple(_saw_more(near) if near else ())),
    )


def _of_first(reason: Reason, candidates: Sequence[Candidate]) -> Reason:
    """A reason that names two candidates, with those that are first once equal bodies are among them."""
    if reason.key != "two_candidates" or len(candidates) < 2:
        return reason
    return replace(reason, models={"first": candidates[0].parent, "second": candidates[1].parent})


def _candidates(chances: dict[str, float]) -> tuple[Candidate, ...]:
    ranked = sorted(chances.items(), key=lambda item: -item[1])
    return tuple(Candidate(parent, round(p, 4)) for parent, p in ranked if p >= WORTH_NAMING)
