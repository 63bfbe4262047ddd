"""Which detection made an answer: a version for each method that changes when its code, its weights or its options do.

The constant says that the code answers otherwise than before; a test that compares answers with kept ones forces it up. The rest is
a hash over the weights that ship with the package, and over files that an option names, so that a network that was trained anew
under the same path is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from lineage.detect.methods.registry import METHODS, PLAIN
from lineage.detect.pipeline import METHOD_VERSION
from lineage.detect.sketch import SKETCH_VERSION

WEIGHTS = (".json", ".safetensors")


def method_version(method: str, settings: Mapping[str, str] | None = None) -> str:
    """As `7-1a2b3c4d` for lineage's own method, `mother-1-1a2b3c4d` for a published one.

    Args:
        settings: options of the method; a value that names a file counts with the file's content.
    """
    given = hashlib.sha256(f"{SKETCH_VERSION}".encode())
    for name, value in sorted((settings or {}).items()):
        given.update(f"\0{name}={value}\0".encode())
        given.update(_content(value))
    if method == PLAIN:
        given.update(_shipped_weights())
        return f"{METHOD_VERSION}-{given.hexdigest()[:8]}"
    version = next(known.version for known in METHODS if known.name == method)
    return f"{method}-{version}-{given.hexdigest()[:8]}"


def _content(value: str) -> bytes:
    """Hash of the file that a value names; empty where it names none."""
    try:
        with Path(value).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return b""


@cache
def _shipped_weights() -> bytes:
    found = hashlib.sha256()
    for package in ("lineage.detect", "lineage.detect.detector"):
        for entry in sorted(files(package).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(WEIGHTS):
                found.update(entry.name.encode())
                found.update(entry.read_bytes())
    return found.digest()
