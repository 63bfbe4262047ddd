"""Weighted quantiles along the first axis, by a sorting network that takes all columns at once.

The reference is a plain sort of every column, in tests/detect/test_weighted_quantile.py.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch


def weighted_quantile(values: Tensor, weights: Tensor, quantile: float) -> Tensor:
    """Smallest value at which the weights, summed in rising order along dim 0, reach `quantile` of their total; in float32's digits.

    Args:
        values: (g, ...); entries that are nan count as missing. weights: the same, or broadcast to it, not negative.
        quantile: above 0.
    """
    scale = weights.amax(0).clamp(min=1e-300)  # float32 has no room for squares of what is tiny
    keys = _packed(values.float(), torch.where(values.isnan(), 0.0, (weights / scale).float()))
    sort_network(keys)
    weight = keys[: len(values)].int().view(torch.float32)  # the lower half
    wanted = quantile * weight.sum(0)  # (...)
    summed, place = torch.zeros_like(wanted), torch.zeros_like(wanted)
    for row in weight:
        summed += row
        place += summed < wanted
    found = _unpacked(keys.gather(0, place.long().clamp_(max=len(values) - 1)[None])[0])
    return torch.where(wanted > 0, found, torch.nan).to(values.dtype)


def _packed(values: Tensor, weights: Tensor) -> Tensor:
    """float32 values and weights, (g, ...) -> (n, ...) int64 in the order of the values, the weights in their lower halves.

    n is the next power of two; what is added comes last and weighs nothing.
    """
    rows = 1 << (len(values) - 1).bit_length()
    keys = torch.empty((rows, *values.shape[1:]), dtype=torch.int64, device=values.device)
    keys[len(values) :] = torch.iinfo(torch.int64).max >> 32 << 32
    halves = keys[: len(values)].view(torch.int32).unflatten(-1, (-1, 2))
    bits = values.view(torch.int32)
    halves[..., 0] = weights.view(torch.int32)
    halves[..., 1] = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return keys


def _unpacked(keys: Tensor) -> Tensor:
    """The float32 values of `_packed` keys."""
    bits = (keys >> 32).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def sort_network(rows: Tensor) -> None:
    """Sorts (n, ...) along dim 0 in place, n a power of two: several times as fast as `sort`, which takes every column by itself.

    Source: Batcher 1968, "Sorting networks and their applications": the odd-even merge sort.
    """
    run = 1  # rows that are in order already
    while run < len(rows):
        apart = run
        while apart:
            runs = rows.unflatten(0, (-1, 2 * run))  # (n / 2 run, 2 run, ...)
            inner = runs if apart == run else runs[:, apart : 2 * run - apart]
            low, high = inner.unflatten(1, (-1, 2, apart)).unbind(2)  # (n / 2 run, ..., apart, ...) each
            lower = torch.minimum(low, high)
            torch.maximum(low, high, out=high)
            low.copy_(lower)
            apart //= 2
        run *= 2
