"""Listing, names or folder -> models, claims and sketches, a batch at a time.

A batch is a page: its models come out, the caller stores them and acknowledges the batch, and only then does the saved
progress move. What is known already is not read again (crawler/visit.py). One bad repository is recorded and never stops a crawl.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from lineage.crawler.batch import Batch, VisitOutcome
from lineage.crawler.budget import BudgetSpent
from lineage.crawler.folder import local_models
from lineage.crawler.hub import Hub
from lineage.crawler.listing import Repository
from lineage.crawler.passed_over import no_model_under
from lineage.crawler.priority import has_weights
from lineage.crawler.progress import Progress
from lineage.crawler.state import VisitRecord, Walk
from lineage.crawler.visit import Visitor, WeightReader
from lineage.crawler.walk import CrawlOptions, WalkedPage, utc_now, walk_listing
from lineage.crawler.weights import UnreadableWeights

NAMES_PER_BATCH = 100
LOCAL_MODELS_PER_BATCH = 32
FAILURES_IN_A_ROW = 8  # of the network or the Hub, each after its retries: then it is not the repositories
SCARCE_REQUESTS = 20  # for each worker: with fewer left, one after the other, so that what is begun is ended
LISTING_SHARE = 0.5  # of a budget, while there is something to read
FAILED_TRIED_AGAIN = 2_000  # in one crawl, those that wait longest first
MISSING_ASKED_FOR = 2_000  # likewise
T = TypeVar("T")


def crawl(
    options: CrawlOptions,
    reader: WeightReader,
    progress: Progress,
    hub: Hub | None = None,
    *,
    identify: Callable[[str], str | None] = lambda repo_id: None,
    now: Callable[[], datetime] = utc_now,
) -> Generator[Batch, None, None]:
    """Batches; each is to be stored and acknowledged before the next one is asked for, but where it says that more pages follow.

    Args:
        hub: not needed for a folder.
        identify: repo_id -> the Hub's identity of it, if that is known; for models in Hugging Face's cache.
    Raises:
        HubDown, BadToken, RateLimited, Offline, UnexpectedAnswer: going on would make no sense. What was acknowledged stays.
        BudgetSpent: after the last batch, if the budget ended the crawl and not its own end.
    """
    crawler = _Crawler(Visitor(reader, progress, hub, identify, now), progress)
    if hub is not None and options.has_budget:
        hub.limit(options.max_requests, options.max_bytes, options.max_minutes)
    with ThreadPoolExecutor(max(1, options.workers), "crawl") as pool:
        try:
            if options.folder is not None:
                yield from crawler.folder(pool, options.folder, options.limit)
            elif options.repos is not None:
                yield from crawler.names(pool, options.repos[: options.limit])
            else:
                yield from crawler.listing(pool, options)
            if crawler.spent is not None:
                raise crawler.spent
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(slots=True)
class _Crawler:
    visitor: Visitor
    progress: Progress
    _failed_in_a_row: int = 0
    spent: BudgetSpent | None = None
    _deferred: set[int] = field(default_factory=set)  # hashes of the identities that this crawl has seen and put off

    def listing(self, pool: ThreadPoolExecutor, options: CrawlOptions) -> Iterator[Batch]:
        hub = self.visitor.asked()
        key = options.walk_key(hub.endpoint)
        started, by_changes = self.visitor.now(), False
        pages = walk_listing(hub, options, self.progress, self.visitor.now)
        while (page := self._next(pages)) is not None:
            by_changes = page.walk.newest_changes
            known = self.progress.known(repository.hub_id for repository in page.repositories)
            later = [r for r in page.repositories if options.has_budget and self._can_wait(r, known.get(r.hub_id))]
            waiting = {repository.hub_id for repository in later}
            at_once = [repository for repository in page.repositories if repository.hub_id not in waiting]
            outcomes = self._outcomes(pool, at_once, known)
            deferred = [self.visitor.deferred(r, known.get(r.hub_id)) for r in later]
            present = tuple(r.hub_id for r in page.repositories) if options.is_whole else ()
            more = not options.has_budget and page.walk.cursor is not None
            yield self._batch(
                chain(outcomes, deferred), Counter(malformed=page.malformed), (key, page.walk), present, later, more
            )
            if self.spent or (hub.spent_share > LISTING_SHARE and self.progress.waits(key)):
                break
        while not self.spent and (some := self.progress.first_waiting(key, NAMES_PER_BATCH)):
            known = self.progress.known(repository.hub_id for repository in some)
            work = self._in_budget(self._reader(known))
            scarce = hub.requests_left is not None and hub.requests_left < SCARCE_REQUESTS * options.workers
            batch = self._batch((map if scarce else pool.map)(work, some), Counter(), (key, None))
            if self.spent and not batch.models:  # one that costs more than the whole budget lets others go first
                self.progress.step_back(key, some[0].hub_id)
            yield batch
        if by_changes and options.is_whole and not self.spent:  # what failed and did not change since is on no page
            failed = [done for done in self.progress.failed(FAILED_TRIED_AGAIN) if done.checked_at < started]
            for tried in _chunks(failed, NAMES_PER_BATCH):
                yield self._batch(pool.map(self._in_budget(self.visitor.again), tried), Counter())
        walk = self.progress.walk(key)
        if options.is_whole and walk is not None and walk.full_at and walk.cursor is None and not self.spent:
            missing = self.progress.missing(key, walk.full_at, self.visitor.now().date(), MISSING_ASKED_FOR)
            for absent in _chunks(missing, NAMES_PER_BATCH):
                yield self._batch(pool.map(self._in_budget(self.visitor.missing), absent), Counter(), (key, None))

    def _outcomes(
        self, pool: ThreadPoolExecutor, repositories: Sequence[Repository], known: Mapping[str, VisitRecord]
    ) -> Iterator[VisitOutcome]:
        """In the given order; what needs no request is done here, without the price of handing it to a thread."""
        work = self._in_budget(self._reader(known))
        asking = {r.hub_id: pool.submit(work, r) for r in repositories if self._may_ask(r, known.get(r.hub_id))}
        for repository in repositories:
            future = asking.pop(repository.hub_id, None)
            yield future.result() if future is not None else work(repository)

    def _may_ask(self, repository: Repository, known: VisitRecord | None) -> bool:
        if repository.sha is None or has_weights(repository) or "adapter_config.json" in (repository.files or ()):
            return known is None or not self.visitor.is_settled(repository, known)
        return False

    def _next(self, pages: Iterator[WalkedPage]) -> WalkedPage | None:
        try:
            return next(pages, None)
        except BudgetSpent as spent:
            self.spent = spent
            return None

    def _in_budget(self, work: Callable[[T], VisitOutcome]) -> Callable[[T], VisitOutcome]:
        """The same work; what the budget does not allow any more is left."""

        def limited(item: T) -> VisitOutcome:
            try:
                return work(item)
            except BudgetSpent as spent:
                self.spent = spent
                return VisitOutcome(None, (), None, ("left",))

        return limited

    def _reader(self, known: Mapping[str, VisitRecord]) -> Callable[[Repository], VisitOutcome]:
        return lambda repository: self.visitor.repository(repository, known.get(repository.hub_id))

    def _can_wait(self, repository: Repository, known: VisitRecord | None) -> bool:
        return has_weights(repository) and not (known is not None and self.visitor.is_settled(repository, known))

    def names(self, pool: ThreadPoolExecutor, names: Sequence[str]) -> Iterator[Batch]:
        for some in _chunks(names, NAMES_PER_BATCH):
            yield self._batch(pool.map(self._in_budget(self.visitor.named), some), Counter())

    def folder(self, pool: ThreadPoolExecutor, folder: Path, limit: int | None) -> Iterator[Batch]:
        any_model = False
        for some in _chunks(islice(local_models(folder), limit), LOCAL_MODELS_PER_BATCH):
            any_model = True
            yield self._batch(pool.map(self._in_budget(self.visitor.local), some), Counter())
        if not any_model:
            failure = no_model_under(folder)
            raise UnreadableWeights(failure.message, failure.try_next)

    def _batch(
        self,
        outcomes: Iterable[VisitOutcome],
        counts: Counter[str],
        walk: tuple[str, Walk | None] | None = None,
        present: tuple[str, ...] = (),
        waiting: Sequence[Repository] = (),
        more_pages: bool = False,
    ) -> Batch:
        outcomes = [each for outcome in outcomes for each in (outcome, *outcome.parts)]
        if any("left" in outcome.counts for outcome in outcomes) and walk is not None:
            walk = walk[0], None  # the page is asked for again; what came of it until now is kept
        batch = Batch([], [], counts, [], more_pages, self.progress, [], walk, present, _waiting=list(waiting))
        for outcome in outcomes:
            if outcome.network_failure is not None:
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                    raise outcome.network_failure
            elif {"unchanged", "waiting", "left"}.isdisjoint(outcome.counts):
                self._failed_in_a_row = 0
            put_off = "waiting" in outcome.counts
            counts["seen"] += {"left", "parts"}.isdisjoint(outcome.counts) and not self._was_put_off(outcome, counts)
            counts.update(outcome.counts)
            batch.declarations.extend(outcome.declarations)
            if outcome.model is not None:
                batch.models.append(outcome.model)
                # unchanged parts are not listed: they would count once and never again
                if "parts" not in outcome.counts:
                    status = "several" if outcome.model.several else outcome.model.status.value
                    counts[status] += not put_off  # nothing is known of it yet, or what was known before
                if put_off:
                    self._deferred.add(hash(outcome.model.hub_id))
            if outcome.done is not None:
                batch._done.append(outcome.done)
            if outcome.asked is not None:
                batch._asked.append(outcome.asked)
            if outcome.failure is not None:
                batch.failures.append(outcome.failure)
        self.visitor.forget_locks()
        return batch

    def _was_put_off(self, outcome: VisitOutcome, counts: Counter[str]) -> bool:
        """Whether this crawl has counted the model before, as one that waits; then it waits no longer."""
        hub_id = outcome.model.hub_id if outcome.model else outcome.done.hub_id if outcome.done else None
        if hub_id is None or "waiting" in outcome.counts or hash(hub_id) not in self._deferred:
            return False
        self._deferred.remove(hash(hub_id))
        counts["waiting"] -= 1
        return True


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
