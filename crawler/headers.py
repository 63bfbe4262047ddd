"""Safetensors header bytes -> names, dtypes, shapes and places of the tensors, without touching the numbers.

Headers come from strangers: everything they say is checked against the size of the file before anything is believed or
allocated. Format: https://github.com/huggingface/safetensors (u64 little-endian length, JSON, then the data).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from lineage.graphdb.schema import Failure, counted

FIRST_READ_BYTES = 64 * 1024  # holds the whole header of most models; an 8B language model has about 35 KB
SHARD_FIRST_READ_BYTES = 16 * 1024  # at least; the more files, the less of the header lies in each
LOCAL_HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit
REMOTE_HEADER_LIMIT_BYTES = 25_000_000
MAX_DIMENSION = 1 << 40
MAX_RANK = 64
MAX_NAME_BYTES, MAX_NAME_PARTS = 1024, 64  # of a tensor; the longest known have about 150 bytes and 20 parts

DTYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip

TENSOR_KEYS = frozenset({"dtype", "shape", "data_offsets"})
_MAX_METADATA = 100_000
_MAX_OTHER_OBJECTS = 10_000  # other content of a header: metadata, and notes that the format's own reader skips
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/", b"# xet version ")
_ANNEX = b"/annex/objects/"
LONGEST_POINTER_BYTES = 1024  # by the specification of Git LFS they are shorter
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"  # what editors and servers put before a text
_MISTAKEN = {
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML text",
    b'{"': "a JSON text",
    b"pk\x03\x04": "a zip archive, as torch.save makes it",
    b"gguf": "a GGUF file",
}


class BadHeader(Failure):
    """A file that calls itself safetensors or GGUF and is not, or lies about its content."""

    exit_code = 4

    def __init__(self, file: str, why: str, form: str = "safetensors"):
        super().__init__(
            f"{file}: damaged or not a {form} file: {why}",
            "download or save the file again; no content was used",
        )
        self.file = file


class LfsPointer(Failure):
    """The text that Git keeps in place of a large file."""

    exit_code = 4

    def __init__(self, file: str, program: str = "Git LFS", remedy: str = "run `git lfs pull` in its folder"):
        super().__init__(f"{file}: a pointer of {program} in place of the file", remedy)
        self.file = file


class TwoPlaces(Failure):
    """A tensor lies in two files of one set, and no index says which counts."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The header of one file. metadata: texts that its writer put beside the tensors (`__metadata__`)."""

    tensors: tuple[TensorHeader, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Where one tensor lies.

    Attributes:
        dtype: as the file spells it; `known` tells whether we know its width.
        start, stop: absolute byte offsets of the tensor's bytes in `file`, half open, inside the file.
        strides: in values, of a tensor whose values do not lie in row-major order (crawler/strided.py).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    start: int
    stop: int
    strides: tuple[int, ...] | None = None

    @property
    def known(self) -> bool:
        return self.dtype in DTYPE_BITS

    @property
    def values(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


class Span(Protocol):
    """A run of values of one tensor: row-major element offsets, half open."""

    @property
    def tensor(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


SpanT = TypeVar("SpanT", bound=Span)


def read_header(
    read: Callable[[int, int], bytes],
    file: str,
    file_bytes: int,
    limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES,
    first_read_bytes: int = FIRST_READ_BYTES,
) -> tuple[TensorHeader, ...]:
    """The tensors of one file; see `read_file_header`."""
    return read_file_header(read, file, file_bytes, limit_bytes, first_read_bytes).tensors


def read_file_header(
    read: Callable[[int, int], bytes],
    file: str,
    file_bytes: int,
    limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES,
    first_read_bytes: int = FIRST_READ_BYTES,
) -> FileHeader:
    """Header of one file in one read, or two where it is longer than most.

    Args:
        read: (start, stop) -> exactly those bytes of the file.
        file: name to put into the result and into messages.
        file_bytes: size of the whole file.
        first_read_bytes: how much to ask for before the length is known.
    Raises:
        BadHeader: the header does not hold what it claims, or is longer than `limit_bytes`. LfsPointer: see there.
    """
    if file_bytes < 10:
        raise BadHeader(file, f"too few bytes: {file_bytes}")
    first = read(0, min(first_read_bytes, file_bytes))
    refuse_pointer(first, file)
    stop = _header_stop(first, file, file_bytes, limit_bytes)
    if stop > len(first):
        first += read(len(first), stop)
    return parse_file_header(first[:stop], file, file_bytes, limit_bytes)


def parse_header(
    raw: bytes, file: str, file_bytes: int, limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES
) -> tuple[TensorHeader, ...]:
    """The tensors of one file; see `parse_file_header`."""
    return parse_file_header(raw, file, file_bytes, limit_bytes).tensors


def parse_file_header(
    raw: bytes, file: str, file_bytes: int, limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES
) -> FileHeader:
    """
    Args:
        raw: the file's first bytes, at least up to the end of the header.
    Returns:
        Tensors in the order of their bytes; together they cover everything after the header, without gap or overlap.
    Raises:
        BadHeader: anything else.
    """
    stop = _header_stop(raw, file, file_bytes, limit_bytes)
    if len(raw) < stop:
        raise BadHeader(file, f"the header ends after {len(raw)} of {stop} bytes")
    text = bytes(raw[8:stop])
    if not _looks_flat(text):
        raise BadHeader(file, "its header is not a list of tensors")
    entries = _parse_json(text, file)
    tensors = [_tensor(name, entry, file, stop, file_bytes) for name, entry in entries if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    end = stop
    for tensor in tensors:
        if tensor.start != end:
            what = (
                "overlaps the one before"
                if tensor.start < end
                else f"leaves a gap of {counted(tensor.start - end, 'byte')}"
            )
            raise BadHeader(file, f"tensor {tensor.name[:80]!r} {what}")
        end = tensor.stop
    if end != file_bytes:
        raise BadHeader(
            file, f"its tensors end at byte {end}, the file has {file_bytes} (cut short, or with something behind)"
        )
    metadata = dict(entries).get("__metadata__") or {}
    return FileHeader(tuple(tensors), metadata)


def bad_name(name: str) -> str | None:
    """What is wrong with a tensor's name that no program writes; names are taken apart, which costs more than their length."""
    if (size := len(name.encode(errors="replace"))) > MAX_NAME_BYTES:
        return f"has a name of {size} bytes; the limit is {MAX_NAME_BYTES}"
    if (parts := 1 + name.count(".") + name.count("/")) > MAX_NAME_PARTS:
        return f"has a name of {parts} parts; the limit is {MAX_NAME_PARTS}"
    return None


def refuse_pointer(first: bytes, file: str) -> None:
    """
    Args:
        first: the file's first bytes.
    Raises:
        LfsPointer: they are those of a pointer.
    """
    text = _text(first)
    if text.startswith(_POINTERS):
        raise LfsPointer(file)
    if text.startswith(_ANNEX):
        raise LfsPointer(file, "git-annex", "run `git annex get .` in its folder")


def _text(first: bytes) -> bytes:
    """The first bytes of a file that may be a text, without what stands before one."""
    return bytes(first[:256]).lstrip(_BEFORE_TEXT)


def join_shards(
    shards: Iterable[tuple[TensorHeader, ...]], placed: Callable[[], Mapping[str, str]] | None = None
) -> tuple[TensorHeader, ...]:
    """Union of the headers of a sharded set, in the order given.

    Args:
        placed: tensor -> the file that counts, from the set's index; asked where a tensor lies in two files.
    Raises:
        TwoPlaces: a tensor lies in two shards, and nothing says which counts.
    """
    seen: dict[str, TensorHeader] = {}
    places: Mapping[str, str] | None = None
    for shard in shards:
        for tensor in shard:
            before = seen.get(tensor.name)
            if before is not None:
                places = places if places is not None else placed() if placed is not None else {}
                counts = places.get(tensor.name)
                if counts not in (tensor.file, before.file):
                    raise TwoPlaces(
                        f"tensor {tensor.name[:80]!r} lies in {before.file} and in {tensor.file}, and no index says "
                        "which counts",
                        "keep one of them, or the set's index file",
                    )
                tensor = before if counts == before.file else tensor
            seen[tensor.name] = tensor
    return tuple(seen.values())


def _header_stop(raw: bytes, file: str, file_bytes: int, limit_bytes: int) -> int:
    """Where the header ends and the data begin."""
    if len(raw) < 8:
        raise BadHeader(file, f"too few bytes: {len(raw)}")
    length = int.from_bytes(raw[:8], "little")
    if length < 2 or length > file_bytes - 8:
        text = _text(raw).lower()
        mistaken = next((what for start, what in _MISTAKEN.items() if text.startswith(start)), None)
        if mistaken:
            raise BadHeader(file, f"it is {mistaken}")
        raise BadHeader(file, f"it claims a header of {length} bytes in a file of {file_bytes}")
    if length > limit_bytes:
        raise BadHeader(file, f"its header of {length} bytes is beyond the limit of {limit_bytes}")
    return 8 + length


def _looks_flat(text: bytes) -> bool:
    """Whether there are few objects, lists and numbers for each tensor: a bomb is refused before a parser builds it."""
    letters = np.frombuffer(text.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    structure = letters[~np.logical_xor.accumulate(letters == ord('"'))].tobytes()  # what stands outside of texts
    objects = structure.count(b"{")
    return (
        structure.count(b"[") <= 4 * objects + _MAX_OTHER_OBJECTS
        and structure.count(b":") <= 8 * objects + _MAX_METADATA
        and structure.count(b",") <= 2 * MAX_RANK * objects + _MAX_METADATA
    )


def _parse_json(text: bytes, file: str) -> list[tuple[str, Any]]:
    others = 0

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal others
        entry = dict(pairs)
        if not entry.keys() >= TENSOR_KEYS:
            others += 1
            if others > _MAX_OTHER_OBJECTS:
                raise ValueError("most of its entries are not tensors")
        elif len(entry) > len(TENSOR_KEYS):  # further keys are skipped, as the format's own reader skips them
            pairs = [(key, value) for key, value in pairs if key in TENSOR_KEYS]
            entry = dict(pairs)
        if len(entry) != len(pairs):
            raise ValueError("a key is duplicated")
        return entry

    def no_constant(constant: str) -> Any:
        raise ValueError(f"{constant} is not a number")

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadHeader(file, f"its header cannot be parsed: {str(error)[:120]}") from None
    if not isinstance(header, dict):
        raise BadHeader(file, "its header is not a JSON object")
    metadata = header.get("__metadata__")
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadHeader(file, "its metadata are not texts")
    return list(header.items())


def _tensor(name: str, entry: Any, file: str, data_start: int, file_bytes: int) -> TensorHeader:
    def bad(why: str) -> BadHeader:
        return BadHeader(file, f"tensor {name[:80]!r} {why}")

    try:
        name.encode()
    except UnicodeEncodeError:
        raise bad("has a name that is not text") from None
    if (why := bad_name(name)) is not None:
        raise bad(why)
    if not isinstance(entry, dict) or not entry.keys() >= TENSOR_KEYS:
        raise bad("is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not 0 < len(dtype) <= 32:
        raise bad("has no dtype")
    if not _sizes(shape) or len(shape) > MAX_RANK or any(size > MAX_DIMENSION for size in shape):
        raise bad("has an impossible shape")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise bad("has impossible offsets")
    start, stop = data_start + offsets[0], data_start + offsets[1]
    if stop > file_bytes:
        raise bad(f"ends at byte {stop} of a file of {file_bytes}")
    tensor = TensorHeader(name, dtype, tuple(shape), file, start, stop)
    bits = DTYPE_BITS.get(dtype)
    if bits is not None and tensor.values * bits != (stop - start) * 8:
        raise bad(f"of shape {list(shape)[:8]} and dtype {dtype} cannot have {stop - start} bytes")
    return tensor


def _sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)
