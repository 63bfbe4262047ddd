"""What comes of looking at models: one outcome each, and batches of them that the caller stores and acknowledges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lineage.crawler.listing import Repository
from lineage.crawler.progress import Progress
from lineage.crawler.state import AbsenceCheck, VisitRecord, Walk
from lineage.graphdb.schema import Declaration, Failure, Model


@dataclass(frozen=True, slots=True)
class RepoFailure:
    """A repository or local model that could not be looked into; `kind` is the failure's class."""

    repo_id: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class VisitOutcome:
    """What came of one model."""

    model: Model | None
    declarations: tuple[Declaration, ...]
    done: VisitRecord | None
    counts: tuple[str, ...]
    failure: RepoFailure | None = None
    network_failure: Failure | None = None
    asked: AbsenceCheck | None = None
    parts: tuple[VisitOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Models of one page.

    Attributes:
        models: everything listed, known or not.
        declarations: all claims of these models, to replace what they claimed before.
        counts: `seen`; `unchanged`, `new`, `changed` or `again` (after a failure); `read` (weights were sampled) or
            `reused` (equal weights are known); `malformed` (items of the listing); `missing` (no page listed them, so
            they were asked for by name); `parts` (models of a repository of several, which are counted by no status);
            `waiting` (to be read later) and `left` (not looked at), where there is a budget; and repositories by
            status, or as `several`.
        failures: see RepoFailure.
        more_pages: whether another page follows for certain. Then that one may be asked for before this one is acknowledged;
            otherwise the crawl goes by what was acknowledged.
    """

    models: list[Model]
    declarations: list[Declaration]
    counts: Counter[str]
    failures: list[RepoFailure]
    more_pages: bool
    _progress: Progress
    _done: list[VisitRecord]
    _walk: tuple[str, Walk | None] | None = None
    _present: tuple[str, ...] = ()
    _asked: list[AbsenceCheck] = field(default_factory=list)
    _waiting: list[Repository] = field(default_factory=list)

    def acknowledge(self) -> None:
        """Say that the batch is stored; on disk when this returns. Without it, the same work is done again next time."""
        key, walk = self._walk or (None, None)
        self._progress.acknowledge(self._done, key, walk, self._present, self._asked, self._waiting)
