"""`lineage scan`: a folder in, the directed edges between its models out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.hints import hint
from lineage.commands.options import checked_device, evidence_options
from lineage.commands.outputs import draw_or_none, drawn_options
from lineage.evidence import options_of
from lineage.graphdb.schema import NoSuchModel
from lineage.scanning import scan_folder

if TYPE_CHECKING:
    from lineage.pages.figures import Figure


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
@drawn_options
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def scan(
    folder: Path,
    forward: str | None,
    batch: Path | None,
    device: str | None,
    drawn: str,
    output: Path | None,
    json_wanted: bool,
    **evidence: Any,
) -> None:
    """Every model under FOLDER -> the directed edges between them. Nothing is stored.

    A model is a file of weights (safetensors, PyTorch, GGUF, ONNX), or a folder that holds one or a sharded set.

    \b
    lineage scan ./checkpoints
    lineage scan ./checkpoints --json | jq .edges
    lineage scan ./checkpoints -o families.html
    lineage scan ./checkpoints --method np-kmeans --method-option alpha=0.5 --method-option clusters=3
    """
    from lineage.commands.methods import given_for
    from lineage.crawler.passed_over import READ_KINDS
    from lineage.detect.report import as_json, as_tree

    options, on = options_of(**evidence), checked_device(device)
    given = given_for(folder, forward, batch)
    with reading_shown() as track:
        found = scan_folder(folder, options, on, track, given)
    json_wanted = draw_or_none(drawn, output, json_wanted, lambda: _figure(folder, as_json(found))) == "json"
    click.echo(json.dumps(as_json(found), indent=1) if json_wanted else "\n".join(as_tree(found)))
    if not found.models:
        raise NoSuchModel(
            f"nothing under {folder} can be read",
            READ_KINDS,
        )
    if not json_wanted:
        hint(
            f"`lineage report {folder}` draws the families with their evidence, `lineage explain CHILD PARENT` has one edge's"
        )


def _figure(folder: Path, document: dict[str, Any]) -> Figure:
    """The families of a scan as a figure."""
    from lineage.pages.figures import Figure
    from lineage.pages.scan_source import scanned

    found = scanned(document)
    notes = {name: "cannot tell" for name, member in found.members.items() if member.answer == "undecided"}
    title = f"Families in {folder.name or folder}"
    return Figure(title, {name: name for name in found.members}, (*found.edges, *found.possible), notes)


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
