"""What people and programs write for a repository -> its name on the Hub.

Cards, configurations and lists name a base as `org/name`, as the address in the browser, with a revision, a file or a
slash behind it, or as the folder of Hugging Face's cache that it was loaded from. All of these are one repository.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co", "hf-mirror.com"})
LONGEST_ADDRESS = 2_000
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.\-]{0,95}(?:/[\w.\-]{1,96})?", re.ASCII)
_CACHED = re.compile(r"(?:^|[/\\])models--([A-Za-z0-9_][\w.\-]{0,191})(?:[/\\]|$)", re.ASCII)
_TAG = re.compile(r"(?<=/)([^/:\\]{1,96}):[^/:\\]{1,100}\Z")  # as in org/name:Q4_K_M
_BY_SSH = re.compile(r"\A(?:git@([\w.\-]+):|ssh://(?:git@)?([\w.\-]+)/)", re.ASCII)  # as in git@hf.co:org/name
_MARKDOWN = re.compile(r"\[[^\[\]]*\]\(\s*([^()\s]+)\s*\)")
_PAGES = frozenset({"tree", "blob", "resolve", "raw", "commit", "commits", "discussions", "edit", "upload", "settings"})
_OTHER_KINDS = frozenset({"datasets", "spaces", "collections", "papers", "docs", "blog", "api"})


def is_repo_id(text: str) -> bool:
    """Whether this can be the name of a repository: `name` or `organisation/name`."""
    return _REPO_ID.fullmatch(text) is not None and ".." not in text and not text.endswith("/")


def repo_id_of(text: str, endpoint: str | None = None) -> str | None:
    """The repository that a text names, None where it names none.

    Args:
        text: `org/name`, `org/name@revision`, `org/name:tag`, `org/name/`, an address of the Hub (with or without `https://`, of
            the model's page or of one of its files), an `hf://` address, a Markdown link to one, or a path in the cache.
        endpoint: address of another Hub, whose pages count as well.
    """
    named = _split(text, endpoint)
    return named[0] if named else None


def repo_and_revision(text: str, endpoint: str | None = None) -> tuple[str, str | None] | None:
    """The same, with the revision that the text names, if it does."""
    return _split(text, endpoint)


def _split(text: str, endpoint: str | None) -> tuple[str, str | None] | None:
    text = text.strip().strip("`'\"<>").strip()
    if not 0 < len(text) <= LONGEST_ADDRESS:
        return None
    linked = _MARKDOWN.fullmatch(text)
    text = linked[1] if linked else text
    cached = _CACHED.search(text)
    if cached:
        return _checked(cached[1].replace("--", "/", 1), None)
    path = _path_on_hub(text, endpoint)
    if path is not None:
        return _of_page(path)
    if text.startswith("/") or _BY_SSH.match(text):
        return None  # a path on disk, another host
    return _of_page(text)


def _path_on_hub(text: str, endpoint: str | None) -> str | None:
    """What follows the host where the text is an address of a Hub."""
    if text.lower().startswith("hf://"):
        return text[len("hf://") :].removeprefix("models/")
    text = _BY_SSH.sub(r"https://\1\2/", text)
    text = "https:" + text if text.startswith("//") else text
    bare = re.match(r"([\w.\-]+)/", text, re.ASCII)
    if "://" not in text and bare and bare[1].lower() in HUB_HOSTS:
        text = "https://" + text
    try:
        parts = urlsplit(text)
        if parts.netloc.partition(":")[0].lower() in HUB_HOSTS:
            parts = parts._replace(netloc=re.sub(r":(443|80)\Z", "", parts.netloc))
        host, own = (parts.netloc or "").rpartition("@")[2].lower(), urlsplit(endpoint or "").netloc.lower()
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or (host not in HUB_HOSTS and host != (own or None)):
        return None
    path = unquote(parts.path).rstrip(").,;]").strip("/")
    return path.removesuffix(".git").removeprefix("models/").removeprefix("api/models/")


def _of_page(path: str) -> tuple[str, str | None] | None:
    """`org/name`, or a page below it, such as `org/name/tree/main`."""
    name, at, tail = path.partition("@")
    if not at:
        name = _TAG.sub(r"\1", name)
    pieces = [piece for piece in name.split("/") if piece]
    if not pieces or pieces[0].lower() in _OTHER_KINDS:
        return None
    if at:
        return _checked("/".join(pieces), tail.rstrip("/"))
    for place in (2, 1):
        if len(pieces) > place and pieces[place] in _PAGES:
            behind = pieces[place + 1 :] if pieces[place] != "discussions" else []
            whole = 3 if behind[:1] == ["refs"] else 1  # as refs/pr/1
            revision = "/".join(behind[:whole])
            return _checked("/".join(pieces[:place]), revision)
    return _checked("/".join(pieces), None)


def _checked(name: str, revision: str | None) -> tuple[str, str | None] | None:
    return (name, revision or None) if is_repo_id(name) else None
