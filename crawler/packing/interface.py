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


def usable(shape: tuple[int, ...]) -> bool:
    """Whether a shape that a file states may be that of a matrix."""
    return len(shape) >= 1 and all(0 < size < MAX_DIMENSION for size in shape)
