"""The pacer: reaches the quota, never breaks it, waits for nobody longer than they are ready to."""

from __future__ import annotations

import email.utils

import pytest

from lineage.crawler.hub_errors import RateLimited
from lineage.crawler.pacing import Pacer
from tests.crawler.toys import Sleeps, hub_at, repository
from tests.fake_hub import FakeHub


def headers(bucket: str, left: int, seconds: int, quota: int = 500) -> dict[str, str]:
    return {
        "ratelimit": f'"{bucket}";r={left};t={seconds}',
        "ratelimit-policy": f'"fixed window";"{bucket}";q={quota};w=300',
    }


class QuotaHub:
    """A Hub's fixed window, in virtual time."""

    def __init__(self, quota: int, window_seconds: float):
        self.quota, self.window_seconds = quota, window_seconds
        self.time = 0.0
        self.started, self.used, self.refused, self.served = 0.0, 0, 0, 0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    def answer(self) -> tuple[int, dict[str, str]]:
        self.time += 0.05
        if self.time - self.started >= self.window_seconds:
            self.started, self.used = self.time, 0
        left = int(self.started + self.window_seconds - self.time) + 1
        if self.used >= self.quota:
            self.refused += 1
            return 429, headers("api", 0, left, self.quota)
        self.used += 1
        self.served += 1
        return 200, headers("api", self.quota - self.used, left, self.quota)


def test_a_long_walk_uses_the_whole_quota_and_is_never_refused() -> None:
    hub = QuotaHub(quota=500, window_seconds=300)
    pacer = Pacer(clock=lambda: hub.time, sleep=hub.sleep)
    for _ in range(3100):
        pacer.wait("api")
        status, found = hub.answer()
        pacer.observe("api", status, found)
    assert hub.refused == 0 and hub.served == 3100
    floor_seconds = 6 * 300 + 100 * 0.05  # six windows must pass before the last hundred requests may go out
    assert hub.time <= 1.05 * floor_seconds


def test_buckets_do_not_hold_each_other_up() -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps)
    pacer.wait("api")
    pacer.observe("api", 200, headers("api", 0, 100))
    pacer.wait("resolvers")
    assert sleeps == []
    pacer.wait("api")
    assert 100 <= sum(sleeps) <= 102


def test_requests_under_way_count_as_spent() -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps)
    for _ in range(3):
        pacer.wait("api")
    pacer.observe("api", 200, headers("api", 3, 60))  # two others are still under way: one is left
    pacer.wait("api")
    assert sleeps == []
    pacer.wait("api")
    assert sum(sleeps) >= 60


def test_of_several_buckets_in_one_header_the_longest_wait_counts() -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps)
    pacer.wait("api")
    pacer.observe("api", 200, {"ratelimit": '"api";r=0;t=30, "ip";r=0;t=90'})
    pacer.wait("api")
    assert 90 <= sum(sleeps) <= 92


@pytest.mark.parametrize("told", ["42", None])
def test_a_refusal_stops_everybody_of_its_kind_for_as_long_as_it_says(told: str | None) -> None:
    sleeps = Sleeps()
    wall = 1_700_000_000.0
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps, wall=lambda: wall)
    pacer.wait("resolvers")
    pacer.observe("resolvers", 429, {"retry-after": told or email.utils.formatdate(wall + 42, usegmt=True)})
    pacer.wait("api")
    assert sleeps == []
    pacer.wait("resolvers")
    assert 41 <= sum(sleeps) <= 43


@pytest.mark.parametrize(
    "nonsense",
    [
        {"ratelimit": "none"},
        {"ratelimit": '"api";r=-1;t=5'},
        {"ratelimit": '"api";r=99999999999999999999;t=1'},
        {"ratelimit": '"api";r=5'},
        {"retry-after": "soon"},
        {"retry-after": "-5"},
        {"retry-after": "Wed, 99 Foo 2026"},
    ],
)
def test_nonsense_in_headers_is_ignored(nonsense: dict[str, str]) -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps)
    pacer.wait("api")
    pacer.observe("api", 429, nonsense)
    pacer.wait("api")
    assert sleeps == []


@pytest.mark.parametrize("said", ["0", "0.0", "-1", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", "1e9", "1.5"])
def test_a_refusal_that_asks_for_no_wait_is_backed_off_from_all_the_same(said: str) -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps, chance=lambda: 1.0)
    for attempt in range(1, 6):
        pacer.wait("api")
        pacer.observe("api", 429, {"retry-after": said, "ratelimit": '"api";r=5;t=0'})
        pacer.back_off_after_refusal("api", attempt)
    assert sum(sleeps) >= 1 + 2 + 4 + 8 + 16


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1.5", 1.5),
        (" 42 ", 42.0),
        ("Tue, 14 Nov 2023 22:14:02 GMT", 42.0),
        ("Tuesday, 14-Nov-23 22:14:02 GMT", 42.0),
        ("Tue Nov 14 22:14:02 2023", 42.0),
    ],
)
def test_every_form_of_retry_after_is_waited_for(said: str, seconds: float) -> None:
    sleeps = Sleeps()
    wall = 1_700_000_000.0  # 22:13:20
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps, wall=lambda: wall, chance=lambda: 0.0)
    pacer.wait("api")
    pacer.observe("api", 429, {"retry-after": said})
    pacer.back_off_after_refusal("api", 1)
    pacer.wait("api")
    assert sum(sleeps) == pytest.approx(seconds)
    pacer.back_off(1, {"retry-after": said})
    assert sum(sleeps) == pytest.approx(2 * seconds)


def test_a_date_counts_from_the_clock_of_the_server() -> None:
    sleeps = Sleeps()
    pacer = Pacer(clock=sleeps.clock, sleep=sleeps, wall=lambda: 0.0)
    pacer.wait("api")
    pacer.observe("api", 429, {"retry-after": "Tue, 14 Nov 2023 22:14:02 GMT", "date": "Tue, 14 Nov 2023 22:14:00 GMT"})
    pacer.wait("api")
    assert sum(sleeps) == pytest.approx(2)


def test_only_a_wait_that_the_hub_asked_for_is_called_so() -> None:
    assert "asks to wait 4 minutes" in RateLimited(240).message and "2 days" in RateLimited(200_000).message
    assert "does not say for how long" in RateLimited(32, asked=False).message


def test_nobody_waits_longer_than_they_are_ready_to() -> None:
    sleeps = Sleeps()
    pacer = Pacer(20, clock=sleeps.clock, sleep=sleeps)
    pacer.wait("api")
    pacer.observe("api", 200, headers("api", 0, 170))
    with pytest.raises(RateLimited, match="3 minutes") as failure:
        pacer.wait("api")
    assert failure.value.wait_seconds >= 170 and sleeps == []


def test_back_off_doubles_with_jitter_and_has_a_bound() -> None:
    sleeps = Sleeps()
    pacer = Pacer(sleep=sleeps, chance=lambda: 1.0)
    for attempt in range(1, 12):
        pacer.back_off(attempt)
    assert sleeps[:5] == [1, 2, 4, 8, 16] and max(sleeps) == 60
    low = Sleeps()
    Pacer(sleep=low, chance=lambda: 0.0).back_off(3)
    assert low == [2]


@pytest.mark.slow
def test_the_loopback_hubs_real_windows_are_kept() -> None:
    with FakeHub(quotas={"api": 8}, window_seconds=1) as fake:
        fake.add_repo("acme/tiny", repository(1))
        from lineage.crawler.hub import Hub

        hub = Hub(fake.url, False, Pacer())
        for _ in range(12):
            hub.info("acme/tiny")
        assert [r.status for r in fake.log()].count(429) == 0


def test_a_spent_quota_is_an_answer_for_a_lookup() -> None:
    with FakeHub(quotas={"api": 2}) as fake:
        fake.add_repo("acme/tiny", repository(1))
        hub = hub_at(fake, max_wait_seconds=20)
        hub.info("acme/tiny")
        hub.info("acme/tiny")
        with pytest.raises(RateLimited):
            hub.info("acme/tiny")
        assert fake.counts()["info"].requests == 2


def test_a_long_wait_is_said_once_and_until_when(caplog: pytest.LogCaptureFixture) -> None:
    pacer = Pacer(clock=lambda: 0.0, sleep=lambda seconds: None, wall=lambda: 1_700_000_000.0)
    for _ in range(3):  # as several threads do
        pacer.pause(3600.0)
    assert [record.getMessage() for record in caplog.records] == [
        "the Hub's rate limit: waiting for 3600 s, until 23:13:20 UTC"
    ]
    pacer.pause(5.0)
    pacer.pause(100.0, why=None)  # the caller has said it
    assert len(caplog.records) == 1
