"""When the next pass comes, what a restart knows of it, and that no two run at once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event, Timer

import pytest

from lineage.crawler.cron import BadSchedule, parse_interval, trigger_of
from lineage.crawler.lock import AlreadyRunning, one_at_a_time
from lineage.crawler.schedule import Interruption, _serve, repeat
from lineage.graphdb.schema import local_time

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
    with pytest.raises(BadSchedule, match="is not a time"):
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


@pytest.mark.parametrize("given", [{"every": ""}, {"cron": ""}, {"every": "", "cron": "0 2 * * *"}])
def test_an_empty_schedule_is_no_single_pass(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadSchedule):
        repeat(lambda stop: pytest.fail("a pass"), tmp_path / "schedule.json", **given)


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


class Service:
    """A service that is started, and stopped by its own passes."""

    def __init__(self, folder: Path):
        self.file = folder / "schedule.json"
        self.passes: list[datetime] = []

    def run(self, every: str, passes: int, cut_short: bool = False, patience: float = 30.0) -> None:
        """Until so many passes have begun, or for `patience` seconds; the last one is broken off where `cut_short`."""
        stop, begun = Event(), len(self.passes)

        def one_pass(should_stop: Callable[[], bool]) -> None:
            self.passes.append(datetime.now(UTC))
            time.sleep(0.2)  # for the scheduler to plan the next one
            if len(self.passes) - begun == passes:
                stop.set()
                if cut_short:
                    raise Interruption

        timer = Timer(patience, stop.set)
        timer.start()
        _serve(one_pass, trigger_of(every, None), stop, self.file, every, datetime.now(UTC))
        timer.cancel()

    def remembered(self) -> dict:
        return json.loads(self.file.read_text())


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@pytest.mark.slow
def test_a_restart_waits_for_the_planned_time(service: Service) -> None:
    service.run("1h", 1)
    planned = datetime.fromisoformat(service.remembered()["next_at"])
    assert timedelta(minutes=59) < planned - service.passes[0] <= timedelta(hours=1)
    service.run("1h", 1, patience=0.5)
    assert len(service.passes) == 1 and datetime.fromisoformat(service.remembered()["next_at"]) == planned


@pytest.mark.slow
def test_many_missed_passes_are_made_up_for_by_one(service: Service) -> None:
    service.run("1h", 1)
    missed = datetime.now(UTC) - timedelta(days=3, minutes=10)
    service.file.write_text(json.dumps({**service.remembered(), "next_at": missed.isoformat()}))
    service.run("1h", 5, patience=1.0)
    assert len(service.passes) == 2
    ahead = datetime.fromisoformat(service.remembered()["next_at"]) - datetime.now(UTC)
    assert timedelta(minutes=45) < ahead < timedelta(minutes=51), "the hours go on as they were"


@pytest.mark.slow
def test_a_pass_that_was_broken_off_is_taken_up_at_once(service: Service) -> None:
    service.run("1h", 1, cut_short=True)
    assert service.remembered()["under_way"] is True
    service.run("1h", 1)
    assert len(service.passes) == 2 and service.remembered()["under_way"] is False


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schedule": "1h", "under_way": false, "next_at": null}', "\0"])
def test_what_cannot_be_read_counts_as_never_run(service: Service, content: str) -> None:
    service.file.write_text(content)
    service.run("1h", 1)
    assert len(service.passes) == 1


def test_another_schedule_begins_anew(service: Service) -> None:
    service.run("1h", 1)
    service.run("2h", 1)
    assert len(service.passes) == 2


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets TZ for one test."""

    def to(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield to
    monkeypatch.undo()
    time.tzset()


def as_the_scheduler_asks(cron: str, start: str, count: int) -> list[str]:
    """Each moment is asked for when the one before is just past."""
    trigger, found, previous = trigger_of(None, cron), [], None
    now = datetime.fromisoformat(start).astimezone(UTC)
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        found.append(f"{previous:%m-%d %H:%M %z}")
        now = previous.astimezone(UTC) + timedelta(milliseconds=4)
    return found


POSIX_BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.mark.parametrize("name", ["Europe/Berlin", ":Europe/Berlin", POSIX_BERLIN])
def test_every_night_has_its_pass_where_the_clocks_change(name: str, zone: Callable[[str], None]) -> None:
    zone(name)
    assert as_the_scheduler_asks("0 0 * * *", "2027-03-27T12:00+01:00", 4) == [
        "03-28 00:00 +0100", "03-29 00:00 +0200", "03-30 00:00 +0200", "03-31 00:00 +0200",
    ]  # fmt: skip
    assert as_the_scheduler_asks("30 2 * * *", "2027-03-26T12:00+01:00", 3) == [
        "03-27 02:30 +0100", "03-28 03:00 +0200", "03-29 02:30 +0200",
    ]  # fmt: skip
    assert as_the_scheduler_asks("0 2 * * *", "2026-10-24T12:00+02:00", 3) == [
        "10-25 02:00 +0200", "10-26 02:00 +0100", "10-27 02:00 +0100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "start", "nights"),
    [
        ("America/New_York", "2027-03-13T12:00-05:00", ["03-14 00:00 -0500", "03-15 00:00 -0400", "03-16 00:00 -0400"]),
        ("America/Havana", "2027-03-13T12:00-05:00", ["03-14 01:00 -0400", "03-15 00:00 -0400", "03-16 00:00 -0400"]),
        (
            "Australia/Lord_Howe",
            "2026-10-03T12:00+10:30",
            ["10-04 00:00 +1030", "10-05 00:00 +1100", "10-06 00:00 +1100"],
        ),
        ("UTC0", "2026-10-03T12:00+00:00", ["10-04 00:00 +0000", "10-05 00:00 +0000", "10-06 00:00 +0000"]),
        ("<+03>-3", "2026-10-03T12:00+00:00", ["10-04 00:00 +0300", "10-05 00:00 +0300", "10-06 00:00 +0300"]),
        (
            "EST5EDT,M3.2.0,M11.1.0",
            "2027-03-13T12:00-05:00",
            ["03-14 00:00 -0500", "03-15 00:00 -0400", "03-16 00:00 -0400"],
        ),
    ],
)
def test_midnight_comes_every_day_in_every_zone(
    name: str, start: str, nights: list[str], zone: Callable[[str], None]
) -> None:
    zone(name)
    assert as_the_scheduler_asks("0 0 * * *", start, 3) == nights


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Europe/London", POSIX_BERLIN])
@pytest.mark.parametrize("cron", ["*/15 * * * *", "45 1,2 * * *", "0 * * * *", "0 2,3 * * *"])
def test_moments_only_go_on_through_the_hours_that_come_twice_or_never(
    name: str, cron: str, zone: Callable[[str], None]
) -> None:
    zone(name)
    trigger = trigger_of(None, cron)
    for start in (
        "2026-10-24T20:00+00:00",
        "2027-03-27T20:00+00:00",
        "2026-10-31T20:00+00:00",
        "2027-03-13T20:00+00:00",
    ):
        now = datetime.fromisoformat(start)
        moments = []
        while len(moments) < 60:
            moments.append(trigger.get_next_fire_time(moments[-1] if moments else None, now).astimezone(UTC))
            now = moments[-1] + timedelta(milliseconds=4)
        assert all(earlier < later for earlier, later in pairwise(moments))
        if cron.startswith("*/15"):
            assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(minutes=15)}
        if cron.startswith("0 *"):
            assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    "name",
    ['"Europe/Rome"', "Europe/Nowhere", "/no/such/zone", "nonsense!", "UTC+", "../../etc/passwd", "UTC+25", "A24B"],
)
def test_a_zone_that_is_none_is_told(name: str, zone: Callable[[str], None]) -> None:
    zone(name)
    with pytest.raises(BadSchedule, match="which is not a time zone known to this machine"):
        trigger_of(None, "0 2 * * *")
    assert trigger_of("6h", None) is not None  # an interval needs no zone
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert local_time(now) == now


def test_a_service_runs_whatever_the_zone_is_called(zone: Callable[[str], None], tmp_path: Path) -> None:
    zone('"Europe/Rome"')
    stop, passes = Event(), []

    def one_pass(should_stop: Callable[[], bool]) -> None:
        passes.append(1)
        stop.set()

    _serve(one_pass, trigger_of("1s", None), stop, tmp_path / "schedule.json", "every 1s", datetime.now(UTC))
    assert passes == [1]


@pytest.mark.parametrize(("number", "interrupted"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_while_a_service_waits_is_an_interruption(number: int, interrupted: bool, tmp_path: Path) -> None:
    passes: list[int] = []
    timer = Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    try:
        with pytest.raises(Interruption) if interrupted else nullcontext():
            repeat(lambda should_stop: passes.append(1), tmp_path / "schedule.json", every="6h")
    finally:
        timer.cancel()
    assert passes == [1] and Interruption.exit_code == 130
