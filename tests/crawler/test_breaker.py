"""A server that is down is left in peace, and asked again by one request at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lineage.crawler.breaker import FAILURES_TO_OPEN, GIVE_UP_SECONDS, Breaker, ServerDown
from lineage.crawler.hub import Hub, first_page
from lineage.crawler.hub_errors import HubDown, UnexpectedAnswer
from lineage.crawler.pacing import Pacer
from tests.crawler.crawls import Crawl
from tests.crawler.toys import Sleeps, hub_at, repository
from tests.fake_hub import FakeHub
from tests.fake_hub.origin import Origin

TOKEN = "hf_" + "s3cret" * 5


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    sleeps = Sleeps()
    breaker = Breaker(sleeps.clock, sleeps)
    for _ in range(FAILURES_TO_OPEN):
        breaker.wait()
        breaker.failed()
    assert sleeps == []
    breaker.wait()  # the one who tries
    assert sleeps == [15.0]
    breaker.failed()
    breaker.wait()
    assert sleeps == [15.0, 30.0], "twice as long after every try that failed"
    breaker.succeeded()
    breaker.wait()
    assert sleeps == [15.0, 30.0]


def test_each_pause_is_told_once() -> None:
    sleeps = Sleeps()
    breaker = Breaker(sleeps.clock, sleeps)
    told = [breaker.failed() for _ in range(FAILURES_TO_OPEN + 2)]
    assert told == [None] * (FAILURES_TO_OPEN - 1) + [15.0, None, None]
    breaker.wait()
    assert breaker.failed() == 30.0


def test_one_success_in_between_keeps_it_closed() -> None:
    sleeps = Sleeps()
    breaker = Breaker(sleeps.clock, sleeps)
    for i in range(10 * FAILURES_TO_OPEN):
        breaker.wait()
        (breaker.succeeded if i % FAILURES_TO_OPEN == 0 else breaker.failed)()
    assert sleeps == []


def test_a_server_that_stays_down_is_given_up() -> None:
    sleeps = Sleeps()
    breaker = Breaker(sleeps.clock, sleeps)
    with pytest.raises(ServerDown):
        for _ in range(1000):
            breaker.wait()
            breaker.failed()
    assert GIVE_UP_SECONDS < sum(sleeps) < 2 * GIVE_UP_SECONDS and len(sleeps) < 20


def test_of_many_who_wait_only_one_tries() -> None:
    now, lock, passed = [0.0], threading.Lock(), []

    def pause(seconds: float) -> None:
        with lock:
            now[0] += seconds / 16
        time.sleep(0.001)

    breaker = Breaker(lambda: now[0], pause)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed()

    def work(number: int) -> None:
        breaker.wait()
        with lock:
            passed.append(number)
            first = len(passed) == 1
        if first:
            time.sleep(0.05)
            assert len(passed) == 1, "the others wait for the one who tries"
        breaker.succeeded()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(passed) == 8


def test_a_hub_that_is_down_for_minutes_costs_few_requests_and_no_model(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(20):
        fake.add_repo(f"acme/m{i:02}", repository(i))

    class ShortSleeps(Sleeps):
        """Those who wait give the one who tries the time to do so; sleeps at the same time do not add up."""

        now = 1000.0

        def __call__(self, seconds: float) -> None:
            until = self.now + seconds
            time.sleep(0.02)
            self.append(seconds)
            self.now = max(self.now, until)

        def clock(self) -> float:
            return self.now

    sleeps = ShortSleeps()
    crawler.hub = hub_at(fake, sleeps=sleeps)
    fake.faults.status(503, kind="resolve", times=FAILURES_TO_OPEN + 2)
    crawler.run()
    assert max(sleeps) >= 8, "somebody waited for it to come back, less what passed while others waited"
    assert crawler.requests()["resolve"] <= 20 + FAILURES_TO_OPEN + 2
    models = crawler.models()  # one may have used up its tries before it was clear that nobody gets an answer
    assert {model.status for model in models.values()} == {"sketched"} and len(models) == 20


def test_a_storage_that_does_not_come_back_ends_the_crawl_within_few_requests(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(60):
        fake.add_repo(f"acme/m{i:02}", repository(i))
    fake.faults.status(503, kind="cdn")
    with pytest.raises(Exception, match=r"failed|down|503"):
        crawler.run()
    assert crawler.requests()["cdn"] < 80


# --- who we are, and what we keep open -------------------------------------------------------------------------------


def test_every_request_says_who_we_are(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/m", repository(1))
    crawler.run()
    agents = {request.headers["user-agent"] for request in fake.log()}
    assert len(agents) == 1 and agents.pop().startswith("lineage/")


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    opened: list[str] = []
    original = Origin.process_request

    def counted(self: Origin, request: object, client_address: object) -> None:
        opened.append(self.application.name)
        original(self, request, client_address)

    monkeypatch.setattr(Origin, "process_request", counted)
    yield opened


def test_connections_are_kept_and_used_again(connections: list[str], crawler: Crawl) -> None:
    fake = crawler.fake
    for i in range(40):
        fake.add_repo(f"acme/m{i:02}", repository(i))
    crawler.run()
    requests = sum(crawler.requests().values())
    assert requests > 120
    assert len(connections) <= 2 * 4 + 2, f"{len(connections)} connections for {requests} requests of four workers"


# --- what hostile answers cost ---------------------------------------------------------------------------------------


def impatient(fake: FakeHub, seconds: float) -> Hub:
    sleeps = Sleeps()
    return Hub(fake.url, False, Pacer(3600, sleeps.clock, sleeps), retries=1, answer_seconds=seconds)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["list", "info"])
def test_an_answer_that_trickles_is_given_up(fake: FakeHub, kind: str) -> None:
    fake.add_repo("acme/m", repository(1))
    fake.faults.trickle(100, kind=kind)
    hub = impatient(fake, 0.4)
    with pytest.raises(HubDown, match="not complete"):
        hub.page(first_page()) if kind == "list" else hub.info("acme/m")


@pytest.mark.parametrize("kind", ["list", "info"])
def test_an_answer_without_end_is_cut_off(fake: FakeHub, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_repo("acme/m", repository(1))
    monkeypatch.setattr("lineage.crawler.hub.LISTING_LIMIT_BYTES", 5_000_000)
    monkeypatch.setattr("lineage.crawler.hub.INFO_LIMIT_BYTES", 5_000_000)
    fake.faults.endless_body(kind=kind)
    hub = impatient(fake, 30)
    with pytest.raises(UnexpectedAnswer, match="more than 5000000 bytes"):
        hub.page(first_page()) if kind == "list" else hub.info("acme/m")
    assert hub.traffic.body_bytes.total() < 7_000_000


@pytest.mark.slow
def test_a_page_that_is_a_compressed_bomb_is_cut_off(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage.crawler.hub.LISTING_LIMIT_BYTES", 5_000_000)
    fake.faults.replace_json(["x" * 50_000_000], kind="list")
    fake.faults.gzip_body(kind="list")
    hub = impatient(fake, 30)
    with pytest.raises(UnexpectedAnswer, match="more than 5000000 bytes"):
        hub.page(first_page())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "//[::1", "http://me:pw@127.0.0.1/"])
@pytest.mark.parametrize("kind", ["list", "info"])
def test_a_hub_that_sends_us_astray_is_not_followed(fake: FakeHub, kind: str, target: str) -> None:
    fake.add_token(TOKEN)
    hub = hub_at(fake, TOKEN)
    hub.endpoint = hub._transport.endpoint = fake.url
    fake.faults.redirect_to(target, kind=kind)
    with pytest.raises(Exception) as failure:
        hub.page(first_page()) if kind == "list" else hub.info("acme/m")
    assert type(failure.value).__name__ in ("ForbiddenRedirect", "UnexpectedAnswer", "HubDown")
    assert TOKEN not in str(failure.value)


@pytest.mark.parametrize("jump", [10**9, -(10**9)])
def test_a_wall_clock_that_jumps_holds_nobody_up_for_ever(jump: float) -> None:
    sleeps = Sleeps()
    pacer = Pacer(600, sleeps.clock, sleeps, wall=lambda: 1_790_000_000 + jump)
    pacer.wait("api")
    pacer.observe("api", 429, {"retry-after": "Mon, 21 Sep 2026 12:00:00 GMT"})
    try:
        pacer.wait("api")
    except Exception as error:  # told, not waited for
        assert type(error).__name__ == "RateLimited"
    assert sum(sleeps) <= 600


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 500])
@pytest.mark.parametrize("where", ["x-error-message", "body"])
def test_a_server_that_quotes_the_token_does_not_bring_it_into_a_message(
    fake: FakeHub, status: int, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = f"Bearer {TOKEN} may not"
    fake.faults.status(
        status,
        kind="info",
        headers={"x-error-message": said} if where != "body" else {},
        body='{"error": "' + said + '"}' if where == "body" else None,
    )
    with caplog.at_level("DEBUG"), pytest.raises(Exception) as failure:
        hub_at(fake, TOKEN).info("acme/m")
    logged = [
        record.getMessage() for record in caplog.records if record.name.startswith("lineage.crawler")
    ]  # as the command does
    told = f"{failure.value!r} {failure.value} {getattr(failure.value, 'try_next', '')} {logged}"
    assert TOKEN not in told


def test_a_listing_that_quotes_the_token_does_not_bring_it_into_the_store(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_token(TOKEN)
    fake.add_repo("acme/m", {"README.md": f"---\nlicense: {TOKEN}\nbase_model: {TOKEN}\n---\n".encode()})
    crawler.hub = hub_at(fake, TOKEN)
    batches = crawler.run()
    assert TOKEN not in repr([(batch.models, batch.declarations) for batch in batches])
    assert TOKEN.encode() not in crawler.progress_file.read_bytes()
