"""What goes to stderr beside progress: failures in one line with what to try, notes, and log lines; as JSON where that was asked for."""

from __future__ import annotations

import codecs
import errno
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from io import StringIO, TextIOWrapper
from itertools import pairwise
from pathlib import Path

import click

from lineage.graphdb.schema import printable, without_password

logger = logging.getLogger("lineage")
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
FULL_BYTES = 4 * 1024 * 1024


class PrintableFormatter(logging.Formatter):
    """Log lines in which a stranger's name sends nothing to the terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "\n".join(map(printable, record.message.split("\n")))
        return super().formatMessage(record)


def set_up_logging(verbosity: int, as_json: bool = False) -> None:
    """Our packages log to stderr: warnings, with -v what each stage did, with -vv every step; as JSON always what each stage did."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        from pythonjsonlogger.json import JsonFormatter

        fields = {"levelname": "level", "name": "logger", "asctime": "time"}
        form = JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z", rename_fields=fields
        )
        handler.setFormatter(form)
    else:
        handler.setFormatter(PrintableFormatter())
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(max(verbosity, int(as_json)), 2)]
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
    logging.getLogger("neo4j").addHandler(logging.NullHandler())  # the failures that we raise say the same


def escape_what_streams_cannot_write() -> None:
    """A character that the terminal's or pipe's encoding lacks comes out as `\\u65e5`, which JSON reads again, and stops nothing."""
    codecs.register_error("escaped", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="escaped")


def open_closed_streams() -> None:
    """Standard output or error that was closed before the start swallows what is written, as it would where it went to /dev/null."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


def logs_as_json() -> bool:
    """Whether everything on stderr is to be an object a line."""
    return any(type(handler.formatter).__name__ == "JsonFormatter" for handler in logger.handlers)


def note(text: str) -> None:
    """One line for the terminal or the log."""
    if logs_as_json():
        logger.info(text)
    else:
        click.echo(printable(text), err=True)


def tell(message: str, try_next: str | None = None, exit_code: int = 1) -> int:
    """Prints what went wrong in one line, and what to try in another."""
    message, try_next = " ".join(message.split()), " ".join((try_next or "").split())
    if logs_as_json():
        logger.error(message, extra={"try": try_next or None, "exit_code": exit_code})
        return exit_code
    click.echo(f"lineage: {printable(message)}", err=True)
    if try_next:
        click.echo(f"    try: {printable(try_next)}", err=True)
    return exit_code


def tell_usage(error: click.ClickException) -> int:
    """Wrong usage, as click words it."""
    if logs_as_json():
        return tell(error.format_message(), exit_code=error.exit_code)
    text = StringIO()
    error.show(file=text)
    click.echo("\n".join(map(printable, text.getvalue().rstrip("\n").split("\n"))), err=True)
    return error.exit_code


def tell_os_error(error: OSError, places: Iterable[str] = ()) -> int:
    """A full disk, a folder of another user, and the like.

    Args:
        places: folders and addresses of the command, one of which may be full.
    """
    what = error.strerror or str(error)
    name = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename or b"")
    if error.errno in NO_SPACE:
        full = [folder for folder in map(_existing, [name, *places]) if folder and _free_bytes(folder) < FULL_BYTES]
        where = f" on the disk of {full[0]}" if full else f": {name}" if name else ""
        return tell(
            f"{what[:1].lower()}{what[1:]}{where}", "free some space there, and run the same command again: it goes on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return tell(f"{name + ': ' if name else ''}{what}", "check its permissions")
    return tell(f"{name + ': ' if name else ''}{what}", "-vv shows where it happened")


def working_folder_is_gone() -> bool:
    """Whether the folder that the command was started in has been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def places_of(arguments: Iterable[str]) -> list[str]:
    """Folders that a command writes to, as far as its arguments and the environment tell."""
    words = list(arguments)
    found = [value for name in ("--store", "--sketches", "-o", "--output") for value in _values_of(name, words)]
    found += [os.environ.get("LINEAGE_STORE") or "~/.lineage", os.environ.get("LINEAGE_SKETCHES", "")]
    return [without_password(place) for place in (*found, ".", tempfile.gettempdir())]


def _values_of(option: str, words: list[str]) -> list[str]:
    after = [value for name, value in pairwise(words) if name == option]
    return after + [word.partition("=")[2] for word in words if word.startswith(option + "=")]


def _existing(place: str) -> Path | None:
    """The folder, or the nearest above it that is there."""
    if not place or "://" in place:
        return None
    path = Path(os.path.expanduser(place)).absolute()  # noqa: PTH111 - never raises
    return next((folder for folder in (path, *path.parents) if folder.exists()), None)


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return FULL_BYTES
