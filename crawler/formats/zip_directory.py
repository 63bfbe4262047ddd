"""The directory of a zip archive, read by ranges: which members it has and where each lies. Nothing of it is trusted.

Format: APPNOTE.TXT of PKWARE, 4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from lineage.graphdb.schema import Failure

TAIL_BYTES = 64 * 1024  # holds the whole directory of most files
MAX_DIRECTORY_BYTES = 64 << 20
MAX_MEMBERS = 1_000_000
LOCAL = b"PK\3\4"  # a member begins
_END, _END64, _LOCATOR64, _ENTRY = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2"

Read = Callable[[int, int], bytes]


class BadArchive(Failure):
    """A zip archive or a file of PyTorch that cannot be read without trusting or running it."""

    exit_code = 4

    def __init__(self, file: str, why: str, hint: str = "save the model again as safetensors; nothing in it was run"):
        super().__init__(f"{file}: {why}", hint)
        self.file = file


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One member of an archive. at: where its own short header begins; next_at: where what follows it begins."""

    name: str
    at: int
    size: int
    packed_size: int
    method: int
    flags: int
    crc: int
    next_at: int


def members_in(read: Read, file: str, file_bytes: int) -> dict[str, ArchiveMember] | None:
    """Name -> member, from the directory at the end; None where the file has none.

    Args:
        read: (start, stop) -> exactly those bytes of the file.
    Raises:
        BadArchive: a directory that cannot be trusted.
    """
    if file_bytes < 22:
        raise BadArchive(file, f"too few bytes: {file_bytes}")
    tail_at = max(0, file_bytes - TAIL_BYTES)
    tail = read(tail_at, file_bytes)
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        return None
    count, size, at = struct.unpack("<HII", tail[end + 10 : end + 20])
    if 0xFFFF in (count,) or 0xFFFFFFFF in (size, at):
        count, size, at = _end64(tail, tail_at, end, file, read)
    if size > MAX_DIRECTORY_BYTES or count > MAX_MEMBERS or at + size > tail_at + end or size < 46 * count:
        raise BadArchive(file, "its directory is invalid")
    directory = tail[at - tail_at : at - tail_at + size] if at >= tail_at else read(at, at + size)
    return _entries(directory, count, file, at)


def _end64(tail: bytes, tail_at: int, end: int, file: str, read: Read) -> tuple[int, int, int]:
    locator = end - 20
    if locator < 0 or tail[locator : locator + 4] != _LOCATOR64:
        raise BadArchive(file, "its directory is invalid")
    (at,) = struct.unpack("<Q", tail[locator + 8 : locator + 16])
    if at + 56 > tail_at + locator:
        raise BadArchive(file, "its directory is invalid")
    record = tail[at - tail_at : at - tail_at + 56] if at >= tail_at else read(at, at + 56)
    if record[:4] != _END64:
        raise BadArchive(file, "its directory is invalid")
    count, size, where = struct.unpack("<QQQ", record[32:56])
    return count, size, where


def _entries(directory: bytes, count: int, file: str, directory_at: int) -> dict[str, ArchiveMember]:
    rows = []
    at = 0
    for _ in range(count):
        if directory[at : at + 4] != _ENTRY or len(directory) < at + 46:
            raise BadArchive(file, "its directory is damaged")
        flags, method = struct.unpack("<HH", directory[at + 8 : at + 12])
        crc, packed, size, name_bytes, extra_bytes, comment_bytes = struct.unpack(
            "<IIIHHH", directory[at + 16 : at + 34]
        )
        (where,) = struct.unpack("<I", directory[at + 42 : at + 46])
        name = directory[at + 46 : at + 46 + name_bytes].decode("utf-8", "replace")
        extra = directory[at + 46 + name_bytes : at + 46 + name_bytes + extra_bytes]
        if 0xFFFFFFFF in (packed, size, where):
            size, packed, where = _extra64(extra, size, packed, where, file)
        if where + 30 + packed > directory_at or (method == 0 and packed != size):
            raise BadArchive(file, f"its member {name[:80]!r} cannot be where it is said to be")
        rows.append((name, where, size, packed, method, flags, crc))
        at += 46 + name_bytes + extra_bytes + comment_bytes
    after = dict(pairwise([*sorted({row[1] for row in rows}), directory_at]))
    members = {row[0]: ArchiveMember(*row, next_at=after[row[1]]) for row in rows}
    if len(members) != len(rows):
        raise BadArchive(file, "two of its members have one name")
    return members


def _extra64(extra: bytes, size: int, packed: int, where: int, file: str) -> tuple[int, int, int]:
    """Sizes beyond 32 bits, from the extra field 1."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            field, values = extra[at + 4 : at + 4 + length], [size, packed, where]
            place = 0
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF:
                    if place + 8 > len(field):
                        break
                    (values[i],) = struct.unpack("<Q", field[place : place + 8])
                    place += 8
            return values[0], values[1], values[2]
        at += 4 + length
    raise BadArchive(file, "its directory is damaged")


def member_start(read: Read, file: str, member: ArchiveMember) -> int:
    """Where a member's bytes begin, by the short header before it."""
    header = read(member.at, member.at + 30)
    if header[:4] != LOCAL:
        raise BadArchive(file, f"its member {member.name[:80]!r} is not where it is said to be")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    start = member.at + 30 + int(name_bytes) + int(extra_bytes)
    if start + member.packed_size > member.next_at:
        raise BadArchive(file, f"its member {member.name[:80]!r} reaches into the next one")
    return start
