"""Stored bytes of one file and the hashes that git and LFS give them.

A blob is either bytes in memory or a file on disk; a file on disk is never read as a whole, so a sparse one of many
gigabytes can be served. Hashes are real: git blob sha1 for small files, sha256 and the sha1 of the pointer for LFS.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

# fmt: off
LFS_SUFFIXES = frozenset({
    ".bin", ".ckpt", ".gguf", ".gz", ".h5", ".msgpack", ".npy", ".npz", ".onnx", ".ot", ".parquet", ".pkl",
    ".pt", ".pth", ".safetensors", ".tflite", ".zip",
})
# fmt: on
LFS_FROM_BYTES = 10 * 1024 * 1024  # the Hub refuses larger plain git files
HEADER_LIMIT_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """A file on disk whose sha256 is already known: saves hashing a sparse file of many gigabytes.

    Attributes:
        path: the file; it must not change while it is served.
        sha256: 64 hex digits; believed, not checked.
    """

    path: Path
    sha256: str


class Blob:
    """Bytes or a file on disk, with its size and hashes.

    Args:
        name: path inside the repository; its suffix decides whether the file is kept in LFS.
        content: the bytes, a path on disk, or a `StoredFile`.
    """

    def __init__(self, name: str, content: bytes | Path | StoredFile):
        self.data: bytes | None = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else None
        self.path: Path | None = None
        self._known_sha256: str | None = None
        if isinstance(content, StoredFile):
            self.path, self._known_sha256 = Path(content.path), content.sha256
        elif self.data is None:
            self.path = Path(content)  # type: ignore[arg-type]
        self.size = len(self.data) if self.data is not None else self.path.stat().st_size  # type: ignore[union-attr]
        self.lfs = PurePosixPath(name).suffix.lower() in LFS_SUFFIXES or self.size > LFS_FROM_BYTES

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes from start up to, not including, stop."""
        stop = self.size if stop is None else min(stop, self.size)
        if self.data is not None:
            return self.data[start:stop]
        assert self.path is not None
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(max(0, stop - start))

    @cached_property
    def sha256(self) -> str:
        """What LFS calls the oid of the file."""
        if self._known_sha256 is not None:
            return self._known_sha256
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        assert self.path is not None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def xet_hash(self) -> str:
        """64 hex digits in the place of the Xet hash; the CDN uses it as ETag. Not the real Xet function."""
        return hashlib.sha256(b"xet" + self.sha256.encode()).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        """The text that git keeps in the place of an LFS file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @cached_property
    def oid(self) -> str:
        """git's sha1 of what git keeps: the file, or for LFS its pointer."""
        return git_hash("blob", self.pointer if self.lfs else self.read())

    @cached_property
    def parameters(self) -> Counter[str] | None:
        """Number of values of each dtype by the safetensors header, or None where there is no sound header."""
        header = safetensors_header(self)
        if header is None:
            return None
        found: Counter[str] = Counter()
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            try:
                count = 1
                for side in tensor["shape"]:
                    count *= int(side)
                found[str(tensor["dtype"])] += count
            except (TypeError, KeyError, ValueError):
                return None
        return found


def git_hash(kind: str, body: bytes) -> str:
    """git's object name: sha1 over kind, length and body."""
    return hashlib.sha1(f"{kind} {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()


def safetensors_header(blob: Blob) -> dict[str, Any] | None:
    """The JSON at the start of a safetensors file, or None where there is none: hostile files are published on purpose."""
    if blob.size < 8:
        return None
    (length,) = struct.unpack("<Q", blob.read(0, 8))
    if length > min(blob.size - 8, HEADER_LIMIT_BYTES):
        return None
    try:
        header = json.loads(blob.read(8, 8 + length))
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None
