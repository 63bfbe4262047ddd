"""Weights that PyTorch saved (`pytorch_model.bin`, `.pt`, `.pth`, `.ckpt`), read by ranges and never unpickled.

The file is a zip archive whose members are stored as they are. Its directory, at the end, says where each lies; `data.pkl` describes the
tensors (crawler/formats/torch_pickle.py) and `data/0`, `data/1`, … hold their numbers. Two or three short reads give a header
as safetensors files have one. The older kind of file, one pickle after the other, is read by torch_old.py.

Format: APPNOTE.TXT of PKWARE, 4.3; torch/serialization.py and caffe2/serialize/inline_container.cc (members begin at multiples of 64).
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.formats.torch_old import MAGIC, read_old
from lineage.crawler.formats.torch_pickle import BadPickle, StoredTensor, tensors_in
from lineage.crawler.headers import DTYPE_BITS, FileHeader, TensorHeader, refuse_pointer
from lineage.crawler.packing.unpacking import UnpackedWeights
from lineage.crawler.selection import Choice, WeightSet
from lineage.crawler.strided import values_spanned
from lineage.crawler.unread_formats import PARALLEL_PART
from lineage.crawler.weights import WeightFile, Weights
from lineage.graphdb.schema import Failure

TAIL_BYTES = 64 * 1024  # holds the whole directory of most files
MAX_DIRECTORY_BYTES = 64 << 20
MAX_MEMBERS = 1_000_000
CHECKPOINT = ".ckpt"
STRIDED = "STRIDED"  # a dtype for tensors that hold a value in several places
_END, _END64, _LOCATOR64, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
_ALIGNMENT = 64
_DESCRIPTORS = (16, 24, 0)  # bytes that may follow a member

Read = Callable[[int, int], bytes]


class BadArchive(Failure):
    """A file that PyTorch did not save in a way that can be read without running anything."""

    exit_code = 4

    def __init__(self, file: str, why: str):
        super().__init__(f"{file}: {why}", "save the model again as safetensors; nothing in it was run or trusted")
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


class TorchWeights(Weights):
    """Header and ranges of one model in files that PyTorch saved."""

    def _header_of(self, file: WeightFile) -> FileHeader:
        return FileHeader(read_torch_header(file.read, file.name, file.size_bytes), {})


class TorchZip(Format):
    kind = "torch"
    suffixes = (".bin", ".pt", ".pth", ".pth.tar", ".jit", ".torchscript", CHECKPOINT)

    def sets(self, paths: Collection[str]) -> list[WeightSet]:
        """As every format, without files that hold a part of each tensor."""
        found = super().sets(paths)
        cut = Counter(s.folder for s in found if PARALLEL_PART.fullmatch(f"{s.stem}.pth"))
        return [s for s in found if cut[s.folder] < 2 or not PARALLEL_PART.fullmatch(f"{s.stem}.pth")]

    def choose(self, paths: Collection[str]) -> Choice | None:
        """As every format; checkpoints of a trainer count where there is nothing else."""
        others = [path for path in paths if not path.lower().endswith(CHECKPOINT)]
        return super().choose(others) or super().choose(paths)

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return UnpackedWeights(TorchWeights(files, how.header_limit_bytes, how.parallel))


def read_torch_header(read: Read, file: str, file_bytes: int) -> tuple[TensorHeader, ...]:
    """
    Args:
        read: (start, stop) -> exactly those bytes of the file.
    Returns:
        Tensors in the order in which they are described; of those that share their numbers, the first.
    Raises:
        BadArchive: not such a file, or it does not hold what it claims, or describing it would have to run something.
    """
    members = _members(read, file, file_bytes)
    if members is None:
        return _read_old(read, file, file_bytes)
    pickles = [m for m in members.values() if m.name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise BadArchive(
            file, "a zip archive, but not one that PyTorch saved" if not pickles else "several models in one"
        )
    root = pickles[0].name.removesuffix("data.pkl")
    order = members.get(root + "byteorder")
    if order is not None and order.crc != zlib.crc32(b"little"):
        raise BadArchive(file, "its numbers do not lie in little-endian order")
    description = _description(read, file, pickles[0])
    try:
        found = tensors_in(description)
    except BadPickle as error:
        raise BadArchive(file, str(error)) from None
    starts: dict[str, int] = {}
    tensors: list[TensorHeader] = []
    for name, tensor in _each_once(found).items():
        member = members.get(f"{root}data/{tensor.storage.key}")
        if member is None:
            raise BadArchive(file, f"the numbers of {name[:80]!r} are not in it")
        if member.name not in starts:
            starts[member.name] = _start(read, file, member)
        tensors.append(_tensor(file, name, tensor, member, starts[member.name]))
    return tuple(tensors)


def _each_once(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Of tensors that are the same window of the same numbers, the first."""
    first: dict[object, tuple[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        first.setdefault((tensor.storage.key, tensor.offset, tensor.shape, tensor.stride), (name, tensor))
    return dict(first.values())


def _tensor(file: str, name: str, tensor: StoredTensor, member: ArchiveMember, start: int) -> TensorHeader:
    if member.method != 0 or member.flags & 1:
        raise BadArchive(file, f"the numbers of {name[:80]!r} are compressed or encrypted")
    return _window(file, name, tensor, start, member.size)


def _window(file: str, name: str, tensor: StoredTensor, start: int, size_bytes: int) -> TensorHeader:
    """A tensor within a storage whose bytes begin at `start`."""
    dtype = tensor.dtype or "UNKNOWN"
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        return TensorHeader(name, dtype, tensor.shape, file, start, start + size_bytes)
    strides = None if tensor.contiguous else tensor.stride
    spanned = values_spanned(tensor.shape, tensor.stride)
    first = tensor.offset * bits // 8
    last = first + spanned * bits // 8
    if last > size_bytes:
        raise BadArchive(file, f"the tensor {name[:80]!r} is longer than its numbers")
    if spanned < prod(tensor.shape) or (strides and bits % 8):
        return TensorHeader(name, STRIDED, tensor.shape, file, start, start + size_bytes)
    return TensorHeader(name, dtype, tensor.shape, file, start + first, start + last, strides)


def _read_old(read: Read, file: str, file_bytes: int) -> tuple[TensorHeader, ...]:
    """The header of a file of the older kind."""
    try:
        found = read_old(read, file_bytes)
    except BadPickle as error:
        raise BadArchive(file, str(error)) from None
    tensors: list[TensorHeader] = []
    for name, tensor in _each_once(found.tensors).items():
        if tensor.storage.key not in found.places:
            raise BadArchive(file, f"the numbers of {name[:80]!r} are not in it")
        start, size = found.places[tensor.storage.key]
        tensors.append(_window(file, name, tensor, start, size))
    return tuple(tensors)


def _members(read: Read, file: str, file_bytes: int) -> dict[str, ArchiveMember] | None:
    """Name -> member, from the directory at the end; None for a file of the older kind."""
    if file_bytes < 22:
        raise BadArchive(file, f"too few bytes: {file_bytes}")
    tail_at = max(0, file_bytes - TAIL_BYTES)
    tail = read(tail_at, file_bytes)
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        if read(0, min(len(MAGIC), file_bytes)) == MAGIC:
            return None
        refuse_pointer(tail[:256] if tail_at == 0 else read(0, 256), file)
        raise BadArchive(file, "neither a zip archive nor an older file of PyTorch")
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
        raise BadArchive(file, "its directory is invalid found")
    (at,) = struct.unpack("<Q", tail[locator + 8 : locator + 16])
    if at + 56 > tail_at + locator:
        raise BadArchive(file, "its directory is invalid found")
    record = tail[at - tail_at : at - tail_at + 56] if at >= tail_at else read(at, at + 56)
    if record[:4] != _END64:
        raise BadArchive(file, "its directory is invalid found")
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


def _start(read: Read, file: str, member: ArchiveMember) -> int:
    """Where a member's bytes begin. PyTorch puts them at multiples of 64, which is believed where what follows then fits."""
    least = member.at + 30 + len(member.name.encode()) + 4
    start = -(-least // _ALIGNMENT) * _ALIGNMENT
    if any(start + member.size + more == member.next_at for more in _DESCRIPTORS):
        return start
    header = read(member.at, member.at + 30)
    if header[:4] != _LOCAL:
        raise BadArchive(file, f"its member {member.name[:80]!r} is not where it is said to be")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    start = member.at + 30 + int(name_bytes) + int(extra_bytes)
    if start + member.size > member.next_at:
        raise BadArchive(file, f"its member {member.name[:80]!r} reaches into the next one")
    return start


def _description(read: Read, file: str, member: ArchiveMember) -> bytes:
    if member.method != 0 or member.flags & 1:
        raise BadArchive(file, "its description is compressed or encrypted")
    if member.size > MAX_DIRECTORY_BYTES:
        raise BadArchive(file, f"its description of {member.size} bytes is beyond the limit of {MAX_DIRECTORY_BYTES}")
    start = _start(read, file, member)
    description = read(start, start + member.size)
    if zlib.crc32(description) != member.crc:
        raise BadArchive(file, "its description is damaged")
    return description
