"""`lineage who-is-parent`: from the graph, or worked out now for a model that was never crawled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from crawler.cli import endpoint_option
from detect.cli import evidence_options, sketches_folder, sketches_option
from detect.cli_lookup import graph_if_there, hub_at, is_meant
from detect.methods.registry import PLAIN
from graphdb.cli import store_option
from graphdb.schema import Declaration, Failure, Model, Run, Status

if TYPE_CHECKING:
    from detect.cli_lookup import Looked
    from detect.decision import Decision
    from detect.sketch_store import SketchStore
    from graphdb.store import Store
    from queries.parent import ParentAnswer


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

    @property
    def usual(self) -> bool:
        """Whether the graph's own answer is what is asked for: nothing about the evidence is switched."""
        switched = any(value for name, value in self.evidence.items() if name != "method")
        return not switched and self.evidence["method"] == PLAIN


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, whether it is in the graph, and what went wrong where that is all there is to say."""

    answer: ParentAnswer
    stored: bool
    failure: Failure | None = None


@click.command("who-is-parent")
@click.argument("model")
@store_option
@sketches_option
@endpoint_option
@evidence_options
@click.option("--store-it", is_flag=True, help="Keep what is found about a model that is not in the graph yet.")
@click.option("--json", "as_json_wanted", is_flag=True, help="Print JSON.")
def who_is_parent(
    model: str,
    store: str,
    sketches: str | None,
    endpoint: str | None,
    store_it: bool,
    as_json_wanted: bool,
    **evidence: Any,
) -> None:
    """The parent of MODEL: a repository, repository@revision, folder or file.

    Answers from the graph. Of a model that is not there, reads the header and a small sample of the weights and compares it
    with the known models of its architecture.

    Example: lineage who-is-parent openai-community/gpt2
    """
    from queries.answer import as_json, as_text

    question = Question(model, sketches_folder(store, sketches), endpoint, evidence, store_it)
    with graph_if_there(store, create=store_it) as graph:
        found = answer_stored(question, graph) or answer_now(question, graph)
    if as_json_wanted:
        click.echo(json.dumps(as_json(found.answer, found.stored), indent=1))
    elif found.failure is None or found.answer.declared:
        click.echo(as_text(found.answer, found.stored))
    if found.failure:
        raise found.failure
    if found.answer.answer in ("undecided", "unknown"):
        raise click.exceptions.Exit(3)


def answer_stored(question: Question, graph: Store | None) -> Found | None:
    """The graph's answer, or one worked out from the stored sample where the graph has none or other evidence is asked for.

    Returns:
        None if the graph does not know the model with these weights, or could not read it.
    """
    from queries.parent import parent_named

    answer = parent_named(graph, question.name) if graph else None
    if graph is None or answer is None or not is_meant(answer.model, question.name):
        return None
    if question.usual and (found := _said_by_graph(answer)):
        return found
    from detect.cli_lookup import from_graph
    from detect.sketch_store import SketchStore

    sketches = SketchStore(question.sketches)
    looked = from_graph(graph, sketches, answer.model)
    return _compare(question, graph, sketches, looked) if looked else None


def _said_by_graph(answer: ParentAnswer) -> Found | None:
    """What the graph says; None if it never compared the model."""
    if answer.model.status is Status.ADAPTER and answer.answer == "unknown":
        answer = replace(answer, reason="an adapter: its own weights were not compared, only what it declares speaks")
    elif answer.answer == "unknown":
        return None
    return Found(answer, stored=True)


def answer_now(question: Question, graph: Store | None) -> Found:
    """Reads a sample of a model and compares it with what the graph knows.

    Args:
        graph: None where there is none yet: then nothing is known.
    Raises:
        Failure: no such model, or the Hub does not answer.
    """
    from crawler.locate import open_model
    from detect.cli_lookup import read_now, same_weights
    from queries.parent import ParentAnswer, parent_of

    opened = open_model(question.name, lambda: hub_at(question.endpoint))
    if graph and question.usual and (known := same_weights(graph, opened)):
        stored = _said_by_graph(parent_of(graph, known))
        if stored:
            return stored
    unknown = ParentAnswer(opened.model, "unknown", reason=opened.model.reason, declared=opened.declarations)
    if opened.model.status is Status.ADAPTER:
        reason = "an adapter: its own weights were not compared, only what it declares speaks"
        if question.store_it and graph:
            _keep_model(graph, opened.model, opened.declarations)
        return Found(replace(unknown, reason=reason), stored=question.store_it)
    from detect.sketch_store import SketchStore

    sketches = SketchStore(question.sketches)
    try:
        looked = read_now(opened, sketches)
    except Failure as failure:
        if failure.exit_code != 4:
            raise
        return Found(replace(unknown, reason=failure.message), stored=False, failure=failure)
    return _compare(question, graph, sketches, looked)


def _compare(question: Question, graph: Store | None, sketches: SketchStore, looked: Looked) -> Found:
    """The model beside the known ones of its architecture."""
    from detect.align import pick_device
    from detect.cli import options_of
    from detect.cli_graph import declared_bases, originals_claimed, relatives_in, with_claims
    from detect.methods.answers import decide_or_say
    from detect.methods.registry import PLAIN
    from queries.parent import ParentAnswer

    model = looked.model
    keep = question.store_it and not looked.stored
    subject, device = looked.subject(declared_bases(graph, looked.declarations)), pick_device()
    known = relatives_in(graph, sketches, subject, {model.hub_id}, device)
    options = options_of(**question.evidence)
    decision = decide_or_say(options.method, [subject, *known], options, device)[0]
    names = {other.id: other.label for other in known}
    if subject.quantised and options.method == PLAIN:
        originals = originals_claimed(graph, subject, looked.declarations) if options.declared else []
        decision = with_claims(decision, subject, originals, sketches)
        names |= {hub_id: name for hub_id, name, *_ in originals}
    if keep and graph:
        _keep(graph, sketches, looked, decision, options.method)
    if not known and not decision.candidates:
        reason = "no other model of its architecture is known; `lineage sync --search NAME` makes some known"
        unknown = ParentAnswer(model, "unknown", reason=reason, declared=looked.declarations, as_of=datetime.now(UTC))
        return Found(unknown, stored=keep)
    return Found(_as_answer(graph, decision, looked, names, options.method), stored=keep)


def _keep(graph: Store, sketches: SketchStore, looked: Looked, decision: Decision, method: str) -> None:
    """The model, its sample, its claims and what was decided, into the stores.

    Raises:
        KeepsAnother: the graph holds another revision of this model.
    """
    from detect.cli_graph import as_edges

    run_id, began, model = uuid4().hex, datetime.now(UTC), looked.model
    held = graph.model(model.hub_id)
    if held is not None and held.weights_digest not in (None, model.weights_digest):
        raise KeepsAnother(
            f"the graph holds another revision of {model.repo_id}, and one is kept of each model",
            "leave --store-it out; `lineage sync` follows the latest revision",
        )
    sketches.keep(looked.sketch)
    _keep_model(graph, model, looked.declarations)
    parents = (graph.model(candidate.parent) for candidate in decision.candidates)
    revisions = {known.hub_id: known.revision for known in parents if known}
    edges, verdicts = as_edges([decision], {**revisions, model.hub_id: model.revision}, method)
    found = graph.replace_edges([model.hub_id], edges, verdicts, run_id)
    graph.record_run(Run(run_id, "who-is-parent", began, datetime.now(UTC), {"edges_added": found.added}))


def _keep_model(graph: Store, model: Model, claims: Iterable[Declaration]) -> None:
    graph.upsert_models([model])
    graph.upsert_declarations([model.hub_id], claims)
    graph.link_declarations()


def _as_answer(
    graph: Store | None, decision: Decision, looked: Looked, names: dict[str, str], method: str
) -> ParentAnswer:
    from detect.pipeline import METHOD_VERSION
    from queries.agreement import compare_found
    from queries.parent import Candidate, ParentAnswer

    model, parent = looked.model, decision.parent
    parents = [(parent, names[parent])] if parent else []
    agreement = None
    if graph:
        agreement = compare_found(graph, model, looked.declarations, str(decision.answer), parents)
    return ParentAnswer(
        model,
        answer=str(decision.answer),
        parent=names[parent] if parent else None,
        parent_id=parent,
        relation=str(decision.relation) if decision.relation else None,
        probability=decision.probability,
        reason=decision.reason,
        decided_by=decision.decided_by,
        evidence=decision.evidence,
        method=method,
        method_version=METHOD_VERSION,
        runners_up=tuple(
            Candidate(c.parent, names[c.parent], "POSSIBLE_PARENT", c.probability)
            for c in decision.candidates
            if c.parent != parent
        ),
        declared=looked.declarations,
        agreement=agreement,
        as_of=datetime.now(UTC),
    )
