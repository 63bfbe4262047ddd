"""How much one crawl may spend: requests, bytes, minutes. Looked at before every request, so that nothing is asked beyond it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lineage.crawler.hub_errors import HubFailure


class BudgetSpent(HubFailure):
    """The crawl may ask nothing more. What it has done is kept, and the next one goes on from there."""


@dataclass(slots=True)
class Budget:
    """What a crawl may spend; None is without end.

    Attributes:
        max_bytes: of answers' bodies; an answer under way is not broken off, so each worker may go beyond it by one answer.
        max_seconds: from when the budget was made, on `clock`; a wait that would end later is not begun.
    """

    max_requests: int | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    _ends_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._ends_at = None if self.max_seconds is None else self.clock() + self.max_seconds

    def check(self, requests: int, body_bytes: int, wait_seconds: float = 0.0) -> None:
        """
        Args:
            requests, body_bytes: spent so far.
            wait_seconds: how long one would have to wait before the next request.
        Raises:
            BudgetSpent: another request would be beyond the budget.
        """
        if self.max_requests is not None and requests >= self.max_requests:
            raise _spent(f"{self.max_requests} requests")
        if self.max_bytes is not None and body_bytes >= self.max_bytes:
            raise _spent(f"{self.max_bytes / 1e6:g} MB")
        if self._ends_at is not None and self.clock() + wait_seconds >= self._ends_at:
            raise _spent(f"{(self.max_seconds or 0) / 60:g} minutes")

    def share(self, requests: int, body_bytes: int) -> float:
        """How much of it is spent, 0 to 1: of requests, bytes or time, whichever is nearest to its end."""
        shares = [0.0]
        shares += [requests / self.max_requests] if self.max_requests else []
        shares += [body_bytes / self.max_bytes] if self.max_bytes else []
        if self._ends_at is not None and self.max_seconds:
            shares.append(1 - (self._ends_at - self.clock()) / self.max_seconds)
        return min(1.0, max(shares))


def _spent(what: str) -> BudgetSpent:
    return BudgetSpent(f"the budget of {what} is spent", "run the same command again: it goes on from here")
