"""What was asked and what it cost: counters by kind, a log with headers, and the quotas of the API origin."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

KINDS = ("list", "info", "tree", "resolve", "cdn", "other")
LOG_LENGTH = 100_000


@dataclass(frozen=True)
class Count:
    """Requests of one kind and the bytes of their answers' bodies."""

    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Request:
    """One request as it came in, and how it was answered. Header names are in small letters.

    Attributes:
        origin: `api` or `cdn`.
        target: path and query as sent.
        status: 0 where the connection was dropped without an answer.
        bytes: of the body as it was meant to be sent; the counters know what really went out.
    """

    kind: str
    origin: str
    method: str
    target: str
    headers: Mapping[str, str]
    status: int
    bytes: int


class Ledger:
    """Thread-safe record of everything since the last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._counts = dict.fromkeys(KINDS, Count())
            self._log: deque[Request] = deque(maxlen=LOG_LENGTH)

    def add(self, request: Request) -> None:
        """Before the answer is sent, so that a client that has its answer finds it counted."""
        with self._lock:
            old = self._counts[request.kind]
            self._counts[request.kind] = replace(old, requests=old.requests + 1)
            self._log.append(request)

    def sending(self, kind: str, count: int) -> None:
        """Before so many bytes of a body go out."""
        with self._lock:
            old = self._counts[kind]
            self._counts[kind] = replace(old, bytes=old.bytes + count)

    def counts(self) -> dict[str, Count]:
        with self._lock:
            return dict(self._counts)

    def log(self) -> list[Request]:
        with self._lock:
            return list(self._log)


@dataclass(frozen=True)
class Spent:
    """State of a quota after one request."""

    bucket: str
    quota: int
    remaining: int
    reset_seconds: int
    window_seconds: int
    refused: bool

    def headers(self) -> dict[str, str]:
        found = {
            "RateLimit": f'"{self.bucket}";r={self.remaining};t={self.reset_seconds}',
            "RateLimit-Policy": f'"fixed window";"{self.bucket}";q={self.quota};w={self.window_seconds}',
        }
        return found | ({"Retry-After": str(self.reset_seconds)} if self.refused else {})


class Quotas:
    """Fixed windows for each caller and class of request (`api`, `resolvers`, `pages`).

    Args:
        quotas: requests per window; missing classes get a quota nobody reaches.
        window_seconds: length of a window; the Hub's is 300.
    """

    UNLIMITED = 1_000_000

    def __init__(self, quotas: Mapping[str, int], window_seconds: float):
        self.quotas, self.window_seconds = dict(quotas), window_seconds
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def spend(self, caller: str, bucket: str) -> Spent:
        quota, now = self.quotas.get(bucket, self.UNLIMITED), time.monotonic()
        with self._lock:
            started, used = self._windows.get((caller, bucket), (now, 0))
            if now - started >= self.window_seconds:
                started, used = now, 0
            refused = used >= quota
            used += not refused
            self._windows[caller, bucket] = started, used
        left = max(1, -int(-(started + self.window_seconds - now) // 1))  # rounded up
        return Spent(bucket, quota, quota - used, left, max(1, round(self.window_seconds)), refused)
