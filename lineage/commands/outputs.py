"""Where an answer goes and in which format: `--format` and `--output`, and the exit code that `--fail-on` asks for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lineage.pages.figures import Figure

CONTRADICTED = 5  # exit code
FIGURES = ("html", "dot", "mermaid")
DRAWN = {".txt": "text", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot"}
DRAWN |= {".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json"}


class OutputFile(click.Path):
    """A file to be written, or `-`: refused before the work where it cannot be."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if isinstance(path, Path) and str(path) != "-":
            if path.is_dir():
                self.fail(f"{path} is a folder", param, ctx)
            if not path.absolute().parent.is_dir():
                self.fail(f"there is no folder {path.parent}", param, ctx)
            if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
                self.fail(f"{path} cannot be written: permission denied", param, ctx)
        return path


def drawn_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--format text|html|dot|mermaid|json` and `--output FILE`; the command gets `drawn` and `output`, and prints text and JSON as ever:
    they are written to the file here.
    """

    @wraps(command)
    def with_output(*args: Any, drawn: str | None, output: Path | None, **options: Any) -> Any:
        form = format_of(drawn, output, DRAWN, "text")
        if output is None or str(output) == "-" or form in FIGURES:
            return command(*args, drawn=form, output=output, **options)
        with redirect_stdout(io.StringIO()) as printed:
            command(*args, drawn=form, output=None, **options)
        return write(printed.getvalue(), output)

    wrapped = click.option(
        "--output",
        "-o",
        type=OutputFile(),
        metavar="FILE",
        help="Where to [default: stdout]; its ending says the format.",
    )(with_output)
    return click.option(
        "--format",
        "drawn",
        type=click.Choice(["text", "html", "dot", "mermaid", "json"]),
        help="How: text, a page that draws it, Graphviz DOT, Mermaid or JSON [default: text, or as FILE ends].",
    )(wrapped)


def format_of(form: str | None, output: Path | None, endings: dict[str, str], default: str) -> str:
    """The format that was asked for, or that the file's ending means.

    Raises:
        click.UsageError: an ending that means another format, or none that is known.
    """
    if output is None or str(output) == "-":
        return form or default
    name = output.name.lower()
    known = next((endings[ending] for ending in sorted(endings, key=len, reverse=True) if name.endswith(ending)), None)
    if known is None and form is None:
        raise click.UsageError(
            f"which format is {output.name}? Give --format, or one of the endings {', '.join(sorted(endings))}"
        )
    if known is not None and form is not None and known != form:
        raise click.UsageError(f"--format {form} does not go with the ending of {output.name}, which is {known}")
    return form or known or default


def draw_or_none(drawn: str, output: Path | None, as_json: bool, figure: Callable[[], Figure]) -> str | None:
    """Writes the figure where one is asked for.

    Returns:
        The format that is still to be printed by the command itself: `json`, or None for its text.
    Raises:
        click.UsageError: formats that do not go together.
    """
    if as_json and drawn not in ("text", "json"):
        raise click.UsageError(f"--json or --format {drawn}, not both")
    if drawn in FIGURES:
        from lineage.pages.figures import as_text

        write(as_text(figure(), drawn), output)
        raise click.exceptions.Exit(0)
    return "json" if as_json or drawn == "json" else None


def write(text: str, output: Path | None) -> None:
    """A text to a file, or to stdout."""
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    click.echo(f"{output}: {len(text.encode()):,} bytes", err=True)


def fail_on_option(*outcomes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--fail-on OUTCOME`: exit code 5 where a row has this outcome, or where there is any row at all."""
    return click.option(
        "--fail-on",
        type=click.Choice([*outcomes, "any"]),
        help=f"Exit with code {CONTRADICTED} if a row is like this{'' if not outcomes else ' (any: if there is a row)'}; for pipelines.",
    )


def fail_if(fail_on: str | None, outcomes: Iterable[str]) -> None:
    """Ends with exit code 5 where one of the outcomes is the one that must not be, after everything was printed."""
    found = list(outcomes)
    if fail_on is not None and (found if fail_on == "any" else fail_on in found):
        raise click.exceptions.Exit(CONTRADICTED)
