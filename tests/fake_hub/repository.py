"""One repository with its history, and how the Hub describes it in JSON.

Files go in; what the Hub derives from them comes out: card, tags, trimmed configuration, safetensors summary, siblings,
git tree and commit hashes. Field order follows recorded answers of the Hub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import yaml

from tests.fake_hub.blobs import Blob, git_hash

CARD = re.compile(rb"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
CONFIG_KEYS = ("architectures", "model_type", "auto_map", "quantization_config")
RELATIONS = ("adapter", "merge", "quantized", "finetune")


def hub_time(moment: datetime) -> str:
    """A moment as the Hub writes it: `2026-09-22T17:25:10.000Z`."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class Revision:
    """One commit and the whole tree it stands for."""

    files: Mapping[str, Blob]
    date: datetime
    title: str
    parent: str | None
    author: str

    @cached_property
    def directories(self) -> dict[str, str]:
        """Path of each directory -> git's hash of it; the root has the path ''."""
        children: dict[str, dict[str, str | None]] = {"": {}}
        for path in self.files:
            parts = PurePosixPath(path).parts
            for depth in range(len(parts)):
                above = "/".join(parts[:depth])
                children.setdefault(above, {})[parts[depth]] = path if depth == len(parts) - 1 else None
        hashes: dict[str, str] = {}
        for folder in sorted(children, key=lambda f: -len(PurePosixPath(f).parts)):  # deepest first
            entries = []
            for name, file in children[folder].items():
                below = f"{folder}/{name}" if folder else name
                if file is None:
                    entries.append((name + "/", b"40000 " + name.encode(), hashes[below]))
                else:
                    entries.append((name, b"100644 " + name.encode(), self.files[file].oid))
            body = b"".join(mode + b"\0" + bytes.fromhex(oid) for _, mode, oid in sorted(entries))
            hashes[folder] = git_hash("tree", body)
        return hashes

    @cached_property
    def sha(self) -> str:
        """git's hash of the commit, 40 hex digits."""
        who = f"{self.author} <{self.author}@users.noreply.huggingface.co> {int(self.date.timestamp())} +0000"
        parent = f"parent {self.parent}\n" if self.parent else ""
        text = f"tree {self.directories['']}\n{parent}author {who}\ncommitter {who}\n\n{self.title}\n"
        return git_hash("commit", text.encode())

    @cached_property
    def card(self) -> dict[str, Any] | None:
        """Front matter of README.md, or None where there is none or it is no mapping."""
        found = CARD.match(self.files["README.md"].read()) if "README.md" in self.files else None
        try:
            card = yaml.safe_load(found.group(1)) if found else None
        except yaml.YAMLError:
            return None
        return json.loads(json.dumps(card, default=str)) if isinstance(card, dict) else None  # dates become text

    def json_file(self, path: str) -> dict[str, Any]:
        """A JSON object of this revision, {} where it is missing or broken."""
        try:
            found = json.loads(self.files[path].read())
        except (KeyError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """What the Hub shows of config.json: a few keys only, so `_name_or_path` is not among them."""
        full, adapter = self.json_file("config.json"), self.json_file("adapter_config.json")
        shown = {key: full[key] for key in CONFIG_KEYS if key in full}
        if adapter:
            shown["peft"] = {k: adapter[k] for k in ("base_model_name_or_path", "task_type") if k in adapter}
        if "tokenizer_config.json" in self.files:
            shown["tokenizer_config"] = {}
        return shown or None

    @cached_property
    def safetensors(self) -> dict[str, Any] | None:
        """`{"parameters": {dtype: n}, "total": n}` of model.safetensors or of the shards that the index names."""
        if "model.safetensors" in self.files:
            names: Iterable[str] = ["model.safetensors"]
        else:
            weight_map = self.json_file("model.safetensors.index.json").get("weight_map")
            names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
        total: Counter[str] = Counter()
        for name in names:
            blob = self.files.get(name)
            if blob is None or blob.parameters is None:
                return None
            total.update(blob.parameters)
        return {"parameters": dict(total), "total": sum(total.values())} if total else None

    def base_models(self, card: Mapping[str, Any] | None) -> tuple[list[str], str | None]:
        """Declared bases and the relation: as the card says, else as the Hub guesses from the files."""
        card = card or {}
        declared = card.get("base_model")
        if isinstance(declared, dict):
            declared = list(declared.values())
        bases = [declared] if isinstance(declared, str) else list(map(str, declared)) if declared else []
        relation = card.get("base_model_relation")
        if not bases or relation in RELATIONS:
            return bases, relation if bases else None
        if len(bases) > 1:
            return bases, "merge"
        if "adapter_config.json" in self.files:
            return bases, "adapter"
        quantized = "quantization_config" in (self.config or {}) or any(path.endswith(".gguf") for path in self.files)
        return bases, "quantized" if quantized else "finetune"


@dataclass
class Repository:
    """A repository as it is now, with everything that can be set from outside.

    Attributes:
        history: oldest first; the last is what `main` points to.
        gated: False, "auto" or "manual".
        overrides: fields put over the derived ones in every answer, at will malformed; a value of None removes one.
    """

    repo_id: str
    hub_id: str
    created_at: datetime
    history: list[Revision]
    last_modified: datetime | None = None
    downloads: int = 0
    likes: int = 0
    tags: tuple[str, ...] = ()
    card_data: Mapping[str, Any] | None = None
    library: str | None = None
    pipeline_tag: str | None = None
    gated: bool | str = False
    private: bool = False
    disabled: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def head(self) -> Revision:
        return self.history[-1]

    @property
    def modified(self) -> datetime:
        return self.last_modified or self.head.date

    def revision(self, name: str) -> Revision | None:
        """Revision by `main`, by branch, or by full commit hash; None where absent."""
        if name in ("main", "refs/heads/main"):
            return self.head
        sha = self.branches.get(name, name)
        return next((r for r in self.history if r.sha == sha), None)

    def card(self, revision: Revision) -> dict[str, Any] | None:
        return dict(self.card_data) if self.card_data is not None else revision.card

    def fields(self, revision: Revision | None = None) -> dict[str, Any]:
        """Every field that listing, info and `expand` can give; unset ones are absent, as on the Hub."""
        at = revision or self.head
        card, library = self.card(at), self._library(at)
        pipeline = self.pipeline_tag or (card or {}).get("pipeline_tag")
        optional = {"pipeline_tag": pipeline, "library_name": library, "config": at.config, "cardData": card}
        found: dict[str, Any] = {
            "_id": self.hub_id,
            "id": self.repo_id,
            "modelId": self.repo_id,
            "author": self.repo_id.split("/")[0],
            "sha": at.sha,
            "lastModified": hub_time(self.modified),
            "createdAt": hub_time(self.created_at),
            "private": self.private,
            "gated": self.gated,
            "disabled": self.disabled,
            "downloads": self.downloads,
            "downloadsAllTime": self.downloads,
            "likes": self.likes,
            "trendingScore": 0,
            "tags": self._tags(at, card, library),
            "siblings": [{"rfilename": path} for path in sorted(at.files)],
            "spaces": [],
            "model-index": (card or {}).get("model-index"),
            "usedStorage": sum({b.sha256: b.size for r in self.history for b in r.files.values() if b.lfs}.values()),
            "xetEnabled": True,
            **{key: value for key, value in optional.items() if value is not None},
        }
        if at.safetensors is not None:
            found["safetensors"] = at.safetensors
        found.update(self.overrides)
        return {k: v for k, v in found.items() if v is not None or k not in self.overrides}

    def _library(self, at: Revision) -> str | None:
        named = self.library or (self.card(at) or {}).get("library_name")
        if named is None and "adapter_config.json" in at.files:
            return "peft"
        return named or ("transformers" if (at.config or {}).get("architectures") else None)

    def _tags(self, at: Revision, card: Mapping[str, Any] | None, library: str | None) -> list[str]:
        card = card or {}
        config = at.config or {}
        formats = {".safetensors": "safetensors", ".bin": "pytorch", ".gguf": "gguf", ".onnx": "onnx", ".h5": "tf"}
        tags = [library] if library else []
        tags += [tag for suffix, tag in formats.items() if any(path.endswith(suffix) for path in at.files)]
        tags += [config["model_type"]] if isinstance(config.get("model_type"), str) else []
        for key, prefix in (("tags", ""), ("language", ""), ("datasets", "dataset:")):
            value = card.get(key)
            values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            tags += [prefix + str(v) for v in values]
        bases, relation = at.base_models(card)
        tags += [f"base_model:{base}" for base in bases] + [f"base_model:{relation}:{base}" for base in bases]
        tags += [f"license:{card['license']}"] if isinstance(card.get("license"), str) else []
        return list(dict.fromkeys([*tags, *self.tags, "region:us"]))


def object_id(created_at: datetime, salt: str) -> str:
    """An id like MongoDB's: its first 4 bytes are the creation second, the other 8 come from the salt."""
    return f"{int(created_at.timestamp()) & 0xFFFFFFFF:08x}" + hashlib.sha256(salt.encode()).hexdigest()[:16]
