"""Texts that are empty: wrong usage, wherever a name is expected."""

from __future__ import annotations

from typing import Any

import click


def refuse_empty(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A text that is empty comes from a variable of a shell that is not set; it must not mean the working folder, nor everything that the
    Hub lists."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and not text.strip():
            raise click.BadParameter("it is empty", context, parameter)
    return value
