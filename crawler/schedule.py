"""Passes on a schedule: once, every so often, or by cron; missed ones made up for by one; a clean stop on SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lineage.crawler.cron import BadSchedule, trigger_of
from lineage.graphdb.schema import Failure, local_time

logger = logging.getLogger(__name__)

Pass = Callable[[Callable[[], bool]], None]


class Interruption(Failure):
    """A pass that was interrupted before its end."""

    exit_code = 130

    def __init__(
        self,
        message: str = "stopped before the end; nothing is lost",
        try_next: str = "run the same command again: it goes on from here",
    ) -> None:
        super().__init__(message, try_next)


class StopEvent(threading.Event):
    """Set where the process is asked to stop. by: the signal that asked."""

    by: int | None = None


def repeat(
    one_pass: Pass,
    timetable: Path,
    every: str | None = None,
    cron: str | None = None,
    say: Callable[[str], None] = logger.info,
) -> None:
    """Runs a pass once, or again and again until the process is stopped: at once and then every so often, or by cron.

    Args:
        one_pass: gets a function that says whether to stop; asks it after every page.
        timetable: file that remembers when the next pass is due. A service that is started again keeps to it: passes that
            were missed meanwhile are made up for by one, and one that was broken off is taken up at once.
        say: gets a line whenever the service begins to wait, with the time of the next pass.
    Raises:
        BadSchedule: both or a senseless schedule. On a schedule a pass that fails is logged and the next one is tried; a pass that
        runs alone lets its failure out.
    """
    if every is not None and cron is not None:
        raise BadSchedule("--every and --cron contradict each other", "give one of them")
    trigger = trigger_of(every, cron) if every is not None or cron is not None else None
    with told_to_stop() as stop:
        if trigger is None:
            one_pass(stop.is_set)
        else:
            first = datetime.now(UTC) if every else trigger.get_next_fire_time(None, datetime.now(UTC))
            _serve(one_pass, trigger, stop, timetable, f"every {every}" if every else f"cron {cron}", first, say)
            if stop.by == signal.SIGINT:  # a person; a service that SIGTERM ends has done what was asked
                raise Interruption("stopped", "start it again: the schedule goes on from there")


def _serve(
    one_pass: Pass,
    trigger: Any,
    stop: threading.Event,
    file: Path,
    schedule: str,
    first: datetime | None,
    say: Callable[[str], None] = logger.info,
) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    from lineage.crawler.timetable import Timetable

    timetable = Timetable(file, schedule)

    def guarded() -> None:
        with contextlib.suppress(Interruption), timetable.pass_under_way():
            try:
                one_pass(stop.is_set)
            except Interruption:
                logger.info("the pass under way was stopped; the next one goes on from there")
                raise
            except (Failure, OSError) as failure:
                logger.error("this pass failed, the next one comes as planned: %s", failure)
        if not stop.is_set():
            say_waiting(timetable.next_after(datetime.now(UTC)))

    def say_waiting(at: datetime | None) -> None:
        if at is not None and at > datetime.now(UTC):
            say(f"waiting; next pass at {local_time(at):%Y-%m-%d %H:%M %Z}")

    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a pass took longer than the interval is no news
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_jobstore(timetable)
    due = timetable.due(datetime.now(UTC), first)
    settings = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None, "next_run_time": due}
    scheduler.add_job(guarded, trigger, id="sync", **settings)
    say_waiting(due)
    scheduler.start()
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)  # the pass under way ends at its next page


@contextlib.contextmanager
def told_to_stop() -> Iterator[StopEvent]:
    """SIGTERM and Ctrl-C set the event; a second one ends the process at once, which harms nothing that is stored."""
    stop = StopEvent()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.warning("stopping after this step; Ctrl-C again stops at once")
        stop.by = number
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
