"""When the next request may go out: one pacer for all workers, fed by the answers of the Hub.

The Hub counts requests in fixed windows, by class, and says in `RateLimit` and `RateLimit-Policy` what is left
(https://huggingface.co/docs/hub/rate-limits). We count along, so that the limit is reached and never broken, and wait
for the window to turn. 429 answers and edge refusals without these headers pause all workers for the time they state.
"""

from __future__ import annotations

import email.utils
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lineage.crawler.hub_errors import RateLimited

logger = logging.getLogger(__name__)

_LEFT = re.compile(r'"(?P<name>[^"]{1,40})"\s*;\s*r\s*=\s*(?P<left>\d{1,9})\s*;\s*t\s*=\s*(?P<seconds>\d{1,6})')
_QUOTA = re.compile(r'"(?P<name>[^"]{1,40})"\s*;\s*q\s*=\s*(?P<quota>\d{1,9})')
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
BASE_WAIT_SECONDS = 1.0
LONGEST_BACK_OFF_SECONDS = 60.0
LONG_WAIT_SECONDS = 10.0  # a longer one is announced


@dataclass(slots=True)
class _Bucket:
    """One counted class of requests: how many are left until `turns_at` on our clock."""

    left: int
    turns_at: float
    quota: int | None


class Pacer:
    """Says when to go; shared by all threads.

    Args:
        max_wait_seconds: the longest single wait accepted; beyond it, `RateLimited` is raised at once.
        clock, sleep, wall, chance: for tests and simulations. `wall` (seconds since 1970) only reads HTTP dates.
    """

    def __init__(
        self,
        max_wait_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ):
        self.max_wait_seconds = max_wait_seconds
        self._clock, self._sleep, self._wall, self._chance = clock, sleep, wall, chance
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._counted_in: dict[str, set[str]] = {}  # kind of our requests -> buckets that the Hub counts them in
        self._blocked_until: dict[str, float] = {}
        self._in_flight: dict[str, int] = {}
        self.before_pause: Callable[[float], None] = lambda seconds: None  # may raise, to have no pause
        self._announced_until = 0.0

    @property
    def clock(self) -> Callable[[], float]:
        return self._clock

    def wait(self, kind: str) -> None:
        """Return when a request of this kind may go out; every call must be followed by `observe` or `give_up`.

        Args:
            kind: ours: `api`, `resolvers`; the Hub's own names for its buckets are learned from its answers.
        Raises:
            RateLimited: the wait would be longer than `max_wait_seconds`.
        """
        while True:
            with self._lock:
                seconds = self._seconds_to_wait(kind)
                if seconds <= 0:
                    for bucket in self._buckets_of(kind):
                        bucket.left -= 1
                    self._in_flight[kind] = self._in_flight.get(kind, 0) + 1
                    return
            self.pause(seconds)

    def observe(self, kind: str, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer (names of headers in lower case)."""
        now = self._clock()
        quotas = {m["name"]: int(m["quota"]) for m in _QUOTA.finditer(headers.get("ratelimit-policy", ""))}
        with self._lock:
            flying = self._in_flight[kind] = max(0, self._in_flight.get(kind, 0) - 1)
            named = list(_LEFT.finditer(headers.get("ratelimit", "")))
            if named:
                self._counted_in[kind] = {m["name"] for m in named}
            for match in named:
                turns_at = now + int(match["seconds"]) + 1.0
                left = max(0, int(match["left"]) - flying)
                self._buckets[match["name"]] = _Bucket(left, turns_at, quotas.get(match["name"]))
            if status == 429:
                spent = [b.turns_at for b in self._buckets_of(kind) if b.left <= 0] if named else []
                retry_after = self._retry_after(headers)
                until = max([*spent, now + (retry_after or 0.0)])
                self._blocked_until[kind] = max(self._blocked_until.get(kind, 0.0), until)

    def give_up(self, kind: str) -> None:
        """The request got no answer."""
        with self._lock:
            self._in_flight[kind] = max(0, self._in_flight.get(kind, 0) - 1)

    def back_off(self, attempt: int, headers: Mapping[str, str] | None = None) -> None:
        """Sleep after a failed attempt (1, 2, ...): doubling, with jitter, or what `Retry-After` says if that is longer."""
        seconds, retry_after = self._back_off_seconds(attempt), self._retry_after(headers or {})
        self.pause(max(seconds, retry_after or 0.0), asked=bool(retry_after and retry_after > seconds))

    def back_off_after_refusal(self, kind: str, attempt: int) -> None:
        """Sleep after an answer of 429, unless `wait` will do so for longer: a refusal that asks for no wait, or none that can be
        understood, is no leave to come again at once."""
        seconds = self._back_off_seconds(attempt)
        with self._lock:
            blocked = self._seconds_to_wait(kind)
        if seconds > blocked:
            self.pause(seconds, asked=False)

    def _back_off_seconds(self, attempt: int) -> float:
        return min(LONGEST_BACK_OFF_SECONDS, BASE_WAIT_SECONDS * 2 ** (attempt - 1)) * (0.5 + self._chance() / 2)

    def pause(self, seconds: float, asked: bool = True, *, why: str | None = "the Hub's rate limit") -> None:
        """
        Args:
            asked: whether the Hub has asked for this wait. why: named where it is long, once for all threads; None where it was named.
        Raises:
            RateLimited: longer than the caller is ready to wait.
        """
        if seconds > self.max_wait_seconds:
            raise RateLimited(seconds, asked=asked)
        self.before_pause(seconds)
        if why is not None and seconds > LONG_WAIT_SECONDS:
            self._announce(seconds, why if asked else "no whole answer from the Hub")
        self._sleep(seconds)

    def _announce(self, seconds: float, why: str) -> None:
        until = self._clock() + seconds
        with self._lock:
            if until <= self._announced_until + LONG_WAIT_SECONDS:
                return  # another thread has said it
            self._announced_until = until
        at = datetime.fromtimestamp(self._wall() + seconds, UTC)
        logger.warning("%s: waiting for %.0f s, until %s UTC", why, seconds, f"{at:%H:%M:%S}")

    def _buckets_of(self, kind: str) -> list[_Bucket]:
        return [self._buckets[name] for name in self._counted_in.get(kind, ()) if name in self._buckets]

    def _seconds_to_wait(self, kind: str) -> float:
        now = self._clock()
        until = self._blocked_until.get(kind, now)
        for bucket in self._buckets_of(kind):
            if now >= bucket.turns_at:  # a new window; the next answer says how large it is
                bucket.left, bucket.turns_at = bucket.quota or 1, now + 1.0
            elif bucket.left <= 0:
                until = max(until, bucket.turns_at)
        return until - now

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Seconds above zero; None where nothing is said, or nothing that can be understood. Both forms of the header are read, a
        number also with a fraction; a date counts from the server's own."""
        said = headers.get("retry-after", "").strip()
        if _SECONDS.fullmatch(said):
            return float(said) or None
        until = _moment(said)
        if until is None:
            return None
        return max(0.0, until - (_moment(headers.get("date", "")) or self._wall())) or None


def _moment(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    if not 0 < len(text) <= 100:
        return None
    try:
        found = email.utils.parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
