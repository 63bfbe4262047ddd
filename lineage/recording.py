"""How passes are recorded in the graph: when each began and ended, and what it did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lineage.graphdb.schema import Failure, Run

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)


class Recording:
    """A run under way; what is put into `summary` is kept with it, however it ends."""

    def __init__(self, command: str):
        self.run_id, self.command, self.started_at = uuid4().hex, command, datetime.now(UTC)
        self.summary: dict[str, Any] = {}

    def as_run(self, ended: bool) -> Run:
        return Run(self.run_id, self.command, self.started_at, datetime.now(UTC) if ended else None, self.summary)


@contextmanager
def recorded(graph: Store, command: str) -> Iterator[Recording]:
    """A run in the graph: from its start, and with its summary from its end. One that was killed never gets an end.

    A run that is stopped or fails says so in its summary, under `stopped` or `failed`.
    """
    run = Recording(command)
    graph.record_run(run.as_run(ended=False))
    try:
        yield run
    except (Failure, OSError) as error:
        message = error.message if isinstance(error, Failure) else str(error)
        if getattr(error, "exit_code", 1) == 130:
            run.summary["stopped"] = message
        else:
            run.summary["failed"] = {"kind": type(error).__name__, "message": message}
        with suppress(Failure, OSError):  # of the two, the first is what matters
            graph.record_run(run.as_run(ended=True))
        raise
    graph.record_run(run.as_run(ended=True))
    logger.info("%s ended", command, extra={"run_id": run.run_id, "summary": run.summary})
