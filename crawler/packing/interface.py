"""What a packing is: how a matrix of few bits lies in several tensors of a file, and how rows of it become numbers again.

A new packing is one file beside this one with a function that finds its matrices in a header and a subclass of `PackedMatrix`, one entry
in `registry.PACKINGS`, and one test. A matrix goes under the name and shape that it has in the original, so that both meet.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lineage.crawler.headers import TensorHeader
from lineage.crawler.packing.numbers import decoded

Tensors = Mapping[str, TensorHeader]
SCALES = frozenset({"F16", "BF16", "F32"})  # dtypes of what numbers are multiplied by
MAX_DIMENSION = 1 << 31
MAX_PEEKED_BYTES = 4096
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class TensorRange:
    """A run of values of one tensor of the file, row-major element offsets, half open."""

    tensor: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FileContext:
    """What else a file says. peek: reads a short tensor, b"" where it is long; texts: beside the tensors."""

    peek: Callable[[TensorHeader], bytes]
    texts: Mapping[str, str]


class ReadRanges:
    """Ranges of tensors that were read."""

    def __init__(self, tensors: Tensors, raw: Mapping[TensorRange, bytes]):
        self._tensors = tensors
        self._raw = raw

    def values(self, part: TensorRange) -> np.ndarray:
        """(stop - start,) numbers, see `numbers.decoded`."""
        return decoded(self._raw[part], self._tensors[part.tensor].dtype)

    def raw(self, part: TensorRange) -> bytes:
        """Where the tensor's dtype is not that of what it holds."""
        return self._raw[part]


@dataclass(frozen=True, slots=True)
class PackedMatrix(ABC):
    """
    Attributes:
        name, shape: in the original. how: the packing with its bits, as `gptq 4 bits`.
        parts: names of the tensors that it is made of, the one with the numbers first.
    """

    name: str
    shape: tuple[int, ...]
    how: str
    parts: tuple[str, ...]

    @property
    def width(self) -> int:
        """Values of one row."""
        width = 1
        for size in self.shape[1:]:
            width *= size
        return width

    @abstractmethod
    def needs(self, first: int, last: int) -> list[TensorRange]:
        """What has to be read for rows [first, last)."""

    @abstractmethod
    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        """Rows [first, last), (rows, width) float32.

        Args:
            loaded: what `needs` named.
        """


Find = Callable[[Tensors, FileContext], Iterable[PackedMatrix]]


def whole(tensor: TensorHeader) -> TensorRange:
    return TensorRange(tensor.name, 0, tensor.values)


def rows_of(tensor: TensorHeader, first: int, last: int) -> TensorRange:
    wide = tensor.values // tensor.shape[0] if tensor.shape and tensor.shape[0] else 0
    return TensorRange(tensor.name, first * wide, last * wide)


def stem_of(name: str, end: str) -> str | None:
    """A name without its last part; None where it has another one."""
    return name[: -len(end)] if name.endswith(end) and len(name) > len(end) else None


def kind_of(tensor: TensorHeader) -> tuple[str, int]:
    """What the layers of a stack have in common: the name with its numbers left out, and the number of values."""
    return _NUMBER.sub("*", tensor.name), tensor.values


def spread_rows(packed: TensorHeader, parts: int, first: int, last: int) -> list[tuple[int, TensorRange]]:
    """Rows [first, last) of an array of which a row of the packed tensor holds one of each of some equal parts.

    Returns:
        (place of the part, rows of the packed tensor), in the order of the array.
    """
    tall, found = packed.shape[0], []
    for place in range(parts):
        low, high = max(first, place * tall), min(last, (place + 1) * tall)
        if low < high:
            found.append((place, rows_of(packed, low - place * tall, high - place * tall)))
    return found


class StatedShapes:
    """Shapes that a file states in tensors of two numbers, read once for all layers of a stack."""

    def __init__(self, context: FileContext):
        self._context = context
        self._known: dict[tuple[str, int], tuple[int, ...]] = {}

    def of(self, numbers: TensorHeader, stated: TensorHeader) -> tuple[int, ...] | None:
        """None where `stated` is something else than two whole numbers."""
        if stated.values != 2 or stated.dtype not in ("I64", "I32"):
            return None
        alike = kind_of(numbers)
        if alike not in self._known:
            self._known[alike] = tuple(int(size) for size in decoded(self._context.peek(stated), stated.dtype))
        return self._known[alike]


def usable(shape: tuple[int, ...]) -> bool:
    """Whether a shape that a file states may be that of a matrix."""
    return len(shape) >= 1 and all(0 < size < MAX_DIMENSION for size in shape)
