# mypy: disable-error-code="override, return-value, attr-defined, call-overload"
"""numpy under torch's names: as much of torch as detection uses, for work that is over before torch is imported; see arrays.py.

`Tensor` is a numpy array whose methods take torch's arguments and answer as torch's do: dtypes, views where torch has views, the lower of
two medians, no promotion by Python numbers. What is not here raises AttributeError; the tests run whole families both ways.
Source: https://docs.pytorch.org/docs/stable/torch.html.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from lineage.detect.decode import round_to

Array = Any
inf, nan = math.inf, math.nan
float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
int32, int64, uint8 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint8)
bool = np.dtype(builtins.bool)
bfloat16 = "bfloat16"  # numpy has none: values rounded to it are kept as float32
iinfo, finfo = np.iinfo, np.finfo


class device:
    """The CPU; nothing else is small work."""

    type, index = "cpu", None

    def __init__(self, name: Any = "cpu"):
        pass

    def __str__(self) -> str:
        return "cpu"


_CPU = device()


class Size(tuple[int, ...]):
    """A shape."""

    __slots__ = ()

    def numel(self) -> int:
        return math.prod(self)


class ValuesAndIndices(NamedTuple):
    """What torch gives for extremes and sorts along a dimension."""

    values: Tensor
    indices: Tensor


class Tensor(np.ndarray):
    """A numpy array with torch's methods."""

    __array_priority__ = 100.0

    def __array_wrap__(self, array: Array, context: Any = None, return_scalar: builtins.bool = False) -> Tensor:
        return wrap(array)

    def __getitem__(self, key: Any) -> Any:
        return wrap(super().__getitem__(key))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> builtins.bool:
        return builtins.bool(self.item())

    # what it is

    @property
    def device(self) -> device:
        return _CPU

    def numel(self) -> int:
        return self.size

    def numpy(self) -> np.ndarray:
        return self.view(np.ndarray)

    def cpu(self) -> Tensor:
        return self

    def contiguous(self) -> Tensor:
        return wrap(np.ascontiguousarray(plain(self)))

    def clone(self) -> Tensor:
        return wrap(plain(self).copy())

    def to(self, *wanted: Any, device: Any = None, dtype: Any = None) -> Tensor:
        for each in wanted:
            if isinstance(each, Tensor):
                dtype = each.dtype
            elif isinstance(each, np.dtype) or each == bfloat16:
                dtype = each
        if dtype is None:
            return self
        if isinstance(dtype, str):
            return wrap(round_to(plain(self), "BF16").reshape(self.shape))
        return wrap(plain(self).astype(dtype, copy=False))

    def double(self) -> Tensor:
        return self.to(float64)

    def float(self) -> Tensor:
        return self.to(float32)

    def int(self) -> Tensor:
        return self.to(int32)

    def long(self) -> Tensor:
        return self.to(int64)

    def new_empty(self, *shape: Any, dtype: Any = None) -> Tensor:
        return empty(*shape, dtype=dtype or self.dtype)

    def new_zeros(self, *shape: Any, dtype: Any = None) -> Tensor:
        return zeros(*shape, dtype=dtype or self.dtype)

    def new_tensor(self, values: Any) -> Tensor:
        return tensor(values, dtype=self.dtype)

    # its shape

    def view(self, *wanted: Any) -> Any:
        if len(wanted) == 1 and isinstance(wanted[0], (type, np.dtype)):
            return super().view(wanted[0])
        return self.reshape(*wanted)

    def flatten(self, start: Any = 0, end: builtins.int = -1) -> Tensor:
        end = end % self.ndim if self.ndim else 0
        return self.reshape(*self.shape[:start], math.prod(self.shape[start : end + 1]), *self.shape[end + 1 :])

    def unflatten(self, dim: builtins.int, sizes: Sequence[builtins.int]) -> Tensor:
        dim %= self.ndim
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def expand(self, *sizes: Any) -> Tensor:
        added = len(sizes) - self.ndim
        own = (*[1] * added, *self.shape)
        shape = tuple(mine if size == -1 else size for size, mine in zip(sizes, own, strict=True))
        return wrap(np.broadcast_to(plain(self), shape))

    def expand_as(self, other: Tensor) -> Tensor:
        return wrap(np.broadcast_to(plain(self), other.shape))

    def transpose(self, first: builtins.int, second: builtins.int) -> Tensor:
        return wrap(np.swapaxes(plain(self), first, second))

    def unbind(self, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        return tuple(wrap(each) for each in np.moveaxis(plain(self), dim, 0))

    def split(self, size: builtins.int) -> list[Tensor]:
        return [self[start : start + size] for start in range(0, max(1, len(self)), size)]

    def unfold(self, dim: builtins.int, size: builtins.int, step: builtins.int) -> Tensor:
        windows = np.lib.stride_tricks.sliding_window_view(plain(self), size, dim)
        return wrap(windows[(*[slice(None)] * dim, slice(None, None, step))])

    def repeat(self, times: builtins.int) -> Tensor:
        return wrap(np.tile(plain(self), times))

    def repeat_interleave(self, times: builtins.int) -> Tensor:
        return wrap(np.repeat(plain(self), times))

    def flip(self, dim: builtins.int) -> Tensor:
        return wrap(np.flip(plain(self), dim))

    def diagonal(self, *, dim1: builtins.int = 0, dim2: builtins.int = 1) -> Tensor:
        found = np.diagonal(plain(self), 0, dim1, dim2)
        found.flags.writeable = self.flags.writeable
        return wrap(found)

    def triu(self, offset: builtins.int = 0) -> Tensor:
        return wrap(np.triu(plain(self), offset))

    # sums and the like

    def sum(self, dim: Any = None, keepdim: builtins.bool = False, dtype: Any = None) -> Tensor:
        return wrap(plain(self).sum(dim, dtype=dtype, keepdims=keepdim))

    def mean(self, dim: Any = None, keepdim: builtins.bool = False, dtype: Any = None) -> Tensor:
        return wrap(plain(self).mean(dim, dtype=dtype, keepdims=keepdim))

    def std(self, dim: Any = None, correction: builtins.int = 1) -> Tensor:
        return wrap(plain(self).std(dim, ddof=correction))

    def norm(self) -> Tensor:
        return wrap(np.sqrt(np.square(plain(self)).sum()))

    def any(self, dim: Any = None, keepdim: builtins.bool = False) -> Tensor:
        return wrap(plain(self).any(dim, keepdims=keepdim))

    def all(self, dim: Any = None, keepdim: builtins.bool = False) -> Tensor:
        return wrap(plain(self).all(dim, keepdims=keepdim))

    def amin(self, dim: Any = None, keepdim: builtins.bool = False) -> Tensor:
        return wrap(plain(self).min(dim, keepdims=keepdim))

    def amax(self, dim: Any = None, keepdim: builtins.bool = False) -> Tensor:
        return wrap(plain(self).max(dim, keepdims=keepdim))

    def min(self, dim: builtins.int | None = None, keepdim: builtins.bool = False) -> Any:
        if dim is None:
            return wrap(plain(self).min())
        return ValuesAndIndices(self.amin(dim, keepdim), wrap(plain(self).argmin(dim, keepdims=keepdim)))

    def max(self, dim: builtins.int | None = None, keepdim: builtins.bool = False) -> Any:
        if dim is None:
            return wrap(plain(self).max())
        return ValuesAndIndices(self.amax(dim, keepdim), wrap(plain(self).argmax(dim, keepdims=keepdim)))

    def argmin(self, dim: Any = None) -> Tensor:
        return wrap(plain(self).argmin(dim))

    def argmax(self, dim: Any = None) -> Tensor:
        return wrap(plain(self).argmax(dim))

    def argsort(self, dim: builtins.int = -1) -> Tensor:
        return wrap(plain(self).argsort(dim, kind="stable"))

    def sort(self, dim: builtins.int = -1) -> ValuesAndIndices:
        order = plain(self).argsort(dim, kind="stable")
        return ValuesAndIndices(wrap(np.take_along_axis(plain(self), order, dim)), wrap(order))

    def topk(self, count: builtins.int, largest: builtins.bool = True) -> ValuesAndIndices:
        order = (-plain(self) if largest else plain(self)).argsort(-1, kind="stable")[..., :count]
        return ValuesAndIndices(wrap(np.take_along_axis(plain(self), order, -1)), wrap(order))

    def unique(self) -> Tensor:
        return wrap(np.unique(plain(self)))

    def bincount(self, minlength: builtins.int = 0) -> Tensor:
        return wrap(np.bincount(plain(self), minlength=minlength))

    def nonzero(self) -> Tensor:
        return wrap(np.argwhere(plain(self)))

    def cumsum(self, dim: builtins.int) -> Tensor:
        return wrap(plain(self).cumsum(dim))

    def cumprod(self, dim: builtins.int) -> Tensor:
        return wrap(plain(self).cumprod(dim))

    def diff(self, dim: builtins.int = -1) -> Tensor:
        return wrap(np.diff(plain(self), axis=dim))

    def median(self, dim: builtins.int | None = None) -> Any:
        if dim is None:
            return self.reshape(-1).median(0).values
        order = plain(self).argsort(dim, kind="stable")
        middle = order.take([(self.shape[dim] - 1) // 2], dim)
        indices = np.where(np.isnan(plain(self)).any(dim, keepdims=True), order.take([-1], dim), middle)
        return _picked(self, indices, dim)

    def nanmedian(self, dim: builtins.int) -> ValuesAndIndices:
        order = plain(self).argsort(dim, kind="stable")  # nan comes last
        known = (~np.isnan(plain(self))).sum(dim, keepdims=True)
        return _picked(self, np.take_along_axis(order, np.maximum(known - 1, 0) // 2, dim), dim)

    def quantile(self, share: Any, dim: builtins.int = 0) -> Tensor:
        return self.nanquantile(share, dim)

    def nanquantile(self, share: Any, dim: builtins.int = 0) -> Tensor:
        """Of the numbers that are not nan, interpolated as torch does it; nan where there are none."""
        shares = np.asarray(share, self.dtype)
        ranked = np.sort(np.moveaxis(plain(self), dim, 0), 0)  # nan comes last
        known = (~np.isnan(ranked)).sum(0)[None]
        at = shares.reshape(-1, *[1] * (ranked.ndim - 1)) * np.maximum(known - 1, 0)
        below = np.floor(at).astype(np.int64)
        low = np.take_along_axis(ranked, below, 0)
        high = np.take_along_axis(ranked, np.ceil(at).astype(np.int64), 0)
        part = (at - below).astype(self.dtype)
        found = np.where(part < 0.5, low + part * (high - low), high - (high - low) * (1 - part))
        return wrap(found.reshape((*shares.shape, *ranked.shape[1:])))

    # number by number

    def square(self) -> Tensor:
        return wrap(np.square(plain(self)))

    def square_(self) -> Tensor:
        np.square(self, out=self)
        return self

    def sqrt(self) -> Tensor:
        return wrap(np.sqrt(plain(self)))

    def abs(self) -> Tensor:
        return wrap(np.abs(plain(self)))

    def sign(self) -> Tensor:
        return wrap(np.sign(plain(self)))

    def exp(self) -> Tensor:
        return wrap(np.exp(plain(self)))

    def log(self) -> Tensor:
        return wrap(np.log(plain(self)))

    def log2(self) -> Tensor:
        return wrap(np.log2(plain(self)))

    def floor(self) -> Tensor:
        return wrap(np.floor(plain(self)))

    def tanh(self) -> Tensor:
        return wrap(np.tanh(plain(self)))

    def asinh(self) -> Tensor:
        return wrap(np.arcsinh(plain(self)))

    def sigmoid(self) -> Tensor:
        return wrap(1 / (1 + np.exp(-plain(self))))

    def softmax(self, dim: builtins.int) -> Tensor:
        raised = np.exp(plain(self) - plain(self).max(dim, keepdims=True))
        return wrap(raised / raised.sum(dim, keepdims=True))

    def pow(self, power: Any) -> Tensor:
        return wrap(plain(self) ** power)

    def isnan(self) -> Tensor:
        return wrap(np.isnan(plain(self)))

    def isfinite(self) -> Tensor:
        return wrap(np.isfinite(plain(self)))

    def round(self) -> Tensor:
        return wrap(np.rint(plain(self)))

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        return wrap(np.clip(plain(self), min, max))

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        np.clip(plain(self), min, max, out=plain(self))
        return self

    def nan_to_num(self, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
        return wrap(np.nan_to_num(plain(self), nan=nan, posinf=posinf, neginf=neginf))

    def where(self, condition: Tensor, other: Any) -> Tensor:
        return where(condition, self, other)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        return where(mask, value, self)

    def masked_fill_(self, mask: Tensor, value: Any) -> Tensor:
        self[mask] = value
        return self

    # in place

    def fill_(self, value: Any) -> Tensor:
        plain(self)[...] = value
        return self

    def fill_diagonal_(self, value: Any) -> Tensor:
        np.fill_diagonal(plain(self), value)
        return self

    def copy_(self, other: Tensor) -> Tensor:
        plain(self)[...] = other
        return self

    def sub_(self, other: Any, alpha: Any = 1) -> Tensor:
        plain(self)[...] -= other if alpha == 1 else alpha * other
        return self

    def mul_(self, other: Any) -> Tensor:
        plain(self)[...] *= other
        return self

    def div_(self, other: Any) -> Tensor:
        plain(self)[...] /= other
        return self

    def reciprocal_(self) -> Tensor:
        np.reciprocal(plain(self), out=plain(self))
        return self

    def baddbmm_(self, first: Tensor, second: Tensor, alpha: Any = 1) -> Tensor:
        plain(self)[...] += alpha * np.matmul(plain(first), plain(second))
        return self

    # by places

    def gather(self, dim: builtins.int, index: Tensor) -> Tensor:
        return wrap(np.take_along_axis(plain(self), plain(index), dim))

    def index_select(self, dim: builtins.int, index: Tensor) -> Tensor:
        return wrap(plain(self).take(plain(index), dim))

    def index_copy_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        plain(self)[(*[slice(None)] * dim, plain(index))] = source
        return self

    def index_add_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        np.add.at(plain(self), (*[slice(None)] * dim, plain(index)), plain(source))
        return self

    def scatter_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        np.put_along_axis(plain(self), plain(index), plain(source), dim)
        return self

    def scatter_add_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        places = list(np.indices(index.shape))
        places[dim] = plain(index)
        np.add.at(plain(self), tuple(places), plain(source))
        return self


def wrap(array: Any) -> Tensor:
    """The same numbers as a Tensor."""
    if type(array) is Tensor:
        return array
    return (array if type(array) is np.ndarray else np.asarray(array)).view(Tensor)


_as_plain = np.ndarray.view


def plain(array: Any) -> Array:
    """The same numbers as an ordinary array, whose own methods are numpy's."""
    return _as_plain(array, np.ndarray) if type(array) is Tensor else np.asarray(array)


def _picked(array: Tensor, indices: Array, dim: builtins.int) -> ValuesAndIndices:
    values = np.take_along_axis(plain(array), indices, dim)
    return ValuesAndIndices(wrap(values.squeeze(dim)), wrap(indices.squeeze(dim)))


# making tensors


def tensor(values: Any, dtype: Any = None, device: Any = None) -> Tensor:
    found = np.array(values, dtype)
    return wrap(found.astype(float32) if dtype is None and found.dtype == float64 else found)


def from_numpy(array: np.ndarray) -> Tensor:
    return wrap(array)


def _shape(sizes: Sequence[Any]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], Iterable) else tuple(sizes)


def empty(*sizes: Any, dtype: Any = float32, device: Any = None) -> Tensor:
    return wrap(np.empty(_shape(sizes), dtype))


def zeros(*sizes: Any, dtype: Any = float32, device: Any = None) -> Tensor:
    return wrap(np.zeros(_shape(sizes), dtype))


def ones(*sizes: Any, dtype: Any = float32, device: Any = None) -> Tensor:
    return wrap(np.ones(_shape(sizes), dtype))


def full(shape: Sequence[int], value: Any, dtype: Any = float32, device: Any = None) -> Tensor:
    return wrap(np.full(tuple(shape), value, dtype))


def zeros_like(like: Tensor) -> Tensor:
    return wrap(np.zeros(like.shape, like.dtype))


def ones_like(like: Tensor) -> Tensor:
    return wrap(np.ones(like.shape, like.dtype))


def empty_like(like: Tensor) -> Tensor:
    return wrap(np.empty(like.shape, like.dtype))


def full_like(like: Tensor, value: Any) -> Tensor:
    return wrap(np.full(like.shape, value, like.dtype))


def eye(size: int, dtype: Any = float32, device: Any = None) -> Tensor:
    return wrap(np.eye(size, dtype=dtype))


def arange(stop: int, device: Any = None) -> Tensor:
    return wrap(np.arange(stop))


def linspace(start: float, stop: float, count: int) -> Tensor:
    """As torch does it: from both ends towards the middle with a float32 step, each number rounded once."""
    step = float64.type(float32.type((stop - start) / max(1, count - 1)))
    place = np.arange(count)
    return wrap(np.where(place < count // 2, start + step * place, stop - step * (count - 1 - place)).astype(float32))


def triu_indices(rows: int, columns: int, offset: int = 0) -> Tensor:
    return wrap(np.stack(np.triu_indices(rows, offset, columns)))


def combinations(values: Tensor) -> Tensor:
    return wrap(plain(values)[np.stack(np.triu_indices(len(values), 1), 1)])


# putting together and taking apart


def stack(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    return wrap(np.stack([plain(each) for each in tensors], dim))


def cat(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    return wrap(np.concatenate([plain(each) for each in tensors], dim))


def tensor_split(array: Tensor, count: int, dim: int = 0) -> list[Tensor]:
    return [wrap(each) for each in np.array_split(plain(array), count, dim)]


def equal(first: Tensor, second: Tensor) -> builtins.bool:
    return np.array_equal(plain(first), plain(second))


def where(condition: Tensor, first: Any, second: Any) -> Tensor:
    return wrap(np.where(plain(condition), *(plain(x) if isinstance(x, Tensor) else x for x in (first, second))))


def unique(array: Tensor, dim: int | None = None, return_inverse: builtins.bool = False) -> Any:
    found = np.unique(plain(array), axis=dim, return_inverse=return_inverse)
    if not return_inverse:
        return wrap(found)
    return wrap(found[0]), wrap(found[1].reshape(-1) if dim is not None else found[1])


def unique_consecutive(array: Tensor, return_counts: builtins.bool = False) -> Any:
    starts = np.flatnonzero(np.concatenate([[True], np.diff(plain(array)) != 0])) if len(array) else np.zeros(0, int)
    found = wrap(plain(array)[starts])
    return (found, wrap(np.diff([*starts, len(array)]))) if return_counts else found


def searchsorted(rows: Tensor, sought: Tensor, right: builtins.bool = False) -> Tensor:
    """Along the last dimension, each row by itself."""
    side: Any = "right" if right else "left"
    found = [np.searchsorted(row, some, side) for row, some in zip(plain(rows), plain(sought), strict=True)]
    return wrap(np.stack(found) if found else np.zeros(sought.shape, np.int64))


# number by number


def add(first: Any, second: Any, out: Tensor | None = None) -> Tensor:
    return wrap(np.add(first, second, out=None if out is None else plain(out)))


def sub(first: Any, second: Any, out: Tensor | None = None) -> Tensor:
    return wrap(np.subtract(first, second, out=None if out is None else plain(out)))


def minimum(first: Tensor, second: Tensor, out: Tensor | None = None) -> Tensor:
    return wrap(np.minimum(plain(first), plain(second), out=None if out is None else plain(out)))


def maximum(first: Tensor, second: Any, out: Tensor | None = None) -> Tensor:
    return wrap(np.maximum(plain(first), plain(second), out=None if out is None else plain(out)))


def isfinite(array: Tensor) -> Tensor:
    return array.isfinite()


def sign(array: Tensor) -> Tensor:
    return array.sign()


def logit(array: Tensor) -> Tensor:
    return wrap(np.log(plain(array) / (1 - plain(array))))


def erf(values: Array) -> Array:
    """The error function, elementwise; error below 1.2e-7, about the rounding of float32.

    Source: Numerical Recipes 6.2.2, Chebyshev fitting of erfc.
    """
    t = 1 / (1 + np.abs(values) / 2)
    folded = 0.0
    for part in _ERFC:
        folded = folded * t + part
    tail = t * np.exp(-np.square(values) + folded)
    return np.where(values >= 0, 1 - tail, tail - 1)


_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip


# products


def mm(first: Tensor, second: Tensor, out: Tensor | None = None) -> Tensor:
    found = np.matmul(plain(first), plain(second))
    return wrap(found) if out is None else out.copy_(wrap(found))


def bmm(first: Tensor, second: Tensor) -> Tensor:
    return wrap(np.matmul(plain(first), plain(second)))


def einsum(how: str, *parts: Tensor) -> Tensor:
    return wrap(np.einsum(how, *map(plain, parts), optimize=True))


def cdist(first: Tensor, second: Tensor) -> Tensor:
    apart = plain(first)[:, None] - plain(second)[None]
    return wrap(np.sqrt(np.square(apart).sum(2)))


def _vector_norm(array: Tensor, dim: int) -> Tensor:
    return wrap(np.sqrt(np.square(plain(array)).sum(dim)))


def _eigh(array: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = np.linalg.eigh(plain(array))
    return wrap(values), wrap(vectors)


def _normalize(array: Tensor, dim: int, eps: float) -> Tensor:
    length = np.sqrt(np.square(plain(array)).sum(dim, keepdims=True))
    return wrap(plain(array) / np.maximum(length, array.dtype.type(eps)))


def _pad(array: Tensor, sizes: tuple[int, int]) -> Tensor:
    return wrap(np.pad(plain(array), [(0, 0)] * (array.ndim - 1) + [sizes]))


linalg = SimpleNamespace(inv=lambda array: wrap(np.linalg.inv(plain(array))), eigh=_eigh, vector_norm=_vector_norm)
nn = SimpleNamespace(functional=SimpleNamespace(normalize=_normalize, pad=_pad))


# the same random numbers as torch's on the CPU


class Generator:
    """MT19937, as torch seeds it."""

    def manual_seed(self, seed: int) -> Generator:
        self.state = np.random.RandomState(seed)
        return self

    def words(self, count: int) -> Array:
        return self.state.randint(0, 1 << 32, count, np.uint32)


def randperm(count: int, generator: Generator) -> Tensor:
    """Source: torch, aten/src/ATen/native/TensorFactories.cpp, randperm_cpu."""
    order = list(range(count))
    for place, word in enumerate(generator.words(count - 1).tolist()):
        other = place + word % (count - place)
        order[place], order[other] = order[other], order[place]
    return wrap(np.array(order))


def randn(rows: int, columns: int, generator: Generator) -> Tensor:
    """(rows, columns) float32. Source: torch, aten/src/ATen/native/cpu/DistributionTemplates.h and core/DistributionsHelper.h."""
    count = rows * columns
    if count < 16:
        return wrap(_one_by_one(count, generator).astype(float32).reshape(rows, columns))
    data = (generator.words(count) & 0xFFFFFF).astype(float32) * float32.type(2**-24)
    _normal(data[: count // 16 * 16].reshape(-1, 16))
    if count % 16:
        data[-16:] = (generator.words(16) & 0xFFFFFF).astype(float32) * float32.type(2**-24)
        _normal(data[-16:].reshape(1, 16))
    return wrap(data.reshape(rows, columns))


def _normal(blocks: Array) -> None:
    """(n, 16), in place. Box and Muller: the first eight uniform numbers of each block are lengths, the others angles."""
    length, angle = np.sqrt(-2 * np.log(1 - blocks[:, :8])), float32.type(2 * math.pi) * blocks[:, 8:]
    blocks[:, :8], blocks[:, 8:] = length * np.cos(angle), length * np.sin(angle)


def _one_by_one(count: int, generator: Generator) -> Array:
    pairs = generator.words(4 * -(-count // 2)).astype(np.uint64).reshape(-1, 2, 2)  # (n, 2, high and low)
    uniform = ((pairs[..., 0] << 32 | pairs[..., 1]) & (2**53 - 1)).astype(float64) * 2**-53
    length, angle = np.sqrt(-2 * np.log1p(-uniform[:, 1])), 2 * math.pi * uniform[:, 0]
    return np.stack([length * np.cos(angle), length * np.sin(angle)], 1).reshape(-1)[:count]
