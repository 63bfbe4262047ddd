"""Which repositories to look at: pages of a listing, from the saved cursor to the end or to a date.

Everything is walked by date of creation, which never changes, so that nothing moves under the walk. When a large Hub has been
walked once, later passes go by last change, newest first, down to the newest change that the last pass saw minus an overlap,
and everything is walked again once a week. A model seen twice or not at all on a page means nothing. Marks are times of the
Hub's clock: ours may jump. It is believed only where it is behind the Hub's, which costs pages and loses nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from lineage.crawler.hub import PAGE_MODELS, Hub, ListingPage, first_page
from lineage.crawler.hub_errors import HubDown, UnexpectedAnswer
from lineage.crawler.listing import Repository
from lineage.crawler.progress import Progress
from lineage.crawler.state import Walk

logger = logging.getLogger(__name__)

LARGE_HUB_MODELS = 20_000
OVERLAP = timedelta(hours=1)  # changes that reach the listing late
OLD_AT_THE_END = 5  # consecutive items before the date that end a pass: one with a wrong date does not
FULL_EVERY = timedelta(days=7)
SMALLEST_PAGE_MODELS = 20
REPEATED_PAGES = 3  # in a row, before a listing counts as broken
SHRUNK_MODELS = 1_000  # a listing that lost more than these and half of itself since last time is not believed


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """What to crawl. With `repos` or `folder` there is no listing, and the filters say nothing.

    Attributes:
        filters: tags, libraries, `base_model:ID`; all must hold.
        limit: maximum number of models.
        since: only what changed at or after this moment.
        repos: names, `org/name` or `org/name@revision`.
        folder: models on disk instead of a Hub.
        workers: repositories read at the same time.
        scope: names the store that the models go to, so that another store gets its own walk.
        max_requests, max_bytes, max_minutes: what may be spent; with any of them, listing comes first and reading after it, the
            most useful repositories first.
    """

    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    limit: int | None = None
    since: datetime | None = None
    repos: tuple[str, ...] | None = None
    folder: Path | None = None
    workers: int = 4
    page_models: int = PAGE_MODELS
    scope: str = ""
    max_requests: int | None = None
    max_bytes: int | None = None
    max_minutes: float | None = None

    @property
    def has_budget(self) -> bool:
        return not (self.max_requests is self.max_bytes is self.max_minutes is None)

    @property
    def is_whole(self) -> bool:
        """Everything that the Hub lists, and not a part of it."""
        return not (self.author or self.search or self.filters or self.limit or self.since)

    def walk_key(self, endpoint: str) -> str:
        """What makes two walks the same, so that the second goes on where the first was stopped."""
        since = self.since.isoformat() if self.since else None
        return json.dumps([endpoint, self.scope, self.author, self.search, sorted(self.filters), self.limit, since])


@dataclass(frozen=True, slots=True)
class WalkedPage:
    """Repositories of a page that are to be looked at, and the walk's state once they are done."""

    repositories: list[Repository]
    malformed: int
    walk: Walk


def walk_listing(
    hub: Hub, options: CrawlOptions, progress: Progress, now: Callable[[], datetime]
) -> Iterator[WalkedPage]:
    """Pages from where the last run was stopped; the caller saves `walk` of each page once it is done.

    Raises:
        UnexpectedAnswer: the listing is invalid or loops.
    """
    walk = progress.walk(options.walk_key(hub.endpoint))
    resumed = walk is not None and walk.cursor is not None
    if walk is None or walk.cursor is None:
        walk = _begin(walk, options, now())
    since = options.since or (walk.mark - OVERLAP if walk.mark and walk.newest_changes else None)
    query = walk.cursor or _first_query(options, walk)
    asked: set[str] = set()
    before: list[str] = []
    repeated = 0
    while True:
        asked.add(query)
        try:
            page = hub.page(query)
        except UnexpectedAnswer:
            if not resumed:
                raise
            logger.warning("the saved place in the listing is no longer known; walking it from its beginning")
            resumed, query, walk = False, _first_query(options, walk), replace(walk, seen=0)
            asked.clear()
            continue
        except HubDown as error:  # heavy pages run into the Hub's own time limit
            smaller = _with_smaller_pages(query)
            if error.status is None or smaller is None:
                raise
            logger.info("the listing answers %d; asking for smaller pages", error.status)
            query = smaller
            continue
        resumed = False
        ids = [repository.hub_id for repository in page.repositories]
        repeated = repeated + 1 if ids == before else 0
        if page.cursor in asked or (ids and repeated >= REPEATED_PAGES):
            raise UnexpectedAnswer("the listing leads in circles", "check --endpoint or HF_ENDPOINT; try again later")
        before = ids
        chosen, last = _choose(page, options, walk, since)
        changes = [r.last_modified for r in page.repositories if r.last_modified is not None]
        newest = max(changes if walk.newest is None else [*changes, walk.newest], default=None)
        walk = replace(walk, seen=walk.seen + len(chosen), cursor=None if last else page.cursor, newest=newest)
        yield WalkedPage(chosen, page.malformed, _end(walk) if last else walk)
        if last or page.cursor is None:
            return
        query = page.cursor


def _begin(last: Walk | None, options: CrawlOptions, now: datetime) -> Walk:
    newest_changes = options.since is not None
    if last is not None and options.limit is None and last.mark is not None and last.full_at is not None:
        recent = timedelta(0) <= now - last.full_at < FULL_EVERY
        newest_changes = newest_changes or (recent and last.full_seen >= LARGE_HUB_MODELS)
    kept = last or Walk(now)
    return Walk(now, None, 0, newest_changes, kept.mark, kept.full_at, kept.full_seen)


def _end(walk: Walk) -> Walk:
    """State after a whole pass."""
    if not walk.newest_changes and walk.full_seen - walk.seen > max(SHRUNK_MODELS, walk.seen):
        logger.warning("the listing fell from %d to %d models; that is not believed yet", walk.full_seen, walk.seen)
        return replace(walk, cursor=None)
    walk = replace(walk, cursor=None, mark=min(walk.started_at, walk.newest or walk.started_at))
    return walk if walk.newest_changes else replace(walk, full_at=walk.started_at, full_seen=walk.seen)


def _first_query(options: CrawlOptions, walk: Walk) -> str:
    models = min(options.page_models, options.limit or options.page_models)
    return first_page(options.author, options.search, options.filters, walk.newest_changes, models)


def _with_smaller_pages(query: str) -> str | None:
    """The same place in the listing, a fifth of the page; None where that would be too small to matter."""
    fields = dict(parse_qs(query, keep_blank_values=True))
    limit = fields.get("limit", ["0"])[0]
    if not limit.isdigit() or int(limit) < 2 * SMALLEST_PAGE_MODELS:
        return None
    fields["limit"] = [str(max(SMALLEST_PAGE_MODELS, int(limit) // 5))]
    return urlencode(fields, doseq=True)


def _choose(
    page: ListingPage, options: CrawlOptions, walk: Walk, since: datetime | None
) -> tuple[list[Repository], bool]:
    """Repositories of a page that are wanted, each once, and whether the pass ends with it."""
    wanted = list({repository.hub_id: repository for repository in reversed(page.repositories)}.values())[::-1]
    last = page.cursor is None
    if since is not None:
        recent = [r for r in wanted if r.last_modified is None or r.last_modified >= since]
        dated = [r.last_modified for r in wanted if r.last_modified is not None]
        last = last or (bool(dated) and all(changed < since for changed in dated[-OLD_AT_THE_END:]))
        wanted = recent
    if options.limit is not None and walk.seen + len(wanted) >= options.limit:
        return wanted[: options.limit - walk.seen], True
    return wanted, last


def utc_now() -> datetime:
    return datetime.now(UTC)
