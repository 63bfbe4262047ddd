"""The listing `/api/models`: which repositories, in which order, which fields, and where the next page begins.

Cursors are what the Hub's look like: base64 of a keyset on (sort value, `_id`), so that a model that moves during a walk
is skipped or seen twice here too. Rows made in bulk (`Lots`) are built one by one while a page is written.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from tests.fake_hub.repository import Repository, Revision, hub_time

SORTS = ("createdAt", "lastModified", "downloads", "likes", "trendingScore")
PAGE_LIMIT = 1000
# fmt: off
EXPANDABLE = [
    "author", "baseModels", "cardData", "config", "createdAt", "disabled", "downloads", "downloadsAllTime",
    "evalResults", "gated", "inference", "inferenceProviderMapping", "lastModified", "library_name", "likes",
    "mask_token", "model-index", "pipeline_tag", "private", "safetensors", "sha", "siblings", "spaces", "tags",
    "transformersInfo", "trendingScore", "widgetData", "gguf", "resourceGroup", "xetEnabled",
    "childrenModelCount", "usedStorage",
]
# fmt: on
ONLY_ON_ONE_MODEL = ("baseModels", "childrenModelCount", "usedStorage")
# fmt: off
ROW = [
    "_id", "id", "likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name",
    "createdAt", "modelId",
]
# fmt: on
# fmt: off
FULL_ROW = [
    "_id", "id", "author", "gated", "lastModified", "likes", "trendingScore", "private", "sha", "downloads",
    "tags", "pipeline_tag", "library_name", "createdAt", "modelId", "siblings",
]
# fmt: on

Query = Mapping[str, Sequence[str]]
Key = tuple[Any, str]  # (sort value, _id): values descend, ids of one value ascend


class BadQuery(Exception):
    """The Hub would answer 400 with this message."""


@dataclass(frozen=True)
class Page:
    """One page of a listing; `cursor` is None on the last one."""

    items: list[dict[str, Any]]
    cursor: str | None


class Lots:
    """Many repositories that share their files; each is built when it is asked for and then forgotten.

    All sort values rise with the number of the repository, so the order is known without building any.

    Args:
        author: organization they belong to; names are `author/model-000000000` and up.
        count: how many.
        revision: the one commit that all of them have.
        created_at: creation of the first; the next ones follow `step` apart.
    """

    def __init__(
        self, author: str, count: int, revision: Revision, created_at: datetime, step: timedelta, **settings: Any
    ):
        self.author, self.count, self.revision = author, count, revision
        self.created_at, self.step, self.settings = created_at, step, settings

    def repository(self, number: int) -> Repository:
        created = self.created_at + number * self.step
        return Repository(
            repo_id=f"{self.author}/model-{number:09d}",
            hub_id=f"{int(created.timestamp()):08x}{0xFFFF - len(self.author):04x}{number:012x}",
            created_at=created,
            last_modified=created + timedelta(minutes=1),
            history=[self.revision],
            downloads=number,
            **self.settings,
        )

    def find(self, repo_id: str) -> Repository | None:
        """By name in any letter case, or None."""
        author, _, name = repo_id.lower().partition("/")
        digits = name.removeprefix("model-")
        if author != self.author.lower() or name != f"model-{digits}" or len(digits) != 9 or not digits.isdigit():
            return None
        return self.repository(int(digits)) if int(digits) < self.count else None

    def after(self, cursor: Key | None, sort: str) -> Iterator[Repository]:
        """In listing order, from behind the cursor. Ties (likes, trendingScore) are in the order of the ids."""
        tied = sort in ("likes", "trendingScore")
        order: Sequence[int] = range(self.count) if tied else range(self.count - 1, -1, -1)
        low, high = 0, self.count
        while cursor is not None and low < high:  # first position whose key lies behind the cursor
            middle = (low + high) // 2
            low, high = (
                (low, middle) if behind(sort_key(self.repository(order[middle]), sort), cursor) else (middle + 1, high)
            )
        return (self.repository(order[i]) for i in range(low, self.count))


def sort_key(repository: Repository, sort: str) -> Key:
    moments = {"createdAt": repository.created_at, "lastModified": repository.modified}
    if sort in moments:
        return hub_time(moments[sort]), repository.hub_id
    return {"downloads": repository.downloads, "likes": repository.likes}.get(sort, 0), repository.hub_id


def behind(key: Key, cursor: Key) -> bool:
    """Whether a row comes after the cursor's row: smaller value, or the same value and a larger id."""
    return key[0] < cursor[0] or (key[0] == cursor[0] and key[1] > cursor[1])


def read_cursor(text: str, sort: str) -> Key:
    """The opposite of `write_cursor`.

    Raises:
        BadQuery: if it is not one of ours for this order.
    """
    try:
        first = json.loads(base64.b64decode(text, validate=True))["$or"][0]
        return first[sort], first["_id"]["$gt"]
    except (binascii.Error, ValueError, KeyError, TypeError, IndexError) as error:
        raise BadQuery("Invalid cursor") from error


def write_cursor(key: Key, sort: str) -> str:
    keyset = {"$or": [{sort: key[0], "_id": {"$gt": key[1]}}, {sort: {"$lt": key[0]}}, {sort: None}]}
    return base64.b64encode(json.dumps(keyset, separators=(",", ":")).encode()).decode()


def page(
    repositories: Iterable[Repository], lots: Iterable[Lots], query: Query, may_see: Callable[[Repository], bool]
) -> Page:
    """One page of the listing.

    Args:
        query: decoded query string, every value a list.
        may_see: whether the caller may know that a repository exists.
    Raises:
        BadQuery: unknown sort or expand, or a broken limit or cursor.
    """
    sort = _one(query, "sort") or "trendingScore"
    if sort not in SORTS:
        raise BadQuery(f'"sort" must be one of {list(SORTS)}')
    limit_text = _one(query, "limit") or str(PAGE_LIMIT)
    if not limit_text.isascii() or not limit_text.isdigit() or limit_text == "0":
        raise BadQuery('"limit" must be a positive number')
    limit = min(int(limit_text), PAGE_LIMIT)
    names = field_names(query)
    cursor_text = _one(query, "cursor")
    cursor = read_cursor(cursor_text, sort) if cursor_text else None

    wanted = _predicate(query)
    single = sorted((r for r in repositories if may_see(r)), key=lambda r: r.hub_id)
    single.sort(key=lambda r: sort_key(r, sort)[0], reverse=True)  # stable: ids still ascend where values are equal
    streams = [iter(single), *(block.after(cursor, sort) for block in lots if _may_match(block, query))]
    rows = heapq.merge(*streams, key=lambda r: _Descending(sort_key(r, sort)))
    matching = (r for r in rows if (cursor is None or behind(sort_key(r, sort), cursor)) and wanted(r))
    found = list(islice(matching, limit + 1))
    last = sort_key(found[limit - 1], sort) if len(found) > limit else None
    return Page([pick(r.fields(), names) for r in found[:limit]], write_cursor(last, sort) if last else None)


def field_names(query: Query) -> list[str]:
    """Which fields a row of a listing has.

    Raises:
        BadQuery: unknown names, or `expand` beside `full`, `config` or `cardData`.
    """
    expand = expanded(query)
    flags = {name: (_one(query, name) or "").lower() in ("true", "1") for name in ("full", "config", "cardData")}
    if expand and any(flags.values()):
        raise BadQuery('"expand" cannot be used with "full", "config" or "cardData"')
    refused = [name for name in expand if name in ONLY_ON_ONE_MODEL]
    if refused:
        raise BadQuery(f'"expand" cannot contain {refused[0]} in a listing')
    if expand:
        return ["_id", "id", *expand]
    return [*(FULL_ROW if flags["full"] else ROW), *(name for name in ("config", "cardData") if flags[name])]


def expanded(query: Query) -> list[str]:
    """Names asked for by `expand=` or `expand[]=`, once each."""
    asked = [name for key in ("expand", "expand[]") for value in query.get(key, ()) for name in value.split(",")]
    for name in asked:
        if name not in EXPANDABLE:
            raise BadQuery(f'"expand" must be one of [{", ".join(EXPANDABLE)}]')
    return list(dict.fromkeys(asked))


def pick(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


class _Descending:
    """Orders keys as the listing does, for heapq."""

    __slots__ = ("key",)

    def __init__(self, key: Key):
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return behind(other.key, self.key)


def _one(query: Query, name: str) -> str | None:
    values = query.get(name, ())
    return values[-1] if values else None


def _may_match(block: Lots, query: Query) -> bool:
    author = _one(query, "author")
    return author is None or author.lower() == block.author.lower()


def _predicate(query: Query) -> Callable[[Repository], bool]:
    """Everything in the query that chooses rows. Tags are looked at only where the query names some."""
    author, search = (_one(query, "author") or "").lower(), (_one(query, "search") or "").lower()
    tags = [tag for value in query.get("filter", ()) for tag in value.split(",") if tag]
    gated, pipeline = _one(query, "gated"), _one(query, "pipeline_tag")
    if gated is not None and gated.lower() not in ("true", "false"):
        raise BadQuery('"gated" must be a boolean')

    def wanted(repository: Repository) -> bool:
        name = repository.repo_id.lower()
        if (author and name.split("/")[0] != author) or (search and search not in name):
            return False
        if gated is not None and bool(repository.gated) != (gated.lower() == "true"):
            return False
        if not tags and pipeline is None:
            return True
        fields = repository.fields()
        return set(tags) <= set(fields["tags"]) and pipeline in (None, fields.get("pipeline_tag"))

    return wanted
