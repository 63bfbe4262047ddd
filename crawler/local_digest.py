"""Hashes of the weight files of a model on disk: what tells whether a path still holds the weights that the graph knows.

Apart from open_model.py so that a lookup in the graph need not import what asks the Hub.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lineage.crawler.folder import LocalModel
from lineage.crawler.formats.registry import format_of
from lineage.crawler.selection import weights_digest
from lineage.crawler.weights import UnreadableWeights


def content_hash(path: Path) -> str:
    """sha256 hex of a file, read to its end: names of links and caches are not believed.

    Raises:
        UnreadableWeights: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableWeights(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}", "check its permissions"
        ) from None


def local_digest(local: LocalModel, hash_of: Callable[[Path], str] = content_hash) -> str:
    """Of the weight files of a model on disk."""
    form = format_of(local.files[0].name) if local.files else None
    return weights_digest(map(hash_of, local.files), form.kind if form else "safetensors")
