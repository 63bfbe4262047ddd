"""`lineage sketches ...`: the samples of weights as files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from lineage.commands.options import sketches_option, store_option
from lineage.graphdb.schema import Failure, counted, without_password
from lineage.locations import sketches_folder

if TYPE_CHECKING:
    from lineage.detect.sketch_store import SketchStore, StoreCounts


class DamagedSketches(Failure):
    """Samples whose bytes are not those that were written."""


@click.group()
def sketches() -> None:
    """The samples of weights: what there is, whether it is whole, and copies of it elsewhere."""


@sketches.command()
@store_option
@sketches_option
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def stats(store: str, sketches: str | None, json_wanted: bool) -> None:
    """How many samples there are, and in how many files.

    Example: lineage sketches stats
    """
    kept = _store(store, sketches)
    _tell(kept, kept.stored(), json_wanted)


@sketches.command()
@store_option
@sketches_option
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def compact(store: str, sketches: str | None, json_wanted: bool) -> None:
    """Write many small files into few large ones; crawls do so by themselves where it is worth it.

    Example: lineage sketches compact --sketches s3://bucket/sketches
    """
    kept = _store(store, sketches)
    _tell(kept, kept.compact(everything=True), json_wanted)


@sketches.command()
@store_option
@sketches_option
@click.option("--repair", is_flag=True, help="Take away what is damaged; the next crawl reads it again.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def check(store: str, sketches: str | None, repair: bool, json_wanted: bool) -> None:
    """Read every sample and compare it with its checksum.

    Example: lineage sketches check --repair
    """
    kept = _store(store, sketches)
    found = kept.check(repair)
    _tell(kept, found, json_wanted)
    if found.damaged:
        names = ", ".join(name.rpartition("/")[2][:16] for name in found.damaged[:4])
        done = "taken away; crawl again" if repair else "check --repair takes them away, and a crawl reads them again"
        raise DamagedSketches(f"{len(found.damaged)} damaged: {names}", done)


@sketches.command()
@click.argument("to")
@store_option
@sketches_option
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def copy(to: str, store: str, sketches: str | None, json_wanted: bool) -> None:
    """Copy what is not there yet to another folder or address, TO.

    Example: lineage sketches copy s3://bucket/sketches
    """
    from lineage.detect.sketch_store import SketchStore

    copied = _store(store, sketches).copy_to(SketchStore(to))
    click.echo(json.dumps({"copied": copied}) if json_wanted else f"{counted(copied, 'file')} copied to {to}")


def _store(store: str, sketches: str | None) -> SketchStore:
    from lineage.detect.sketch_store import SketchStore

    return SketchStore(sketches_folder(store, sketches))


def _tell(kept: SketchStore, found: StoreCounts, json_wanted: bool) -> None:
    if json_wanted:
        click.echo(json.dumps(asdict(found)))
        return
    samples, shards = (
        counted(n, what) for n, what in ((found.single + found.in_shards, "sample"), (found.shards, "shard"))
    )
    parts = (
        [f"{found.single} in {'a file of its' if found.single == 1 else 'files of their'} own"] if found.single else []
    )
    parts += [f"{found.in_shards} in {shards} of {found.bytes / 1e6:.1f} MB"] if found.shards else []
    click.echo(f"{samples} at {without_password(kept.address)}" + (f": {', '.join(parts)}" if parts else ""))
