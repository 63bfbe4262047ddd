"""`lineage explain CHILD PARENT`: the evidence for and against one edge, for two models wherever they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli import endpoint_option
from detect.cli import evidence_options, sketches_folder, sketches_option
from graphdb.cli import store_option
from graphdb.schema import Failure

if TYPE_CHECKING:
    from detect.cli_lookup import Looked
    from detect.explain import Explanation
    from detect.sketch_store import Sketch, SketchStore
    from detect.subject import Options, Subject
    from graphdb.store import Store


class CannotCompare(Failure):
    """Two models that share no value that could be compared."""

    exit_code = 3


@click.command()
@click.argument("child")
@click.argument("parent")
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
    from detect.cli import SCAN_BUDGET_VALUES, checked_device, options_of
    from detect.cli_lookup import graph_if_there, hub_at, look_up
    from detect.report import explanation_as_json, explanation_as_text
    from detect.sketch import BUDGET_VALUES
    from detect.sketch_store import SketchStore

    on_disk = all(Path(name).expanduser().exists() for name in (child, parent))
    budget = SCAN_BUDGET_VALUES if on_disk else BUDGET_VALUES
    kept = SketchStore(sketches_folder(store, sketches), budget)
    with graph_if_there(store) as graph:
        looked = [look_up(name, graph, kept, lambda: hub_at(endpoint)) for name in (child, parent)]
        found = explain_pair(
            (looked[0], label_of(child, looked[0])),
            (looked[1], label_of(parent, looked[1])),
            graph,
            kept,
            options_of(**evidence),
            checked_device(device),
            beside=_beside(among, [found.sketch for found in looked]) if among else (),
        )
    claims = list(dict.fromkeys(claim.base for claim in looked[0].declarations))
    if picture:
        from detect.plot import plot

        plot(found, picture)
    if json_wanted:
        click.echo(json.dumps(explanation_as_json(found, claims), indent=1))
    else:
        click.echo(explanation_as_text(found, claims, everything))


def label_of(name: str, looked: Looked) -> str:
    """What a model is called in the answer: as it was typed where that tells more than its name."""
    typed = "@" in name or Path(name).expanduser().exists()
    return name if typed else looked.model.repo_id


def explain_pair(
    child: tuple[Looked, str],
    parent: tuple[Looked, str],
    graph: Store | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    beside: Sequence[Subject] = (),
) -> Explanation:
    """
    Args:
        child, parent: what was found, and what to call it.
        beside: further models that are weighed as well as those of the graph.
    Raises:
        click.UsageError: both are one model. CannotCompare: nothing of them can be compared.
    """
    from detect.align import NotComparable, pick_device
    from detect.cli_graph import relatives_in
    from detect.explain import explain as explain_subjects

    (young, young_name), (old, old_name) = child, parent
    if young.sketch.signature != old.sketch.signature:
        raise CannotCompare(
            f"cannot tell: {young_name} and {old_name} are of different architectures, so no value can be compared",
            f"`lineage who-is-parent {young_name}` compares it with the models of its own",
        )
    same = young.model.hub_id == old.model.hub_id
    if same and young.model.weights_digest == old.model.weights_digest:
        raise click.UsageError(f"{young_name} and {old_name} are one and the same model")
    subjects = [
        _subject(looked, name, graph, apart=same and not looked.stored)
        for looked, name in ((young, young_name), (old, old_name))
    ]
    on = pick_device(device)
    others = relatives_in(graph, sketches, subjects[0], {young.model.hub_id, old.model.hub_id}, on)
    others = [*others, *(s for s in beside if s.id not in {o.id for o in others})]
    try:
        return explain_subjects(subjects[0], subjects[1], others, options, on)
    except NotComparable as error:
        raise CannotCompare(f"cannot tell: {error.message}", error.try_next) from None


def _beside(folder: Path, pair: Sequence[Sketch]) -> list[Subject]:
    """Models under a folder that can be weighed with the two: of their architecture, and neither of them."""
    from detect.cli import read_folder, reading_shown

    with reading_shown() as track:
        subjects, _, _ = read_folder(folder, track)
    known = {sketch.digest for sketch in pair}
    return [s for s in subjects.get(pair[0].signature, []) if s.sketch.digest not in known]


def _subject(looked: Looked, name: str, graph: Store | None, apart: bool) -> Subject:
    """apart: two revisions of one repository are to be told apart."""
    from detect.cli_graph import declared_bases

    subject = looked.subject(declared_bases(graph, looked.declarations), name)
    return replace(subject, id=f"{subject.id}@{looked.model.revision}") if apart else subject
