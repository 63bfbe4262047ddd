"""Sketches of one signature -> one decision for each model: its parent, or root, or cannot tell.

content identity -> related pairs -> families -> growth and inheritance -> tree -> acceptance. Nothing here knows of a Hub or a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import torch
from torch import Tensor

from detect.accept import THRESHOLD, WORTH_NAMING, FamilyEvidence, accept
from detect.align import Layer, NotComparable, align
from detect.decision import Answer, Candidate, Decision
from detect.detector.scoring import directions
from detect.equals import Equals, decide_equals, spread
from detect.families import families
from detect.family_tree import Evidence, FamilyTree, decide_tree, nearest, possible_roots
from detect.frozen import same_bodies
from detect.gram import gram, squared_lengths
from detect.merges import MERGED, Merge, leaf_merges, merges, parts_first, renumbered
from detect.signals.balance import parting, unseen_parent
from detect.signals.content import copies, is_rounded_copy, precision
from detect.signals.counters import counters
from detect.signals.pairs import pair_evidence
from detect.signals.relatedness import relatedness
from detect.signature import natural_key
from detect.sketch_store import Sketch
from graphdb.schema import LOCAL, Relation

METHOD, METHOD_VERSION = "lineage", "1"
NEAR = 2.0**-6  # relative distance under which one model may be the other one rounded
DATE_LOG_ODDS = (
    4.0  # a parent is published before its child in 99.7 % of documented pairs (Horwitz et al. 2025, arXiv 2503.10633)
)
DECLARED_LOG_ODDS = 2.0
LOOKED_AT = 6  # nearest neighbours of each model that the trained detector looks at; more changed nothing


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to decide about.

    Attributes:
        id: whatever the caller knows it by, unique.
        name: what people call it, for sentences; the id if None.
        quantised: its values were unpacked from few bits: a copy of one of the others, and nobody's parent.
        created_at: when it was first published; None where unknown.
        declared: ids of subjects that its card names as its base.
    """

    id: str
    sketch: Sketch
    created_at: datetime | None = None
    declared: frozenset[str] = field(default_factory=frozenset)
    name: str | None = None
    quantised: bool = False

    @property
    def label(self) -> str:
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class Options:
    """threshold: probability below which nothing is asserted; the switches turn off kinds of evidence: dates, claims, the trained detector.

    method, settings: which of `detect.methods.registry` decides, and its own options as text; this file is the method `lineage`.
    """

    threshold: float = THRESHOLD
    dates: bool = True
    declared: bool = True
    detector: bool = True
    method: str = METHOD
    settings: Mapping[str, str] = field(default_factory=dict)


def decide(
    subjects: Sequence[Subject], options: Options | None = None, device: torch.device | None = None
) -> list[Decision]:
    """Decide about models of one signature, in the order given."""
    options = options or Options()
    decisions = [d for copied in _copied(subjects, options) for d in copied]
    known = {decision.model for decision in decisions}
    originals = [subject for subject in subjects if subject.id not in known]
    decisions += _decide_originals(originals, options, device or torch.device("cpu"))
    by_model = {decision.model: decision for decision in decisions}
    return [by_model[subject.id] for subject in subjects]


def relatives_of(subject: Subject, known: Sequence[Subject], device: torch.device, at_most: int = 64) -> list[Subject]:
    """Those of the known models that are nearest to one model, so that a lookup need not decide about a whole architecture.

    All of them if they are few; the order of `known` is kept.
    """
    if len(known) <= at_most:
        return list(known)
    excess: list[float] = []
    for start in range(0, len(known), at_most):
        part = known[start : start + at_most]
        excess += relatedness(align([subject.sketch, *(s.sketch for s in part)], device))[0, 1:].tolist()
    chosen = sorted(sorted(range(len(known)), key=lambda i: -excess[i])[:at_most])
    return [known[i] for i in chosen]


def _copied(subjects: Sequence[Subject], options: Options) -> list[list[Decision]]:
    """Decisions for the copies in every group of equal content; the one that stands for the group gets none here."""
    groups = []
    for first, others in copies([subject.sketch for subject in subjects]).items():
        members = [subjects[i] for i in (first, *others)]
        original, told_by = _original(members, options)
        groups.append([_copy(s, original, told_by, len(members)) for s in members if s is not original])
    return groups


def _original(members: Sequence[Subject], options: Options) -> tuple[Subject, str | None]:
    """Which of several equal models came first, and the kind of evidence that tells; None where nothing does."""
    ids = {s.id for s in members}
    if options.declared:
        silent = [s for s in members if not s.declared & ids]
        if len(silent) == 1:
            return silent[0], "declared"
    if options.dates:
        dated = [(s.created_at, i) for i, s in enumerate(members) if s.created_at]
        if len(dated) == len(members) and len({d for d, _ in dated}) > 1:
            return members[min(dated)[1]], "dates"
    published = [s for s in members if not s.id.startswith(LOCAL)]
    if len(published) == 1:
        return published[0], "published"  # what lies on disk was fetched from there
    return min(members, key=lambda s: (len(s.label), natural_key(s.label))), None


def _copy(subject: Subject, original: Subject, told_by: str | None, equal: int) -> Decision:
    """Equal content has no direction: without other evidence the copy is a tie, never settled by a coin."""
    whole = subject.sketch.sampled_values == subject.sketch.total_values
    identical = subject.sketch.digest == original.sketch.digest
    compared = (
        "the files are the same bytes"
        if identical
        else f"all {subject.sketch.sampled_values:,} values compared are equal"
    )
    probability = 0.999 if identical or whole else 0.98
    probability = probability if told_by else 1 / equal
    return Decision(
        model=subject.id,
        answer=Answer.PARENT if told_by else Answer.UNDECIDED,
        probability=probability,
        parent=original.id if told_by else None,
        relation=Relation.COPY_OF if told_by else None,
        candidates=(Candidate(original.id, probability),),
        decided_by=("content", told_by) if told_by else (),
        evidence={
            "same_files": identical,
            "values_compared": subject.sketch.sampled_values,
            "values_in_all": subject.sketch.total_values,
            "equal_to": original.id,
        },
        reason=compared
        if told_by
        else f"equal to {original.label}: {compared}; which is the copy is not in the weights",
    )


def _decide_originals(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    if len(subjects) < 2:
        return [_alone(s, "no other model of its architecture is known") for s in subjects]
    try:
        layers = align([s.sketch for s in subjects], device)
    except NotComparable as error:
        return [Decision(s.id, Answer.UNDECIDED, 0.0, reason=f"could not compare: {error.message}") for s in subjects]
    related = relatedness(layers)
    decisions: list[Decision] = []
    for members in families(related):
        own = [subjects[i] for i in members]
        if len(own) == 1:
            others = torch.cat([related[members[0], : members[0]], related[members[0], members[0] + 1 :]])
            decisions.append(
                _alone(
                    own[0],
                    f"none of {len(subjects) - 1} models of its architecture is related to it",
                    float(others.max()),
                )
            )
            continue
        index = torch.tensor(members)
        mine = [layer.of(index) for layer in layers]
        decisions += _decide_family(own, mine, related[index.to(device)][:, index.to(device)].cpu(), options)
    return decisions


def _alone(subject: Subject, reason: str, nearest_excess: float | None = None) -> Decision:
    evidence = {} if nearest_excess is None else {"related": round(nearest_excess, 4)}
    return Decision(subject.id, Answer.ROOT, 0.99, decided_by=("relatedness",), evidence=evidence, reason=reason)


def _decide_family(subjects: list[Subject], layers: list[Layer], related: Tensor, options: Options) -> list[Decision]:
    products = gram(layers)
    distance = products.distances().cpu()
    size = squared_lengths(layers).cpu()  # (m,)
    relative = distance / size[:, None]
    coarser = _rounded(subjects, relative) | _quantised(subjects, relative, options)
    decisions = list(coarser.values())
    full = [i for i, subject in enumerate(subjects) if subject.id not in coarser]
    if not full:
        return decisions
    bodies = same_bodies(relative[full][:, full], [layer.of(torch.tensor(full)) for layer in layers])
    equals = [
        Equals(
            tuple((subjects[full[i]].id, subjects[full[i]].label) for i in body.members),
            body.members.index(body.chosen),
            body.probability,
        )
        for body in bodies
    ]
    for group in equals:
        decisions += decide_equals(group, options.threshold)
    known = {decision.model for decision in decisions}
    kept = [i for i, subject in enumerate(subjects) if subject.id not in known]
    own = [subjects[i] for i in kept]
    if len(own) == 1:
        top = _alone(
            own[0], f"the one that {len(subjects) - 1} others are copies of, or were made from with the same body"
        )
        return decisions + spread([top], equals, options.threshold)
    inner = products.only(torch.tensor(kept, device=products.products.device)).cpu()
    neighbours = nearest(distance[kept][:, kept])
    mixed = merges(inner, size[kept], neighbours, [precision(s.sketch) for s in own])
    leaves = leaf_merges(mixed, distance[kept][:, kept])
    decisions += [merged_decision(own, mixed[i]) for i in leaves]
    stay = [i for i in range(len(kept)) if i not in leaves]
    mixed = renumbered(mixed, stay)
    kept, own, inner = [kept[i] for i in stay], [own[i] for i in stay], inner.only(torch.tensor(stay))
    index = torch.tensor(kept)
    mine = [layer.of(index) for layer in layers]
    distance = distance[index][:, index]
    neighbours = nearest(distance)
    pairs = pair_evidence(mine, neighbours)
    counted = counters([s.sketch for s in own])
    ordered = counted + pairs.decay + parts_first(mixed, len(own))
    learned = directions(mine, neighbours[:, :LOOKED_AT]) if options.detector else torch.zeros_like(pairs.direction)
    both = (pairs.direction + learned) / 2  # they err apart: see bench/NOTES.md
    came_first = torch.where(learned == 0, pairs.direction, both)
    tree = decide_tree(
        inner,
        distance,
        size[index],
        neighbours,
        possible_roots(came_first + ordered, neighbours),
        Evidence(
            came_first=came_first,
            certain=ordered,
            even=parting(pairs.balance),
            prior=_prior(own, options),
        ),
    )
    parent, unseen = _with_unseen(tree, pairs.balance)
    evidence = FamilyEvidence(
        parent=parent,
        unseen=unseen,
        root=tree.root,
        z=pairs.growth_z,
        gamma=pairs.growth_gamma,
        learning_free=pairs.direction,
        learned=learned,
        counted=counted,
        decayed=pairs.decay,
        slope=tree.slope,
        relative_distance=(distance / size[index][:, None]).sqrt(),
        related=related[index][:, index],
        values=sum(layer.values[0].numel() for layer in layers),
    )
    said = accept([(s.id, s.label) for s in own], evidence, options.threshold)
    said = [merged_decision(own, mixed[i]) if i in mixed else decision for i, decision in enumerate(said)]
    return decisions + spread(said, equals, options.threshold)


def merged_decision(subjects: list[Subject], merge: Merge) -> Decision:
    """A model that lies exactly between two others is their weighted mean: it has two parents."""
    first, second = subjects[merge.first], subjects[merge.second]
    shares = sorted(((first.id, 1 - merge.share), (second.id, merge.share)), key=lambda pair: -pair[1])
    return Decision(
        model=subjects[merge.model].id,
        answer=Answer.PARENT,
        probability=MERGED,
        parent=shares[0][0],
        relation=Relation.MERGED_FROM,
        candidates=tuple(Candidate(name, MERGED) for name, _ in shares),
        decided_by=("merge",),
        evidence={"shares": {name: round(share, 4) for name, share in shares}, "off_the_line": merge.off},
        reason=f"every weight is a mean of those of {first.label} ({1 - merge.share:.2f}) and {second.label} ({merge.share:.2f})",
        merged_from=tuple((name, round(share, 4)) for name, share in shares),
    )


def _with_unseen(tree: FamilyTree, evenness: Tensor) -> tuple[Tensor, float]:
    """The tree's (child, parent) probabilities less those of an unseen parent of the root and its children, and the latter's.

    Only the children of the best root lose: further down inheritance has shown that the parent is one.
    """
    unseen = unseen_parent(evenness[tree.best_root, tree.best_parent == tree.best_root])
    parent = tree.parent.clone()
    parent[:, tree.best_root] *= 1 - unseen
    return parent, unseen


def _rounded(subjects: list[Subject], relative: Tensor) -> dict[str, Decision]:
    """Decisions for models that are another member's values in a coarser dtype."""
    digits = [precision(s.sketch) for s in subjects]
    decisions: dict[str, Decision] = {}
    for i, j in (relative < NEAR**2).fill_diagonal_(False).nonzero().tolist():
        coarse, fine = subjects[i], subjects[j]
        if digits[i] < digits[j] and coarse.id not in decisions and is_rounded_copy(coarse.sketch, fine.sketch):
            decisions[coarse.id] = Decision(
                model=coarse.id,
                answer=Answer.PARENT,
                probability=0.999,
                parent=fine.id,
                relation=Relation.QUANTIZED_FROM,
                candidates=(Candidate(fine.id, 0.999),),
                decided_by=("content",),
                evidence={
                    "values_compared": coarse.sketch.sampled_values,
                    "digits": digits[i],
                    "digits_of_parent": digits[j],
                },
                reason=f"every value compared is that of {fine.label} rounded to {digits[i]} binary digits",
            )
    return decisions


def _quantised(subjects: list[Subject], relative: Tensor, options: Options) -> dict[str, Decision]:
    """Decisions for models unpacked from few bits: a copy of the nearest model that was not, if no other is nearly as near."""
    decisions: dict[str, Decision] = {}
    full = [i for i, subject in enumerate(subjects) if not subject.quantised]
    for i, subject in enumerate(subjects):
        if not subject.quantised:
            continue
        near = sorted((float(relative[i, j]), j) for j in full)[:3]
        if not near:
            decisions[subject.id] = _alone(subject, "a quantised copy; the model that it is a copy of is not known")
            continue
        weights = [(near[0][0] + 1e-30) / (distance + 1e-30) for distance, _ in near]  # (1, below 1, ...)
        chance = [0.98 * w**2 / sum(v**2 for v in weights) for w in weights]
        candidates = tuple(
            Candidate(subjects[j].id, round(p, 4)) for (_, j), p in zip(near, chance, strict=True) if p >= WORTH_NAMING
        )
        best = subjects[near[0][1]]
        tells = chance[0] >= options.threshold
        decisions[subject.id] = Decision(
            model=subject.id,
            answer=Answer.PARENT if tells else Answer.UNDECIDED,
            probability=chance[0],
            parent=best.id if tells else None,
            relation=Relation.QUANTIZED_FROM if tells else None,
            candidates=candidates,
            decided_by=("content",) if tells else (),
            evidence={
                "relative_distance": round(near[0][0] ** 0.5, 6),
                "values_compared": subject.sketch.sampled_values,
            },
            reason=f"a quantised copy, nearest to {best.label}" + ("" if tells else ", but to others nearly as much"),
        )
    return decisions


def _prior(subjects: list[Subject], options: Options) -> Tensor:
    """(m, m) log-odds [child, parent] from dates and declarations; 0 where they are switched off or unknown."""
    prior = torch.zeros(len(subjects), len(subjects), dtype=torch.float64)
    place = {subject.id: i for i, subject in enumerate(subjects)}
    for i, child in enumerate(subjects):
        for j, parent in enumerate(subjects):
            if options.dates and child.created_at and parent.created_at and child.created_at != parent.created_at:
                prior[i, j] += DATE_LOG_ODDS if parent.created_at < child.created_at else -DATE_LOG_ODDS
        if options.declared:
            for name in child.declared & place.keys():
                prior[i, place[name]] += DECLARED_LOG_ODDS
    return prior
