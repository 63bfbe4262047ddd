"""One pass at a time: a lock that all processes of a machine see, with its owner's name."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lineage.graphdb.schema import Failure


class AlreadyRunning(Failure):
    """Another process is in the middle of a pass over the same sketches."""


@contextlib.contextmanager
def one_at_a_time(folder: Path, command: str = "sync") -> Iterator[None]:
    """Holds the folder's lock; it is free again when the process ends, however it ends.

    Args:
        command: the name under which other processes see the running pass.
    Raises:
        AlreadyRunning: another process holds it; the message names it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "sync.owner"
    lock = FileLock(folder / "sync.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = "another sync is running"
        with contextlib.suppress(OSError):
            who = f"another {owner.read_text().strip()[:300]}"
        raise AlreadyRunning(who, "wait for it, or stop it") from None
    try:
        since = f"since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        owner.write_text(f"{command} is running: process {os.getpid()}, {since}, on {socket.gethostname()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()
