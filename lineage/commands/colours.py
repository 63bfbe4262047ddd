"""Colours of answers on a terminal: contradicted is red, undecided yellow, confirmed green. NO_COLOR turns them off."""

from __future__ import annotations

import os
from typing import IO, Any

import click

COLOURS = {
    "contradicted": "red",
    "contradicts": "red",
    "conflict": "red",
    "superseded": "red",
    "cannot tell": "yellow",
    "undecided": "yellow",
    "missing": "yellow",
    "holds": "green",
    "agree": "green",
    "fits": "green",
    "root": "blue",
}


def coloured(stream: IO[Any]) -> bool:
    """Whether a stream takes colours: a terminal, and NO_COLOR is not set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, outcome: str, stream: IO[Any]) -> str:
    """A text in the colour of an outcome, where the stream takes colours."""
    colour = COLOURS.get(outcome)
    return click.style(text, fg=colour) if colour and coloured(stream) else text
