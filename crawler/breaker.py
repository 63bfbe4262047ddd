"""A circuit breaker: when a server is down, all workers pause; a single probe checks whether the server has recovered.

Pattern: M. Nygard, "Release It!", 2007. Without it each worker would go through all its retries against a server that has just
enough strength to come up again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

FAILURES_TO_OPEN = 8  # in a row, of all workers together
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 240.0
GIVE_UP_SECONDS = 900.0
ASK_AGAIN_SECONDS = 1.0  # how often those who wait look whether the one who tries has come back


class ServerDown(Exception):
    """The server has been down for so long that waiting makes no sense."""


class Breaker:
    """Shared by all threads that ask one server.

    Args:
        clock: seconds; pause: waits so long, and may raise for those who will not.
    """

    def __init__(self, clock: Callable[[], float], pause: Callable[[float], None]):
        self._clock, self._pause = clock, pause
        self._lock = threading.Lock()
        self._failures = 0
        self._down_since: float | None = None
        self._closed_until = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._trying = False

    def wait(self) -> None:
        """Return when a request may go out; each must be followed by `succeeded` or `failed`.

        Raises:
            ServerDown: see above. Whatever `pause` raises.
        """
        while True:
            with self._lock:
                if self._down_since is None:
                    return
                now = self._clock()
                if now - self._down_since > GIVE_UP_SECONDS:
                    raise ServerDown
                seconds = self._closed_until - now
                if seconds <= 0 and not self._trying:
                    self._trying = True
                    return
            self._pause(max(seconds, ASK_AGAIN_SECONDS))

    @property
    def is_open(self) -> bool:
        """Whether the server counts as down, so that a failure says nothing about the one request."""
        return self._down_since is not None

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._down_since, self._trying = 0, None, False
            self._pause_seconds = FIRST_PAUSE_SECONDS

    def failed(self) -> float | None:
        """Seconds until it is asked again, where this failure began a pause; None where it did not."""
        with self._lock:
            self._failures += 1
            if self._down_since is None and self._failures < FAILURES_TO_OPEN:
                return None
            begun = self._down_since is None or self._trying
            now = self._clock()
            if self._down_since is None:
                self._down_since = now
            elif self._trying:
                self._pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * self._pause_seconds)
            self._closed_until, self._trying = now + self._pause_seconds, False
            return self._pause_seconds if begun else None
