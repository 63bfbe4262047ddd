"""When the next pass comes, and that no two run at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from crawler.schedule import AlreadyRunning, BadSchedule, one_at_a_time, parse_interval, trigger_of

FRIDAY = datetime(2026, 11, 20).astimezone()  # midnight, wherever we are


def times(cron: str, count: int) -> list[datetime]:
    trigger, found, now = trigger_of(None, cron), [], FRIDAY
    for _ in range(count):
        now = trigger.get_next_fire_time(None, now)
        found.append(now)
        now += timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2), ("30m", 1800), ("6h", 21600), ("1d", 86400), (" 6 h ", 21600), ("090s", 90)]
)
def test_intervals(text: str, seconds: int) -> None:
    assert parse_interval(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "-6h", "6w", "1.5h", "6h30m", "99999999d"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(BadSchedule, match="is no time"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 2 * * 0", "Sun Sun Sun"),
        ("0 2 * * 7", "Sun Sun Sun"),
        ("0 2 * * 1-5", "Fri Mon Tue"),
        ("0 2 * * 0-2", "Sun Mon Tue"),
        ("0 2 * * 5-7", "Fri Sat Sun"),
        ("0 2 * * sat-sun", "Sat Sun Sat"),
        ("0 2 * * MON,wed", "Mon Wed Mon"),
        ("0 2 * * */2", "Sat Sun Tue"),
        ("0 2 * * 1-5/2", "Fri Mon Wed"),
        ("0 2 * * *", "Fri Sat Sun"),
    ],
)
def test_weekdays_are_counted_as_crontab_counts_them(cron: str, days: str) -> None:
    assert " ".join(f"{moment:%a}" for moment in times(cron, 3)) == days


def test_a_day_of_the_month_or_a_weekday_is_enough_where_both_are_given() -> None:
    found = times("0 2 13 * 5", 40)
    assert all(moment.day == 13 or f"{moment:%a}" == "Fri" for moment in found)
    assert any(moment.day != 13 for moment in found) and any(f"{moment:%a}" != "Fri" for moment in found)


def test_minutes_and_hours_are_as_written() -> None:
    found = times("*/20 3 * * *", 6)
    assert [(m.hour, m.minute) for m in found] == [(3, 0), (3, 20), (3, 40)] * 2
    assert all(earlier < later for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    "cron",
    ["", "@daily", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 2 * * 8", "0 2 * * x", "0 2 * * 3-1", "0 2 31 2 *"],
)
def test_what_is_no_crontab_line(cron: str) -> None:
    with pytest.raises(BadSchedule):
        trigger_of(None, cron)


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        one_at_a_time(tmp_path),
        pytest.raises(AlreadyRunning, match=r"process \d+, since 20\d\d"),
        one_at_a_time(tmp_path),
    ):
        raise AssertionError("both hold the lock")
    with one_at_a_time(tmp_path):
        assert (tmp_path / "sync.owner").exists()
    assert not (tmp_path / "sync.owner").exists()
