"""One repository, or one model on disk -> what came of looking at it: model, claims, sketch. Raises for nothing that it is to blame for.

What is known is not read again: an unchanged commit costs nothing, equal weight files cost no weight bytes, whatever the
repository is called. Used from many threads.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Protocol

from lineage.crawler.batch import RepoFailure, VisitOutcome
from lineage.crawler.budget import BudgetSpent
from lineage.crawler.folder import LocalModel, shown_path
from lineage.crawler.hub import Hub
from lineage.crawler.hub_errors import (
    BadToken,
    DisabledRepository,
    GatedRepository,
    HubDown,
    HubFailure,
    NoSuchFile,
    NoSuchRepository,
    Offline,
    RateLimited,
    StorageDown,
)
from lineage.crawler.listing import Repository
from lineage.crawler.local_digest import content_hash
from lineage.crawler.open_model import (
    DISABLED,
    OpenModel,
    as_facts_say,
    claims_of_whole,
    locate_local,
    locate_repository,
    model_of,
)
from lineage.crawler.pipeline_components import adapters_beside, parts_of
from lineage.crawler.progress import Progress
from lineage.crawler.state import AbsenceCheck, MissingModel, VisitRecord
from lineage.graphdb.schema import (
    SEVERAL_MODELS,
    Declaration,
    Failure,
    Model,
    NoSuchModel,
    Status,
    WeightFacts,
    local_id,
    real_path,
)

logger = logging.getLogger(__name__)

STOPPING = (BadToken, Offline, RateLimited, BudgetSpent)  # the next request would get the same answer
READ_CLAIMS = (
    "adapter_config",
    "gguf",
    "metadata",
    "mergekit_config",
)  # sources of claims that the listing does not hold
NOT_READ_BEFORE = "a low-rank adapter, which has no full weights"  # what earlier versions wrote, which read no adapter
ASK_GATED_AGAIN = timedelta(days=7)


class WeightReader(Protocol):
    """Reads weights and keeps a sample and the facts of them, by the digest of the weight files. Used from several threads, each
    digest from one."""

    def signature_if_known(self, weights_digest: str) -> str | None: ...
    def facts_if_known(self, weights_digest: str) -> WeightFacts | None: ...
    def read(self, opened: OpenModel) -> WeightFacts: ...
    def compact_if_due(self, at_end: bool = False) -> None: ...


@dataclass(slots=True)
class Visitor:
    """Looks at models, one call each.

    Attributes:
        hub: not needed for models on disk.
        identify: repo_id -> the Hub's identity of it, if that is known.
    """

    reader: WeightReader
    progress: Progress
    hub: Hub | None
    identify: Callable[[str], str | None]
    now: Callable[[], datetime]
    _locks: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))
    _locks_lock: Lock = field(default_factory=Lock)

    def named(self, name: str) -> VisitOutcome:
        repo_id, _, revision = name.partition("@")
        try:
            repository = self.asked().info(repo_id, revision or None)
        except STOPPING:
            raise
        except HubFailure as error:
            failure = RepoFailure(name, type(error).__name__, error.message)
            return VisitOutcome(None, (), None, (), failure, _of_network(error))
        known = self.progress.known([repository.hub_id])
        return self.repository(repository, known.get(repository.hub_id))

    def again(self, failed: VisitRecord) -> VisitOutcome:
        """Another try for what failed in an earlier crawl."""
        try:
            repository = self.asked().info(failed.repo_id)
        except STOPPING:
            raise
        except HubFailure as error:
            kind = type(error).__name__
            done = replace(failed, failure=kind, checked_at=self.now())
            return VisitOutcome(
                None, (), done, (), RepoFailure(failed.repo_id, kind, error.message), _of_network(error)
            )
        return self.repository(repository, failed if repository.hub_id == failed.hub_id else None)

    def missing(self, missing: MissingModel) -> VisitOutcome:
        """Asks for a model that no page listed. Two plain answers on different days that it is not there make it gone."""
        known, now = missing.done, self.now()
        name = known.repo_id
        try:
            repository = self.asked().info(known.repo_id)
        except STOPPING:
            raise
        except NoSuchRepository:
            why = "the repository does not exist or is private"
        except HubFailure as error:
            asked = AbsenceCheck(known.hub_id, now, True, missing.denied_on)
            failure = RepoFailure(known.repo_id, type(error).__name__, error.message)
            return VisitOutcome(None, (), None, ("missing",), failure, _of_network(error), asked)
        else:
            if repository.hub_id == known.hub_id:
                found = self.repository(repository, known)
                return replace(found, counts=("missing", *found.counts), asked=AbsenceCheck(known.hub_id, now, False))
            why = "another repository has its name"
            name = (
                f"{known.repo_id}#{known.hub_id}"  # as the graph calls one that lost its name; it must not take it back
            )
        first = missing.denied_on
        if first is None or first >= now.date():
            return VisitOutcome(
                None, (), None, ("missing",), asked=AbsenceCheck(known.hub_id, now, True, first or now.date())
            )
        reason = f"the Hub said on {first} and on {now:%Y-%m-%d}: {why}"
        done = replace(known, status=Status.GONE, reason=reason, failure=None, checked_at=now)
        model = Model(known.hub_id, name, Status.GONE, reason=reason)
        parts = tuple(
            VisitOutcome(
                Model(part.hub_id, part.repo_id, Status.GONE, reason=reason),
                (),
                replace(part, status=Status.GONE),
                ("parts",),
            )
            for part in self.progress.parts(known.hub_id)
        )
        return VisitOutcome(
            model, (), done, ("missing",), asked=AbsenceCheck(known.hub_id, now, True, first), parts=parts
        )

    def repository(self, repository: Repository, known: VisitRecord | None) -> VisitOutcome:
        """Never raises for what only this repository is to blame for."""
        if known is not None and self.is_settled(repository, known):
            model = replace(
                model_of(repository, known.status, known.reason),
                weights_digest=known.weights_digest,
                signature=known.signature,
                quantization=known.quantization,
            )
            kept = tuple(Declaration(known.hub_id, *claim) for claim in known.claims)
            claims = (*repository.declarations, *kept)
            if known.repo_id == repository.repo_id or "/" in known.hub_id:
                return VisitOutcome(model, claims, None, ("unchanged",))
            renamed = self._renamed_parts(known, repository)
            return VisitOutcome(
                model, claims, replace(known, repo_id=repository.repo_id), ("unchanged",), parts=renamed
            )
        news = "new" if known is None else "changed" if known.sha != repository.sha else "again"
        found: OpenModel | None = None
        if repository.files and not repository.disabled and (parts := parts_of(repository.files)):
            return self._parts(repository, parts, news)
        try:
            found = locate_repository(repository, self.asked())
            outcome = self._sketched(found, news)
        except STOPPING:
            raise
        except Failure as error:
            return self._failed(error, repository, known, found, news)
        beside = adapters_beside(repository.files or ())
        return replace(outcome, parts=tuple(self._part(repository, *part) for part in beside.items()))

    def _renamed_parts(self, known: VisitRecord, repository: Repository) -> tuple[VisitOutcome, ...]:
        found = []
        for part in self.progress.parts(known.hub_id):
            name = repository.repo_id + "/" + part.hub_id.partition("/")[2]
            listed = replace(repository, hub_id=part.hub_id, repo_id=name)
            model = replace(self._as_known(listed, part), status=part.status, reason=part.reason)
            found.append(VisitOutcome(model, (), replace(part, repo_id=name), ("parts",)))
        return tuple(found)

    def _parts(self, repository: Repository, parts: Mapping[str, tuple[str, ...]], news: str) -> VisitOutcome:
        """A repository of several models, each a model of its own."""
        outcomes = [self._part(repository, name, files) for name, files in parts.items()]
        gated = any(found.model is not None and found.model.status is Status.GATED for found in outcomes)
        failed = next((found for found in outcomes if found.done is not None and found.done.sha is None), None)
        reason = f"{SEVERAL_MODELS}{', '.join(parts)}"
        model = model_of(repository, Status.GATED if gated else Status.UNREADABLE, reason)
        done = self._done_of(model)
        if failed is not None and failed.failure is not None:
            done = replace(done, failure=failed.failure.kind)
        return VisitOutcome(model, repository.declarations, done, (news,), parts=tuple(outcomes))

    def _part(self, repository: Repository, name: str, files: tuple[str, ...]) -> VisitOutcome:
        part = replace(repository, hub_id=f"{repository.hub_id}/{name}", files=files, declarations=())
        found = self.repository(part, self.progress.known([part.hub_id]).get(part.hub_id))
        called = f"{repository.repo_id}/{name}"
        done = found.done and replace(found.done, repo_id=called)
        if done is not None and done.failure is not None:
            done = replace(done, failure=None, sha=None)  # the whole is tried again, and this part with it
        claims = found.declarations
        if found.model is not None and found.model.status is Status.ADAPTER:
            claims = (*claims, *claims_of_whole(part.hub_id, repository.declarations))
        model = found.model and replace(found.model, repo_id=called)
        return replace(found, model=model, declarations=claims, done=done, counts=("parts", *found.counts[1:]))

    def deferred(self, repository: Repository, known: VisitRecord | None) -> VisitOutcome:
        """What can be said of a repository that is read later: what was known of it, or that it waits."""
        model = model_of(repository, Status.UNREADABLE, "not read yet")
        if known is not None and known.status is Status.SKETCHED:
            model = self._as_known(repository, known)
        return VisitOutcome(model, repository.declarations, None, ("waiting",))

    def is_settled(self, repository: Repository, known: VisitRecord) -> bool:
        return is_settled(repository, known, self.reader, self.asked().has_token, self.now())

    def local(self, local: LocalModel) -> VisitOutcome:
        hub_id = (self.identify(local.repo_id) if local.repo_id else None) or local_id(local.path)
        known = self.progress.known([hub_id]).get(hub_id)
        found: OpenModel | None = None
        try:
            found = locate_local(local, self._hash_of, hub_id)
            digest = found.model.weights_digest
            same = known is not None and digest is not None and known.weights_digest == digest
            return self._sketched(found, "unchanged" if same else "new" if known is None else "changed")
        except Failure as error:
            model = Model(
                hub_id, local.repo_id or shown_path(real_path(local.path)), Status.UNREADABLE, reason=error.message
            )
            if found is not None:
                model = replace(found.model, status=Status.UNREADABLE, reason=error.message)
            failure = RepoFailure(local.id, type(error).__name__, error.message)
            claims = found.declarations if found else ()
            return VisitOutcome(model, claims, self._done_of(model), ("new" if known is None else "changed",), failure)

    def _sketched(self, found: OpenModel, news: str) -> VisitOutcome:
        """The model with its signature, its sample in the sketch store.

        Raises:
            Failure: the weights cannot be read, or not be sketched.
        """
        model, counts = found.model, [news]
        if found.weights is not None and model.weights_digest is not None:
            digest = model.weights_digest
            with self._lock_of(digest):
                facts = self.reader.facts_if_known(digest)
                if facts is None:
                    facts = self.reader.read(found)
                    counts.append("read")
                elif news != "unchanged":
                    counts.append("reused")
            model = as_facts_say(model, facts)
            claimed = (Declaration(model.hub_id, *claim) for claim in facts.claims)
            found = replace(found, declarations=(*found.declarations, *claimed))
        return VisitOutcome(model, found.declarations, self._done_of(model, found.declarations), tuple(counts))

    def _failed(
        self, error: Failure, repository: Repository, known: VisitRecord | None, found: OpenModel | None, news: str
    ) -> VisitOutcome:
        """A failure that may go away is tried again next time, and what was known of the model until then stays."""
        kind = type(error).__name__
        logger.info("%s: %s", repository.repo_id, error.message)
        failure = RepoFailure(repository.repo_id, kind, error.message)
        claims = found.declarations if found else repository.declarations
        passing = isinstance(error, HubFailure) and not isinstance(
            error, (GatedRepository, DisabledRepository, NoSuchFile)
        )
        if passing and known is not None and known.status is Status.SKETCHED:
            model = self._as_known(repository, known)
            done = replace(known, failure=kind, checked_at=self.now())
            return VisitOutcome(model, claims, done, (news,), failure, _of_network(error))
        unread = Status.ADAPTER if found is not None and found.adapter else Status.UNREADABLE
        status = Status.GATED if isinstance(error, GatedRepository) else unread
        digest = found.model.weights_digest if found else None
        model = replace(model_of(repository, status, error.message), weights_digest=digest)
        once = not isinstance(error, (HubFailure, NoSuchModel)) and not _refused_before(error, repository, known)
        done = replace(self._done_of(model), failure=kind if passing or once else None)
        return VisitOutcome(model, claims, done, (news,), failure, _of_network(error))

    @staticmethod
    def _as_known(repository: Repository, known: VisitRecord) -> Model:
        """What the listing says, with the weights as they were when they were last read."""
        model = model_of(repository, Status.SKETCHED)
        return replace(
            model,
            revision=known.sha,
            weights_digest=known.weights_digest,
            signature=known.signature,
            quantization=known.quantization,
        )

    def _done_of(self, model: Model, claims: Iterable[Declaration] = ()) -> VisitRecord:
        return VisitRecord(
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
            quantization=model.quantization,
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

    def forget_locks(self) -> None:
        """Between batches, while no model is being visited."""
        self._locks.clear()

    def asked(self) -> Hub:
        assert self.hub is not None, "only a folder can be crawled without a Hub"
        return self.hub


def is_settled(
    repository: Repository, known: VisitRecord, reader: WeightReader, has_token: bool, now: datetime
) -> bool:
    """Whether nothing has to be asked or read, given what is known."""
    if known.failure is not None or known.sha is None or known.sha != repository.sha:
        return False
    if known.status is Status.GONE or (known.reason == DISABLED and not repository.disabled):
        return False  # it is back
    if known.status is Status.GATED:
        same = repository.gated and known.with_token == has_token
        return same and timedelta(0) <= now - known.checked_at < ASK_GATED_AGAIN
    if known.status is Status.SKETCHED:
        return known.weights_digest is not None and reader.signature_if_known(known.weights_digest) is not None
    if known.status is Status.ADAPTER and known.weights_digest is not None:
        return reader.signature_if_known(known.weights_digest) is not None
    if known.status is Status.ADAPTER:
        return known.reason != NOT_READ_BEFORE
    return True


def _refused_before(error: Failure, repository: Repository, known: VisitRecord | None) -> bool:
    """Whether the files of this commit were refused for the same reason before. Bytes that a proxy has garbled are refused once: what they
    are taken for is remembered only when they come again. (Of a part that failed, no commit is remembered.)"""
    return known is not None and known.sha in (None, repository.sha) and known.reason == error.message


def _of_network(error: Failure) -> Failure | None:
    return error if isinstance(error, (HubDown, StorageDown)) else None
