"""Moments as people write them, on the command line and in addresses: `2026-11-01`, `2026-11-01T13:30`, `7d`, `yesterday`, `now`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w|(?:second|minute|hour|day|week)s?)(?:\s+ago)?", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_ZONE = re.compile(r"(?<=\d)z$")


def utc_now() -> datetime:
    return datetime.now(UTC)


def moment_of(text: str, now: datetime) -> datetime | None:
    """
    Args:
        text: a date, a date and time (with a zone, or in UTC), a time ago, `now`, `today`, `yesterday`.
    Returns:
        None for anything else.
    """
    text = " ".join(text.lower().split())
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if text in named:
        return named[text]
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2][0]]: int(ago[1])})
        if not re.match(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return None
        found = datetime.fromisoformat(_ZONE.sub("+00:00", text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
