"""What a crawl remembers: how far its walk is, what is known of each model, and who was missing from the listing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from lineage.graphdb.schema import Status


@dataclass(frozen=True, slots=True)
class Walk:
    """State of one walk over a listing.

    Attributes:
        cursor: query of the page to ask for next; None before the first page and after the last.
        seen: models in acknowledged pages of the walk under way.
        newest_changes: whether the walk under way goes by last change, down to the mark, and not over everything.
        mark: changes before it were seen by a pass that came to its end.
        full_at, full_seen: start of the last pass over everything, and how many models it saw.
        newest: latest change that the walk under way has seen, by the Hub's clock.
    """

    started_at: datetime
    cursor: str | None = None
    seen: int = 0
    newest_changes: bool = False
    mark: datetime | None = None
    full_at: datetime | None = None
    full_seen: int = 0
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class VisitRecord:
    """What is known of a repository or local model since it was last looked into.

    Attributes:
        sha: commit that was looked into; for local models the weights digest.
        claims: (base, relation, source) of claims that the listing does not hold, so that they need not be fetched again.
        with_token: whether the Hub was asked with a token; another answer may come when that changes.
        failure: kind of failure that may go away by itself (so the same commit is tried again); None once settled.
    """

    hub_id: str
    repo_id: str
    sha: str | None
    status: Status
    weights_digest: str | None
    signature: str | None
    reason: str | None
    failure: str | None
    checked_at: datetime
    claims: tuple[tuple[str, str | None, str], ...] = ()
    with_token: bool = False
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class MissingModel:
    """A model that a walk over everything did not meet.

    Attributes:
        done: what is known of it.
        denied_on: day on which the Hub first answered a direct question with no; None if it has not yet.
    """

    done: VisitRecord
    denied_on: date | None


@dataclass(frozen=True, slots=True)
class AbsenceCheck:
    """What came of asking for a missing model by its name; `denied_on` as in MissingModel, None where it is there after all."""

    hub_id: str
    at: datetime
    missing: bool
    denied_on: date | None = None
