"""Everything the loopback Hub knows: repositories, former names, bulk rows, tokens. All methods are thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fake_hub import listing
from tests.fake_hub.blobs import Blob, StoredFile
from tests.fake_hub.repository import Repository, Revision, object_id

Content = bytes | Path | StoredFile
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)  # creation of the first repository where nothing else is said


@dataclass(frozen=True)
class Account:
    """Who a token belongs to.

    Attributes:
        user: name; repositories of this author are the account's own.
        may_read: further private or gated repositories (`org/name`), or `*` for all.
    """

    user: str
    may_read: frozenset[str] = frozenset()

    def has_right(self, repository: Repository) -> bool:
        own = repository.repo_id.split("/")[0] == self.user
        return own or "*" in self.may_read or repository.repo_id in self.may_read


class Catalog:
    """The state that both origins serve."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self._repositories: dict[str, Repository] = {}  # by name in small letters
        self._former: dict[str, str] = {}  # former name in small letters -> hub_id
        self._lots: list[listing.Lots] = []

    def add(self, repo_id: str, files: Mapping[str, Content], **settings: Any) -> Repository:
        """A new repository; settings are the fields of `Repository`, `sha_title` names the first commit.

        Raises:
            ValueError: if the name is taken.
        """
        with self.lock:
            if self._repositories.get(repo_id.lower()) is not None:
                raise ValueError(f"{repo_id} exists")
            created = settings.pop("created_at", None) or FIRST_DAY + timedelta(hours=len(self._repositories))
            hub_id = settings.pop("hub_id", None) or object_id(created, f"{repo_id} {len(self._repositories)}")
            title = settings.pop("title", "initial commit")
            settings["tags"] = tuple(settings.get("tags", ()))
            first = Revision(
                _blobs(files), settings.get("last_modified") or created, title, None, repo_id.split("/")[0]
            )
            repository = Repository(repo_id, hub_id, created, [first], **settings)
            self._repositories[repo_id.lower()] = repository
            return repository

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, Content | None],
        *,
        date: datetime | None = None,
        title: str = "Upload files",
        branch: str = "main",
    ) -> str:
        """A new revision; files that are not named stay, a value of None deletes. Gives its hash."""
        with self.lock:
            repository = self.get(repo_id)
            parent = repository.head
            kept = {path: blob for path, blob in parent.files.items() if path not in files}
            changed = _blobs({path: content for path, content in files.items() if content is not None})
            date = date or repository.modified + timedelta(minutes=1)
            revision = Revision({**kept, **changed}, date, title, parent.sha, parent.author)
            if branch == "main":
                repository.history.append(revision)
                repository.last_modified = date
            else:
                repository.history.insert(len(repository.history) - 1, revision)
                repository.branches[branch] = revision.sha
            return revision.sha

    def squash(self, repo_id: str) -> str:
        """All history becomes one commit, as after a force push: the old hashes are gone, the date stays."""
        with self.lock:
            repository = self.get(repo_id)
            head = repository.head
            repository.history = [Revision(head.files, head.date, "Super-squash branch 'main'", None, head.author)]
            repository.branches.clear()
            return repository.head.sha

    def rename(self, old: str, new: str) -> None:
        """The old name redirects from now on, until somebody takes it for a new repository."""
        with self.lock:
            if new.lower() in self._repositories:
                raise ValueError(f"{new} exists")
            repository = self.get(old)
            del self._repositories[old.lower()]
            self._former[old.lower()] = repository.hub_id
            repository.repo_id = new
            self._repositories[new.lower()] = repository

    def delete(self, repo_id: str) -> None:
        with self.lock:
            self.get(repo_id)
            del self._repositories[repo_id.lower()]

    def get(self, repo_id: str) -> Repository:
        """By its present name.

        Raises:
            KeyError: if there is none.
        """
        return self._repositories[repo_id.lower()]

    def find(self, repo_id: str) -> Repository | None:
        """By present or former name, in any letter case; the caller compares `repo_id` to see whether to redirect."""
        with self.lock:
            name = repo_id.lower()
            if name in self._repositories:
                return self._repositories[name]
            hub_id = self._former.get(name)
            if hub_id is not None:
                return next((r for r in self._repositories.values() if r.hub_id == hub_id), None)
            return next(filter(None, (block.find(repo_id) for block in self._lots)), None)

    def make_lots(
        self,
        count: int,
        files: Mapping[str, Content],
        *,
        author: str = "lots",
        created_at: datetime = FIRST_DAY,
        step: timedelta = timedelta(seconds=1),
        **settings: Any,
    ) -> None:
        """`count` repositories `author/model-000000000` and up that all have these files."""
        first = Revision(_blobs(files), created_at, "initial commit", None, author)
        with self.lock:
            self._lots.append(listing.Lots(author, count, first, created_at, step, **settings))

    def page(self, query: listing.Query, account: Account | None) -> listing.Page:
        """One page of the listing as this account sees it."""

        def may_see(repository: Repository) -> bool:
            return not repository.private or (account is not None and account.has_right(repository))

        with self.lock:
            return listing.page(self._repositories.values(), self._lots, query, may_see)

    def children(self, repository: Repository) -> dict[str, int]:
        """How many repositories declare this one as their base, by relation."""
        found = dict.fromkeys(("adapter", "merge", "quantized", "finetune"), 0)
        with self.lock:
            for other in self._repositories.values():
                bases, relation = other.head.base_models(other.card(other.head))
                if relation in found and any(base.lower() == repository.repo_id.lower() for base in bases):
                    found[relation] += 1
        return found

    def base_models(self, repository: Repository) -> dict[str, Any] | None:
        """The declared bases that exist, as the Hub shows them."""
        bases, relation = repository.head.base_models(repository.card(repository.head))
        known = [found for found in map(self.find, bases) if found is not None]
        if not known:
            return None
        return {"relation": relation, "models": [{"_id": base.hub_id, "id": base.repo_id} for base in known]}


def _blobs(files: Mapping[str, Content]) -> dict[str, Blob]:
    return {path: Blob(path, content) for path, content in files.items()}
