"""The parent of one model: from the graph, or worked out now for a model that was never crawled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lineage.among import Among, among
from lineage.answer import ADAPTER, NO_RELATIVES, Answer, from_decision, from_rows
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Declaration, Failure, Model, Relation, Run, Status
from lineage.reading import hub_at, is_meant

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.graphdb.store import Store
    from lineage.queries.claim_check import Comparison
    from lineage.reading import Reading


class KeepsAnother(Failure):
    """`--store-it` for a revision of a model of which the graph holds another one."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and with what.

    Attributes:
        evidence: options of `evidence_options`; store_it: keep what is found.
    """

    name: str
    sketches: Path | str
    endpoint: str | None
    evidence: dict[str, Any]
    store_it: bool
    among: Path | None = None

    @property
    def usual(self) -> bool:
        """Whether the graph's own answer is what is asked for: nothing about the evidence is switched."""
        switched = any(value for name, value in self.evidence.items() if name != "method")
        return not switched and self.evidence["method"] == PLAIN and self.among is None


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer, whether it is in the graph, and what went wrong where that is all there is to say."""

    answer: Answer
    stored: bool
    failure: Failure | None = None


def answer_stored(question: Question, graph: Store | None) -> FoundAnswer | None:
    """The graph's answer, or one worked out from the stored sample where the graph has none or other evidence is asked for.

    Returns:
        None if the graph does not know the model with these weights, or could not read it.
    """
    from lineage.queries.parent_query import parent_named

    rows = parent_named(graph, question.name) if graph else None
    if graph is None or rows is None or not is_meant(rows.model, question.name):
        return None
    answer = from_rows(rows)
    if question.usual and (found := _said_by_graph(answer)):
        return found
    from lineage.detect.sketch_store import SketchStore
    from lineage.reading import from_graph

    sketches = SketchStore(question.sketches)
    looked = from_graph(graph, sketches, answer.model)
    if answer.model.status is Status.ADAPTER and (looked or answer.model.weights_digest is None):
        sketch = looked.sketch if looked else None
        return _of_adapter(question, graph, sketches, answer.model, answer.declared, sketch, stored=True)
    return _compare(question, graph, sketches, looked) if looked else None


def claims_of_parts(name: str, graph: Store | None) -> list[Comparison]:
    """What the models of a repository of several, of which none is the main one, claim beside their weights; empty for all others."""
    from lineage.queries.claim_check import compare_parts
    from lineage.queries.pipelines import parts_of
    from lineage.reading import stored_model

    whole = stored_model(graph, name)
    if graph is None or whole is None or not (parts := parts_of(graph, whole)):
        return []
    return compare_parts(graph, whole, parts)


def answer_parts(question: Question, graph: Store | None) -> list[FoundAnswer]:
    """The answers for the models of a repository of several of which none is the main one; empty for all others."""
    answers = []
    for claims in claims_of_parts(question.name, graph):
        found = answer_stored(replace(question, name=claims.hub_id), graph)
        if found is not None:
            own = replace(found.answer, declared=claims.declared, agreement=claims)
            answers.append(found if found.answer.declared else replace(found, answer=own))
    return answers


def _said_by_graph(answer: Answer) -> FoundAnswer | None:
    """What the graph says; None if it never compared the model."""
    return None if answer.answer == "unknown" and answer.as_of is None else FoundAnswer(answer, stored=True)


def answer_now(question: Question, graph: Store | None) -> FoundAnswer:
    """Reads a sample of a model and compares it with what the graph knows.

    Args:
        graph: None where it does not exist yet: then nothing is known.
    Raises:
        Failure: no such model, or the Hub does not answer.
    """
    from lineage.crawler.open_model import open_model
    from lineage.queries.parent_query import parent_of
    from lineage.reading import read_now, same_weights

    opened = open_model(question.name, lambda: hub_at(question.endpoint))
    if graph and question.usual and (known := same_weights(graph, opened)):
        stored = _said_by_graph(from_rows(parent_of(graph, known)))
        if stored:
            return stored
    unknown = Answer(opened.model, "unknown", reason=opened.model.reason, declared=opened.declarations)
    from lineage.detect.sketch_store import SketchStore

    sketches = SketchStore(question.sketches)
    if opened.model.status is Status.ADAPTER:
        return _of_adapter(question, graph, sketches, opened.model, opened.declarations, None, stored=False)
    try:
        looked = read_now(opened, sketches.budget_values)
    except Failure as failure:
        if failure.exit_code != 4:
            raise
        return FoundAnswer(replace(unknown, reason=failure.message), stored=False, failure=failure)
    if looked.model.status is Status.ADAPTER:
        return _of_adapter(question, graph, sketches, looked.model, looked.declarations, looked.sketch, stored=False)
    return _compare(question, graph, sketches, looked)


def _of_adapter(
    question: Question,
    graph: Store | None,
    sketches: SketchStore,
    model: Model,
    claims: tuple[Declaration, ...],
    sketch: Sketch | None,
    stored: bool,
) -> FoundAnswer:
    """An adapter beside the known models.

    Args:
        sketch: None where its tensors are not read; stored: it is in the graph.
    """
    from lineage.adapters import Adapter, decide_about_adapter
    from lineage.detect.method_version import method_version
    from lineage.evidence import options_of
    from lineage.queries.claim_check import compare_adapter
    from lineage.surroundings import around_adapter

    options, keep = options_of(**question.evidence), question.store_it and not stored
    if options.method != PLAIN:
        return FoundAnswer(Answer(model, "unknown", reason=ADAPTER, declared=claims), stored=False)
    around = around_adapter(graph, sketches, question.among, model, by_path=not keep)
    found = decide_about_adapter(Adapter(model.hub_id, model.repo_id, sketch, claims), around, options)
    if keep and graph:
        _keep(graph, sketches, model, claims, sketch, found.decision, options)
    decision, agreement = found.decision, None
    parents = [(parent, found.names[parent]) for parent, _ in decision.parents]
    if graph and all(graph.model(parent) is not None for parent, _ in parents):
        agreement = _agreement(graph, model, claims, decision, parents)
    elif claims:
        agreement = compare_adapter(model, claims, str(decision.answer), parents, decision.reason.as_json())
    answer = from_decision(
        decision,
        model,
        found.names,
        method=options.method,
        method_version=method_version(options.method, options.settings),
        declared=claims,
        agreement=agreement,
    )
    return FoundAnswer(answer, stored=keep)


def _agreement(
    graph: Store,
    model: Model,
    claims: tuple[Declaration, ...],
    decision: Decision,
    parents: Sequence[tuple[str, str]],
) -> Comparison:
    """What a model claims beside what was decided about it just now."""
    from lineage.queries.claim_check import compare_found
    from lineage.queries.kinship import ParentEdge

    relation = str(decision.relation or Relation.FINE_TUNED_FROM)
    edge = ParentEdge(parents[0][0], relation, decision.probability) if parents else None
    return compare_found(graph, model, claims, str(decision.answer), parents, edge, decision.reason.as_json())


def _compare(question: Question, graph: Store | None, sketches: SketchStore, looked: Reading) -> FoundAnswer:
    """The model beside the known ones of its architecture."""
    from lineage.deciding import with_claims
    from lineage.detect.computing import computing
    from lineage.detect.equal_parts import among_equals
    from lineage.detect.group_decisions import decide_about, decide_groups
    from lineage.detect.method_version import method_version
    from lineage.detect.methods.registry import PLAIN
    from lineage.detect.methods.to_decisions import decide_or_say
    from lineage.detection import declared_bases, originals_claimed, relatives_in
    from lineage.evidence import options_of
    from lineage.other_names import OtherNames

    model = looked.model
    keep = question.store_it and not looked.stored
    options = options_of(**question.evidence)
    beside = among(question.among, looked) if question.among is not None else Among()
    claimed = beside.declared or declared_bases(graph, looked.declarations, looked.model.repo_id)
    subject = looked.subject(claimed, beside.name)
    in_graph = list(relatives_in(graph, sketches, subject, {model.hub_id}, None))
    known = [*in_graph, *beside.others]
    threshold = options.threshold if options.method == PLAIN else None

    def decided() -> Decision:
        with computing([s.sketch for s in (subject, *known)], options) as on:

            def decide(some: Sequence[Subject]) -> list[Decision]:
                return decide_or_say(options.method, some, options, on)

            if beside.others and threshold is not None:
                together = [*beside.before, subject, *beside.after, *in_graph]
                return among_equals(subject.id, decide_groups(together, decide, threshold))
            return decide_about(subject, known, decide, threshold)

    decision = decided()
    open_part = decision.parent is None or "part" in decision.evidence
    if graph is not None and options.method == PLAIN and open_part and not subject.sketch.packs_weights:
        at_hand = {other.id for other in known}
        if around := [s for s in OtherNames(graph, sketches, options).around(subject) if s.id not in at_hand]:
            in_graph += around
            known += around
            decision = decided()
    names = {other.id: other.label for other in (subject, *known)}
    if subject.quantized and options.method == PLAIN:
        originals = originals_claimed(graph, subject, looked.declarations) if options.declared else []
        decision = with_claims(decision, subject, originals, sketches)
        names |= {hub_id: name for hub_id, name, *_ in originals}
    if keep and graph:
        _keep(graph, sketches, model, looked.declarations, looked.sketch, decision, options)
    if not known and not decision.candidates:
        unknown = Answer(
            model, "no_relatives", reason=NO_RELATIVES, declared=looked.declarations, as_of=datetime.now(UTC)
        )
        return FoundAnswer(unknown, stored=keep)
    agreement = None
    if graph:
        parents = [(parent, names[parent]) for parent, _ in decision.parents]
        agreement = _agreement(graph, model, looked.declarations, decision, parents)
    answer = from_decision(
        decision,
        model,
        names,
        method=options.method,
        method_version=method_version(options.method, options.settings),
        declared=looked.declarations,
        agreement=agreement,
    )
    return FoundAnswer(answer, stored=keep)


def _keep(
    graph: Store,
    sketches: SketchStore,
    model: Model,
    claims: Iterable[Declaration],
    sketch: Sketch | None,
    decision: Decision,
    options: Options,
) -> None:
    """The model, its sample, its claims and what was decided, into the stores.

    Raises:
        KeepsAnother: the graph holds another revision of this model.
    """
    from lineage.detection import as_edges

    run_id, began = uuid4().hex, datetime.now(UTC)
    held = graph.model(model.hub_id)
    if held is not None and held.weights_digest not in (None, model.weights_digest):
        raise KeepsAnother(
            f"the graph holds another revision of {model.repo_id}, and one is kept of each model",
            "leave --store-it out; `lineage sync` follows the latest revision",
        )
    if sketch is not None:
        sketches.keep(sketch)
    _keep_model(graph, model, claims)
    parents = (graph.model(candidate.parent) for candidate in decision.candidates)
    revisions = {known.hub_id: known.revision for known in parents if known}
    edges, verdicts = as_edges([decision], options, {**revisions, model.hub_id: model.revision})
    found = graph.replace_edges([model.hub_id], edges, verdicts, run_id)
    graph.record_run(Run(run_id, "who-is-parent", began, datetime.now(UTC), {"edges_added": found.added}))


def _keep_model(graph: Store, model: Model, claims: Iterable[Declaration]) -> None:
    graph.upsert_models([model])
    graph.upsert_declarations([model.hub_id], claims)
    graph.link_declarations()
