"""APScheduler's job store with a memory that outlives the process: when the next pass is due, and whether one is under way.

The stores that come with APScheduler keep pickled jobs. This one keeps a line of JSON, because the file lies beside samples that
are copied from machine to machine, and nothing that may come from elsewhere is ever unpickled here.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apscheduler.jobstores.memory import MemoryJobStore

logger = logging.getLogger(__name__)

PLANNING_SECONDS = 1.0


class Timetable(MemoryJobStore):
    """Keeps one job, that of a schedule.

    Args:
        file: where it is remembered; a file that cannot be read counts as none.
        schedule: text of the schedule; what is remembered of another one does not count.
    """

    def __init__(self, file: Path, schedule: str):
        super().__init__()
        self._file, self._schedule = file, schedule
        self._next_at: datetime | None = None
        self._under_way = False
        self._planned_anew = threading.Event()

    def due(self, now: datetime, first: datetime | None) -> datetime | None:
        """When the next pass is due: now where one died under way, in the past where one was missed, else as it was planned.

        Args:
            first: when it is due where nothing is remembered.
        """
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if kept["schedule"] != self._schedule:
                return first
            if kept["under_way"]:
                return now
            planned = datetime.fromisoformat(kept["next_at"])
            return planned if planned.tzinfo else first
        except (OSError, ValueError, KeyError, TypeError):
            return first

    @contextmanager
    def pass_under_way(self) -> Iterator[None]:
        """A pass; one that raises, and one during which the process dies, is due again at the next start."""
        self._under_way = True
        self._planned_anew.clear()
        self._keep()
        yield
        self._under_way = False
        self._keep()

    def next_after(self, now: datetime) -> datetime | None:
        """When the next pass is due. A pass may end before the scheduler has planned the one after it: that is waited for."""
        if self._next_at is not None and self._next_at <= now:
            self._planned_anew.wait(PLANNING_SECONDS)
        return self._next_at

    def add_job(self, job: Any) -> None:
        super().add_job(job)
        self._planned(job)

    def update_job(self, job: Any) -> None:
        super().update_job(job)
        self._planned(job)

    def _planned(self, job: Any) -> None:
        self._next_at = job.next_run_time
        self._planned_anew.set()
        self._keep()

    def _keep(self) -> None:
        """Whole or not at all."""
        planned = self._next_at.astimezone(UTC).isoformat() if self._next_at else None
        content = {"schedule": self._schedule, "next_at": planned, "under_way": self._under_way}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
            Path(temporary).replace(self._file)
        except OSError as error:  # the passes go on; only a restart would not know of them
            logger.error("%s cannot be written: %s", self._file, error.strerror)
