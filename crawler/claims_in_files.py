"""What files beside and inside weights say about the base: `adapter_config.json`, and the texts in a safetensors header.

    peft        adapter_config.json: base_model_name_or_path (https://github.com/huggingface/peft)
    diffusers   __metadata__: lora_adapter_metadata, the same configuration as JSON
    kohya       __metadata__: ss_sd_model_name, ss_new_sd_model_hash (sha256 of the file), ss_sd_model_hash (its legacy hash)
                (https://github.com/kohya-ss/sd-scripts)
    A1111       __metadata__: sd_merge_models, JSON by sha256 of each parent; SuperMerger writes the same

All of it was written by strangers, and is a claim. A parent that is known by the hash of its file is named `sha256:<64 hex>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lineage.crawler.repo_names import repo_id_of

ADAPTER_CONFIG = "adapter_config.json"
BY_HASH = "sha256:"
MAX_CLAIMS = 32
LONGEST_CLAIM = 300
MAX_JSON_CHARACTERS = 256 * 1024
_SHA256 = re.compile(r"(?:0x)?([0-9a-f]{64})", re.IGNORECASE)
_BASE_IN_JSON = re.compile(r'"base_model_name_or_path"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.){1,1200}")')
_NAMES = ("base_model", "base_model_name_or_path", "base_model_id", "pretrained_model_name_or_path")
_NOTHING = frozenset({"none", "null", "unknown", "n/a", "base_model", "..."})

Claim = tuple[str, str | None]  # base, relation


def base_in_adapter_config(text: bytes) -> str | None:
    """The base that an `adapter_config.json` names, as it is written there or as the name of the repository that it means.

    Args:
        text: the file, or its beginning where it is longer than any real one: peft writes the base near the beginning.
    """
    config = _object(text.decode("utf-8", errors="replace"))
    if config is not None:
        return named_base(config.get("base_model_name_or_path"))
    found = _BASE_IN_JSON.search(text.decode("utf-8", errors="replace"))
    try:
        return named_base(json.loads(found[1])) if found else None
    except ValueError:
        return None


def bases_in_metadata(metadata: Mapping[str, str]) -> tuple[Claim, ...]:
    """(base, relation) of every base that the texts of a safetensors header name, each once, at most MAX_CLAIMS."""
    found: dict[Claim, None] = {}
    for claim in _claims(metadata):
        found.setdefault(claim)
        if len(found) >= MAX_CLAIMS:
            break
    return tuple(found)


def _claims(metadata: Mapping[str, str]) -> Iterator[Claim]:
    hashed = _SHA256.fullmatch(metadata.get("ss_new_sd_model_hash", "").strip())
    if hashed:
        yield BY_HASH + hashed[1].lower(), "adapter"
    trained_on = named_base(metadata.get("ss_sd_model_name"))
    if trained_on:
        yield trained_on, "adapter"
    for key in _NAMES:
        named = named_base(metadata.get(key))
        if named:
            yield named, None
    config = _object(metadata.get("lora_adapter_metadata", ""))
    for key, value in (config or {}).items():
        if key.rpartition(".")[2] == "base_model_name_or_path" and (named := named_base(value)):
            yield named, "adapter"
    for sha256 in _object(metadata.get("sd_merge_models", "")) or {}:
        hashed = _SHA256.fullmatch(sha256)
        if hashed:
            yield BY_HASH + hashed[1].lower(), "merge"


def _object(text: str) -> Mapping[str, Any] | None:
    if not text.lstrip("\ufeff \t\r\n").startswith("{") or len(text) > MAX_JSON_CHARACTERS:
        return None
    try:
        content = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def named_base(value: Any) -> str | None:
    """A short printable text that may name a base."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not 0 < len(text) <= LONGEST_CLAIM or not text.isprintable() or text.lower() in _NOTHING:
        return None
    return repo_id_of(text) or text
