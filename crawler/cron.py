"""`--every 6h` and `--cron "0 2 * * *"` -> the triggers of APScheduler, with the meaning that crontab gives them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from lineage.graphdb.schema import Failure

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # as crontab counts them; it knows 7 for Sunday as well
_NIGHTLY = 'as in "0 2 * * *": every night at two'


class BadSchedule(Failure):
    """`--every` or `--cron` cannot be understood."""

    exit_code = 2


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
