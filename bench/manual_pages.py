"""Manual pages of every command, from their help: `python -m bench.manual_pages FOLDER`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from lineage import __version__
from lineage.commands import COMMANDS, cli


def main(folder: Path) -> int:
    """Writes one page a command; gives the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [write(folder, "lineage", cli, click.Context(cli, info_name="lineage"))]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        written.append(write(folder, f"lineage-{name}", command, click.Context(command, info_name=f"lineage {name}")))
    print(f"{len(written)} pages in {folder}")
    return 0


def write(folder: Path, name: str, command: click.Command, context: click.Context) -> Path:
    """The page of one command, with its options; of a group with its commands."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [f'.TH "{name.upper()}" "1" "{today}" "lineage {__version__}" "lineage"', ".SH NAME"]
    lines += [f"{plain(name)} \\- {plain(command.get_short_help_str(200))}", ".SH SYNOPSIS"]
    lines += [
        f"\\fB{plain(str(context.info_name))}\\fR {plain(' '.join(command.collect_usage_pieces(context)))}",
        ".SH DESCRIPTION",
    ]
    for paragraph in (command.help or "").split("\n\n"):
        verbatim = paragraph.lstrip().startswith("\b")
        rows = [row.strip() for row in paragraph.replace("\b", "").strip().splitlines()]
        lines += [".PP", *([".nf"] if verbatim else []), *map(plain, rows), *([".fi"] if verbatim else [])]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for sub in command.list_commands(context):
            text = COMMANDS[sub][1] if command is cli else command.get_command(context, sub).get_short_help_str(200)  # type: ignore[union-attr]
            lines += [".TP", f"\\fB{plain(sub)}\\fR", plain(text)]
    lines.append(".SH OPTIONS")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [".TP", f"\\fB{plain(record[0])}\\fR", plain(record[1])]
    file = folder / f"{name.replace(' ', '-')}.1"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def plain(text: str) -> str:
    """A line in which nothing is a request of roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/man")))
