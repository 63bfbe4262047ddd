"""`lineage explain CHILD PARENT`: the evidence for and against one edge, for two models wherever they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.completion import complete_model
from lineage.commands.named_models import note_part
from lineage.commands.options import endpoint_option, evidence_options, sketches_option, store_option
from lineage.commands.stages import stage
from lineage.explaining import CannotCompare, explain_pair, label_of
from lineage.locations import sketches_folder

if TYPE_CHECKING:
    from lineage.detect.adapter_explain import AdapterExplanation
    from lineage.detect.explain import Explanation
    from lineage.detect.model_input import Subject
    from lineage.reading import Reading


@click.command()
@click.argument("child", shell_complete=complete_model)
@click.argument("parent", shell_complete=complete_model)
@store_option
@sketches_option
@endpoint_option
@evidence_options
@click.option("--device", metavar="NAME", help="Where to compute: cpu, cuda, ... [default: cuda where there is one].")
@click.option(
    "--among",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Weigh the models under this folder as well.",
)
@click.option("--all", "everything", is_flag=True, help="Print every layer, also of very deep models.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it as well: change, growth and inheritance of every tensor (.png, .svg, .pdf).",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def explain(
    child: str,
    parent: str,
    store: str,
    sketches: str | None,
    endpoint: str | None,
    device: str | None,
    among: Path | None,
    everything: bool,
    picture: Path | None,
    json_wanted: bool,
    **evidence: Any,
) -> None:
    """The evidence for and against PARENT being the model that CHILD was trained from, layer by layer.

    Each is a repository, repository@revision, folder or file; two folders need no store. The known models of their architecture
    are weighed as well.

    \b
    lineage explain acme/digits-mlp-rotated acme/digits-mlp
    lineage explain ./child ./parent --among ./checkpoints --plot evidence.png
    """
    from lineage.commands.options import checked_device
    from lineage.commands.tables import short_names
    from lineage.detect.adapter_explain import AdapterExplanation
    from lineage.detect.adapter_explain import as_json as adapter_json
    from lineage.detect.adapter_explain import as_text as adapter_text
    from lineage.detect.report import explanation_as_json, explanation_as_text
    from lineage.detect.sketch_store import SketchStore
    from lineage.evidence import options_of
    from lineage.queries.display import folded
    from lineage.reading import graph_if_there, hub_at, look_up

    if picture:
        from lineage.detect.plot import check_target

        check_target(picture)
    kept = SketchStore(sketches_folder(store, sketches))
    with graph_if_there(store) as graph:
        with stage("reading both models"):
            looked = [look_up(name, graph, kept, lambda: hub_at(endpoint)) for name in (child, parent)]
        for name, one in zip((child, parent), looked, strict=True):
            note_part(name, one.model)
        beside, declared = _beside(among, looked) if among else ([], frozenset())
        with stage("comparing them"):
            found = explain_pair(
                (looked[0], label_of(child, looked[0])),
                (looked[1], label_of(parent, looked[1])),
                graph,
                kept,
                options_of(**evidence),
                checked_device(device),
                beside=beside,
                declared=declared,
            )
    claims = list(dict.fromkeys(claim.base for claim in looked[0].declarations))
    if isinstance(found, AdapterExplanation):
        if picture:
            raise CannotCompare(f"{child} is an adapter: there are no layers to draw", "leave --plot out")
        click.echo(json.dumps(adapter_json(found, claims), indent=1) if json_wanted else adapter_text(found, claims))
        _end(found)
        return
    if json_wanted:
        click.echo(json.dumps(explanation_as_json(found, claims), indent=1))
    else:
        named = short_names(found.names.values())
        called = {hub_id: named(name) for hub_id, name in found.names.items()}
        verdict, _, rest = explanation_as_text(replace(found, names=called), claims, everything).partition("\n")
        click.echo(f"{folded(verdict)}\n{rest}")
    if picture:
        from lineage.detect.plot import plot

        plot(found, picture)
    _end(found)


def _end(found: Explanation | AdapterExplanation) -> None:
    """Exit code 3 where the sentence is that it cannot tell."""
    if not found.tells:
        raise click.exceptions.Exit(3)


def _beside(folder: Path, looked: Sequence[Reading]) -> tuple[list[Subject], frozenset[str]]:
    """Models under a folder that can be weighed with the two, with a backbone of either, and neither of them; and which of all that lie
    there the card of the first names."""
    from lineage.commands.scan import reading_shown
    from lineage.graphdb.schema import share_key
    from lineage.scanning import read_folder

    with reading_shown() as track:
        found = read_folder(folder, track)
    pair = {one.model.hub_id for one in looked}
    known = {one.sketch.digest for one in looked}
    beside = [
        s
        for s in found.by_identity().values()
        if any(share_key(s.sketch.signature, one.sketch.signature) for one in looked)
        and s.sketch.digest not in known
        and s.id not in pair
    ]
    return beside, found.claimed_identities(looked[0])
