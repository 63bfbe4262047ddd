"""`lineage report`: what models come from, as one HTML file, Markdown, or the lines of a model card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.completion import complete_model
from lineage.commands.options import endpoint_option, evidence_options, sketches_option, store_option
from lineage.commands.outputs import OutputFile
from lineage.commands.stages import stage
from lineage.graphdb.schema import home_path

if TYPE_CHECKING:
    from lineage.answering import Question
    from lineage.report.contents import Report

ENDINGS = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


@click.command()
@click.argument("models", shell_complete=complete_model, nargs=-1, required=True, metavar="MODEL... | FOLDER")
@store_option
@sketches_option
@endpoint_option
@evidence_options
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    metavar="FILE",
    help="Where to; `-` is stdout [default: report.html, Markdown to stdout].",
)
@click.option(
    "--format", "form", type=click.Choice(["html", "md"]), help="HTML or Markdown [default: as FILE ends, else html]."
)
@click.option(
    "--card", is_flag=True, help="Only the YAML that the model's card should have: base_model and its relation."
)
@click.option("--json", "json_wanted", is_flag=True, help="Print the numbers of the report as JSON.")
def report(
    models: tuple[str, ...],
    store: str,
    sketches: str | None,
    endpoint: str | None,
    output: Path | None,
    form: str | None,
    card: bool,
    json_wanted: bool,
    **evidence: Any,
) -> None:
    """One page on what models come from: the drawn family, the evidence of every edge, cards, licences, open questions.

    MODEL is a repository, repository@revision, folder or file, as for `lineage who-is-parent`. Of a FOLDER with several models all are
    compared with each other, as by `lineage scan`. The file needs no network and holds no script.

    \b
    lineage report acme/digits-mlp-rotated
    lineage report ./checkpoints -o checkpoints.html
    lineage report acme/digits-mlp-rotated --format md >> pull-request.md
    lineage report acme/digits-mlp-rotated --card
    """
    form = chosen_format(form, output)
    if card and len(models) > 1:
        raise click.UsageError("--card is about one MODEL")
    found = gather(models, store, sketches, endpoint, evidence)
    if json_wanted:
        from lineage.report.numbers import as_json

        click.echo(as_json(found))
        return
    if card:
        from lineage.report.markdown import card_patch

        if not found.sheets:
            raise click.UsageError("--card is about one MODEL, not a folder of several")
        click.echo(card_patch(found.sheets[0]), nl=False)
        return
    if form == "md":
        from lineage.report.markdown import markdown

        text = markdown(found)
    else:
        from lineage.report.html import html

        text = html(found)
    _write(text, form, output)


def chosen_format(form: str | None, output: Path | None) -> str:
    """The format that was asked for, or that the file's ending means.

    Raises:
        click.UsageError: the ending is of another format, or of none.
    """
    ending = output.suffix.lower() if output is not None and str(output) != "-" else ""
    by_ending = ENDINGS.get(ending)
    if ending and by_ending is None:
        raise click.UsageError(f"a report is .html or .md, not {ending}")
    if form and by_ending and form != by_ending:
        raise click.UsageError(f"--format {form} does not go with a file that ends in {ending}")
    return form or by_ending or "html"


def gather(
    models: tuple[str, ...], store: str, sketches: str | None, endpoint: str | None, evidence: dict[str, Any]
) -> Report:
    """What the report is about: one folder with several models, or models."""
    from lineage.answering import Question
    from lineage.commands.scan import reading_shown
    from lineage.evidence import options_of
    from lineage.locations import sketches_folder
    from lineage.reading import graph_if_there
    from lineage.report.gather import report_of_folder, report_of_models

    options = options_of(**evidence)
    if len(models) == 1 and holds_several(home_path(models[0])):
        with reading_shown() as track:
            return report_of_folder(home_path(models[0]), options, None, track)
    questions: list[Question] = [
        Question(name, sketches_folder(store, sketches), endpoint, evidence, store_it=False) for name in models
    ]
    with graph_if_there(store) as graph, stage("reading and comparing"):
        return report_of_models(questions, graph, store)


def holds_several(path: Path) -> bool:
    """Whether a path is a folder with more than one model that can be read."""
    from lineage.crawler.folder import local_models

    if not path.is_dir():
        return False
    readable = (model for model in local_models(path) if model.files)
    return len(list(zip(readable, range(2), strict=False))) > 1


def _write(text: str, form: str, output: Path | None) -> None:
    if str(output) == "-" or (output is None and (form == "md" or not sys.stdout.isatty())):
        click.echo(text, nl=False)
        return
    target = output or Path("report.html")
    target.write_text(text, encoding="utf-8")
    click.echo(f"{target}: {len(text.encode()):,} bytes{'; open it in a browser' if form == 'html' else ''}", err=True)
