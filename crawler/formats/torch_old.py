"""Files that PyTorch saved before version 1.6: one pickle after the other, then the numbers of every storage. Never unpickled.

Five pickles (a magic number, the protocol, the system, the description, the keys of the storages in order), then of each storage
the number of its values in 8 bytes and the values. The description is followed by the reader that can call nothing (torch_pickle.py);
where each storage lies follows from the sizes of those before it.

Format: torch/serialization.py, `_legacy_save`.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass

from lineage.crawler.formats.torch_pickle import BadPickle, Storage, StoredTensor, described_in, texts_in
from lineage.crawler.headers import DTYPE_BITS

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PICKLES = 5
FIRST_READ_BYTES = 256 * 1024
MAX_HEADER_BYTES = 64 << 20
COUNT_BYTES = 8

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class OldFile:
    """Tensors by name, and where each storage's values begin and how many bytes they are."""

    tensors: dict[str, StoredTensor]
    places: dict[str, tuple[int, int]]


def read_old(read: Read, file_bytes: int) -> OldFile:
    """
    Args:
        read: (start, stop) -> exactly those bytes of the file.
    Raises:
        BadPickle: not such a file, it does not hold what it claims, or describing it would have to run something.
    """
    content, ends = _pickles(read, file_bytes)
    storages: dict[str, Storage] = {}
    tensors = described_in(content[ends[2] : ends[3]], storages)
    places: dict[str, tuple[int, int]] = {}
    at = ends[4]
    for key in texts_in(content[ends[3] : ends[4]]):
        storage = storages.get(key)
        bits = DTYPE_BITS.get(storage.dtype or "") if storage else None
        if storage is None or bits is None or key in places:
            raise BadPickle(f"the numbers {key[:80]!r} are not described in it")
        size = storage.values * bits // 8
        places[key] = (at + COUNT_BYTES, size)
        at += COUNT_BYTES + size
    if at > file_bytes:
        raise BadPickle("it ends before its numbers do")
    return OldFile(tensors, places)


def _pickles(read: Read, file_bytes: int) -> tuple[bytes, list[int]]:
    """The first bytes of a file, and where each of its pickles ends."""
    size = FIRST_READ_BYTES
    while True:
        content = read(0, min(size, file_bytes))
        ends = _ends(content)
        if len(ends) == PICKLES:
            return content, ends
        if size >= min(file_bytes, MAX_HEADER_BYTES):
            raise BadPickle("its description does not end")
        size *= 4


def _ends(content: bytes) -> list[int]:
    stream = io.BytesIO(content)
    ends: list[int] = []
    while len(ends) < PICKLES:
        try:
            for _ in pickletools.genops(stream):
                pass
        except (ValueError, IndexError, KeyError, OverflowError, UnicodeError):
            break
        ends.append(stream.tell())
    return ends
