"""The only code that asks the Hub: pages of the listing, one repository, its files, ranges of their bytes.

Shapes of the answers: https://huggingface.co/docs/hub/api. We page ourselves, because the client library hides the cursor
(a crawl could not resume) and stops at the first malformed item.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from lineage.crawler.addresses import check_redirect, origin
from lineage.crawler.budget import Budget
from lineage.crawler.hub_errors import HubFailure, NoSuchFile, NoSuchRepository, UnexpectedAnswer
from lineage.crawler.listing import EXPAND, MalformedItem, Repository, is_safe_path, parse_item
from lineage.crawler.pacing import Pacer
from lineage.crawler.repo_names import is_repo_id
from lineage.crawler.transport import REDIRECTS, HubRequest, HubResponse, Transport, redirect_target

logger = logging.getLogger(__name__)

PAGE_MODELS = 500
LOOKUP_WAIT_SECONDS = 20.0
LOOKUP_ANSWER_SECONDS = 30.0
LISTING_LIMIT_BYTES = 128 * 1024 * 1024
INFO_LIMIT_BYTES = 32 * 1024 * 1024
SMALL_FILE_LIMIT_BYTES = 1024 * 1024
MAX_TREE_PAGES = 120
_LINK = re.compile(r"<([^<>]{1,16384})>([^<]*)")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SignatureExpired(HubFailure):
    """A signed address that no longer works; a new one can be had."""


class RangeRefused(HubFailure):
    """A ranged read that was not answered with exactly the bytes asked for."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of the listing; `cursor` is what to ask for next, None after the last page."""

    repositories: list[Repository]
    malformed: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a repository at a revision.

    Attributes:
        sha256: of its content, for files in large-file storage.
        git_oid: git's hash of a file that lies in git itself.
    """

    path: str
    size_bytes: int | None
    sha256: str | None
    git_oid: str | None = None


@dataclass(frozen=True, slots=True)
class ResolvedFile:
    """Where the bytes of a file can be had for about an hour, and what they are."""

    url: str
    file: FileEntry


class Hub:
    """A Hub at an endpoint.

    Args:
        endpoint: None takes HF_ENDPOINT, else https://huggingface.co.
        token: a token, None for HF_TOKEN or the login, False for none.
        pacer: shared by all requests to this Hub; the default one waits for a lookup, not for a crawl.
        retries: of requests that fail on the network or with a server error.
        answer_seconds: the longest that one answer may take to come in whole.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | bool | None = None,
        pacer: Pacer | None = None,
        retries: int = 3,
        answer_seconds: float = LOOKUP_ANSWER_SECONDS,
    ):
        self._transport = Transport(endpoint, token, pacer or Pacer(LOOKUP_WAIT_SECONDS), retries, answer_seconds)
        self.endpoint = self._transport.endpoint
        self.has_token = self._transport.has_token
        self.traffic = self._transport.traffic

    def limit(self, max_requests: int | None, max_bytes: int | None, max_minutes: float | None) -> None:
        """From now on, what goes beyond this raises BudgetSpent; None is without end."""
        seconds = max_minutes * 60 if max_minutes is not None else None
        self._transport.limit(Budget(max_requests, max_bytes, seconds, self._transport.pacer.clock))

    @property
    def requests_left(self) -> int | None:
        """How many more requests the budget allows; None is without end."""
        budget = self._transport.budget
        if budget is None or budget.max_requests is None:
            return None
        return max(0, budget.max_requests - self.traffic.total_requests)

    @property
    def spent_share(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        budget = self._transport.budget
        return self.traffic.share_of(budget) if budget is not None else 0.0

    def page(self, query: str) -> ListingPage:
        """
        Args:
            query: `first_page(...)`, or the `cursor` of the page before.
        Raises:
            UnexpectedAnswer: the answer is no listing.
        """
        address = f"{self.endpoint}/api/models"
        answer = self._transport.send(HubRequest("list", f"{address}?{query}", "api", LISTING_LIMIT_BYTES))
        items = _json(answer, "the listing")
        if not isinstance(items, list):
            raise _no_hub("the listing is not a list")
        repositories = []
        malformed, why = 0, ""
        for item in items:
            try:
                repositories.append(parse_item(item))
            except MalformedItem as error:
                malformed += 1
                why = str(error)
        if malformed:
            logger.info("listing: %d items of a page are left out: %s", malformed, why)
        return ListingPage(repositories, malformed, _next_query(answer))

    def info(self, repo_id: str, revision: str | None = None) -> Repository:
        """One repository, under its present name: renames are followed.

        Raises:
            NoSuchRepository, NoSuchRevision, GatedRepository, DisabledRepository: see crawler/hub_errors.py.
        """
        if not is_repo_id(repo_id):
            raise NoSuchRepository(f"{repo_id!r} is not the name of a repository", "names look like org/name", repo_id)
        path = f"/api/models/{repo_id}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
        query = urlencode([("expand", field) for field in EXPAND])
        ask = HubRequest("info", f"{self.endpoint}{path}?{query}", "api", INFO_LIMIT_BYTES, repo_id, revision)
        try:
            return parse_item(_json(self._transport.send(ask), f"the answer about {repo_id}"))
        except MalformedItem as error:
            raise _no_hub(f"the answer about {repo_id} cannot be used: {error}", repo_id) from None

    def tree(self, repo_id: str, revision: str, folder: str, wanted: Collection[str]) -> list[FileEntry]:
        """Sizes and hashes of the wanted files of one folder (`""` is the root), in the order of the tree."""
        path = f"/api/models/{repo_id}/tree/{quote(revision, safe='')}" + (f"/{quote(folder)}" if folder else "")
        found: list[FileEntry] = []
        query: str | None = ""
        for _ in range(MAX_TREE_PAGES):
            ask = HubRequest(
                "tree", f"{self.endpoint}{path}?{query}".rstrip("?"), "api", INFO_LIMIT_BYTES, repo_id, revision
            )
            answer = self._transport.send(ask)
            entries = _json(answer, f"the files of {repo_id}")
            if not isinstance(entries, list):
                raise _no_hub(f"the files of {repo_id} are not a list", repo_id)
            found += [entry for entry in map(_file_entry, entries) if entry is not None and entry.path in wanted]
            query = _next_query(answer)
            if query is None or len(found) >= len(wanted):
                break
        return found

    def resolve(self, repo_id: str, revision: str, path: str) -> ResolvedFile:
        """Where the bytes of one file lie. One request, and none to the storage."""
        ask = HubRequest(
            "resolve",
            self._file_address(repo_id, revision, path),
            "resolvers",
            SMALL_FILE_LIMIT_BYTES,
            repo_id,
            revision,
            headers={"range": "bytes=0-0", "accept-encoding": "identity"},
            follow=False,
            check=lambda status, headers: _check_resolved(status, headers, repo_id, path),
        )
        answer = self._transport.send(ask)
        headers = answer.headers
        for _ in range(3):  # a renamed repository: the same question under another name
            if answer.status not in REDIRECTS or "x-linked-etag" in headers or not self._same_question(answer, repo_id):
                break
            target = redirect_target(answer, repo_id)
            check_redirect(self.endpoint, answer.url, target, repo_id)
            answer = self._transport.send(replace(ask, url=target))
            headers = answer.headers
        etag = headers.get("x-linked-etag", "").removeprefix("W/").strip('"').lower()  # `etag` may be another hash
        size = headers.get("x-linked-size") or _total(headers.get("content-range", ""))
        entry = FileEntry(
            path,
            int(size) if size and size.isdigit() and len(size) < 19 else None,
            etag if _SHA256.fullmatch(etag) else None,
            etag if re.fullmatch(r"[0-9a-f]{40}", etag) else None,
        )
        if answer.status not in REDIRECTS:  # a Hub that keeps its files itself
            return ResolvedFile(answer.url, entry)
        target = redirect_target(answer, repo_id)
        check_redirect(self.endpoint, answer.url, target, repo_id)
        return ResolvedFile(target, entry)

    def read_range(
        self, address: str, start: int, stop: int, total: int | None, repo_id: str
    ) -> tuple[bytes, str, int]:
        """Bytes [start, stop) of a resolved file.

        Args:
            total: size of the whole file, checked against the answer; None if it is not known yet.
        Returns:
            The bytes, the storage's ETag (may be empty) and the size of the whole file.
        Raises:
            SignatureExpired: the address has to be resolved again.
            RangeRefused: the answer is not exactly these bytes; nothing of it was kept.
        """

        def check(status: int, headers: Mapping[str, str]) -> None:
            _check_range(status, headers, start, stop, total, repo_id)

        ask = HubRequest(
            "range",
            address,
            "resolvers" if origin(address) == origin(self.endpoint) else None,
            stop - start,
            repo_id,
            headers={"range": f"bytes={start}-{stop - 1}", "accept-encoding": "identity"},
            follow=False,
            check=check,
            failure=lambda status, headers: _range_failure(status, repo_id),
        )
        answer = self._transport.send(ask)
        if answer.status != 206:
            raise RangeRefused(f"the storage of {repo_id} redirects a read elsewhere", None, repo_id)
        if len(answer.body) != stop - start:
            raise RangeRefused(f"{len(answer.body)} bytes instead of {stop - start} for {repo_id}", None, repo_id)
        return answer.body, answer.headers.get("etag", ""), int(_total(answer.headers["content-range"]) or 0)

    def small_file(self, repo_id: str, revision: str, path: str, limit_bytes: int = SMALL_FILE_LIMIT_BYTES) -> bytes:
        """A whole small file, such as a configuration; a longer one is refused."""
        address = self._file_address(repo_id, revision, path)
        return self._transport.send(HubRequest("file", address, "resolvers", limit_bytes, repo_id, revision)).body

    def _file_address(self, repo_id: str, revision: str, path: str) -> str:
        if not is_repo_id(repo_id) or not is_safe_path(path):
            raise NoSuchFile(f"{path[:80]!r} cannot be a file of {repo_id[:80]!r}", None, repo_id)
        return f"{self.endpoint}/{repo_id}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def _same_question(self, answer: HubResponse, repo_id: str) -> bool:
        target = redirect_target(answer, repo_id)
        return origin(target) == origin(self.endpoint) and "/resolve/" in urlsplit(target).path


def first_page(
    author: str | None = None,
    search: str | None = None,
    filters: Iterable[str] = (),
    newest_changes: bool = False,
    page_models: int = PAGE_MODELS,
) -> str:
    """Query of the first page.

    Args:
        newest_changes: order by last change, newest first, to stop at a date; else by creation, which never changes, so that
            nothing moves while we walk.
    """
    query = [("sort", "lastModified" if newest_changes else "createdAt"), ("limit", str(page_models))]
    query += [("author", author)] if author else []
    query += [("search", search)] if search else []
    query += [("filter", tag) for tag in filters]
    query += [("expand", field) for field in EXPAND]
    return urlencode(query)


def _next_query(answer: HubResponse) -> str | None:
    """Query of the next page, from `Link: <…>; rel="next"`. Only the query is taken: we never page our way to another host."""
    for address, rest in _LINK.findall(answer.headers.get("link", "")):
        if re.search(r'rel\s*=\s*"?next\b', rest):
            try:
                query = urlsplit(address).query
            except ValueError:
                return None
            return urlencode(parse_qsl(query, keep_blank_values=True, max_num_fields=100)) or None
    return None


def _json(answer: HubResponse, what: str) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _no_hub(f"{what} is not JSON") from None


def _no_hub(what: str, repo_id: str | None = None) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        what, "check --endpoint or HF_ENDPOINT: does a Hub answer there, or a mirror without it?", repo_id
    )


def _file_entry(entry: Any) -> FileEntry | None:
    if not isinstance(entry, dict) or entry.get("type") != "file" or not isinstance(entry.get("path"), str):
        return None
    lfs: dict[str, Any] = entry["lfs"] if isinstance(entry.get("lfs"), dict) else {}
    size, oid, git_oid = lfs.get("size", entry.get("size")), lfs.get("oid"), entry.get("oid")
    return FileEntry(
        entry["path"],
        size if type(size) is int and 0 <= size < 1 << 60 else None,
        oid if isinstance(oid, str) and _SHA256.fullmatch(oid) else None,
        git_oid if not lfs and isinstance(git_oid, str) and re.fullmatch(r"[0-9a-f]{40}", git_oid) else None,
    )


def _check_resolved(status: int, headers: Mapping[str, str], repo_id: str, path: str) -> None:
    """A Hub that keeps its files itself answers the range; one that would send the whole file is not listened to."""
    if status != 206:
        raise RangeRefused(
            f"{path} of {repo_id}: the server ignores ranges, so it would send the whole file",
            "use an endpoint that answers ranged reads",
            repo_id,
        )


def _check_range(
    status: int, headers: Mapping[str, str], start: int, stop: int, total: int | None, repo_id: str
) -> None:
    def refuse(why: str) -> RangeRefused:
        return RangeRefused(f"the storage of {repo_id} {why}", "use an endpoint that answers ranged reads", repo_id)

    if status != 206:
        raise refuse("ignores ranges, so it would send the whole file")
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", headers.get("content-range", "").strip())
    if not match:
        raise refuse("does not say which bytes it sends")
    first, last, size = map(int, match.groups())
    if (first, last) != (start, stop - 1):
        raise refuse(f"sends bytes {first}-{last} where {start}-{stop - 1} were asked for")
    if total is not None and size != total:
        raise refuse(f"sends a file of {size} bytes where {total} were announced")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise refuse("compresses a ranged answer")
    if headers.get("content-length", str(stop - start)).strip() != str(stop - start):
        raise refuse(f"announces {headers['content-length'][:20]} bytes where {stop - start} were asked for")


def _range_failure(status: int, repo_id: str) -> HubFailure:
    if status in (400, 401, 403, 404, 410):
        return SignatureExpired(f"the storage of {repo_id} refuses the signed address ({status})", "try again", repo_id)
    return RangeRefused(f"the storage of {repo_id} answers {status} to a ranged read", "try again later", repo_id)


def _total(content_range: str) -> str | None:
    match = re.fullmatch(r"bytes \d+-\d+/(\d{1,18})", content_range.strip())
    return match[1] if match else None


__all__ = ["FileEntry", "Hub", "ListingPage", "RangeRefused", "ResolvedFile", "SignatureExpired", "first_page"]
