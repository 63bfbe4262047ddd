"""`--every 6h` and `--cron "0 2 * * *"` -> the triggers of APScheduler, with the meaning that cron gives them.

Which moments a line of crontab means is worked out by cronsim, which does as Debian's cron does: a time that the clocks leave out
in spring comes right after the gap, one that comes twice in autumn is taken once.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lineage.graphdb.schema import Failure, counted

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NIGHTLY = 'as in "0 2 * * *": every night at two'
_LONGEST_LINE = 500
_POSIX_NAME = r"(?:[A-Za-z]{3,16}|<[A-Za-z0-9+\-]{3,16}>)"
_POSIX_OFFSET = r"[+\-]?\d{1,3}(?::\d{1,2}){0,2}"
_POSIX = re.compile(
    rf"{_POSIX_NAME}{_POSIX_OFFSET}(?:{_POSIX_NAME}(?:{_POSIX_OFFSET})?(?:,[JM]?[\d.]+(?:/{_POSIX_OFFSET})?){{0,2}})?",
    re.ASCII,
)


class BadSchedule(Failure):
    """`--every` or `--cron` cannot be understood, or the time zone that a crontab line is meant in."""

    exit_code = 2


class SystemZone(tzinfo):
    """Local time as the C library has it: whatever TZ may hold, and /etc/localtime."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return dt.replace(tzinfo=None).astimezone().utcoffset() if dt is not None else None

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return dt.replace(tzinfo=None).astimezone().tzname() if dt is not None else None

    def fromutc(self, dt: datetime) -> datetime:
        return datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


def parse_interval(text: str) -> timedelta:
    """
    Args:
        text: a whole number and s, m, h or d, as in `6h`.
    Raises:
        BadSchedule: anything else, or zero.
    """
    match = re.fullmatch(r"(\d{1,6})\s*([smhd])", text.strip(), re.ASCII)
    if not match or int(match[1]) == 0:
        raise BadSchedule(f"--every {text!r} is not a time", "write a number and s, m, h or d: 30m, 6h, 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def local_zone() -> tzinfo:
    """The time zone of this process.

    Raises:
        BadSchedule: TZ is not a time zone known to this machine.
    """
    said = os.environ.get("TZ")
    if not said or said == ":":
        return SystemZone()
    name = said.removeprefix(":")
    if name.startswith("/"):
        if Path(name).is_file():
            return SystemZone()
    else:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    if _POSIX.fullmatch(name) and _within_a_day():
        return SystemZone()
    raise BadSchedule(
        f"TZ is {said!r}, which is not a time zone known to this machine",
        "set TZ to a name such as Europe/Rome (without a zone database: pip install tzdata), or unset it",
    )


def _within_a_day() -> bool:
    """Whether Python can hold the offsets of the C library's zone; POSIX allows a whole day and more."""
    try:
        return all(datetime(2026, month, 1, tzinfo=UTC).astimezone().tzinfo is not None for month in (1, 7))
    except (ValueError, OverflowError):
        return False


def trigger_of(every: str | None, cron: str | None) -> Any:
    """The trigger of APScheduler for an interval or for five cron fields in local time.

    Raises:
        BadSchedule: it cannot be understood.
    """
    from apscheduler.triggers.interval import IntervalTrigger

    if every is not None:
        return IntervalTrigger(seconds=int(parse_interval(every).total_seconds()), timezone=UTC)
    trigger = _cron_trigger(cron or "", local_zone())
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise BadSchedule(f"--cron {cron!r}: such a day never comes", _NIGHTLY)
    return trigger


def _cron_trigger(cron: str, zone: tzinfo) -> Any:
    from apscheduler.triggers.base import BaseTrigger
    from cronsim import CronSim, CronSimError

    fields = cron.upper().split() if len(cron) <= _LONGEST_LINE else []
    if len(fields) != 5:
        raise BadSchedule(f"--cron {cron[:80]!r} has {counted(len(fields), 'field')}, not five", _NIGHTLY)
    fields[4] = fields[4].replace("-SUN", "-7")  # a week may end with Sunday
    line = " ".join(fields)
    try:
        CronSim(line, datetime.now(UTC))
    except CronSimError as error:
        if re.fullmatch(r"(29|3[01])(,(29|3[01]))*", fields[2]) and "day-of-month" in str(error):
            raise BadSchedule(f"--cron {cron!r}: such a day never comes", _NIGHTLY) from None
        raise BadSchedule(f"--cron {cron!r}: {str(error).lower()}", _NIGHTLY) from None

    class CronTrigger(BaseTrigger):
        """The moments of a crontab line."""

        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
            after = max(previous, now) if previous is not None else now
            for moment in CronSim(line, after.astimezone(zone)):
                found = moment.astimezone(UTC)
                if found > after:  # in the hour that comes twice the first of two counts, which may be past
                    return found.astimezone(zone)
            return None

    return CronTrigger()
