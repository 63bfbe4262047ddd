"""`FakeHub`: the loopback Hub as tests and benches use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from tests.fake_hub.api import Api
from tests.fake_hub.catalog import Account, Catalog, Content
from tests.fake_hub.cdn import Cdn
from tests.fake_hub.faults import Faults
from tests.fake_hub.ledger import Count, Ledger, Quotas, Request
from tests.fake_hub.origin import Application, Origin
from tests.fake_hub.repository import Repository


class FakeHub:
    """Two origins on 127.0.0.1 that keep the contract of the Hugging Face Hub.

        with FakeHub() as hub:
            hub.add_repo("acme/tiny", {"model.safetensors": data, "README.md": b"---\\nbase_model: acme/base\\n---\\n"})
            HfApi(endpoint=hub.url).model_info("acme/tiny")

    Args:
        quotas: requests per window for `api`, `resolvers`, `pages`; unlimited where nothing is said.
        window_seconds: length of a quota's window.
        signature_seconds: how long a signed address of the CDN lives.
        xet: announce Xet hashes; off, because the client would then try to reach the real Xet store.
        sharded_headers: serve `/safetensors-metadata/`; mirrors answer 404.
        gzip_text: compress small text files for clients that accept it, as the Hub may.
        port: of the API origin; 0 for a free one.
    """

    def __init__(
        self,
        *,
        quotas: Mapping[str, int] | None = None,
        window_seconds: float = 300,
        signature_seconds: float = 3600,
        xet: bool = False,
        sharded_headers: bool = False,
        gzip_text: bool = False,
        port: int = 0,
    ):
        self.faults = Faults()
        self.quotas = Quotas(quotas or {}, window_seconds)
        self._ledger = Ledger()
        self._catalog = Catalog()
        self._cdn = Cdn(signature_seconds)
        self._cdn_origin = Origin(Application("cdn", self._cdn.kind, self._cdn.answer), self.faults, self._ledger)
        self._api = Api(
            self._catalog,
            self._cdn,
            self.quotas,
            cdn_url=self._cdn_origin.url,
            xet=xet,
            sharded_headers=sharded_headers,
            gzip_text=gzip_text,
        )
        self._origin = Origin(Application("api", self._api.kind, self._api.answer), self.faults, self._ledger, port)
        self._api.url = self._origin.url
        self.url = self._origin.url
        self.cdn_url = self._cdn_origin.url

    def __enter__(self) -> Self:
        self._origin.start()
        self._cdn_origin.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._origin.stop()
        self._cdn_origin.stop()

    # --- what is on the Hub -----------------------------------------------------------------------------------------

    def add_repo(self, repo_id: str, files: Mapping[str, Content], **metadata: Any) -> Repository:
        """Publish a repository.

        Args:
            files: path -> bytes, a path on disk, or `StoredFile` (path with known sha256, for huge sparse files).
            metadata: created_at, last_modified (aware datetimes), tags, card_data (in place of the README's front
                matter), downloads, likes, library, pipeline_tag, gated (False, "auto", "manual"), private, disabled,
                hub_id, title (of the commit), overrides (fields put over the derived ones, at will malformed).
        """
        return self._catalog.add(repo_id, files, **metadata)

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, Content | None],
        *,
        date: datetime | None = None,
        title: str = "Upload files",
        branch: str = "main",
    ) -> str:
        """A new revision: named files change (None deletes), others stay. Gives the commit's hash."""
        return self._catalog.commit(repo_id, files, date=date, title=title, branch=branch)

    def repo(self, repo_id: str) -> Repository:
        """The repository itself: its fields (`gated`, `disabled`, `downloads`, ...) can be set."""
        return self._catalog.get(repo_id)

    def squash(self, repo_id: str) -> str:
        """Rewrite history into one commit: former hashes answer RevisionNotFound."""
        return self._catalog.squash(repo_id)

    def rename(self, old: str, new: str) -> None:
        self._catalog.rename(old, new)

    def delete(self, repo_id: str) -> None:
        self._catalog.delete(repo_id)

    def make_lots(self, count: int, files: Mapping[str, Content] | None = None, **settings: Any) -> None:
        """Very many repositories `lots/model-000000000` and up, built only when a page shows them.

        Args:
            files: what each of them holds; by default a pickle only, so that listing them is all a crawler can do.
            settings: author, created_at (of the first), step (between two), and fields of a repository.
        """
        self._catalog.make_lots(count, files or {"README.md": b"", "model.pkl": b"pickle"}, **settings)

    def add_token(self, token: str, user: str = "somebody", may_read: Iterable[str] = ()) -> str:
        """A token that is accepted; may_read names private and gated repositories beyond the user's own, or `*`."""
        self._catalog.accounts[token] = Account(user, frozenset(may_read))
        return token

    def expire_addresses(self) -> None:
        """All signed addresses given out so far answer 403 from now on."""
        self._cdn.expire_addresses()

    # --- what was asked ---------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, Count]:
        """Requests and bytes of bodies sent, by kind: list, info, tree, resolve, cdn, other."""
        return self._ledger.counts()

    def log(self) -> list[Request]:
        """Every request with its headers, oldest first."""
        return self._ledger.log()

    def reset_counts(self) -> None:
        self._ledger.reset()
