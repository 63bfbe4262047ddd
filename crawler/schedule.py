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
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # as crontab counts them; it knows 7 for Sunday as well
_NIGHTLY = 'as in "0 2 * * *": every night at two'


class BadSchedule(Failure):
    """`--every` or `--cron` cannot be understood."""

    exit_code = 2


class AlreadyRunning(Failure):
    """Another process is in the middle of a pass over the same sketches."""


class Stopped(Failure):
    """A pass that was told to stop before its end."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("stopped before the end; nothing is lost", "run the same command again: it goes on from here")


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
        who = "another sync is running"
        with contextlib.suppress(OSError):
            who += f": process {owner.read_text().strip()}"
        raise AlreadyRunning(who, "wait for it, or stop it") from None
    try:
        owner.write_text(f"{os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def repeat(one_pass: Callable[[Callable[[], bool]], None], every: str | None = None, cron: str | None = None) -> None:
    """Runs a pass once, or again and again until the process is told to stop: at once and then every so often, or by cron.

    Args:
        one_pass: gets a function that says whether to stop; asks it after every page.
    Raises:
        BadSchedule: both or a senseless schedule. On a schedule a pass that fails is logged and the next one is tried; a pass that
        runs alone lets its failure out.
    """
    if every and cron:
        raise BadSchedule("--every and --cron contradict each other", "give one of them")
    trigger = trigger_of(every, cron) if every or cron else None
    stop = threading.Event()
    with _told_to_stop(stop):
        if trigger is None:
            one_pass(stop.is_set)
        else:
            _serve(one_pass, trigger, stop, at_once=bool(every))


def trigger_of(every: str | None, cron: str | None) -> Any:
    """The trigger of APScheduler for an interval or for five cron fields in local time.

    As crontab has it, and APScheduler has not: Sunday is 0, and where day of month and weekday are both given, either will do.

    Raises:
        BadSchedule: it cannot be understood.
    """
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if every:
        return IntervalTrigger(seconds=int(parse_interval(every).total_seconds()))
    fields = (cron or "").split()
    if len(fields) != 5:
        raise BadSchedule(f"--cron {cron!r} has {len(fields)} fields, not five", _NIGHTLY)
    minute, hour, day, month, weekday = fields
    try:
        days: list[dict[str, str]] = [{"day": day, "day_of_week": _weekdays(weekday)}]
        if not day.startswith("*") and not weekday.startswith("*"):
            days = [{name: value} for name, value in days[0].items()]
        found = [CronTrigger(minute=minute, hour=hour, month=month, **chosen) for chosen in days]
    except ValueError as error:
        raise BadSchedule(f"--cron {cron!r}: {error}", _NIGHTLY) from None
    trigger = OrTrigger(found)
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise BadSchedule(f"--cron {cron!r}: such a day never comes", _NIGHTLY)
    return trigger


def _weekdays(field: str) -> str:
    """A weekday field of crontab in the words of APScheduler, which counts from Monday."""
    chosen = set()
    for part in field.lower().split(","):
        match = re.fullmatch(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/(\d{1,2}))?", part)
        if not match:
            raise ValueError(f"{part!r} is no weekday")
        first, last, step = match.groups()
        start = 0 if first == "*" else _weekday(first)
        stop = _weekday(last) if last else 6 if first == "*" or step else start
        if stop == 0 and last:
            stop = 7
        if start > stop or step == "0":
            raise ValueError(f"{part!r} is no range of weekdays")
        chosen |= {number % 7 for number in range(start, stop + 1, int(step or 1))}
    return ",".join(_WEEKDAYS[number] for number in sorted(chosen))


def _weekday(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday")


def _serve(one_pass: Callable[[Callable[[], bool]], None], trigger: Any, stop: threading.Event, at_once: bool) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    def guarded() -> None:
        try:
            one_pass(stop.is_set)
        except Stopped:
            logger.info("the pass under way was stopped; the next one goes on from there")
        except (Failure, OSError) as failure:
            logger.error("this pass failed, the next one comes as planned: %s", failure)

    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a pass took longer than the interval is no news
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
    """SIGTERM and Ctrl-C set the event; a second one ends the process at once, which harms nothing that is stored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.warning("stopping after this page; once more stops at once")
        stop.set()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
