"""Command lines as they stand in documents and help texts, checked against the commands and options that there are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from lineage.commands import COMMANDS, cli


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name: `crawl`, `graph stats`; not the groups."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", found) for sub, found in command.commands.items())
        else:
            yield name, command


def invocation(line: str) -> list[str] | None:
    """The words after `lineage`, or None if the line calls something else.

    A prompt, settings of variables, a program before it (`docker compose exec lineage`) and what follows a pipe are left out.
    """
    words = shlex.split(line.removeprefix("$ "), comments=True)
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        words.pop(0)
    if words[:4] == ["docker", "compose", "exec", "lineage"]:
        words = words[4:]
    if not words or not (words[0] == "lineage" or words[0].endswith("/lineage")):
        return None
    ends = [place for place, word in enumerate(words) if word in ("|", "&&", ";", ">", "&")]
    return words[1 : ends[0]] if ends else words[1:]


def check(words: list[str]) -> None:
    """
    Raises:
        click.UsageError: no such command or option, a value that an option does not take, arguments that are missing or too many.
    """
    group: click.Group = cli
    context = click.Context(cli, info_name="lineage")
    while True:
        if words and words[0].startswith("-"):
            command: click.Command = group
            break
        if not words:
            raise click.UsageError("no command", context)
        found = group.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no such command: {words[0]}", context)
        context, words = click.Context(found, info_name=words[0], parent=context), words[1:]
        if not isinstance(found, click.Group):
            command = found
            break
        group = found
    values, _, _ = command.make_parser(context).parse_args(args=list(words))
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if parameter.required and (value is None or value == ()):
            raise click.MissingParameter(ctx=context, param=parameter)
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type.convert(value, parameter, context)
