"""`lineage detect`, `lineage scan` and `lineage explain`: sketches or folders in, directed edges out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from graphdb.cli import store_option
from graphdb.schema import Edge, Failure, NoSuchModel, Relation, Run, Status, Verdict

if TYPE_CHECKING:
    from detect.decision import Decision
    from detect.pipeline import Options, Subject
    from detect.report import Scan
    from detect.sketch_store import Sketch, SketchStore
    from graphdb.store import Store

logger = logging.getLogger(__name__)

WORTH_STORING = 0.05  # possible parents less probable than this are not kept
SCAN_BUDGET_VALUES = 1 << 20  # reading from disk is cheap: models up to a million values are compared whole


def sketches_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--sketches DIR`: where the samples of weights lie; by default beside the store."""
    return click.option(
        "--sketches",
        envvar="LINEAGE_SKETCHES",
        metavar="DIR",
        help="Folder of weight samples [env LINEAGE_SKETCHES; default: `sketches` in the store's folder].",
    )(command)


def evidence_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Switches of the kinds of evidence, and the probability below which nothing is asserted."""
    for option in reversed(
        [
            click.option("--no-dates", is_flag=True, help="Leave publication dates out of the evidence."),
            click.option("--no-declared", is_flag=True, help="Leave the claims of cards out of the evidence."),
            click.option(
                "--no-detector", is_flag=True, help="Leave the trained detector out; learning-free evidence only."
            ),
            click.option("--method", default="lineage", metavar="NAME", show_default=True, help="Way of scoring."),
            click.option(
                "--threshold",
                type=click.FloatRange(0.5, 1.0),
                metavar="P",
                help="Assert nothing less probable [default: 0.8].",
            ),
        ]
    ):
        command = option(command)
    return command


def sketches_folder(store_url: str, sketches: str | None) -> Path:
    """The folder asked for, else the one that belongs to the store."""
    if sketches:
        return Path(sketches).expanduser()
    if "://" in store_url:
        return Path("~/.lineage/sketches").expanduser()
    return Path(store_url).expanduser() / "sketches"


def options_of(no_dates: bool, no_declared: bool, no_detector: bool, method: str, threshold: float | None) -> Options:
    from detect.accept import THRESHOLD
    from detect.pipeline import Options

    if method != "lineage":
        raise click.BadParameter(f"there is no method {method!r}; there is: lineage", param_hint="--method")
    return Options(threshold=threshold or THRESHOLD, dates=not no_dates, declared=not no_declared)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@evidence_options
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def scan(folder: Path, device: str | None, json_wanted: bool, **evidence: Any) -> None:
    """Every model under FOLDER -> the directed edges between them. Nothing is stored.

    A model is a `.safetensors` file, or a folder that holds one or a sharded set.

    \b
    lineage scan ./checkpoints
    lineage scan ./checkpoints --json | jq .edges
    """
    from rich.progress import Progress

    from detect.report import as_json, as_tree

    options = options_of(**evidence)
    with Progress(console=stderr_console(), transient=True) as bar:
        found = scan_folder(folder, options, device, bar.track)
    if json_wanted:
        click.echo(json.dumps(as_json(found), indent=1))
    else:
        click.echo("\n".join(as_tree(found)))


def scan_folder(
    folder: Path, options: Options, device: str | None = None, track: Callable[..., Iterable[Any]] | None = None
) -> Scan:
    """Reads and decides about every model under a folder.

    Args:
        track: wraps the iteration over models, to show progress.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from crawler.folder import content_hash, local_models
    from crawler.selection import weights_digest
    from crawler.weights import LocalFile, Weights
    from detect.align import pick_device
    from detect.pipeline import Subject, decide
    from detect.report import Scan, Scanned
    from detect.sketch import plan
    from detect.sketch_store import make_sketch

    subjects: dict[str, list[Subject]] = {}
    scanned, unreadable = [], {}
    models = list(local_models(folder))
    for model in track(models, description="reading") if track else models:
        if not model.files:
            unreadable[model.id] = model.reason or "no weight files"
            continue
        try:
            weights = Weights([LocalFile(path, path.name) for path in model.files])
            digest = weights_digest(content_hash(path) for path in model.files)
            blocks = plan(weights.header, SCAN_BUDGET_VALUES)
            if not blocks:
                raise Failure("none of its numbers can be compared (quantised or unknown formats)")
            sketch = make_sketch(digest, weights.header, weights.read(blocks))
        except Failure as failure:
            unreadable[model.id] = failure.message
            continue
        scanned.append(Scanned(model.id, sketch.signature, digest))
        subjects.setdefault(sketch.signature, []).append(Subject(model.id, sketch))
    if not scanned and not unreadable:
        raise NoSuchModel(f"no model under {folder}", "name a folder that holds .safetensors files")
    decisions = []
    for group in subjects.values():
        decisions += decide(group, options, pick_device(device))
    return Scan(scanned, decisions, unreadable)


def stderr_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


@click.command()
@store_option
@sketches_option
@evidence_options
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@click.option("--json", "json_wanted", is_flag=True, help="Print the summary as JSON.")
def detect(store: str, sketches: str | None, device: str | None, json_wanted: bool, **evidence: Any) -> None:
    """Decide who was trained from whom, from the sketches, into the graph.

    \b
    lineage detect
    lineage detect --no-dates --no-declared --threshold 0.9
    """
    from detect.sketch_store import SketchStore
    from graphdb.store import open_store

    options = options_of(**evidence)
    run_id, started = uuid4().hex, datetime.now(UTC)
    with open_store(store) as graph:
        graph.record_run(Run(run_id, "detect", started))
        summary = detect_into(graph, SketchStore(sketches_folder(store, sketches)), options, run_id, device)
        graph.record_run(Run(run_id, "detect", started, datetime.now(UTC), summary))
    if json_wanted:
        click.echo(json.dumps(summary))
    else:
        click.echo(found_text(summary))


def found_text(summary: Mapping[str, Any]) -> str:
    """What `detect_into` did, in a line for people."""
    return (
        "{models} models of {architectures} architectures compared: {parents} with a parent, {roots} roots, "
        "{undecided} undecided; {edges_added} edges new, {edges_superseded} superseded"
    ).format(**summary)


def detect_into(
    graph: Store, sketches: SketchStore, options: Options, run_id: str, device: str | None = None
) -> dict[str, Any]:
    """Decides about every architecture in the graph and stores what was found. One architecture is in memory at a time.

    Returns:
        Counts: architectures, models, parents, roots, undecided, without_sketch, edges_added, edges_verified,
        edges_superseded; and seconds.
    """
    from detect.align import pick_device
    from detect.decision import Answer
    from detect.pipeline import decide

    began = time.monotonic()
    on = pick_device(device)
    count = dict.fromkeys(
        (
            "architectures",
            "models",
            "parents",
            "roots",
            "undecided",
            "without_sketch",
            "edges_added",
            "edges_verified",
            "edges_superseded",
        ),
        0,
    )
    for signature, _ in list(graph.signatures()):
        subjects, missing = subjects_of(graph, sketches, signature)
        count["without_sketch"] += missing
        if not subjects:
            continue
        decisions = decide(subjects, options, on)
        edges, verdicts = as_edges(decisions)
        found = graph.replace_edges([s.id for s in subjects], edges, verdicts, run_id)
        count["architectures"] += 1
        count["models"] += len(subjects)
        for answer, name in ((Answer.PARENT, "parents"), (Answer.ROOT, "roots"), (Answer.UNDECIDED, "undecided")):
            count[name] += sum(d.answer is answer for d in decisions)
        count["edges_added"] += found.added
        count["edges_verified"] += found.verified
        count["edges_superseded"] += found.superseded
        logger.info(
            "%s: %d models, %d parents", signature, len(subjects), sum(d.answer is Answer.PARENT for d in decisions)
        )
    return {**count, "seconds": round(time.monotonic() - began, 2)}


def subjects_of(graph: Store, sketches: SketchStore, signature: str) -> tuple[list[Subject], int]:
    """The models of one architecture that can be compared, and how many lack their sketch."""
    from detect.pipeline import Subject
    from detect.sketch_store import BadSketch
    from queries import load

    declared: dict[str, set[str]] = {}
    for row in graph.stream(load("declared_pairs").text, {"signature": signature}):
        declared.setdefault(row["child"], set()).add(row["parent"])
    read: dict[str, Sketch] = {}
    subjects, missing = [], 0
    for model in graph.models(signature):
        if model.status is not Status.SKETCHED or model.weights_digest is None:
            continue
        try:
            sketch = read.get(model.weights_digest) or sketches.get(model.weights_digest)
        except BadSketch as error:
            logger.warning("%s: %s", model.repo_id, error.message)
            missing += 1
            continue
        read[model.weights_digest] = sketch
        subjects.append(
            Subject(model.hub_id, sketch, model.created_at, frozenset(declared.get(model.hub_id, ())), model.repo_id)
        )
    return subjects, missing


def as_edges(decisions: Iterable[Decision]) -> tuple[list[Edge], list[Verdict]]:
    """What the graph keeps of decisions: accepted edges, ties as POSSIBLE_PARENT, and a verdict on every model."""
    from detect.decision import Answer
    from detect.pipeline import METHOD, METHOD_VERSION

    edges, verdicts = [], []
    for decision in decisions:
        verdicts.append(Verdict(decision.model, decision.answer, decision.reason, decision.probability))
        if decision.answer is Answer.PARENT and decision.parent and decision.relation:
            edges.append(
                Edge(
                    decision.model,
                    decision.parent,
                    decision.relation,
                    decision.probability,
                    METHOD,
                    METHOD_VERSION,
                    decision.decided_by,
                    decision.evidence,
                )
            )
        edges += [
            Edge(decision.model, c.parent, Relation.POSSIBLE_PARENT, c.probability, METHOD, METHOD_VERSION)
            for c in decision.candidates
            if c.parent != decision.parent and c.probability >= WORTH_STORING
        ]
    return edges, verdicts
