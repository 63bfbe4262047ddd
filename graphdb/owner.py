"""`owner.json` in a store's folder: who has the embedded store open, and where it can be reached if it serves others.

The engine's own lock decides who may open the files; this file only serves messages and lets others find the server. It can
hold a password, so only its user may read it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from lineage.graphdb.schema import local_time

NAME = "owner.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a store open.

    Attributes:
        url, user, password: of the Bolt server that it runs for others, else None.
    """

    pid: int
    command: str
    since: str
    url: str | None = None
    user: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} (`{self.command}`, since {self.since})"


def write(
    folder: Path, now: datetime, url: str | None = None, user: str | None = None, password: str | None = None
) -> None:
    """Says that this process has the store open. That it cannot be said is no failure."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    owner = Owner(os.getpid(), command, local_time(now).isoformat(timespec="seconds"), url, user, password)
    beside = folder / f".owner-{os.getpid()}"
    with suppress(OSError):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(owner), file)
        beside.replace(folder / NAME)


def read(folder: Path) -> Owner | None:
    """The process that has the store open, None where none said so or it is dead."""
    try:
        owner = Owner(**json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it lives, and is another user's
        return owner
    return owner


def remove(folder: Path) -> None:
    """This process no longer has the store open."""
    owner = read(folder)
    if owner is not None and owner.pid == os.getpid():
        with suppress(OSError):
            (folder / NAME).unlink()
