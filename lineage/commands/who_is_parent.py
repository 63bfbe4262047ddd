"""`lineage who-is-parent`: from the graph, or worked out now for a model that was never crawled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lineage.answering import FoundAnswer, Question, answer_now, answer_parts, answer_stored
from lineage.commands.completion import complete_model
from lineage.commands.hints import hint
from lineage.commands.named_models import note_part
from lineage.commands.options import endpoint_option, evidence_options, sketches_option, store_option
from lineage.locations import sketches_folder
from lineage.reading import graph_if_there

UNDECIDED = ("undecided", "unknown", "no_relatives")


@click.command("who-is-parent")
@click.argument("model", shell_complete=complete_model)
@store_option
@sketches_option
@endpoint_option
@evidence_options
@click.option(
    "--among",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="Compare it with the models under this folder as well; no store is needed for that.",
)
@click.option("--store-it", is_flag=True, help="Keep what is found about a model that is not in the graph yet.")
@click.option("--json", "as_json_wanted", is_flag=True, help="Print JSON.")
def who_is_parent(
    model: str,
    store: str,
    sketches: str | None,
    endpoint: str | None,
    among: Path | None,
    store_it: bool,
    as_json_wanted: bool,
    **evidence: Any,
) -> None:
    """The parent of MODEL: a repository, repository@revision, folder or file.

    Answers from the graph. Of a model that is not there, reads the header and a small sample of the weights and compares it
    with the known models of its architecture.

    \b
    lineage who-is-parent openai-community/gpt2
    lineage who-is-parent https://huggingface.co/openai-community/gpt2
    lineage who-is-parent ./checkpoint --among ./checkpoints
    """
    from lineage.commands.tables import short_names
    from lineage.render_answer import as_json, as_text, names_in

    question = Question(model, sketches_folder(store, sketches), endpoint, evidence, store_it, among)
    with graph_if_there(store, create=store_it) as graph:
        parts = answer_parts(question, graph)
        found = parts[0] if parts else answer_stored(question, graph) or answer_now(question, graph)
    if parts:
        _tell_parts(model, parts, as_json_wanted)
        return
    note_part(model, found.answer.model)
    if as_json_wanted:
        click.echo(json.dumps(as_json(found.answer, found.stored), indent=1))
    elif found.failure is None or found.answer.declared:
        click.echo(as_text(found.answer, found.stored, short_names(names_in(found.answer))))
        if found.answer.parent is not None:
            hint(f"`lineage report {model}` shows the evidence as a page, `lineage tree {model}` the family")
    if found.failure:
        raise found.failure
    if found.answer.answer in UNDECIDED:
        raise click.exceptions.Exit(3)


def _tell_parts(model: str, parts: list[FoundAnswer], as_json_wanted: bool) -> None:
    """One answer for each model of a repository; the exit code is that of the best of them."""
    from lineage.commands.messages import note
    from lineage.commands.tables import short_names
    from lineage.render_answer import as_json, as_text, names_in

    note(f"{model} holds {len(parts)} models; each has its own answer")
    if as_json_wanted:
        whole = {"model": model, "answer": "parts", "parts": [as_json(part.answer, part.stored) for part in parts]}
        click.echo(json.dumps(whole, indent=1))
    else:
        short = short_names(name for part in parts for name in names_in(part.answer))
        click.echo("\n".join(as_text(part.answer, part.stored, short) for part in parts))
    if all(part.answer.answer in UNDECIDED for part in parts):
        raise click.exceptions.Exit(3)
