"""`lineage who-is-parent`: from the graph, or worked out now for a model that was never crawled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from crawler.cli import endpoint_option
from detect.cli import evidence_options, sketches_folder, sketches_option
from graphdb.cli import store_option
from graphdb.schema import Declaration, Model, Run

if TYPE_CHECKING:
    from crawler.hub import Hub
    from detect.decision import Decision
    from detect.pipeline import Options
    from detect.sketch_store import SketchStore
    from graphdb.store import Store
    from queries.parent import ParentAnswer


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

    with _graph_if_there(store, create=store_it) as graph:
        answer, stored = stored_answer(graph, model) if graph else None, True
        if answer is None:
            from detect.cli import options_of
            from detect.sketch_store import SketchStore

            sketch_store = SketchStore(sketches_folder(store, sketches))
            answer = answer_now(model, graph, sketch_store, lambda: _hub_at(endpoint), options_of(**evidence), store_it)
            stored = store_it
    click.echo(json.dumps(as_json(answer, stored), indent=1) if as_json_wanted else as_text(answer, stored))
    if answer.answer in ("undecided", "unknown"):
        raise click.exceptions.Exit(3)


def stored_answer(graph: Store, name: str) -> ParentAnswer | None:
    """The graph's answer; None if it does not know the model, knows another revision, or the path holds other weights now."""
    from queries.parent import parent_of
    from queries.resolve import find

    model = find(graph, name)
    if model is None:
        return None
    repo_id, _, revision = name.partition("@")
    if revision and model.revision != revision and model.repo_id.lower() == repo_id.lower():
        return None
    if model.hub_id.startswith("local:") and _digest_now(name) != model.weights_digest:
        return None
    return parent_of(graph, model)


def answer_now(
    name: str, graph: Store | None, sketches: SketchStore, hub: Any, options: Options, store_it: bool
) -> ParentAnswer:
    """Reads a sample of a model and compares it with what the graph knows.

    Args:
        graph: None where there is none yet: then nothing is known.
        hub: makes the Hub, called only if the model is not on disk.
    Raises:
        Failure: no such model, nothing readable in it, the Hub does not answer.
    """
    from crawler.locate import open_model
    from detect.align import pick_device
    from detect.cli import as_edges, subjects_of
    from detect.pipeline import Subject, decide, relatives_of
    from detect.sketch_store import make_sketch
    from graphdb.schema import NoSuchModel, Status
    from queries.parent import ParentAnswer

    opened = open_model(name, hub)
    if opened.model.status is Status.ADAPTER:
        reason = "an adapter: it holds no weights that could be compared with a model's, only its declaration speaks"
        return ParentAnswer(opened.model, "unknown", reason=reason, declared=opened.declarations)
    if opened.weights is None:
        raise NoSuchModel(f"{name}: {opened.model.reason}", "only safetensors files are read")
    blocks = sketches.plan(opened.header)
    if not blocks:
        raise NoSuchModel(f"{name}: none of its numbers can be compared (quantised or unknown formats)")
    sketch = make_sketch(str(opened.model.weights_digest), opened.header, opened.read(blocks))
    model = replace(opened.model, signature=sketch.signature)
    known = subjects_of(graph, sketches, sketch.signature)[0] if graph else []
    known = [subject for subject in known if subject.id != model.hub_id]
    declared = _declared(graph, opened.declarations) if graph else frozenset[str]()
    subject = Subject(model.hub_id, sketch, model.created_at, declared, model.repo_id)
    if not known and not store_it:
        reason = "no model of its architecture is known; crawl some: `lineage sync --search NAME`"
        return ParentAnswer(model, "unknown", reason=reason, declared=opened.declarations)
    device = pick_device()
    decision = decide([subject, *relatives_of(subject, known, device)], options, device)[0]
    if store_it and graph:
        run_id, now = uuid4().hex, datetime.now(UTC)
        sketches.keep(sketch)
        graph.upsert_models([model])
        graph.upsert_declarations([model.hub_id], opened.declarations)
        graph.link_declarations()
        edges, verdicts = as_edges([decision])
        found = graph.replace_edges([model.hub_id], edges, verdicts, run_id)
        graph.record_run(Run(run_id, "who-is-parent", now, datetime.now(UTC), {"edges_added": found.added}))
    return _as_answer(decision, model, {s.id: s.label for s in known}, opened.declarations, declared)


def _as_answer(
    decision: Decision, model: Model, names: dict[str, str], claims: Iterable[Declaration], declared: frozenset[str]
) -> ParentAnswer:
    from detect.pipeline import METHOD, METHOD_VERSION
    from queries.agreement import Agreement, Comparison
    from queries.parent import Candidate, ParentAnswer

    agreement = None
    if declared and decision.parent:
        agrees = decision.parent in declared
        agreement = Comparison(
            model.hub_id,
            model.repo_id,
            Agreement.AGREE if agrees else Agreement.CONTRADICTS,
            "the declared base is the parent found" if agrees else "the weights come from another model",
            tuple(claims),
            (names[decision.parent],),
        )
    runners_up = tuple(
        Candidate(c.parent, names[c.parent], "POSSIBLE_PARENT", c.probability)
        for c in decision.candidates
        if c.parent != decision.parent
    )
    return ParentAnswer(
        model,
        answer=str(decision.answer),
        parent=names.get(decision.parent or ""),
        parent_id=decision.parent,
        relation=str(decision.relation) if decision.relation else None,
        probability=decision.probability,
        reason=decision.reason,
        decided_by=decision.decided_by,
        evidence=decision.evidence,
        method=METHOD,
        method_version=METHOD_VERSION,
        runners_up=runners_up,
        declared=tuple(claims),
        agreement=agreement,
        as_of=datetime.now(UTC),
    )


def _declared(graph: Store, claims: Iterable[Declaration]) -> frozenset[str]:
    found = (graph.model(claim.base) for claim in claims)
    return frozenset(model.hub_id for model in found if model)


def _graph_if_there(url: str, create: bool) -> AbstractContextManager[Store | None]:
    from graphdb.store import open_store

    if "://" not in url and not create and not (Path(url).expanduser() / "graph").exists():
        return nullcontext(None)
    return open_store(url)


def _digest_now(path: str) -> str | None:
    from crawler.folder import content_hash, one_local_model
    from crawler.selection import weights_digest

    files = one_local_model(Path(path).expanduser()).files
    return weights_digest(map(content_hash, files))


def _hub_at(endpoint: str | None) -> Hub:
    from crawler.hub import Hub

    return Hub(endpoint)
