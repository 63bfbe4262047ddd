"""GGUF header bytes -> metadata and places of the tensors. Nothing that the file says is believed before it is checked.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little-endian; counts, key-value pairs, tensor infos, then the
data). A header holds the whole vocabulary, so it is megabytes where a safetensors header is kilobytes; it is read piece by piece.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from lineage.crawler.headers import MAX_DIMENSION, BadHeader, TensorHeader, bad_name, refuse_pointer
from lineage.graphdb.schema import counted

HEADER_LIMIT_BYTES = 48 * 1024 * 1024
FIRST_READ_BYTES = 64 * 1024
LONGEST_READ_BYTES = 8 * 1024 * 1024
MAX_TENSORS = 100_000
MAX_LAYERS = 4_096
MAX_TEXT_KEPT = 1_000
MAX_NAME_BYTES = 65_535  # the format's own limit of keys
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_INTEGERS = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
_STRING, _ARRAY = 8, 9

Scalar = int | float | bool | str
Value = Scalar | tuple[int, ...]


class BadGguf(BadHeader):
    """A file that calls itself GGUF and is not, or lies about its content."""

    def __init__(self, file: str, why: str):
        super().__init__(file, why, "GGUF")


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """
    Attributes:
        metadata: numbers and short texts; arrays of whole numbers with an entry a layer; of other arrays their length only.
        tokenizer: sha256 hex of the vocabulary as it lies in the file; None if absent.
        tensors: in the order of their bytes; `dtype` is ggml's name of the type, `shape` has the outermost dimension first.
    """

    metadata: Mapping[str, Value]
    tokenizer: str | None
    tensors: tuple[TensorHeader, ...]


def read_gguf_header(
    read: Callable[[int, int], bytes], file: str, file_bytes: int, limit_bytes: int = HEADER_LIMIT_BYTES
) -> GgufHeader:
    """
    Args:
        read: (start, stop) -> exactly those bytes of the file.
    Raises:
        BadHeader: the header does not hold what it claims, or is longer than `limit_bytes`.
    """
    cursor = _Cursor(read, file, file_bytes, limit_bytes)
    refuse_pointer(cursor.peek(64), file)
    if cursor.take(4) != b"GGUF":
        raise BadGguf(file, "missing GGUF magic number")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise BadGguf(file, f"GGUF version {version} is not known (big-endian, or too old)")
    tensor_count, pair_count = int(cursor.number("<Q")), int(cursor.number("<Q"))
    if tensor_count > MAX_TENSORS or pair_count > MAX_TENSORS:
        raise BadGguf(file, f"it claims {counted(tensor_count, 'tensor')} and {counted(pair_count, 'key')}")
    metadata: dict[str, Value] = {}
    tokenizer = None
    for _ in range(pair_count):
        key = cursor.text()
        kind, before = int(cursor.number("<I")), cursor.at
        if key in metadata:
            raise BadGguf(file, f"duplicate key {key[:80]!r}")
        metadata[key] = _value(cursor, kind)
        if key == "tokenizer.ggml.tokens":
            tokenizer = hashlib.sha256(cursor.held(before)).hexdigest()
    infos: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensor_count):
        name, shape, type_number, offset = _info(cursor)
        if name in infos:
            raise BadGguf(file, f"duplicate tensor {name[:80]!r}")
        infos[name] = shape, type_number, offset
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise BadGguf(file, "its alignment is impossible")
    data_start = -(-cursor.at // alignment) * alignment
    return GgufHeader(metadata, tokenizer, _placed(infos, data_start, alignment, file, file_bytes))


@cache
def ggml_types() -> dict[int, tuple[str, int, int]]:
    """ggml's number of a type -> its name, values in a block, bytes of a block; the table of the `gguf` package, loaded when first used."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}


@cache
def block_sizes() -> dict[str, tuple[int, int]]:
    """Name of a type -> values in a block, bytes of a block."""
    return {name: (values, size) for name, values, size in ggml_types().values()}


class _Cursor:
    """Reads onward through a header, fetching more as it is needed."""

    def __init__(self, read: Callable[[int, int], bytes], file: str, file_bytes: int, limit_bytes: int):
        self._read, self.file, self._file_bytes = read, file, file_bytes
        self._limit = min(limit_bytes, file_bytes)
        self._held = b""
        self.at = 0

    def need(self, count: int) -> None:
        stop = self.at + count
        if stop > self._limit:
            raise BadGguf(self.file, f"its header goes beyond byte {self._limit}")
        while stop > len(self._held):
            step = min(LONGEST_READ_BYTES, max(FIRST_READ_BYTES, 4 * len(self._held)))
            to = min(self._file_bytes, self._limit, max(stop, len(self._held) + step))
            self._held = b"".join((self._held, self._read(len(self._held), to)))  # never more than the file has

    def peek(self, count: int) -> bytes:
        """As many of the next bytes as there are."""
        count = min(count, self._limit - self.at)
        self.need(count)
        return self._held[self.at : self.at + count]

    def take(self, count: int) -> bytes:
        self.need(count)
        self.at += count
        return self._held[self.at - count : self.at]

    def held(self, start: int) -> bytes:
        return self._held[start : self.at]

    def number(self, kind: str) -> int | float | bool:
        size = struct.calcsize(kind)
        self.need(size)
        (value,) = struct.unpack_from(kind, self._held, self.at)
        self.at += size
        result: int | float | bool = value
        return result

    def text(self) -> str:
        length = int(self.number("<Q"))
        if length > MAX_NAME_BYTES:
            raise BadGguf(self.file, f"a name in it of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise BadGguf(self.file, "a name in it is not text") from None

    def skip(self, count: int) -> None:
        self.need(count)
        self.at += count

    def skip_texts(self, count: int) -> None:
        for _ in range(count):
            self.need(8)
            length = int.from_bytes(self._held[self.at : self.at + 8], "little")
            self.need(8 + length)
            self.at += 8 + length


def _value(cursor: _Cursor, kind: int) -> Value:
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        length = int(cursor.number("<Q"))
        kept = cursor.take(min(length, MAX_TEXT_KEPT)).decode(errors="replace")
        cursor.skip(length - min(length, MAX_TEXT_KEPT))
        return kept
    if kind != _ARRAY:
        raise BadGguf(cursor.file, f"a value of the unknown type {kind}")
    inner, count = int(cursor.number("<I")), int(cursor.number("<Q"))
    if inner == _STRING:
        cursor.skip_texts(count)
    elif inner in _INTEGERS and count <= MAX_LAYERS:
        return tuple(int(cursor.number(_SCALARS[inner])) for _ in range(count))
    elif inner in _SCALARS:
        cursor.skip(count * struct.calcsize(_SCALARS[inner]))
    else:
        raise BadGguf(cursor.file, f"an array of the type {inner}")
    return count


def _info(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """(name, shape with the outermost dimension first, ggml type, offset in the data)."""
    name, rank = cursor.text(), int(cursor.number("<I"))
    if (why := bad_name(name)) is not None:
        raise BadGguf(cursor.file, f"tensor {name[:80]!r} {why}")
    if rank > 4:
        raise BadGguf(cursor.file, f"tensor {name[:80]!r} has {rank} dimensions")
    shape = tuple(int(cursor.number("<Q")) for _ in range(rank))[::-1]
    if any(not 0 < size <= MAX_DIMENSION for size in shape):
        raise BadGguf(cursor.file, f"tensor {name[:80]!r} has an impossible shape")
    return name, shape, int(cursor.number("<I")), int(cursor.number("<Q"))


def _placed(
    infos: Mapping[str, tuple[tuple[int, ...], int, int]], data_start: int, alignment: int, file: str, file_bytes: int
) -> tuple[TensorHeader, ...]:
    tensors: list[TensorHeader] = []
    types = ggml_types()
    for name, (shape, kind, offset) in infos.items():
        dtype, block_values, block_bytes = types.get(kind, (f"GGML_{kind}", 1, 0))
        tensor = TensorHeader(name, dtype, shape, file, data_start + offset, data_start + offset)
        if shape and shape[-1] % block_values:
            raise BadGguf(file, f"tensor {name[:80]!r} cannot have the type {dtype}")
        stop = tensor.start + tensor.values // block_values * block_bytes
        if stop > file_bytes or offset % alignment:
            raise BadGguf(file, f"tensor {name[:80]!r} ends at byte {stop} of a file of {file_bytes}")
        tensors.append(TensorHeader(name, dtype, shape, file, tensor.start, stop))
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    for before, after in pairwise(tensors):
        if after.start < before.stop:
            raise BadGguf(file, f"tensor {after.name[:80]!r} overlaps the one before")
    return tuple(tensors)
