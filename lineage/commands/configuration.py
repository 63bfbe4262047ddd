"""Options that people repeat, from a file: `lineage.toml`, or the table `[tool.lineage]` of a `pyproject.toml`.

    store = "./lineage"            # at the top: options of every command that has them
    endpoint = "https://hub.example"

    [sync]                         # options of one command
    every = "6h"
    filter = ["gguf"]

    [graph.export]
    format = "graphml"

The file is that of LINEAGE_CONFIG, or the nearest one in the working folder or above it, or ~/.config/lineage.toml. What is given on the
command line or in a variable of the environment counts before it. Paths in it are relative to its folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import click

from lineage.graphdb.schema import Failure, home_path

FILE = "lineage.toml"
SHARED = frozenset(
    {"store", "sketches", "endpoint", "method", "method-option", "threshold", "no-dates", "no-declared", "no-detector"}
    | {"missing-parents"}
    | {"device", "workers", "metrics-port", "metrics-host", "log-json", "verbose"}
)
PATHS = frozenset({"store", "sketches", "folder", "repos", "among", "output", "licence-policy"})
LARGEST_BYTES = 1024 * 1024


class BadConfiguration(Failure):
    """The file of options cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Configuration:
    """Options from a file: `shared` of every command, `tables` by the name of a command, or of a group and then of its command."""

    file: Path
    shared: Mapping[str, Any]
    tables: Mapping[str, Any]

    def defaults(self, command: click.Command, name: str) -> dict[str, Any]:
        """click's `default_map` of a command.

        Raises:
            BadConfiguration: an option that the command does not have.
        """
        return self._defaults(command, self.tables.get(name, {}), name)

    def _defaults(self, command: click.Command, table: Any, name: str) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise BadConfiguration(
                f"{self.file}: [{name}] is not a table of options", f"write [{name}] and option = value"
            )
        if isinstance(command, click.Group):
            context = click.Context(command)
            subs = {sub: command.get_command(context, sub) for sub in command.list_commands(context)}
            unknown = next((key for key in table if key not in subs), None)
            if unknown is not None:
                raise BadConfiguration(
                    f"{self.file}: `lineage {name}` has no command {unknown!r}", f"its commands: {', '.join(subs)}"
                )
            return {
                sub: self._defaults(found, table.get(sub, {}), f"{name}.{sub}") for sub, found in subs.items() if found
            }
        options = {
            opt.removeprefix("--"): param.name
            for param in command.params
            if isinstance(param, click.Option)
            for opt in (*param.opts, *param.secondary_opts)
            if opt.startswith("--") and param.name
        }
        several = {param.name for param in command.params if isinstance(param, click.Option) and param.multiple}
        found = {
            options[key]: self._fitting(key, value, takes_several=False)
            for key, value in self.shared.items()
            if key in options
        }
        for key, value in table.items():
            dashed = key.replace("_", "-")
            if dashed not in options:
                raise BadConfiguration(
                    f"{self.file}: `lineage {name.replace('.', ' ')}` has no option --{dashed}",
                    f"`lineage {name.replace('.', ' ')} --help` lists them",
                )
            found[options[dashed]] = self._fitting(dashed, value, takes_several=options[dashed] in several)
        return found

    def _fitting(self, key: str, value: Any, *, takes_several: bool) -> Any:
        """One value, or several where the option may be repeated."""
        values = value if isinstance(value, list) else [value]
        if isinstance(value, list) and not takes_several:
            raise BadConfiguration(f"{self.file}: {key} takes one value, not a list", f"write {key} = value")
        if any(isinstance(one, (list, dict)) for one in values):
            raise BadConfiguration(f"{self.file}: {key} holds no value", "values are texts, numbers, true or false")
        found = [self._value(key, str(one) if isinstance(one, (date, time)) else one) for one in values]
        return found if takes_several else found[0]

    def _value(self, key: str, value: Any) -> Any:
        if key in PATHS and isinstance(value, str) and "://" not in value and not value.startswith(("/", "~", "-")):
            return str(self.file.parent / value)
        return value


def configuration(working_folder: Path) -> Configuration | None:
    """The options of the file that counts here, None where absent.

    Raises:
        BadConfiguration: it is no TOML, or says what no command knows.
    """
    named = os.environ.get("LINEAGE_CONFIG")
    if named:
        return _read(home_path(named))
    for folder in (working_folder, *working_folder.parents):
        for file in (folder / FILE, folder / "pyproject.toml"):
            if file.is_file() and (found := _read(file)) is not None:
                return found
    own = Path(os.path.expanduser("~/.config")) / FILE  # noqa: PTH111 - a user may have no home
    return _read(own) if own.is_file() else None


def _read(file: Path) -> Configuration | None:
    """None for a `pyproject.toml` without our table."""
    ours = file.name != "pyproject.toml"
    try:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            raise ValueError("it is too long")
        content = tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        raise BadConfiguration(
            f"{file} cannot be read: {error.strerror}", "correct LINEAGE_CONFIG or the file's permissions"
        ) from None
    except (ValueError, RecursionError) as error:
        if not ours:
            return None  # another user's file
        raise BadConfiguration(
            f"{file} is not TOML: {error}", "write option = value, and [command] above a command's own"
        ) from None
    if not ours:
        tool = content.get("tool")
        table = tool.get("lineage") if isinstance(tool, dict) else None
        if not isinstance(table, dict):
            return None
        content = table
    return _checked(file, content)


def _checked(file: Path, content: Mapping[str, Any]) -> Configuration:
    from lineage.commands import COMMANDS

    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    shared = {key.replace("_", "-"): value for key, value in content.items() if key not in tables}
    unknown = next((key for key in tables if key not in COMMANDS), None)
    if unknown is not None:
        raise BadConfiguration(f"{file}: there is no command {unknown!r}", "`lineage --help` lists them")
    strange = next((key for key in shared if key not in SHARED), None)
    if strange is not None:
        raise BadConfiguration(
            f"{file}: {strange} is not an option of every command",
            f"put it below the [command] it belongs to; of every command: {', '.join(sorted(SHARED))}",
        )
    return Configuration(file, shared, tables)
