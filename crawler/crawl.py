"""Listing, names or folder -> models, claims and sketches, a batch at a time.

A batch is a page: its models come out, the caller stores them and acknowledges the batch, and only then does the saved
progress move. What is known already is not read again: an unchanged commit costs nothing beyond the listing, equal weight
files cost no weight bytes, whatever the repository is called. One bad repository is recorded and never stops a crawl.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

from crawler.answers import (
    BadToken,
    Disabled,
    Gated,
    HubDown,
    HubFailure,
    NoSuchFile,
    NoSuchRepository,
    Offline,
    RateLimited,
    StorageDown,
)
from crawler.budget import BudgetSpent
from crawler.components import parts_of
from crawler.folder import LocalModel, content_hash, local_models
from crawler.headers import TensorHeader
from crawler.hub import Hub
from crawler.listing import Repository
from crawler.locate import DISABLED, OpenModel, locate_local, locate_repository, model_of
from crawler.progress import Asked, Done, Missing, Progress, Walk
from crawler.quantised import is_low_rank, quantisation_in
from crawler.queue import has_weights
from crawler.walk import CrawlOptions, WalkedPage, utc_now, walk_listing
from crawler.weights import Unreadable
from graphdb.schema import QUANTISED, Declaration, Failure, Model, Status, local_id

logger = logging.getLogger(__name__)

NAMES_PER_BATCH = 100
LOCAL_MODELS_PER_BATCH = 32
FAILURES_IN_A_ROW = 8  # of the network or the Hub, each after its retries: then it is not the repositories
STOPPING = (BadToken, Offline, RateLimited, BudgetSpent)  # whoever is asked next, the answer would be the same
SCARCE_REQUESTS = 20  # for each worker: with fewer left, one after the other, so that what is begun is ended
LISTING_SHARE = 0.5  # of a budget, while there is something to read
FAILED_TRIED_AGAIN = 2_000  # in one crawl, those that wait longest first
MISSING_ASKED_FOR = 2_000  # likewise
READ_CLAIMS = ("adapter_config", "gguf")  # claims that the listing does not hold
ASK_GATED_AGAIN = timedelta(days=7)
T = TypeVar("T")


class Sketcher(Protocol):
    """Keeps samples of weights, by the digest of the weight files. Used from several threads, each digest from one."""

    def signature_of(self, header: Sequence[TensorHeader]) -> str: ...
    def plan(self, header: Sequence[TensorHeader]) -> list[Any]: ...
    def signature_if_known(self, weights_digest: str) -> str | None: ...
    def put(self, weights_digest: str, header: Sequence[TensorHeader], blocks: Iterable[tuple[Any, bytes]]) -> str: ...
    def compact_if_due(self, at_end: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class RepoFailure:
    """A repository or local model that could not be looked into; `kind` is the failure's class."""

    repo_id: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Models of one page.

    Attributes:
        models: everything listed, known or not.
        declarations: all claims of these models, to replace what they claimed before.
        counts: `seen`; `unchanged`, `new`, `changed` or `again` (after a failure); `read` (weights were sampled) or `reused`
            (equal weights are known); `malformed` (items of the listing); `missing` (no page listed them, so they were asked for
            by name); `waiting` (to be read later) and `left` (not looked at), where there is a budget; and models by status.
        failures: see RepoFailure.
    """

    models: list[Model]
    declarations: list[Declaration]
    counts: Counter[str]
    failures: list[RepoFailure]
    _progress: Progress
    _done: list[Done]
    _walk: tuple[str, Walk | None] | None = None
    _present: tuple[str, ...] = ()
    _asked: list[Asked] = field(default_factory=list)
    _waiting: list[Repository] = field(default_factory=list)

    def acknowledge(self) -> None:
        """Say that the batch is stored; on disk when this returns. Without it, the same work is done again next time."""
        key, walk = self._walk or (None, None)
        self._progress.acknowledge(self._done, key, walk, self._present, self._asked, self._waiting)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one model."""

    model: Model | None
    declarations: tuple[Declaration, ...]
    done: Done | None
    counts: tuple[str, ...]
    failure: RepoFailure | None = None
    network_failure: Failure | None = None
    asked: Asked | None = None
    parts: tuple[_Outcome, ...] = ()


def crawl(
    options: CrawlOptions,
    sketches: Sketcher,
    progress: Progress,
    hub: Hub | None = None,
    *,
    identify: Callable[[str], str | None] = lambda repo_id: None,
    now: Callable[[], datetime] = utc_now,
) -> Generator[Batch, None, None]:
    """
    Args:
        hub: not needed for a folder.
        identify: repo_id -> the Hub's identity of it, if that is known; for models in Hugging Face's cache.
    Raises:
        HubDown, BadToken, RateLimited, Offline, UnexpectedAnswer: going on would make no sense. What was acknowledged stays.
        BudgetSpent: after the last batch, if the budget ended the crawl and not its own end.
    """
    crawler = _Crawler(sketches, progress, hub, identify, now)
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
    sketches: Sketcher
    progress: Progress
    hub: Hub | None
    identify: Callable[[str], str | None]
    now: Callable[[], datetime]
    _locks: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))
    _locks_lock: Lock = field(default_factory=Lock)
    _failed_in_a_row: int = 0
    spent: BudgetSpent | None = None

    def listing(self, pool: ThreadPoolExecutor, options: CrawlOptions) -> Iterator[Batch]:
        hub = self._hub()
        key = options.walk_key(hub.endpoint)
        started, by_changes = self.now(), False
        pages = walk_listing(hub, options, self.progress, self.now)
        while (page := self._next(pages)) is not None:
            by_changes = page.walk.newest_changes
            known = self.progress.known(repository.hub_id for repository in page.repositories)
            later = [r for r in page.repositories if options.has_budget and self._can_wait(r, known.get(r.hub_id))]
            waiting = {repository.hub_id for repository in later}
            at_once = [repository for repository in page.repositories if repository.hub_id not in waiting]
            outcomes = self._outcomes(pool, at_once, known)
            deferred = [self._deferred(r, known.get(r.hub_id)) for r in later]
            present = tuple(r.hub_id for r in page.repositories) if options.is_whole else ()
            yield self._batch(
                chain(outcomes, deferred), Counter(malformed=page.malformed), (key, page.walk), present, later
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
                yield self._batch(pool.map(self._in_budget(self._again), tried), Counter())
        walk = self.progress.walk(key)
        if options.is_whole and walk is not None and walk.full_at and walk.cursor is None and not self.spent:
            missing = self.progress.missing(key, walk.full_at, self.now().date(), MISSING_ASKED_FOR)
            for absent in _chunks(missing, NAMES_PER_BATCH):
                yield self._batch(pool.map(self._in_budget(self._missing), absent), Counter(), (key, None))

    def _outcomes(
        self, pool: ThreadPoolExecutor, repositories: Sequence[Repository], known: Mapping[str, Done]
    ) -> Iterator[_Outcome]:
        """In the given order; what needs no request is done here, without the price of handing it to a thread."""
        work = self._in_budget(self._reader(known))
        asking = {r.hub_id: pool.submit(work, r) for r in repositories if self._may_ask(r, known.get(r.hub_id))}
        for repository in repositories:
            future = asking.pop(repository.hub_id, None)
            yield future.result() if future is not None else work(repository)

    def _may_ask(self, repository: Repository, known: Done | None) -> bool:
        if repository.sha is None or has_weights(repository) or "adapter_config.json" in (repository.files or ()):
            return known is None or not self._is_settled(repository, known)
        return False

    def _next(self, pages: Iterator[WalkedPage]) -> WalkedPage | None:
        try:
            return next(pages, None)
        except BudgetSpent as spent:
            self.spent = spent
            return None

    def _in_budget(self, work: Callable[[T], _Outcome]) -> Callable[[T], _Outcome]:
        """The same work; what the budget does not allow any more is left."""

        def limited(item: T) -> _Outcome:
            try:
                return work(item)
            except BudgetSpent as spent:
                self.spent = spent
                return _Outcome(None, (), None, ("left",))

        return limited

    def _reader(self, known: Mapping[str, Done]) -> Callable[[Repository], _Outcome]:
        return lambda repository: self._repository(repository, known.get(repository.hub_id))

    def _can_wait(self, repository: Repository, known: Done | None) -> bool:
        return has_weights(repository) and not (known is not None and self._is_settled(repository, known))

    def _deferred(self, repository: Repository, known: Done | None) -> _Outcome:
        """What can be said of a repository that is read later: what was known of it, or that it waits."""
        model = model_of(repository, Status.UNREADABLE, "not read yet")
        if known is not None and known.status is Status.SKETCHED:
            model = self._as_known(repository, known)
        return _Outcome(model, repository.declarations, None, ("waiting",))

    def names(self, pool: ThreadPoolExecutor, names: Sequence[str]) -> Iterator[Batch]:
        for some in _chunks(names, NAMES_PER_BATCH):
            yield self._batch(pool.map(self._in_budget(self._named), some), Counter())

    def folder(self, pool: ThreadPoolExecutor, folder: Path, limit: int | None) -> Iterator[Batch]:
        any_model = False
        for some in _chunks(islice(local_models(folder), limit), LOCAL_MODELS_PER_BATCH):
            any_model = True
            yield self._batch(pool.map(self._in_budget(self._local), some), Counter())
        if not any_model:
            raise Unreadable(f"no model under {folder}", "name a folder that holds .safetensors files")

    def _batch(
        self,
        outcomes: Iterable[_Outcome],
        counts: Counter[str],
        walk: tuple[str, Walk | None] | None = None,
        present: tuple[str, ...] = (),
        waiting: Sequence[Repository] = (),
    ) -> Batch:
        outcomes = [each for outcome in outcomes for each in (outcome, *outcome.parts)]
        if any("left" in outcome.counts for outcome in outcomes) and walk is not None:
            walk = walk[0], None  # the page is asked for again; what came of it until now is kept
        batch = Batch([], [], counts, [], self.progress, [], walk, present, _waiting=list(waiting))
        for outcome in outcomes:
            if outcome.network_failure is not None:
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                    raise outcome.network_failure
            elif {"unchanged", "waiting", "left"}.isdisjoint(outcome.counts):
                self._failed_in_a_row = 0
            counts["seen"] += {"left", "parts"}.isdisjoint(outcome.counts)
            counts.update(outcome.counts)
            batch.declarations.extend(outcome.declarations)
            if outcome.model is not None:
                batch.models.append(outcome.model)
                counts[outcome.model.status.value] += 1
            if outcome.done is not None:
                batch._done.append(outcome.done)
            if outcome.asked is not None:
                batch._asked.append(outcome.asked)
            if outcome.failure is not None:
                batch.failures.append(outcome.failure)
        self._locks.clear()
        return batch

    def _named(self, name: str) -> _Outcome:
        repo_id, _, revision = name.partition("@")
        try:
            repository = self._hub().info(repo_id, revision or None)
        except STOPPING:
            raise
        except HubFailure as error:
            failure = RepoFailure(name, type(error).__name__, error.message)
            return _Outcome(None, (), None, (), failure, _of_network(error))
        known = self.progress.known([repository.hub_id])
        return self._repository(repository, known.get(repository.hub_id))

    def _again(self, failed: Done) -> _Outcome:
        """Another try for what failed in an earlier crawl."""
        try:
            repository = self._hub().info(failed.repo_id)
        except STOPPING:
            raise
        except HubFailure as error:
            kind = type(error).__name__
            done = replace(failed, failure=kind, checked_at=self.now())
            return _Outcome(None, (), done, (), RepoFailure(failed.repo_id, kind, error.message), _of_network(error))
        return self._repository(repository, failed if repository.hub_id == failed.hub_id else None)

    def _missing(self, missing: Missing) -> _Outcome:
        """Asks for a model that no page listed. Two plain answers on different days that it is not there make it gone."""
        known, now = missing.done, self.now()
        name = known.repo_id
        try:
            repository = self._hub().info(known.repo_id)
        except STOPPING:
            raise
        except NoSuchRepository:
            why = "there is no such repository that we may see"
        except HubFailure as error:
            asked = Asked(known.hub_id, now, True, missing.denied_on)
            failure = RepoFailure(known.repo_id, type(error).__name__, error.message)
            return _Outcome(None, (), None, ("missing",), failure, _of_network(error), asked)
        else:
            if repository.hub_id == known.hub_id:
                found = self._repository(repository, known)
                return replace(found, counts=("missing", *found.counts), asked=Asked(known.hub_id, now, False))
            why = "another repository has its name"
            name = (
                f"{known.repo_id}#{known.hub_id}"  # as the graph calls one that lost its name; it must not take it back
            )
        first = missing.denied_on
        if first is None or first >= now.date():
            return _Outcome(None, (), None, ("missing",), asked=Asked(known.hub_id, now, True, first or now.date()))
        reason = f"the Hub said on {first} and on {now:%Y-%m-%d}: {why}"
        done = replace(known, status=Status.GONE, reason=reason, failure=None, checked_at=now)
        model = Model(known.hub_id, name, Status.GONE, reason=reason)
        parts = tuple(
            _Outcome(
                Model(part.hub_id, part.repo_id, Status.GONE, reason=reason),
                (),
                replace(part, status=Status.GONE),
                ("parts",),
            )
            for part in self.progress.parts(known.hub_id)
        )
        return _Outcome(model, (), done, ("missing",), asked=Asked(known.hub_id, now, True, first), parts=parts)

    def _repository(self, repository: Repository, known: Done | None) -> _Outcome:
        """Never raises for what only this repository is to blame for."""
        if known is not None and self._is_settled(repository, known):
            model = replace(
                model_of(repository, known.status, known.reason),
                weights_digest=known.weights_digest,
                signature=known.signature,
            )
            kept = tuple(Declaration(known.hub_id, *claim) for claim in known.claims)
            claims = (*repository.declarations, *kept)
            if known.repo_id == repository.repo_id or "/" in known.hub_id:
                return _Outcome(model, claims, None, ("unchanged",))
            renamed = self._renamed_parts(known, repository)
            return _Outcome(model, claims, replace(known, repo_id=repository.repo_id), ("unchanged",), parts=renamed)
        news = "new" if known is None else "changed" if known.sha != repository.sha else "again"
        found: OpenModel | None = None
        if repository.files and not repository.disabled and (parts := parts_of(repository.files)):
            return self._parts(repository, parts, news)
        try:
            found = locate_repository(repository, self._hub())
            return self._sketched(found, news)
        except STOPPING:
            raise
        except Failure as error:
            return self._failed(error, repository, known, found, news)

    def _renamed_parts(self, known: Done, repository: Repository) -> tuple[_Outcome, ...]:
        found = []
        for part in self.progress.parts(known.hub_id):
            name = repository.repo_id + "/" + part.hub_id.partition("/")[2]
            listed = replace(repository, hub_id=part.hub_id, repo_id=name)
            model = replace(self._as_known(listed, part), status=part.status, reason=part.reason)
            found.append(_Outcome(model, (), replace(part, repo_id=name), ("parts",)))
        return tuple(found)

    def _parts(self, repository: Repository, parts: Mapping[str, tuple[str, ...]], news: str) -> _Outcome:
        """A repository of several models, each a model of its own."""
        outcomes = []
        for name, files in parts.items():
            part = replace(repository, hub_id=f"{repository.hub_id}/{name}", files=files, declarations=())
            found = self._repository(part, self.progress.known([part.hub_id]).get(part.hub_id))
            called = f"{repository.repo_id}/{name}"
            done = found.done and replace(found.done, repo_id=called)
            if done is not None and done.failure is not None:
                done = replace(done, failure=None, sha=None)  # the whole is tried again, and this part with it
            model = found.model and replace(found.model, repo_id=called)
            outcomes.append(replace(found, model=model, done=done, counts=("parts", *found.counts[1:])))
        gated = any(found.model is not None and found.model.status is Status.GATED for found in outcomes)
        failed = next((found for found in outcomes if found.done is not None and found.done.sha is None), None)
        reason = f"several models, each of its own: {', '.join(parts)}"
        model = model_of(repository, Status.GATED if gated else Status.UNREADABLE, reason)
        done = self._done_of(model)
        if failed is not None and failed.failure is not None:
            done = replace(done, failure=failed.failure.kind)
        return _Outcome(model, repository.declarations, done, (news,), parts=tuple(outcomes))

    def _is_settled(self, repository: Repository, known: Done) -> bool:
        return is_settled(repository, known, self.sketches, self._hub().has_token, self.now())

    def _local(self, local: LocalModel) -> _Outcome:
        hub_id = (self.identify(local.repo_id) if local.repo_id else None) or local_id(local.path)
        known = self.progress.known([hub_id]).get(hub_id)
        found: OpenModel | None = None
        try:
            found = locate_local(local, self._hash_of, hub_id)
            digest = found.model.weights_digest
            same = known is not None and digest is not None and known.weights_digest == digest
            return self._sketched(found, "unchanged" if same else "new" if known is None else "changed")
        except Failure as error:
            model = Model(hub_id, local.repo_id or str(local.path.resolve()), Status.UNREADABLE, reason=error.message)
            if found is not None:
                model = replace(found.model, status=Status.UNREADABLE, reason=error.message)
            failure = RepoFailure(local.id, type(error).__name__, error.message)
            claims = found.declarations if found else ()
            return _Outcome(model, claims, self._done_of(model), ("new" if known is None else "changed",), failure)

    def _sketched(self, found: OpenModel, news: str) -> _Outcome:
        """The model with its signature, its sample in the sketch store.

        Raises:
            Failure: the weights cannot be read, or not be sketched.
        """
        model, counts = found.model, [news]
        if found.weights is not None and model.weights_digest is not None:
            digest = model.weights_digest
            with self._lock_of(digest):
                signature = self.sketches.signature_if_known(digest)
                if signature is None:
                    if not found.header:
                        raise Unreadable(f"{model.repo_id}: there are no tensors in its weight files")
                    blocks = self.sketches.plan(found.header)
                    how = quantisation_in(found.header)
                    if how and model.reason is None:
                        model = replace(model, reason=QUANTISED + how)
                    if not blocks:
                        why = "none of its numbers can be compared"
                        raise Unreadable(f"{model.reason}: {why}" if model.reason else f"{why} (an unknown format)")
                    if is_low_rank(found.header):
                        model = replace(
                            model, status=Status.ADAPTER, reason="a low-rank adapter, which has no full weights"
                        )
                        return _Outcome(
                            model, found.declarations, self._done_of(model, found.declarations), tuple(counts)
                        )
                    signature = self.sketches.put(digest, found.header, found.read(blocks))
                    found = replace(found, declarations=(*found.declarations, *found.claims_in_weights))
                    counts.append("read")
                elif news != "unchanged":
                    counts.append("reused")
            model = replace(model, signature=signature)
        return _Outcome(model, found.declarations, self._done_of(model, found.declarations), tuple(counts))

    def _failed(
        self, error: Failure, repository: Repository, known: Done | None, found: OpenModel | None, news: str
    ) -> _Outcome:
        """A failure that may go away is tried again next time, and what was known of the model until then stays."""
        kind = type(error).__name__
        logger.info("%s: %s", repository.repo_id, error.message)
        failure = RepoFailure(repository.repo_id, kind, error.message)
        claims = found.declarations if found else repository.declarations
        passing = isinstance(error, HubFailure) and not isinstance(error, (Gated, Disabled, NoSuchFile))
        if passing and known is not None and known.status is Status.SKETCHED:
            model = self._as_known(repository, known)
            done = replace(known, failure=kind, checked_at=self.now())
            return _Outcome(model, claims, done, (news,), failure, _of_network(error))
        status = Status.GATED if isinstance(error, Gated) else Status.UNREADABLE
        digest = found.model.weights_digest if found else None
        model = replace(model_of(repository, status, error.message), weights_digest=digest)
        done = replace(self._done_of(model), failure=kind if passing else None)
        return _Outcome(model, claims, done, (news,), failure, _of_network(error))

    @staticmethod
    def _as_known(repository: Repository, known: Done) -> Model:
        """What the listing says, with the weights as they were when they were last read."""
        model = model_of(repository, Status.SKETCHED)
        return replace(model, revision=known.sha, weights_digest=known.weights_digest, signature=known.signature)

    def _done_of(self, model: Model, claims: Iterable[Declaration] = ()) -> Done:
        return Done(
            hub_id=model.hub_id,
            repo_id=model.repo_id,
            sha=model.revision,
            status=model.status,
            weights_digest=model.weights_digest,
            signature=model.signature,
            reason=model.reason,
            failure=None,
            checked_at=self.now(),
            claims=tuple((c.base, c.relation, c.source) for c in claims if c.source in READ_CLAIMS),
            with_token=self.hub is not None and self.hub.has_token,
        )

    def _hash_of(self, path: Path) -> str:
        """sha256 of a local file, computed once for as long as the file stays as it is."""
        known = self.progress.file_hash(path)
        if known is None:
            stat = path.stat()
            known = content_hash(path)
            self.progress.keep_file_hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ino, known)
        return known

    def _lock_of(self, digest: str) -> Lock:
        with self._locks_lock:
            return self._locks[digest]

    def _hub(self) -> Hub:
        assert self.hub is not None, "only a folder can be crawled without a Hub"
        return self.hub


def is_settled(repository: Repository, known: Done, sketches: Sketcher, has_token: bool, now: datetime) -> bool:
    """Whether nothing has to be asked or read, given what is known."""
    if known.failure is not None or known.sha is None or known.sha != repository.sha:
        return False
    if known.status is Status.GONE or (known.reason == DISABLED and not repository.disabled):
        return False  # it is back
    if known.status is Status.GATED:
        same = repository.gated and known.with_token == has_token
        return same and timedelta(0) <= now - known.checked_at < ASK_GATED_AGAIN
    if known.status is Status.SKETCHED:
        return known.weights_digest is not None and sketches.signature_if_known(known.weights_digest) is not None
    return True


def _of_network(error: Failure) -> Failure | None:
    return error if isinstance(error, (HubDown, StorageDown)) else None


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
