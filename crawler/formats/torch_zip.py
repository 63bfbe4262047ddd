"""Weights that PyTorch saved (`pytorch_model.bin`, `.pt`, `.pth`, `.ckpt`), read by ranges and never unpickled.

The file is a zip archive whose members are stored as they are. Its directory, at the end, says where each lies; `data.pkl` describes the
tensors (crawler/formats/torch_pickle.py) and `data/0`, `data/1`, … hold their numbers. Two or three short reads give a header
as safetensors files have one. The older kind of file, one pickle after the other, is read by torch_old.py.

The directory is read by zip_directory.py.

Format: torch/serialization.py and caffe2/serialize/inline_container.cc (members begin at multiples of 64).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import prod

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.formats.torch_old import MAGIC, read_old
from lineage.crawler.formats.torch_pickle import BadPickle, StoredTensor, tensors_in
from lineage.crawler.formats.zip_directory import ArchiveMember, BadArchive, Read, member_start, members_in
from lineage.crawler.headers import DTYPE_BITS, FileHeader, TensorHeader, bad_name, refuse_pointer
from lineage.crawler.packing.affine import affine_key, affine_text
from lineage.crawler.packing.unpacking import UnpackedWeights
from lineage.crawler.selection import Choice, WeightSet
from lineage.crawler.strided import values_spanned
from lineage.crawler.unread_formats import PARALLEL_PART
from lineage.crawler.weights import WeightFile, Weights

MAX_DESCRIPTION_BYTES = 64 << 20
CHECKPOINT = ".ckpt"
STRIDED = "STRIDED"  # a dtype for tensors that hold a value in several places
_ALIGNMENT = 64
_DESCRIPTORS = (16, 24, 0)  # bytes that may follow a member


class TorchWeights(Weights):
    """Header and ranges of one model in files that PyTorch saved."""

    def _header_of(self, file: WeightFile) -> FileHeader:
        affine: dict[str, str] = {}
        return FileHeader(read_torch_header(file.read, file.name, file.size_bytes, affine), affine)


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


def read_torch_header(
    read: Read, file: str, file_bytes: int, affine: dict[str, str] | None = None
) -> tuple[TensorHeader, ...]:
    """
    Args:
        read: (start, stop) -> exactly those bytes of the file.
        affine: filled with scale and zero point of quantized tensors, see packing/affine.py.
    Returns:
        Tensors in the order in which they are described; of those that share their numbers, the first.
    Raises:
        BadArchive: not such a file, or it does not hold what it claims, or describing it would have to run something.
    """
    members = members_in(read, file, file_bytes)
    if members is None:
        if read(0, min(len(MAGIC), file_bytes)) == MAGIC:
            return _read_old(read, file, file_bytes)
        refuse_pointer(read(0, min(256, file_bytes)), file)
        raise BadArchive(
            file,
            "neither a zip archive nor an older file of PyTorch; files of ncnn, TensorFlow.js and others have this ending too",
        )
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
        if tensor.affine is not None and affine is not None:
            affine[affine_key(name)] = affine_text(*tensor.affine)
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
    if (why := bad_name(name)) is not None:
        raise BadArchive(file, f"tensor {name[:80]!r} {why}")
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


def _start(read: Read, file: str, member: ArchiveMember) -> int:
    """Where a member's bytes begin. PyTorch puts them at multiples of 64, which is believed where what follows then fits."""
    least = member.at + 30 + len(member.name.encode()) + 4
    start = -(-least // _ALIGNMENT) * _ALIGNMENT
    if any(start + member.size + more == member.next_at for more in _DESCRIPTORS):
        return start
    return member_start(read, file, member)


def _description(read: Read, file: str, member: ArchiveMember) -> bytes:
    if member.method != 0 or member.flags & 1:
        raise BadArchive(file, "its description is compressed or encrypted")
    if member.size > MAX_DESCRIPTION_BYTES:
        raise BadArchive(file, f"its description of {member.size} bytes is beyond the limit of {MAX_DESCRIPTION_BYTES}")
    start = _start(read, file, member)
    description = read(start, start + member.size)
    if zlib.crc32(description) != member.crc:
        raise BadArchive(file, "its description is damaged")
    return description
