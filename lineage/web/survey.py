"""The whole graph at a glance, worked out beside the requests: counts, families, cards that the weights contradict, licence conflicts.

A first page must not wait until 300,000 models are counted. One thread walks through the graph in small steps, when the server starts and
whenever a run has ended since; pages show the latest survey, with its date.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import Failure
from lineage.queries import load
from lineage.queries.claim_check import compare_all
from lineage.queries.licences import all_conflicts

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)

KEPT = 5_000  # rows of one kind that are listed; beyond it only their number is known
FAMILIES = 25
PAUSE_SECONDS = 0.002  # after every step, so that requests come first
CHECKED_EVERY_SECONDS = 30.0
STEP = 250  # rows between two pauses
ANCESTORS = 50  # models a question


@dataclass(frozen=True, slots=True)
class ComparedClaim:
    """A model's card beside its weights."""

    hub_id: str
    name: str
    outcome: str
    reason: str
    declared: tuple[str, ...]
    detected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two licences on one chain that contradict each other."""

    model: str
    name: str
    license: str | None
    ancestor: str
    ancestor_name: str
    above: str
    depth: int
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Attributes:
        counts: as `Store.counts` names them. families: (name, children, descendants).
        outcomes: outcome -> how many models; compared: the first KEPT of each outcome, by name.
        conflict_count: lower bound of their number; conflicts: the first KEPT.
        complete: False while some of it is still to be worked out.
    """

    made_at: datetime | None = None
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    families: tuple[tuple[str, int, int], ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    compared: Mapping[str, tuple[ComparedClaim, ...]] = field(default_factory=dict)
    conflict_count: int = 0
    conflicts: tuple[Conflict, ...] = ()
    complete: bool = False


class Survey:
    """Keeps a snapshot of a graph up to date.

    Args:
        store: read from several threads. clock: says what time it is. pause: called after every step.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], None] = time.sleep,
    ):
        self._store, self._clock, self._pause = store, clock, pause
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.latest = Snapshot()

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="survey", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; returns when it no longer reads."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def make(self) -> Snapshot:
        """Works everything out once, here and now."""
        began = time.monotonic()
        snapshot = Snapshot(self._clock(), counts=self._store.counts())
        self._publish(snapshot)
        families = tuple(
            (row["repo_id"], row["children"], row["descendants"])
            for row in self._store.read(load("families").text, {"limit": FAMILIES})
        )
        snapshot = Snapshot(snapshot.made_at, counts=snapshot.counts, families=families)
        self._publish(snapshot)
        outcomes, compared = self._compared()
        conflicts, count = self._conflicts()
        return self._publish(
            Snapshot(
                snapshot.made_at,
                time.monotonic() - began,
                snapshot.counts,
                families,
                outcomes,
                compared,
                count,
                conflicts,
                complete=True,
            )
        )

    def _publish(self, snapshot: Snapshot) -> Snapshot:
        if snapshot.complete or not self.latest.complete:
            self.latest = snapshot  # while a newer one is made, the older whole one is shown
        return snapshot

    def _compared(self) -> tuple[dict[str, int], dict[str, tuple[ComparedClaim, ...]]]:
        outcomes: Counter[str] = Counter()
        kept: dict[str, list[ComparedClaim]] = {}
        for found in self._steps(compare_all(self._store)):
            if found.agreement is None:
                continue
            outcome = str(found.agreement)
            outcomes[outcome] += 1
            rows = kept.setdefault(outcome, [])
            declared = tuple(dict.fromkeys(claim.base for claim in found.declared))
            rows.append(ComparedClaim(found.hub_id, found.repo_id, outcome, found.reason, declared, found.detected))
            if len(rows) >= 2 * KEPT:
                rows.sort(key=lambda row: (row.name, row.hub_id))
                del rows[KEPT:]
        ordered = {name: sorted(rows, key=lambda row: (row.name, row.hub_id))[:KEPT] for name, rows in kept.items()}
        return dict(outcomes), {name: tuple(rows) for name, rows in ordered.items()}

    def _conflicts(self) -> tuple[tuple[Conflict, ...], int]:
        found: list[Conflict] = []
        count = 0
        for row in self._steps(all_conflicts(self._store, ANCESTORS)):
            count += 1
            if len(found) < KEPT:
                found.append(
                    Conflict(
                        row["hub_id"],
                        row["repo_id"],
                        row["license"],
                        row["ancestor_id"],
                        row["ancestor"],
                        row["above"],
                        row["depth"],
                        row["reason"],
                    )
                )
        found.sort(key=lambda one: (one.name, one.depth, one.ancestor_name))
        return tuple(found), count

    def _steps(self, rows: Iterator[Any]) -> Iterator[Any]:
        """The rows, with pauses; ends early when the server stops."""
        for place, row in enumerate(rows):
            if place % STEP == 0:
                self._pause(PAUSE_SECONDS)
                if self._stopped.is_set():
                    return
            yield row

    def _run(self) -> None:
        seen: object = object()
        while not self._stopped.is_set():
            try:
                runs = self._store.runs(limit=1)
                state = (runs[0].run_id, runs[0].finished_at) if runs else None
                if state != seen:
                    seen = state
                    made = self.make()
                    logger.info("surveyed %s models in %.1f s", made.counts.get("models"), made.seconds)
            except Failure as failure:
                logger.warning("the survey failed: %s", failure.message)
            self._stopped.wait(CHECKED_EVERY_SECONDS)
