"""What `lineage verify` checks: models of the graph, models read now, and every model under a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import MAIN_PARTS, Failure, NoSuchModel, Relation, real_path
from lineage.pages.graph_relatives import GraphRelatives
from lineage.pages.graph_source import members
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.scan_source import ScannedFamilies, same_model, scanned
from lineage.pages.scanned_claims import ClaimMeasures
from lineage.pages.sheet import Licence, Sheet
from lineage.queries.claim_check import Kin
from lineage.queries.kinship import ClaimedKin, ParentEdge, kinship
from lineage.queries.licences import judge
from lineage.queries.resolve import find
from lineage.queries.same_weights import same_weights
from lineage.queries.walk import AncestorEdges, ancestors
from lineage.verify.checks import (
    Check,
    ModelChecked,
    Outcome,
    check_declared,
    check_origin,
    check_parent,
    check_quantized,
)
from lineage.verify.policy import Policy, check_licences

if TYPE_CHECKING:
    from lineage.answering import Question
    from lineage.graphdb.store import Store
    from lineage.queries.claim_check import Comparison


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to be checked.

    Attributes:
        declared, origin: whether these checks are made. parent, quantized_from: models that are named; None without.
    """

    declared: bool
    origin: bool
    parent: str | None
    quantized_from: str | None
    policy: Policy | None


def verify_parts(question: Question, graph: Store | None, expected: Expectation) -> list[Check]:
    """The checks of the models of a repository of several of which none is the main one; empty for all others."""
    from lineage.answering import claims_of_parts

    return [
        check
        for claims in claims_of_parts(question.name, graph)
        for check in verify_model(replace(question, name=claims.hub_id), graph, expected, claims=claims)
    ]


def verify_model(
    question: Question,
    graph: Store | None,
    expected: Expectation,
    place: str | None = None,
    claims: Comparison | None = None,
) -> list[Check]:
    """The checks of one model.

    Args:
        question: as `who-is-parent` asks. place: file or folder that findings point to. claims: of its repository, beside its weights.
    Raises:
        Failure: the model does not exist, or an expected one does not.
    """
    from lineage.report.gather import sheet_of_question

    sheet = sheet_of_question(question, graph)
    subject = _subject(sheet, graph, place)
    if claims is not None:
        said = str(claims.agreement) if claims.agreement else None
        member = replace(subject.member, claims=claims.declared, outcome=said, outcome_reason=claims.reason)
        subject = replace(subject, member=member)
    checks = [check_origin(subject)] if expected.origin else []
    checks += [check_declared(subject)] if expected.declared else []
    for wanted, check in ((expected.parent, check_parent), (expected.quantized_from, check_quantized)):
        if wanted is not None:
            checks.append(_beside(question, graph, subject, wanted, check))
    if expected.policy is not None:
        checks += check_licences(subject, sheet.licences, expected.policy)
    return checks


def _subject(sheet: Sheet, graph: Store | None, place: str | None) -> ModelChecked:
    facts = dict(sheet.facts)
    above: list[str] = []
    for edge in sheet.parents if graph else ():
        above += [edge.parent, *(relative.hub_id for relative in ancestors(graph, edge.parent))]  # type: ignore[arg-type]
    missing = set(above) - set(facts)
    if graph and missing:
        facts |= {member.id: member for member in members(graph, missing)}
    copied = _of_copied(sheet.parents, GraphRelatives(graph).parents) if graph else ()
    return ModelChecked(sheet.member, sheet.parents, sheet.possible, tuple(above), facts, {}, copied, place)


def _of_copied(
    parents: Sequence[EdgeFacts], parents_of: Callable[[Collection[str]], Sequence[EdgeFacts]]
) -> tuple[EdgeFacts, ...]:
    """Edges above the models of which another one is a copy, through copies of copies."""
    found: list[EdgeFacts] = []
    seen = set[str]()
    while copied := [e.parent for e in parents if e.relation == Relation.COPY_OF and e.parent not in seen]:
        seen.update(copied)
        parents = parents_of(copied)
        found += parents
    return tuple(edge for edge in found if edge.relation != Relation.COPY_OF)


def _beside(
    question: Question,
    graph: Store | None,
    subject: ModelChecked,
    wanted: str,
    check: Callable[[ModelChecked, str, str], Check],
) -> Check:
    """A check of a parent that is named: as the graph knows it, else read now and weighed with all that is known."""
    known = find(graph, wanted) if graph else None
    if known is not None and graph is not None:
        copies = same_weights(graph, known.hub_id)
        related = dict.fromkeys(copies, copies)
        near = {subject.member.id, *subject.above, *(e.parent for e in (*subject.parents, *subject.of_copied))}
        for model in near - copies:  # two models may both be said to equal a third one
            if not (own := same_weights(graph, model)).isdisjoint(copies):
                related[model] = own | copies
        kin = Kin(graph, AncestorEdges(graph))
        if any(kin.beside(o, known.hub_id, ()) is not ClaimedKin.STRANGER for o in subject.member.started_with):
            subject = replace(subject, member=replace(subject.member, started_with=(known.hub_id,)))
        facts = {**subject.facts, **{m.id: m for m in members(graph, copies | {known.hub_id})}}
        return check(replace(subject, same_as=related, facts=facts), known.hub_id, wanted)
    return check(*_weighed(question, graph, subject, wanted), wanted)


def _weighed(question: Question, graph: Store | None, subject: ModelChecked, wanted: str) -> tuple[ModelChecked, str]:
    """The model decided about again, with one more candidate that the graph does not know.

    Raises:
        Failure: the candidate does not exist or cannot be read; where both cannot be compared, the answer is undecided.
    """
    from lineage.detect.common_starts import models_of, starts_in
    from lineage.detect.sketch_store import SketchStore
    from lineage.evidence import options_of
    from lineage.explaining import CannotCompare, explain_pair
    from lineage.reading import hub_at, look_up

    sketches = SketchStore(question.sketches)
    looked = [look_up(name, graph, sketches, lambda: hub_at(question.endpoint)) for name in (question.name, wanted)]
    child, parent = looked
    expected = parent.model.hub_id
    if child.model.weights_digest == parent.model.weights_digest:
        same = {subject.member.id: frozenset({expected}), expected: frozenset({subject.member.id})}
        return replace(subject, same_as=same), expected
    try:
        found = explain_pair((child, question.name), (parent, wanted), graph, sketches, options_of(**question.evidence))
    except CannotCompare as error:
        member = replace(subject.member, answer="undecided", reason=error.message.removeprefix("cannot tell: "))
        return replace(subject, member=member, parents=(), possible=()), expected
    decision = found.decision
    names = {i: Member(i, name) for i, name in found.names.items()}
    names[found.parent] = Member(found.parent, wanted, architecture=parent.model.signature)
    parents = tuple(
        EdgeFacts(
            decision.model,
            model,
            str(decision.relation or Relation.FINE_TUNED_FROM),
            decision.probability,
            tuple(decision.decided_by),
            share=share,
            evidence=decision.evidence,
        )
        for model, share in decision.parents
    )
    possible = tuple(
        EdgeFacts(decision.model, c.parent, str(Relation.POSSIBLE_PARENT), c.probability)
        for c in decision.candidates
        if c.parent not in {edge.parent for edge in parents}
    )
    member = replace(
        subject.member,
        architecture=child.model.signature,
        answer=str(decision.answer),
        probability=decision.probability,
        reason=decision.reason.text(found.names.get),
        started_with=tuple(model for clause in starts_in(decision) for model in models_of(clause)),
    )
    facts = {**names, **subject.facts}
    return replace(subject, member=member, parents=parents, possible=possible, facts=facts), found.parent


def verify_folder(
    folder: Path,
    ask: Callable[[str], Question],
    graph: Store | None,
    expected: Expectation,
    options: Any,
    track: Any,
) -> tuple[list[Check], Mapping[str, str]]:
    """The checks of every model under a folder, and where each lies.

    Models are compared with each other; where that cannot settle a check, with what the graph knows as well.

    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from lineage.crawler.folder import local_models
    from lineage.crawler.passed_over import no_model_under
    from lineage.crawler.pipeline_components import PIPELINE
    from lineage.detect.report import as_json, ties
    from lineage.report.folder import cards_under
    from lineage.scanning import scan_with_samples
    from lineage.verify.claim_samples import SampledClaims

    there = list(local_models(folder))
    models = [model for model in there if model.files]
    places = {model.id: str(model.path) for model in models}
    if not models:
        for model in there:
            if model.reason:
                name = f"{model.id}: " if model.id != "." else ""
                raise NoSuchModel(f"no model under {folder} can be read: {name}{model.reason}")
        raise no_model_under(folder)
    main = [model for part in MAIN_PARTS for model in models if model.folder == folder / part]
    of_pipeline = (folder / PIPELINE).is_file() and (expected.parent or expected.quantized_from)
    if len(models) == 1 or (main and of_pipeline):
        only = main[0] if main else models[0]
        name = only.id if only.id != "." else real_path(folder).name
        found_of_it = verify_model(ask(str(only.path)), graph, expected, str(only.path))
        return [replace(check, model=name) for check in found_of_it], {**places, name: str(only.path)}
    scan, samples = scan_with_samples(folder, options, track=track)
    measures = SampledClaims(samples)
    found = scanned(as_json(scan), cards_under(folder), ties(scan), measures)
    checks = []
    for name in sorted(found.members):
        own = _within(found, name, expected, measures)
        if graph is not None and any(check.outcome is Outcome.CANNOT_TELL for check in own):
            own = _better(own, _outside(ask(places.get(name, str(folder / name))), graph, expected, name))
        checks += own
    checks += [
        Check("origin", name, Outcome.CANNOT_TELL, f"it could not be read: {reason}")
        for name, reason in found.unreadable
    ]
    return checks, places


def _within(found: ScannedFamilies, name: str, expected: Expectation, measures: ClaimMeasures) -> list[Check]:
    """The checks of one model by the scan alone."""
    parents = tuple(edge for edge in found.edges if edge.child == name)
    possible = tuple(edge for edge in found.possible if edge.child == name)
    above = _above(found, name)
    same: dict[str, frozenset[str]] = {}
    for member in found.members.values():
        equal = frozenset(i for i, other in found.members.items() if other.digest == member.digest)
        same[member.id] = equal
    copied = _of_copied(parents, lambda models: [edge for edge in found.edges if edge.child in models])
    subject = ModelChecked(found.members[name], parents, possible, above, found.members, same, copied)
    checks = [check_origin(subject)] if expected.origin else []
    checks += [check_declared(subject)] if expected.declared else []
    for rule, wanted, check in (
        ("parent", expected.parent, check_parent),
        ("quantized-from", expected.quantized_from, check_quantized),
    ):
        if wanted is None:
            continue
        model = same_model(wanted, found.members)
        if model == name:
            continue  # the expected parent itself is not expected to come from itself
        if model is None:
            checks.append(
                Check(rule, name, Outcome.CANNOT_TELL, f"{wanted} is not in this folder, and no graph knows it")
            )
        else:
            if not parents and _strangers(found, name, model) and measures.related(name, model):
                subject = replace(subject, member=replace(subject.member, started_with=(model,)))
            checks.append(check(subject, model, wanted))
    if expected.policy is not None:
        own = found.members[name].license
        chain = [Licence(name, 0, own, "own", "")]
        chain += [
            Licence(i, d, found.members[i].license, *judge(own, found.members[i].license))
            for d, i in enumerate(above, 1)
        ]
        checks += check_licences(subject, chain, expected.policy)
    return checks


def _strangers(found: ScannedFamilies, one: str, other: str) -> bool:
    """Whether no edge, possible ones included, puts two models into one family."""
    up: dict[str, list[ParentEdge]] = {}
    for edge in (*found.edges, *found.possible):
        up.setdefault(edge.child, []).append(ParentEdge(edge.parent, edge.relation, edge.probability or 0.0))
    return kinship(one, other, frozenset(), lambda model: up.get(model, ())) is ClaimedKin.STRANGER


def _above(found: ScannedFamilies, name: str) -> tuple[str, ...]:
    reached = dict.fromkeys([name])
    waiting = [name]
    while waiting:
        at = waiting.pop(0)
        for edge in found.edges:
            if edge.child == at and edge.parent not in reached:
                reached[edge.parent] = None
                waiting.append(edge.parent)
    return tuple(i for i in reached if i != name)


def _outside(question: Question, graph: Store, expected: Expectation, name: str) -> Sequence[Check]:
    """The checks of one model of a folder by the graph."""
    try:
        return [replace(check, model=name) for check in verify_model(question, graph, expected)]
    except Failure as failure:
        return [Check("origin", name, Outcome.CANNOT_TELL, failure.message)]


def _better(within: Sequence[Check], outside: Sequence[Check]) -> list[Check]:
    """Of each rule the finding that tells something."""
    decided = {check.rule: check for check in outside if check.outcome is not Outcome.CANNOT_TELL}
    return [decided.get(check.rule, check) if check.outcome is Outcome.CANNOT_TELL else check for check in within]
