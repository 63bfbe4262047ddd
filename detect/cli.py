"""`lineage detect` and `lineage scan`: sketches or a folder in, directed edges out. And the options that others share with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from detect.methods.registry import METHODS, PLAIN
from graphdb.cli import store_option
from graphdb.schema import Failure, NoSuchModel, Run

if TYPE_CHECKING:
    from detect.methods.registry import Given
    from detect.report import Scan, Scanned
    from detect.subject import Options, Subject

SCAN_BUDGET_VALUES = 1 << 20  # reading from disk is cheap: models up to a million values are compared whole


def sketches_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--sketches DIR`: where the samples of weights lie; by default beside the store."""
    return click.option(
        "--sketches",
        envvar="LINEAGE_SKETCHES",
        metavar="DIR",
        help="Folder of weight samples, or an address like s3://bucket/folder [env LINEAGE_SKETCHES; default: `sketches` in "
        "the store's folder].",
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
            click.option(
                "--method",
                type=click.Choice([method.name for method in METHODS]),
                default=PLAIN,
                metavar="NAME",
                show_default=True,
                help="Who decides: lineage, or a published method; `lineage methods` lists them.",
            ),
            click.option(
                "--method-option",
                multiple=True,
                metavar="KEY=VALUE",
                help="An option of the method, as `lineage methods` lists them; may be given several times.",
            ),
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


def sketches_folder(store_url: str, sketches: str | None) -> Path | str:
    """The folder or address asked for, else the folder that belongs to the store."""
    if sketches and "://" in sketches.removeprefix("file://"):
        return sketches
    if sketches:
        return Path(sketches.removeprefix("file://")).expanduser()
    if "://" in store_url:
        return Path("~/.lineage/sketches").expanduser()
    return Path(store_url).expanduser() / "sketches"


def state_folder(store_url: str, sketches: str | None) -> Path:
    """A folder on this disk for what a crawl remembers: that of the samples, or where they lie elsewhere, the store's own."""
    folder = sketches_folder(store_url, sketches)
    return folder if isinstance(folder, Path) else Path(sketches_folder(store_url, None))


def options_of(
    no_dates: bool,
    no_declared: bool,
    no_detector: bool,
    method: str,
    threshold: float | None,
    method_option: Iterable[str] = (),
) -> Options:
    """The evidence options as detection takes them.

    Raises:
        BadSetting: an option that is not KEY=VALUE, or that the method does not know.
    """
    from detect.accept import THRESHOLD
    from detect.methods.registry import read_settings
    from detect.subject import Options

    settings = read_settings(method, method_option)
    return Options(
        threshold or THRESHOLD, not no_dates, not no_declared, not no_detector, method=method, settings=settings
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@evidence_options
@click.option(
    "--forward",
    metavar="MODULE:FUNCTION",
    help="Your function that runs a model, for methods that need forward passes.",
)
@click.option(
    "--batch",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Inputs for such methods: a .safetensors file whose tensors the function takes.",
)
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def scan(
    folder: Path, forward: str | None, batch: Path | None, device: str | None, json_wanted: bool, **evidence: Any
) -> None:
    """Every model under FOLDER -> the directed edges between them. Nothing is stored.

    A model is a `.safetensors` file, or a folder that holds one or a sharded set.

    \b
    lineage scan ./checkpoints
    lineage scan ./checkpoints --json | jq .edges
    lineage scan ./checkpoints --method np-kmeans --method-option alpha=0.5 --method-option clusters=3
    """
    from detect.cli_methods import given_for
    from detect.report import as_json, as_tree

    options, on = options_of(**evidence), checked_device(device)
    given = given_for(folder, forward, batch)
    with reading_shown() as track:
        found = scan_folder(folder, options, on, track, given)
    click.echo(json.dumps(as_json(found), indent=1) if json_wanted else "\n".join(as_tree(found)))
    if not found.models:
        raise NoSuchModel(f"nothing under {folder} can be read", "only .safetensors files are read, pickles never are")


def scan_folder(
    folder: Path,
    options: Options,
    device: str | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models,
    given: Given | None = None,
) -> Scan:
    """Reads and decides about every model under a folder.

    Args:
        track: wraps the models to be read, to show progress.
        given: what a method that looks beyond weights works with.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
        CannotTake: all models are of one architecture, and the method cannot work on them.
    """
    from detect.align import pick_device
    from detect.methods.answers import decide_or_say
    from detect.methods.registry import decide_with
    from detect.report import Scan

    subjects, scanned, unreadable = read_folder(folder, track)
    decisions = []
    decide = decide_with if len(subjects) == 1 else decide_or_say
    for group in subjects.values():
        decisions += decide(options.method, group, options, pick_device(device), given)
    return Scan(scanned, decisions, unreadable)


def read_folder(
    folder: Path, track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models
) -> tuple[dict[str, list[Subject]], list[Scanned], dict[str, str]]:
    """Every model under a folder.

    Returns:
        The subjects by signature, what was read, and id -> reason of what could not be read.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from crawler.folder import local_models
    from crawler.locate import locate_local
    from detect.cli_lookup import plan_of
    from detect.report import Scanned
    from detect.sketch_store import make_sketch
    from detect.subject import Subject

    subjects: dict[str, list[Subject]] = {}
    scanned, unreadable = [], {}
    for model in track(list(local_models(folder))):
        if not model.files:
            unreadable[model.id] = model.reason or "no weight files"
            continue
        try:
            opened = locate_local(model)
            digest = str(opened.model.weights_digest)
            blocks = plan_of(opened.header, SCAN_BUDGET_VALUES)
            sketch = make_sketch(digest, opened.header, opened.read(blocks))
        except Failure as failure:
            unreadable[model.id] = failure.message
            continue
        scanned.append(Scanned(model.id, sketch.signature, digest))
        subjects.setdefault(sketch.signature, []).append(Subject(model.id, sketch, quantised=opened.model.quantised))
    if not scanned and not unreadable:
        raise NoSuchModel(f"no model under {folder}", "name a folder that holds .safetensors files")
    return subjects, scanned, unreadable


@contextmanager
def reading_shown() -> Iterator[Callable[[Iterable[Any]], Iterable[Any]]]:
    """A bar on a terminal, nothing elsewhere; gives the function that `scan_folder` takes as `track`."""
    if not sys.stderr.isatty():
        yield lambda models: models
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield lambda models: bar.track(models, description="reading")


def checked_device(name: str | None) -> str | None:
    """
    Raises:
        click.BadParameter: there is no such device here.
    """
    if name is not None:
        import torch

        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError):
            raise click.BadParameter(f"there is no device {name!r} here", param_hint="--device") from None
    return name


@click.command()
@store_option
@sketches_option
@evidence_options
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@click.option("--all", "everything", is_flag=True, help="Also architectures in which nothing changed since last time.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the summary as JSON.")
def detect(
    store: str, sketches: str | None, device: str | None, everything: bool, json_wanted: bool, **evidence: Any
) -> None:
    """Decide who was trained from whom, from the sketches, into the graph.

    \b
    lineage detect
    lineage detect --no-dates --no-declared --threshold 0.9
    lineage detect --sketches s3://bucket/sketches --store bolt://graph:7687
    """
    from detect.cli_graph import detect_into, found_text
    from detect.sketch_store import SketchStore
    from graphdb.store import open_store

    options, on = options_of(**evidence), checked_device(device)
    run_id, started = uuid4().hex, datetime.now(UTC)
    with open_store(store) as graph:
        graph.record_run(Run(run_id, "detect", started))
        kept = SketchStore(sketches_folder(store, sketches))
        summary = detect_into(graph, kept, options, run_id, on, everything=everything)
        graph.record_run(Run(run_id, "detect", started, datetime.now(UTC), summary))
    if json_wanted:
        click.echo(json.dumps(summary))
    else:
        click.echo(found_text(summary))
