"""The API origin: listing, one model, tree, paths, refs, commits, and `resolve`, with the Hub's status codes and headers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from tests.fake_hub.blobs import Blob, safetensors_header
from tests.fake_hub.catalog import Account, Catalog
from tests.fake_hub.cdn import Cdn
from tests.fake_hub.faults import Fault
from tests.fake_hub.ledger import Quotas
from tests.fake_hub.listing import BadQuery, expanded, pick
from tests.fake_hub.origin import Answer, ReceivedRequest, Span, file_answer
from tests.fake_hub.repository import Repository, Revision, hub_time

MODELS = "/api/models"
RESOLVE = re.compile(r"/(?P<id>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
CACHED = re.compile(r"/api/resolve-cache/models/(?P<id>[^/]+(?:/[^/]+)?)/(?P<revision>[0-9a-f]{40})/(?P<path>.+)")
ACTIONS = ["revision", "tree", "paths-info", "refs", "commits", "treesize", "xet-read-token", "safetensors-metadata"]
KIND_OF_ACTION = {"": "info", "revision": "info", "tree": "tree", "paths-info": "tree"}
# fmt: off
INFO = [
    "_id", "id", "private", "pipeline_tag", "library_name", "tags", "downloads", "likes", "modelId", "author",
    "sha", "lastModified", "gated", "disabled", "model-index", "config", "cardData", "siblings", "spaces",
    "createdAt", "safetensors", "gguf", "usedStorage",
]
# fmt: on
SCANS = ("protectAiScan", "avScan", "pickleImportScan", "virusTotalScan", "jFrogScan")
TREE_PAGE, TREE_PAGE_EXPANDED, COMMITS_PAGE = 1000, 50, 50
LOGIN = 'Bearer realm="Authentication required", charset="UTF-8"'
WARNING = (
    "unauthenticated; Warning: You are sending unauthenticated requests to the HF Hub. "
    "Please set a HF_TOKEN to enable higher rate limits and faster downloads."
)


class RefusedRequest(Exception):
    """An error answer on its way out of the depths.

    Args:
        code: X-Error-Code, None where the Hub gives none.
    """

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers


class Api:
    """Answers what is asked of the API origin.

    Args:
        cdn_url: origin that `resolve` sends to for LFS files.
        xet, sharded_headers, gzip_text: see `FakeHub`.
    """

    def __init__(
        self,
        catalog: Catalog,
        cdn: Cdn,
        quotas: Quotas,
        *,
        cdn_url: str,
        xet: bool,
        sharded_headers: bool,
        gzip_text: bool,
    ):
        self.catalog, self.cdn, self.quotas, self.cdn_url, self.url = catalog, cdn, quotas, cdn_url, ""
        self.xet, self.sharded_headers, self.gzip_text = xet, sharded_headers, gzip_text
        self._previous_pages: dict[str, list[Any]] = {}
        self._actions: dict[str, Callable[[ReceivedRequest, Repository, list[str]], Answer]] = {
            "": self._info,
            "revision": self._info,
            "tree": self._tree,
            "paths-info": self._paths_info,
            "refs": self._refs,
            "commits": self._commits,
            "treesize": self._treesize,
            "xet-read-token": self._xet_read_token,
            "safetensors-metadata": self._safetensors_metadata,
        }

    def kind(self, asked: ReceivedRequest) -> str:
        """`list`, `info`, `tree`, `resolve` or `other`."""
        if asked.path == MODELS:
            return "list"
        if asked.path.startswith(MODELS + "/"):
            return KIND_OF_ACTION.get(_split(asked.path)[1], "other")
        return "resolve" if CACHED.fullmatch(asked.path) or RESOLVE.fullmatch(asked.path) else "other"

    def answer(self, asked: ReceivedRequest, struck: Mapping[str, Fault]) -> Answer:
        """Quota first, then the answer; both kinds carry the RateLimit headers."""
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        kind = self.kind(asked)
        bucket = "resolvers" if kind == "resolve" else "api" if asked.path.startswith("/api/") else "pages"
        spent = self.quotas.spend(token, bucket)
        plain = kind == "resolve"
        try:
            if spent.refused:
                raise RefusedRequest(429, "We had to rate limit you. Retry after the time given in the headers.")
            account = self.catalog.accounts.get(token)
            if token and account is None:
                raise RefusedRequest(401, "Invalid credentials in Authorization header", **{"Www-Authenticate": LOGIN})
            with self.catalog.lock:
                found = self._route(asked, account, struck)
        except RefusedRequest as refused:
            found = _refusal(refused, plain)
        except BadQuery as bad:
            found = _refusal(RefusedRequest(400, str(bad)), plain)
        return replace(found, headers={"X-Powered-By": "fake-hub", **found.headers, **spent.headers()})

    def _route(self, asked: ReceivedRequest, account: Account | None, struck: Mapping[str, Fault]) -> Answer:
        if asked.path == MODELS:
            return self._list(asked, account, struck)
        if asked.path == "/api/whoami-v2":
            if account is None:
                raise RefusedRequest(401, "Invalid username or password.", **{"Www-Authenticate": LOGIN})
            return _json({"type": "user", "name": account.user, "orgs": []})
        if asked.path == "/api/agent-harnesses":
            return _json({"standardEnvVars": [], "harnesses": {}})
        if found := CACHED.fullmatch(asked.path):
            return self._cached_file(asked, account, struck, **found.groupdict())
        if found := RESOLVE.fullmatch(asked.path):
            return self._resolve(asked, account, **found.groupdict())
        if asked.path.startswith(MODELS + "/"):
            repo_id, action, rest = _split(asked.path)
            repository = self._repository(repo_id, account)
            if repository.repo_id != repo_id:
                moved = asked.target.replace(
                    asked.path[: len(MODELS) + 1 + len(repo_id)], f"{MODELS}/{repository.repo_id}", 1
                )
                return Answer(
                    307, {"Location": moved, "Content-Type": "text/plain"}, f"Redirecting to {moved}".encode()
                )
            if action == "commits" and repository.gated:
                self._require_bytes(repository, account)
            return self._actions[action](asked, repository, rest)
        raise RefusedRequest(404, "Sorry, we can't find the page you are looking for.")

    # --- who may see what -------------------------------------------------------------------------------------------

    def _repository(self, repo_id: str, account: Account | None) -> Repository:
        """By any of its names; missing and hidden ones look alike, and to anonymous callers like a failed login."""
        found = self.catalog.find(unquote(repo_id))
        if found is not None and (not found.private or (account is not None and account.has_right(found))):
            return found
        if account is None:
            raise RefusedRequest(401, "Invalid username or password.", **{"Www-Authenticate": LOGIN})
        raise RefusedRequest(404, "Repository not found", "RepoNotFound")

    def _require_bytes(self, repository: Repository, account: Account | None) -> None:
        if repository.disabled:
            raise RefusedRequest(403, "Access to this resource is disabled.")
        if not repository.gated or (account is not None and account.has_right(repository)):
            return
        name = repository.repo_id
        if account is None:
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated to access it. Please log in."
            raise RefusedRequest(401, message, "GatedRepo", **{"Www-Authenticate": LOGIN})
        message = f"Access to model {name} is restricted and you are not in the authorized list. Visit {self.url}/{name} to ask for access."
        raise RefusedRequest(403, message, "GatedRepo")

    def _revision(self, repository: Repository, name: str) -> Revision:
        found = repository.revision(unquote(name))
        if found is None:
            raise RefusedRequest(404, f"Invalid rev id: {unquote(name)}", "RevisionNotFound")
        return found

    # --- listing and one model --------------------------------------------------------------------------------------

    def _list(self, asked: ReceivedRequest, account: Account | None, struck: Mapping[str, Fault]) -> Answer:
        page = self.catalog.page(asked.query, account)
        items: list[Any] = page.items
        walk = urlencode([(k, v) for k, values in asked.query.items() if k != "cursor" for v in values])
        items = self._previous_pages.get(walk, items) if "repeat_page" in struck else items
        self._previous_pages[walk] = items
        if "malformed_item" in struck:
            items = [struck["malformed_item"].settings["item"], *items]
        cursor = asked.query.get("cursor", [page.cursor])[0] if "loop_cursor" in struck else page.cursor
        following = f"{self.url}{MODELS}?{walk}{'&' if walk else ''}{urlencode({'cursor': cursor})}"
        return _json(items, {"Link": f'<{following}>; rel="next"'} if cursor else {})

    def _info(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        revision = self._revision(repository, rest[0] if rest else "main")
        fields = repository.fields(revision)
        expand = expanded(asked.query)
        if "baseModels" in expand and (bases := self.catalog.base_models(repository)):
            fields["baseModels"] = bases
        if "childrenModelCount" in expand:
            fields["childrenModelCount"] = self.catalog.children(repository)
        if asked.query.get("blobs", [""])[0].lower() in ("true", "1"):
            fields["siblings"] = [_sibling(path, blob) for path, blob in sorted(revision.files.items())]
        return _json(pick(fields, ["_id", "id", *expand] if expand else INFO))

    # --- files of one model -----------------------------------------------------------------------------------------

    def _tree(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        revision = self._revision(repository, rest[0] if rest else "main")
        folder = unquote("/".join(rest[1:]))
        if folder not in revision.directories:
            raise RefusedRequest(404, f'{folder} does not exist on "{unquote(rest[0])}"', "EntryNotFound")
        recursive, expand = _flag(asked, "recursive"), _flag(asked, "expand")
        below = [
            path
            for path in [*sorted(revision.directories), *sorted(revision.files)]
            if _within(path, folder, recursive)
        ]
        limit = TREE_PAGE_EXPANDED if expand else TREE_PAGE
        if (asked_limit := asked.query.get("limit", [""])[0]).isdigit():
            limit = min(limit, max(1, int(asked_limit)))
        start = _tree_cursor(asked.query["cursor"][0]) if "cursor" in asked.query else 0
        entries = [self._entry(revision, path, expand=expand) for path in below[start : start + limit]]
        headers = {}
        if start + limit < len(below):
            cursor = base64.b64encode(json.dumps({"skip": start + limit}).encode()).decode()
            kept = [(k, v) for k, values in asked.query.items() if k != "cursor" for v in values]
            headers["Link"] = f'<{self.url}{asked.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
        return _json(entries, headers)

    def _paths_info(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        revision = self._revision(repository, rest[0] if rest else "main")
        paths, expand = _asked_paths(asked)
        known = [path for path in paths if path in revision.files or (path and path in revision.directories)]
        return _json([self._entry(revision, path, expand=expand) for path in known])

    def _entry(self, revision: Revision, path: str, *, expand: bool) -> dict[str, Any]:
        blob = revision.files.get(path)
        if blob is None:
            entry: dict[str, Any] = {"type": "directory", "oid": revision.directories[path], "size": 0}
        else:
            entry = {"type": "file", "oid": blob.oid, "size": blob.size}
            if blob.lfs:
                entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
                entry |= {"xetHash": blob.xet_hash} if self.xet else {}
        entry["path"] = path
        if expand:
            entry["lastCommit"] = {"id": revision.sha, "title": revision.title, "date": hub_time(revision.date)}
            if blob is not None:
                entry["securityFileStatus"] = {"status": "safe", **{scan: {"status": "safe"} for scan in SCANS}}
        return entry

    def _treesize(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        revision = self._revision(repository, rest[0] if rest else "main")
        return _json({"path": "/", "size": sum(blob.size for blob in revision.files.values())})

    def _refs(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        heads = {"main": repository.head.sha, **repository.branches}
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in heads.items()]
        return _json({"tags": [], "branches": branches, "converts": []})

    def _commits(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        by_sha = {revision.sha: revision for revision in repository.history}
        chain: list[Revision] = []
        at: Revision | None = self._revision(repository, rest[0] if rest else "main")
        while at is not None:
            chain.append(at)
            at = by_sha.get(at.parent) if at.parent else None
        number = int(asked.query.get("p", ["0"])[0])
        part = chain[number * COMMITS_PAGE : (number + 1) * COMMITS_PAGE]
        headers = {"X-Total-Count": str(len(chain))}
        if (number + 1) * COMMITS_PAGE < len(chain):
            headers["Link"] = f'<{self.url}{asked.path}?p={number + 1}&limit={COMMITS_PAGE}>; rel="next"'
        return _json([_commit(revision) for revision in part], headers)

    def _xet_read_token(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        raise RefusedRequest(
            404, "Sorry, we can't find the page you are looking for."
        )  # no Xet store stands behind this Hub

    def _safetensors_metadata(self, asked: ReceivedRequest, repository: Repository, rest: list[str]) -> Answer:
        index = repository.head.json_file(unquote("/".join(rest)))
        weight_map = index.pop("weight_map", None)
        if not self.sharded_headers or not isinstance(weight_map, dict):
            raise RefusedRequest(404, "Sorry, we can't find the page you are looking for.")
        shards = sorted(set(weight_map.values()))
        return _json({"index": index, "headers": {s: safetensors_header(repository.head.files[s]) for s in shards}})

    # --- bytes ------------------------------------------------------------------------------------------------------

    def _resolve(self, asked: ReceivedRequest, account: Account | None, id: str, revision: str, path: str) -> Answer:
        repository = self._repository(id, account)
        self._require_bytes(repository, account)
        at, path = self._revision(repository, revision), unquote(path)
        blob = at.files.get(path)
        if blob is None:
            raise RefusedRequest(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": at.sha, "Accept-Ranges": "bytes", "Content-Type": "text/plain; charset=utf-8"}
        headers |= {} if account else {"X-Hf-Warning": WARNING}
        if not blob.lfs:
            came_from = quote(unquote(asked.path), safe="")
            etag = quote(f'"{blob.oid}"', safe="")
            location = f"/api/resolve-cache/models/{repository.repo_id}/{at.sha}/{quote(path)}?{came_from}=&etag={etag}"
            headers |= {"Location": location, "X-Linked-Etag": f'"{blob.oid}"'}
            return Answer(307, headers, f"Temporary Redirect. Redirecting to {location}".encode())
        location = self.cdn_url + self.cdn.address(repository.hub_id, blob, path.rsplit("/", 1)[-1])
        headers |= {"X-Linked-Size": str(blob.size), "X-Linked-Etag": f'"{blob.sha256}"', "Cache-Control": "no-store"}
        if self.xet:
            headers["X-Xet-Hash"] = blob.xet_hash
            auth = f"{self.url}{MODELS}/{repository.repo_id}/xet-read-token/{at.sha}"
            rebuilt = f"{self.cdn_url}/v1/reconstructions/{blob.xet_hash}"
            headers["Link"] = f'<{auth}>; rel="xet-auth", <{rebuilt}>; rel="xet-reconstruction-info"'
        return Answer(302, {**headers, "Location": location}, f"Found. Redirecting to {location}".encode())

    def _cached_file(
        self,
        asked: ReceivedRequest,
        account: Account | None,
        struck: Mapping[str, Fault],
        id: str,
        revision: str,
        path: str,
    ) -> Answer:
        repository = self._repository(id, account)
        self._require_bytes(repository, account)
        at, path = self._revision(repository, revision), unquote(path)
        if path not in at.files:
            raise RefusedRequest(404, "Entry not found", "EntryNotFound")
        blob, name = at.files[path], path.rsplit("/", 1)[-1]
        headers = {
            "X-Repo-Commit": at.sha,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{quote(name)}\";",
            "Etag": f'"{blob.oid}"',
        }
        answer = file_answer(asked, blob, headers, ignore_range="ignore_range" in struck)
        if self.gzip_text and answer.status == 200 and "gzip" in asked.headers.get("accept-encoding", ""):
            assert isinstance(answer.body, Span)
            answer = Answer(200, {**answer.headers, "Content-Encoding": "gzip"}, gzip.compress(blob.read()))
        return answer


def _split(path: str) -> tuple[str, str, list[str]]:
    """`/api/models/org/name/tree/main/sub` -> (`org/name`, `tree`, [`main`, `sub`]), still percent-encoded."""
    parts = path[len(MODELS) + 1 :].split("/")
    length = 1 if len(parts) == 1 or (parts[1] in ACTIONS and parts[2:3] != ["tree"]) else 2
    action = parts[length] if len(parts) > length else ""
    return "/".join(parts[:length]), action if action in ACTIONS else "", parts[length + 1 :]


def _json(value: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    tag = base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()[:27]
    own = {"Content-Type": "application/json; charset=utf-8", "Etag": f'W/"{len(text):x}-{tag}"'}
    return Answer(status, {**own, **(headers or {})}, text)


def _refusal(refused: RefusedRequest, plain: bool) -> Answer:
    headers = {"X-Error-Message": refused.message, **refused.headers}
    headers |= {"X-Error-Code": refused.code} if refused.code else {}
    if plain:
        return Answer(
            refused.status, {"Content-Type": "text/plain; charset=utf-8", **headers}, refused.message.encode()
        )
    return _json({"error": refused.message}, headers, refused.status)


def _asked_paths(asked: ReceivedRequest) -> tuple[list[str], bool]:
    """Paths and `expand` of a paths-info request, sent as JSON or as a form (the official client sends a form)."""
    try:
        if "json" in asked.headers.get("content-type", ""):
            body = json.loads(asked.body)
            paths = [body["paths"]] if isinstance(body["paths"], str) else [str(path) for path in body["paths"]]
            return paths, bool(body.get("expand"))
        form = parse_qs(asked.body.decode())
        return form["paths"], form.get("expand", [""])[0].lower() == "true"
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedRequest(400, '"paths" is required') from error


def _flag(asked: ReceivedRequest, name: str) -> bool:
    return asked.query.get(name, [""])[0].lower() in ("true", "1")


def _within(path: str, folder: str, recursive: bool) -> bool:
    """Whether a listing of the folder shows this path."""
    prefix = folder + "/" if folder else ""
    return path != folder and path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :])


def _tree_cursor(text: str) -> int:
    try:
        return int(json.loads(base64.b64decode(text))["skip"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadQuery("Invalid cursor") from error


def _sibling(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": path, "size": blob.size, "blobId": blob.oid}
    if blob.lfs:
        entry["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
    return entry


def _commit(revision: Revision) -> dict[str, Any]:
    authors = [{"user": revision.author, "avatar": ""}]
    date = hub_time(revision.date)
    return {"id": revision.sha, "title": revision.title, "message": "", "authors": authors, "date": date}
