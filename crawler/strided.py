"""Tensors whose values do not lie in order in their file: transposed matrices, as converters from TensorFlow leave them, layers in
`channels_last`, columns of a larger tensor.

Rows of such a tensor lie within a span of the file that may hold much else: all of a transposed matrix. The cheapest are read, up to a
limit, and the others are left out of the sample.

Strides: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.crawler.headers import DTYPE_BITS, Span, SpanT, TensorHeader

STRIDED_LIMIT_BYTES = 16 * 1024 * 1024  # read for such tensors of one model


def values_spanned(shape: Sequence[int], strides: Sequence[int]) -> int:
    """From the first value of a tensor to its last one, both counted; 0 for one without values."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def bytes_spanned(tensor: TensorHeader, block: Span) -> tuple[int, int]:
    """Absolute byte offsets, half open, within which all rows lie that a block has a part in.

    Raises:
        ValueError: the block lies outside of the tensor.
    """
    if not 0 <= block.start <= block.stop <= tensor.values:
        raise ValueError(f"block [{block.start}, {block.stop}) lies outside of {tensor.name}")
    if block.start == block.stop:
        return tensor.start, tensor.start
    assert tensor.strides is not None
    first, rows = _rows(tensor, block)
    start = first * tensor.strides[0]
    stop = start + values_spanned((rows, *tensor.shape[1:]), tensor.strides)
    size = DTYPE_BITS[tensor.dtype] // 8
    return tensor.start + start * size, tensor.start + stop * size


def in_order(tensor: TensorHeader, block: Span, raw: bytes) -> bytes:
    """A block's values in row-major order. raw: of a strided tensor the bytes that `bytes_spanned` names, of others the values."""
    if tensor.strides is None or not raw:
        return raw
    first, rows = _rows(tensor, block)
    size = DTYPE_BITS[tensor.dtype] // 8
    values = np.frombuffer(raw, np.dtype(f"V{size}"))
    view = np.lib.stride_tricks.as_strided(
        values, (rows, *tensor.shape[1:]), [step * size for step in tensor.strides], writeable=False
    )
    before = block.start - first * (tensor.values // tensor.shape[0])
    return np.ascontiguousarray(view).reshape(-1)[before : before + block.stop - block.start].tobytes()


def affordable(blocks: Sequence[SpanT], tensors: Mapping[str, TensorHeader]) -> list[SpanT]:
    """Blocks without the costliest ones of strided tensors, in the order given."""
    cost: dict[int, int] = {}
    for place, block in enumerate(blocks):
        if tensors[block.tensor].strides is not None:
            start, stop = bytes_spanned(tensors[block.tensor], block)
            cost[place] = stop - start
    read = cheapest(cost, STRIDED_LIMIT_BYTES)
    return [block for place, block in enumerate(blocks) if place not in cost or place in read]


def cheapest(cost: Mapping[int, int], limit: int) -> set[int]:
    """Of things by what each costs, the cheapest ones that cost no more than the limit together."""
    chosen: set[int] = set()
    for place in sorted(cost, key=lambda one: cost[one]):
        if cost[place] <= limit:
            limit -= cost[place]
            chosen.add(place)
    return chosen


def _rows(tensor: TensorHeader, block: Span) -> tuple[int, int]:
    """The first row that a block has a part in, and how many it has."""
    width = tensor.values // tensor.shape[0]
    first = block.start // width
    return first, -(-block.stop // width) - first
