"""One line on what to do next, on a terminal only: after a scan, a pass, an answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click


def hint(text: str) -> None:
    """A line on stderr where a person reads it; nothing in a pipe, a file or a log."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        from lineage.commands.colours import coloured

        click.echo(click.style(f"next: {text}", dim=True) if coloured(sys.stderr) else f"next: {text}", err=True)


def hint_after_status(found: Mapping[str, Any]) -> None:
    """Where the graph can be seen."""
    if found["state"] != "empty":
        hint("`lineage web` shows it in a browser, `lineage roots` lists the oldest models")
