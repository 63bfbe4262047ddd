"""Priority under a budget: what the listing says of a repository -> its place in the queue.

A crawl with a budget walks the listing first and reads afterwards, the most useful repositories first: those that many people
use, those that say what they come from, and the first of each kind of architecture. The line lies beside the cursor in the
crawl's progress, so the order survives a budget that ends early.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict
from datetime import datetime
from pathlib import PurePosixPath

from lineage.crawler.formats.registry import READ_SUFFIXES, format_of
from lineage.crawler.listing import Repository
from lineage.graphdb.schema import Declaration

DECLARED_BONUS = 4.0  # as much as sixteen times the downloads
NEW_SHAPE_BONUS = 4.0
MAX_FILES_KEPT = 5_000


def priority_of(repository: Repository, new_shape: bool) -> float:
    """
    Args:
        new_shape: whether it is the first of its architecture and size.
    """
    declared = any(claim.source != "config" for claim in repository.declarations)
    return math.log2(1 + (repository.downloads or 0)) + DECLARED_BONUS * declared + NEW_SHAPE_BONUS * new_shape


def pack(repository: Repository) -> bytes:
    """Everything that reading it needs, without the files that have nothing to do with weights."""
    fields = asdict(repository)
    if repository.files is not None:
        fields["files"] = [path for path in repository.files if _matters(path)][:MAX_FILES_KEPT]
    for name in ("created_at", "last_modified"):
        fields[name] = fields[name].isoformat() if fields[name] else None
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 6)


def unpack(packed: bytes) -> Repository:
    fields = json.loads(zlib.decompress(packed))
    for name in ("created_at", "last_modified"):
        fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
    fields["files"] = tuple(fields["files"]) if fields["files"] is not None else None
    fields["declarations"] = tuple(Declaration(**claim) for claim in fields["declarations"])
    if "quantisation" in fields:  # kept by an earlier version
        fields["quantization"] = fields.pop("quantisation")
    return Repository(**fields)


def has_weights(repository: Repository) -> bool:
    """Whether there may be something to read, as far as the listing says."""
    return repository.files is None or any(format_of(path) is not None for path in repository.files)


def _matters(path: str) -> bool:
    name = PurePosixPath(path).name
    if name in ("adapter_config.json", "model_index.json", "config.json"):
        return True
    return name.lower().endswith((*READ_SUFFIXES, ".index.json"))
