"""Passes on a schedule: once, every so often, or by cron; never two at once; a clean stop on SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from graphdb.schema import Failure

logger = logging.getLogger(__name__)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class BadSchedule(Failure):
    """`--every` or `--cron` cannot be understood."""

    exit_code = 2


class AlreadyRunning(Failure):
    """Another process is in the middle of a pass over the same sketches."""


def parse_interval(text: str) -> timedelta:
    """
    Args:
        text: a whole number and s, m, h or d, as in `6h`.
    Raises:
        BadSchedule: anything else, or zero.
    """
    match = re.fullmatch(r"(\d{1,6})\s*([smhd])", text.strip())
    if not match or int(match[1]) == 0:
        raise BadSchedule(f"--every {text!r} is no time", "write a number and s, m, h or d: 30m, 6h, 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; it is free again when the process ends, however it ends.

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
        with contextlib.suppress(OSError):
            raise AlreadyRunning(
                f"another sync is running: process {owner.read_text().strip()}", "wait for it, or stop it"
            ) from None
        raise AlreadyRunning("another sync is running", "wait for it, or stop it") from None
    try:
        owner.write_text(f"{os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def repeat(one_pass: Callable[[Callable[[], bool]], None], every: str | None = None, cron: str | None = None) -> None:
    """Runs a pass once, or at once and then on the schedule until the process is told to stop.

    Args:
        one_pass: gets a function that says whether to stop; asks it after every page.
    Raises:
        BadSchedule: both or a senseless schedule. On a schedule a pass that fails is logged and the next one is tried; a pass that
        runs alone lets its failure out.
    """
    if every and cron:
        raise BadSchedule("--every and --cron contradict each other", "give one of them")
    stop = threading.Event()
    with _told_to_stop(stop):
        if not every and not cron:
            one_pass(stop.is_set)
            return
        _serve(one_pass, _trigger(every, cron), stop, at_once=bool(every))


def _trigger(every: str | None, cron: str | None) -> Any:
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if every:
        return IntervalTrigger(seconds=int(parse_interval(every).total_seconds()))
    try:
        return CronTrigger.from_crontab(cron)
    except ValueError as error:
        raise BadSchedule(f"--cron {cron!r}: {error}", 'write five fields, as in "0 2 * * *"') from None


def _serve(one_pass: Callable[[Callable[[], bool]], None], trigger: Any, stop: threading.Event, at_once: bool) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    def guarded() -> None:
        try:
            one_pass(stop.is_set)
        except Failure as failure:
            logger.error("this pass failed, the next one comes as planned: %s", failure.message)

    scheduler = BackgroundScheduler()
    first = {"next_run_time": datetime.now(UTC)} if at_once else {}
    scheduler.add_job(guarded, trigger, max_instances=1, coalesce=True, misfire_grace_time=None, **first)
    scheduler.start()
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)  # the pass under way ends at its next page


@contextlib.contextmanager
def _told_to_stop(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set the event; a second Ctrl-C ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        logger.warning("stopping after this page")
        stop.set()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
