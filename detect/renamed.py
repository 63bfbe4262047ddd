"""Relatives whose tensors are called otherwise: found by their values, and decided about under the names of one of them.

A model without a known parent under its own names is compared with others without one that have matrices of the same sizes but share no
backbone with it (`row_match.py`). Where enough rows of the one lie in the other, its sketch is written
again under the other's names: fused projections are taken apart, transposed layers turned, of experts that were copied one is taken. So
translated it is decided about like any model of that backbone, by everything that detection knows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lineage.detect.align import NotComparable, align
from lineage.detect.arrays import torch
from lineage.detect.cohorts import Decide, decided_in_cohorts
from lineage.detect.decision import WITHOUT_PARENT, AnswerKind, Candidate, Decision
from lineage.detect.equal_parts import has_equals, with_parent_of_equal
from lineage.detect.folded import across_norms, keeps_norms
from lineage.detect.gram import gram
from lineage.detect.groups import model_of
from lineage.detect.model_input import Subject
from lineage.detect.overlap import lowered
from lineage.detect.parts import parts_of
from lineage.detect.reasons import Reason
from lineage.detect.row_match import (
    LEAST_WIDTH,
    Correspondence,
    corresponding,
    look_alike,
    stacked,
    tables_of,
)
from lineage.detect.signature import natural_key
from lineage.detect.sketch_file import Sketch
from lineage.detect.translated import equal_values, translated
from lineage.graphdb.schema import Relation, share_key

Restrict = Callable[[Subject, Sequence[Subject], str | None], tuple[Subject, list[Subject]]]

PAIRS = 2048  # of models with other names that are compared
FOLLOWERS = 24  # of models that are translated
BESIDE = 200  # models of a backbone beside which a translated one is decided about
MOST = 0.5  # of a model's values: found in another model, it is translated as a whole
SIZE_KEYS = 8  # of a model: pairs of sizes of its matrices
WHOLE = 0.9  # share of a model's values that are in another one from which on it is that one and not a part of it
HOLDS_MORE = 1.25  # share of one model that is in the other over that of the other in it
UPCYCLED = 0.1  # share of the tensors of a model that the other one has several times
UPCYCLED_PROBABILITY = 0.95
NEARER = 0.8  # squared distance to another mixture over that to the nearest dense model
EXPERTS = re.compile(r"expert|moe|\brouter\b")  # in names of tensors


@dataclass(frozen=True, slots=True)
class Kinship:
    """Two models that have rows in common under other names. there: the first in the second; back: the second in the first."""

    first: Subject
    second: Subject
    there: Correspondence
    back: Correspondence

    @property
    def first_upcycled(self) -> bool:
        """Whether the first has experts made of the second's layers."""
        return self.back.doubled >= UPCYCLED > 2 * self.there.doubled

    @property
    def second_upcycled(self) -> bool:
        """Whether the second has experts made of the first's layers."""
        return self.there.doubled >= UPCYCLED > 2 * self.back.doubled


def size_keys(sketch: Sketch) -> frozenset[tuple[int, int]]:
    """Pairs of sizes of a model's matrices, those that hold most first: what a model under other names has as well."""
    held: dict[tuple[int, int], int] = defaultdict(int)
    for name, shape in sketch.layout.items():
        if len(shape) > 1 and "embed" not in name:
            _, *sides = stacked(name, shape)
            if min(sides) >= LEAST_WIDTH:
                held[min(sides), max(sides)] += int(np.prod(shape))
    return frozenset(sorted(held, key=lambda pair: -held[pair])[:SIZE_KEYS])


def size_words(sketch: Sketch) -> tuple[str, ...]:
    """The same as words."""
    return tuple(sorted(f"{small}x{large}" for small, large in size_keys(sketch)))


def across_names(
    subjects: Sequence[Subject],
    decisions: Sequence[Decision],
    decide: Decide,
    restrict: Restrict,
    threshold: float,
    parts: Sequence[tuple[Subject, Decision]] = (),
) -> list[Decision]:
    """The decisions, with those about models that have relatives under other names alone.

    Args:
        decisions: one for each subject.
        decide: see group_decisions.decide_groups; restrict: see groups.comparable.
        parts: of models with several parts those without a parent; the decisions about them follow those about models. They are looked for
            one by one where most of their model is in no other one.
    """
    said = {d.model: d for d in (*decisions, *(d for _, d in parts))}
    heads = [
        s
        for s in subjects
        if said[s.id].answer in WITHOUT_PARENT and not s.sketch.packs_weights and not has_equals(said[s.id])
    ]
    pairs = [*combinations(heads, 2), *((head, part) for part, _ in parts for head in heads)]
    kin = [found for a, b in _pairs(pairs) if (found := kinship(a, b)) is not None]
    order = [*(s.id for s in subjects), *(s.id for s, _ in parts)]
    if not kin:
        return [said[model] for model in order]
    of_naming: dict[str, int] = defaultdict(int)
    for s in subjects:
        of_naming[s.sketch.signature] += not s.quantized
    rank = {s.id: (-of_naming[s.sketch.signature], natural_key(s.label)) for s in heads}
    rank |= {s.id: (1, natural_key(s.label)) for s, _ in parts}
    best: dict[str, Kinship] = {}  # of each model that is translated, the one onto whose names

    def fit(found: Kinship) -> tuple[int, bool, float]:
        """The lower, the better: many have these names, it may be the oldest of them, it has most in common."""
        decision = said[found.first.id]
        return rank[found.first.id][0], decision.answer is AnswerKind.UNDECIDED, -found.there.share

    for found in kin:
        upper, lower = sorted((found.first, found.second), key=lambda s: rank[s.id])
        upper, lower = _held_below(upper, lower, found)
        one = found if found.first is upper else Kinship(found.second, found.first, found.back, found.there)
        known = best.get(lower.id)
        if known is None or fit(one) < fit(known):
            best[lower.id] = one
    for model in {model_of(s.id) for s, _ in parts}:
        own = [s.id for s, _ in parts if model_of(s.id) == model and s.id in best]
        whole = best.get(model)
        in_pieces = bool(own) and (whole is None or whole.back.share < MOST)
        for unused in [model] if in_pieces else own:
            best.pop(unused, None)
    for part in [name for name, found in best.items() if _turned_round(name, found, best)]:
        del best[part]
    onto: dict[str, list[Kinship]] = defaultdict(list)
    for found in best.values():
        onto[found.first.id].append(found)
    for several in onto.values():
        of_head = {k.second.id for k in several}
        for decision in _decided(
            [*several, *_followers(several, subjects, said)], subjects, said, decide, restrict, threshold
        ):
            if (
                decision.model in of_head
                or not _follows(said[decision.model], of_head)
                or _elsewhere(decision, of_head)
            ):
                said[decision.model] = _without_circle(decision, said)
    return [with_parent_of_equal(said[model], said) for model in order]


def _held_below(upper: Subject, lower: Subject, found: Kinship) -> tuple[Subject, Subject]:
    """Two models, the one onto whose names the other is translated first: where most tensors of the one are the other's by name and shape,
    and it holds less of the other than that of it, the other one, as a U-Net holds the encoder of its ControlNets."""
    shapes = lower.sketch.layout
    same = sum(shapes.get(name) == shape for name, shape in upper.sketch.layout.items())
    upper_in_lower, lower_in_upper = (
        (found.there.share, found.back.share) if upper is found.first else (found.back.share, found.there.share)
    )
    held = 2 * same > len(upper.sketch.layout) and upper_in_lower > HOLDS_MORE * lower_in_upper
    return (lower, upper) if held and model_of(lower.id) == lower.id else (upper, lower)


def _followers(heads: Sequence[Kinship], subjects: Sequence[Subject], said: Mapping[str, Decision]) -> list[Kinship]:
    """Models that were said to come from one whose original has now been found: they may come from the original as well."""
    upper, own = heads[0].first, {k.second.id for k in heads}
    following = [
        s
        for s in subjects
        if s is not upper
        and s.id not in own
        and not s.quantized
        and not has_equals(said[s.id])
        and _follows(said[s.id], own)
    ]
    return [found for s in following[:FOLLOWERS] if (found := kinship(upper, s)) is not None]


def _follows(decision: Decision, heads: Collection[str]) -> bool:
    """Whether a decision names one of some models as the parent or a candidate."""
    return not decision.merged_from and not decision.named.isdisjoint(heads)


def _elsewhere(decision: Decision, heads: Collection[str]) -> bool:
    """Whether the most probable parent is none of some models."""
    return decision.likeliest is not None and decision.likeliest not in heads


def _turned_round(name: str, found: Kinship, best: Mapping[str, Kinship]) -> bool:
    """Whether a part is to be translated into the names of a model that is itself translated into those of the part's model."""
    back = best.get(found.first.id)
    return model_of(name) != name and back is not None and back.first.id == model_of(name)


def _without_circle(decision: Decision, said: Mapping[str, Decision]) -> Decision:
    """The decision; undecided where its parent is said to come from the model itself."""
    above, seen = decision.parent, {decision.model}
    while above is not None and above in said and above not in seen:
        seen.add(above)
        above = said[above].parent
    if above != decision.model:
        return decision
    return replace(decision, answer=AnswerKind.UNDECIDED, parent=None, relation=None, decided_by=(), merged_from=())


def _pairs(pairs: Iterable[tuple[Subject, Subject]]) -> list[tuple[Subject, Subject]]:
    """Of pairs of models those with matrices of the same sizes and no backbone in common, those whose sizes agree most first."""
    sizes: dict[str, frozenset[tuple[int, int]]] = {}
    found = []
    for a, b in pairs:
        own, its = (sizes.get(s.id) or sizes.setdefault(s.id, size_keys(s.sketch)) for s in (a, b))
        if own & its and not share_key(a.sketch.signature, b.sketch.signature):
            found.append((len(own & its) / len(own | its), a, b))
    found.sort(key=lambda item: -item[0])
    return [(a, b) for _, a, b in found[:PAIRS]]


def kin_of_other_names(model: Subject, others: Sequence[Subject]) -> list[Subject]:
    """Those of the others that are related to a model and share no backbone with it."""
    return [other for _, other in _pairs((model, other) for other in others) if kinship(model, other) is not None]


def kinship(first: Subject, second: Subject) -> Kinship | None:
    """What two models of other names have in common; None if they are not related."""
    if not look_alike(first.sketch, second.sketch) and not look_alike(second.sketch, first.sketch):
        return None
    there, back = corresponding(first.sketch, second.sketch), corresponding(second.sketch, first.sketch)
    return Kinship(first, second, there, back) if there.kin and back.kin else None


def _decided(
    kin: Sequence[Kinship],
    subjects: Sequence[Subject],
    said: Mapping[str, Decision],
    decide: Decide,
    restrict: Restrict,
    threshold: float,
) -> list[Decision]:
    """New decisions about models with relatives of other names, and about those of these names that had no parent before.

    Args:
        kin: of one model with several, each of which is translated into its names.
    """
    upper = kin[0].first
    parts = parts_of(upper.sketch)
    if not parts:
        return []
    lower = {k.second.id: k for k in kin}
    key = parts[0].backbone.key if len({part.backbone.key for part in parts}) == 1 else None
    here, others = restrict(upper, [s for s in subjects if s is not upper and s.id not in lower], key)
    if len(others) > BESIDE:
        near = {d.model for d in said.values() if upper.id in d.named}
        others = [s for s in others if s.id in near][:BESIDE]
    again = [
        replace(k.second, sketch=translated(k.second.sketch, here.sketch, corresponding(here.sketch, k.second.sketch)))
        for k in kin
    ]
    keep = {k.second.id: keeps_norms(k.second.sketch) for k in kin} | {here.id: keeps_norms(here.sketch)}
    other_norms = [s for s in again if {keep[s.id], keep[here.id]} == {True, False}]
    again = [s for s in again if s not in other_norms]
    together = _in_stages([here, *others, *again], {k.second.id: k for k in kin})
    here = together[0]
    own = decided_in_cohorts(together, decide)
    alike = {s.id: count for s in again if (count := equal_values(s.sketch, here.sketch))}
    if alike:  # which of them came first stays open; the others come from the one whose names they have
        apart = decided_in_cohorts([s for s in together if s.id not in alike], decide)
        apart = {name: _of_own_names(decision, upper.id, alike, said.get(name)) for name, decision in apart.items()}
        own |= {name: _copy(own[name], upper.id, count, 1 / (1 + len(alike))) for name, count in alike.items()}
        own |= {name: decision for name, decision in apart.items() if decision.answer is not AnswerKind.NO_RELATIVES}
        if own[here.id].reason.key == "alone":
            own[here.id] = replace(own[here.id], reason=Reason("same_weights", {"count": len(alike)}))
    keep |= {s.id: keep[here.id] for s in others}
    own |= across_norms([*together, *other_norms], keep, {**said, **own})
    together += [s for s in other_norms if s.id in own]
    changed = []
    dense = [s for s in again if lower[s.id].first_upcycled]
    for subject in together:
        decision, before = own[subject.id], said.get(subject.id)
        other = subject is not here and subject.id not in lower and _other_than_before(decision, before, dense)
        if other and _nearer_to_own(subject, [here, *others], dense):
            continue
        if subject.id in lower:
            changed.append(_translated_decision(decision, lower[subject.id], threshold))
        elif before is not None and before.answer is AnswerKind.PARENT and not before.merged_from:
            if decision.likeliest in lower.keys() - alike.keys():
                changed.append(_with(decision, {"renamed": True}))
        elif before is not None and not before.other_parts:
            if lower.keys() & decision.named:
                if subject is here:
                    for k in kin:
                        decision = _of_part(decision, Kinship(k.second, upper, k.back, k.there))
                changed.append(_with(decision, {"renamed": True}))
            elif (
                before.answer is AnswerKind.NO_RELATIVES
                or subject is here
                or (decision.answer is AnswerKind.PARENT and decision.parent == before.likeliest)
            ):
                changed.append(decision)  # else more was compared among models of its own names
    for k in kin:  # the other way round: the one whose names count is the upcycled one
        if k.first_upcycled:
            changed = [d for d in changed if d.model not in (upper.id, k.second.id)]
            changed.append(_upcycled(own[upper.id], k.second, upper, {"renamed": True}, threshold))
            changed.append(_among_dense(own[k.second.id], {s.id for s in dense}))
    named = {name for d in changed for name in d.named}
    return [d for d in changed if d.answer is not AnswerKind.NO_RELATIVES and (d.model in named or d.named)]


def _other_than_before(decision: Decision, before: Decision | None, dense: Sequence[Subject]) -> bool:
    """Whether a decision about a mixture names one of the dense models that another mixture was made of, and not surely the parent that
    was likeliest before."""
    if before is None or decision.named.isdisjoint(s.id for s in dense):
        return False
    return decision.parent is None or decision.parent != before.likeliest


def _nearer_to_own(subject: Subject, others: Sequence[Subject], dense: Sequence[Subject]) -> bool:
    """Whether a mixture is nearer to another one of its names than to every dense model: two that were made of one dense model apart are
    farther from each other than each is from that. What those of its own names say of it then counts, with all that they have in common
    and no dense model has, such as routers."""
    own = [s for s in others if s.id != subject.id and not s.quantized]
    try:
        away = gram(align([s.sketch for s in (subject, *own, *dense)], torch.device("cpu"))).distances()[0]
    except NotComparable:
        return False
    mixtures, models = away[1 : 1 + len(own)], away[1 + len(own) :]
    return bool(mixtures.numel()) and float(mixtures.min()) < NEARER * float(models.min())


def _among_dense(decision: Decision, dense: Collection[str]) -> Decision:
    """The decision about a dense model beside the mixtures made of it or of a relative: no mixture is its parent, another dense model may
    be."""
    named = tuple(c for c in decision.candidates if c.parent in dense)
    if decision.likeliest in dense and decision.answer in (AnswerKind.PARENT, AnswerKind.UNDECIDED):
        return replace(decision, candidates=named)
    return replace(decision, answer=AnswerKind.ROOT, parent=None, relation=None, candidates=named)


def _in_stages(subjects: Sequence[Subject], kin: Mapping[str, Kinship]) -> list[Subject]:
    """Models under one naming, with what their structure tells of their order: those with fewer layers, and those with experts made of
    another one's layers, are later.

    Args:
        kin: id of each model that was translated -> what it has in common with the first.
    """
    if any(k.first_upcycled for k in kin.values()):
        return [replace(s, stage=0 if s.id in kin else 1) for s in subjects]
    if any(max(k.there.doubled, k.back.doubled) >= UPCYCLED for k in kin.values()):
        return [replace(s, stage=int(s.id in kin and kin[s.id].second_upcycled)) for s in subjects]
    depth = {s.id: _depth(kin[s.id].second if s.id in kin else s) for s in subjects}
    return [replace(s, stage=-depth[s.id] or None) for s in subjects]


def _depth(subject: Subject) -> int:
    """Blocks of a model's only list of blocks; 0 where there is none, or there are several."""
    parts = parts_of(subject.sketch)
    return parts[0].depth[0] if len(parts) == 1 and len(parts[0].depth) == 1 else 0


def _copy(decision: Decision, of: str, values: int, chance: float) -> Decision:
    """The decision about a model that is another one under other names: where neither has a parent, which is the copy stays open."""
    if decision.answer is AnswerKind.PARENT:
        return decision
    others = tuple(c for c in decision.candidates if c.parent != of)
    return replace(
        decision,
        answer=AnswerKind.UNDECIDED,
        probability=chance,
        candidates=(Candidate(of, round(chance, 4)), *others),
        decided_by=(),
        evidence={**decision.evidence, "values_compared": values, "equal_to": of},
        reason=Reason("tie_equal_values", {"values": values}, models={"original": of}),
    )


def _of_own_names(decision: Decision, upper: str, alike: Collection[str], before: Decision | None) -> Decision:
    """A decision that names a model of which there are copies under other names: it names the copy that has the child's names.

    Args:
        alike: the copies; before: what was said of the child among the models of its own names.
    """
    own = [copy for copy in alike if before is not None and copy in before.named]
    if decision.parent != upper or len(own) != 1:
        return decision
    (copy,) = own
    candidates = tuple(replace(c, parent=copy) if c.parent == upper else c for c in decision.candidates)
    return replace(
        decision, parent=copy, candidates=candidates, evidence={**decision.evidence, "nearly_equal": [upper]}
    )


def _translated_decision(decision: Decision, found: Kinship, threshold: float) -> Decision:
    evidence: dict[str, object] = {
        "renamed": True,
        "tensors_matched": len(found.back.places),
        "share_matched": round(found.back.share, 3),
    }
    if found.second_upcycled:
        return _upcycled(decision, found.first, found.second, evidence, threshold)
    decision = _of_part(decision, found)
    if found.first.id in decision.named and (layers := _layers(found)) is not None:
        evidence["layers"] = layers
    return lowered(_with(decision, evidence), max(found.there.share, found.back.share), threshold)


def _of_part(decision: Decision, found: Kinship) -> Decision:
    """The decision about the second of two models, which names the part that it is about; a copy of a part is no copy of the model."""
    part = _part(found) if found.first.id in decision.named else None
    if part is None and model_of(found.second.id) == found.second.id:
        return decision
    copied = decision.relation in (Relation.QUANTIZED_FROM, Relation.COPY_OF)
    relation = Relation.FINE_TUNED_FROM if copied else decision.relation
    named = {"part": part} if part is not None else {}
    return replace(decision, relation=relation, evidence={**decision.evidence, **named})


def _part(found: Kinship) -> str | None:
    """Path of the part of the second model that the first one is; None where it is the greater part of the whole."""
    parts = parts_of(found.second.sketch)
    if len(parts) < 2 or found.back.share >= WHOLE:
        return None
    held = [(sum(name in one.places for name in found.back.places), one.backbone) for one in parts]
    count, most = max(held, key=lambda pair: pair[0])
    return (most.part or ", ".join(most.containers)) if count else None


def _layers(found: Kinship) -> str | None:
    """From which blocks of the first model those of the second come, as `0,2,4`; None where they are the same ones in order."""
    own, its = next(iter(parts_of(found.second.sketch)), None), next(iter(parts_of(found.first.sketch)), None)
    if own is None or its is None or len(own.depth) != 1 or len(its.depth) != 1:
        return None
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for name, there in found.back.places.items():
        if name in own.places:
            table = tables_of(found.first.sketch).by_width[there.table]
            for row in there.place[there.known]:
                place = its.places.get(table.names[int(table.tensor[row])])
                if place is not None:
                    votes[own.places[name].block][place.block] += 1
    to = [votes[block].most_common(1)[0][0] if votes[block] else None for block in range(sum(own.depth))]
    same = len(to) == sum(its.depth) and all(block in (None, place) for place, block in enumerate(to))
    if same or 2 * to.count(None) > len(to):
        return None
    return ",".join("?" if block is None else str(block) for block in to)


def _with(decision: Decision, evidence: Mapping[str, object]) -> Decision:
    return replace(
        decision,
        evidence={**decision.evidence, **evidence},
        reason=decision.reason.and_then(Reason("renamed")),
    )


def _upcycled(
    decision: Decision, dense: Subject, larger: Subject, evidence: Mapping[str, object], threshold: float
) -> Decision:
    """A model that has tensors of another one several times came after it; equal ones are its own, others may be those of one near it."""
    named = decision.likeliest or dense.id
    equal = named == dense.id and "equal_to" in decision.evidence
    has_experts = any(EXPERTS.search(name) or len(shape) > 2 for name, shape in larger.sketch.layout.items())
    chance = UPCYCLED_PROBABILITY if equal else next((c.probability for c in decision.candidates), decision.probability)
    sure = chance >= threshold and (equal or decision.answer is AnswerKind.PARENT)
    return replace(
        decision,
        answer=AnswerKind.PARENT if sure else AnswerKind.UNDECIDED,
        parent=named if sure else None,
        relation=Relation.FINE_TUNED_FROM if sure else None,
        probability=chance,
        candidates=(Candidate(named, round(chance, 4)), *(c for c in decision.candidates if c.parent != named)),
        decided_by=("experts", *(kind for kind in decision.decided_by if kind != "experts")) if sure else (),
        evidence={**decision.evidence, **evidence},
        reason=Reason("upcycled" if has_experts else "repeated", models={"parent": named}),
    )
