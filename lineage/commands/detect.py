"""`lineage detect` and `lineage scan`: sketches or a folder in, directed edges out. And the options that others share with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import click

from lineage.commands.options import checked_device, evidence_options, sketches_option, store_option
from lineage.commands.ray_options import RayChoice, engine_for, ray_options
from lineage.commands.stages import comparing
from lineage.evidence import options_of
from lineage.graphdb.schema import Run
from lineage.locations import sketches_folder, state_folder


@click.command()
@store_option
@sketches_option
@evidence_options
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@ray_options
@click.option("--all", "everything", is_flag=True, help="Also architectures in which nothing changed since last time.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the summary as JSON.")
def detect(
    store: str,
    sketches: str | None,
    device: str | None,
    ray: RayChoice,
    everything: bool,
    json_wanted: bool,
    **evidence: Any,
) -> None:
    """Decide which model was trained from which, from the sketches, into the graph.

    \b
    lineage detect
    lineage detect --no-dates --no-declared --threshold 0.9
    lineage detect --sketches s3://bucket/sketches --store bolt://graph:7687
    lineage detect --sketches s3://bucket/sketches --store bolt://graph:7687 --ray ray-head:6379
    """
    from lineage.detect.sketch_store import SketchStore
    from lineage.detection import detect_into, found_text
    from lineage.graphdb.store import open_store

    options, on = options_of(**evidence), checked_device(device)
    run_id, started = uuid4().hex, datetime.now(UTC)
    with open_store(store) as graph:
        graph.record_run(Run(run_id, "detect", started))
        kept = SketchStore(sketches_folder(store, sketches))
        folder = state_folder(store, sketches) / "large_groups"
        with engine_for(ray, kept, options, on) as engine, comparing(graph) as asked:
            summary = detect_into(
                graph, kept, options, run_id, on, everything=everything, should_stop=asked, engine=engine, folder=folder
            )
        graph.record_run(Run(run_id, "detect", started, datetime.now(UTC), summary))
    if json_wanted:
        click.echo(json.dumps(summary))
    else:
        click.echo(found_text(summary))
    if summary.get("not_decided"):
        raise click.exceptions.Exit(1)
