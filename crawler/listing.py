"""One item of a listing, or the answer about one repository -> `Repository`, and what it claims about its base.

Everything here was written by strangers or by versions of the Hub we do not know: each field is checked on its own, what is
not as expected is taken as absent, and only an item without identity is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from lineage.crawler.headers import DTYPE_BITS
from lineage.crawler.quantized_claims import quantization_of
from lineage.crawler.repo_names import is_repo_id, repo_id_of
from lineage.graphdb.schema import Declaration

EXPAND = (
    "sha", "lastModified", "createdAt", "tags", "config", "cardData", "safetensors", "gguf", "siblings", "gated",
    "disabled", "private", "library_name", "downloads",
)  # fmt: skip
RELATIONS = frozenset({"finetune", "adapter", "merge", "quantized"})
MAX_DECLARATIONS = 64
MAX_ENTRIES = 2_000  # of one list or mapping in a card; real merges name dozens
MAX_LICENCES = 8
_HUB_ID = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40,64}", re.ASCII)


class MalformedItem(ValueError):
    """An item that does not identify its repository."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository as the Hub lists it.

    Attributes:
        hub_id: the Hub's `_id`; stays when the name changes.
        sha: newest commit; None where the listing does not say.
        files: paths of all files; None where the listing does not say.
        shape: architecture and number of values, as far as the listing says; what differs here has another signature.
        quantization: what the configuration says of how its numbers are packed.
        weights_bytes: of its numbers, as far as the listing says.
    """

    hub_id: str
    repo_id: str
    sha: str | None
    files: tuple[str, ...] | None
    created_at: datetime | None = None
    last_modified: datetime | None = None
    downloads: int | None = None
    license: str | None = None
    library: str | None = None
    gated: bool = False
    disabled: bool = False
    declarations: tuple[Declaration, ...] = ()
    shape: str | None = None
    quantization: str | None = None
    weights_bytes: int | None = None


def parse_item(item: Any) -> Repository:
    """
    Raises:
        MalformedItem: no usable `_id` or name.
    """
    if not isinstance(item, dict):
        raise MalformedItem(f"not an object but {type(item).__name__}")
    hub_id, repo_id = item.get("_id"), item.get("id", item.get("modelId"))
    if not isinstance(hub_id, str) or not _HUB_ID.fullmatch(hub_id):
        raise MalformedItem("no _id")
    if not isinstance(repo_id, str) or not is_repo_id(repo_id):
        raise MalformedItem("no name")
    card = _mapping(item.get("cardData"))
    tags = tuple(tag for tag in _sequence(item.get("tags")) if isinstance(tag, str))
    sha = item.get("sha")
    return Repository(
        hub_id=hub_id,
        repo_id=repo_id,
        sha=sha if isinstance(sha, str) and _SHA.fullmatch(sha) else None,
        files=_files(item.get("siblings")),
        created_at=_time(item.get("createdAt")),
        last_modified=_time(item.get("lastModified")),
        downloads=_count(item.get("downloads")),
        license=declared_license(card, tags),
        library=_text(item.get("library_name")),
        gated=item.get("gated") not in (None, False, "false", ""),
        disabled=item.get("disabled") is True,
        declarations=tuple(declarations(hub_id, card, tags, _mapping(item.get("config")))),
        shape=_shape(_mapping(item.get("config")), _mapping(item.get("safetensors"))),
        quantization=quantization_of(_mapping(item.get("config"))),
        weights_bytes=_weights_bytes(_mapping(item.get("safetensors"))),
    )


def declarations(
    child: str, card: Mapping[str, Any], tags: tuple[str, ...] = (), config: Mapping[str, Any] | None = None
) -> Iterator[Declaration]:
    """Claims about the base: the card's `base_model`, the Hub's `base_model:` tags, `_name_or_path` of the configuration.

    Args:
        child: hub_id of the model that makes the claims.
        card: the card's front matter; `base_model` may be a text, a list, or a mapping from relation to either, and each text
            the name of a repository or an address of it.
    """
    relation = _relation(card.get("base_model_relation"))
    claims: dict[Declaration, None] = {}
    for base, said in islice(_bases(card.get("base_model")), MAX_ENTRIES):
        claims[Declaration(child, _base(base), said or relation, "card")] = None
    tagged: dict[str, str | None] = {}
    for tag in tags:
        if tag.startswith("base_model:"):
            first, _, rest = tag.removeprefix("base_model:").partition(":")
            named = _text(rest if rest and first in RELATIONS else tag.removeprefix("base_model:"))
            if named:  # every base is tagged twice, with its relation and without
                named = _base(named)
                tagged[named] = (first if rest and first in RELATIONS else None) or tagged.get(named)
    for base, tag_relation in tagged.items():
        claims[Declaration(child, base, tag_relation, "tag")] = None
    origin = _text((config or {}).get("_name_or_path"))
    if origin:
        claims[Declaration(child, _base(origin), None, "config")] = None
    yield from list(claims)[:MAX_DECLARATIONS]


def _bases(value: Any) -> Iterator[tuple[str, str | None]]:
    """(base, relation) of a text, a list of texts, a mapping from relation to either, or a list of such mappings."""
    for outer in _some(value) if isinstance(value, list) else [value]:
        named = _some(outer.items()) if isinstance(outer, dict) else [(None, outer)]
        for key, inner in named:
            for text in _some(inner) if isinstance(inner, list) else [inner]:
                base = _text(text)
                if base:
                    yield base, _relation(key)


def _some(entries: Iterable[Any]) -> Iterator[Any]:
    return islice(entries, MAX_ENTRIES)


def _base(text: str) -> str:
    """The name of the repository that a claim means, or what is written where it means none."""
    return repo_id_of(text) or text


def _shape(config: Mapping[str, Any], safetensors: Mapping[str, Any]) -> str | None:
    architectures = [name for name in map(_text, _sequence(config.get("architectures"))[:4]) if name]
    counts = [count for count in map(_count, _mapping(safetensors.get("parameters")).values()) if count is not None]
    return f"{','.join(architectures)}:{sum(counts)}" if architectures or counts else None


def _weights_bytes(safetensors: Mapping[str, Any]) -> int | None:
    """From the number of values of each dtype; None where a dtype or a number is not known."""
    counts = _mapping(safetensors.get("parameters"))
    sizes = [(DTYPE_BITS.get(dtype), _count(number)) for dtype, number in counts.items()]
    if not sizes or any(bits is None or number is None for bits, number in sizes):
        return None
    return sum((bits or 0) * (number or 0) for bits, number in sizes) // 8


def _files(siblings: Any) -> tuple[str, ...] | None:
    if not isinstance(siblings, list):
        return None
    names = (_mapping(sibling).get("rfilename") for sibling in siblings)
    return tuple(name for name in names if isinstance(name, str) and is_safe_path(name))


@lru_cache(4096)  # most repositories have the same few names
def is_safe_path(name: str) -> bool:
    """A path inside a repository that cannot lead out of it, nor break an address or a header."""
    return (
        0 < len(name) <= 1024
        and name.isprintable()
        and not name.startswith("/")
        and "\\" not in name
        and all(part not in ("", ".", "..") for part in name.split("/"))
    )


def declared_license(card: Mapping[str, Any], tags: tuple[str, ...]) -> str | None:
    """Licences of the card's front matter, or of the Hub's tags: several with `, ` between; the name of one that is `other`."""
    said = card.get("license")
    names = [_text(name) for name in (said if isinstance(said, list) else [said])[:MAX_LICENCES]]
    names = [name for name in names if name] or [
        _text(tag.removeprefix("license:")) for tag in tags if tag.startswith("license:")
    ][:MAX_LICENCES]
    own = _text(card.get("license_name"))
    named = [own if own and name.lower() == "other" else name for name in names if name]
    return ", ".join(dict.fromkeys(named)) or None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None


def _relation(value: Any) -> str | None:
    return value.strip().lower() if isinstance(value, str) and value.strip().lower() in RELATIONS else None


def _text(value: Any) -> str | None:
    """A short printable text, or None."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    return text if 0 < len(text) <= 300 and text.isprintable() else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # JSON and YAML give no other; asking for a Mapping costs tenfold


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
