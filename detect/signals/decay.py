"""Decay seen bare: weights that never got a gradient shrink by one common factor while everything else is trained.

Border pixels, words that the data lacks, dead units: weight decay multiplies all of their weights by (1 - rate x decay) at every step
(SGD and AdamW; Adam with decay in the gradient does not keep the ratio). So the ratios b / a of two models pile up at one value beside 1,
sharp to the rounding of float32, and the shrunk model is the later one. Nothing else that training does makes such a pile. Two children of
one parent pile up as well, at the ratio of their factors: the signal orders a pair in time, it does not say that one is the other's parent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch

LOG_ODDS = 6.0
WINDOW = 2e-6  # width of a pile, in log ratio: rounding of float32 over a training
WIDER = 50.0  # on each side, in windows: what else lies near must be rare
SHARE_OF_NEAR = 0.3
PILE = 16  # values in a layer's pile at least
ALL = 32  # values in all piles at least
SHRUNK = 2e-5  # log of the factor at least
_VALUES_A_LAYER = 8192
_CHUNK = 1 << 20  # pairs times values at a time
_WORK = 1 << 27  # pairs times values in all; a large family samples


def decay(layers: Sequence[Layer], pairs: Tensor) -> Tensor:
    """
    Args:
        pairs: (p, 2) int64, indices of models (a, b).
    Returns:
        (p,) float64: log-odds that a came first: LOG_ODDS where b's bare weights are a's shrunk, -LOG_ODDS where a's are b's, 0 where there
        are no piles or they disagree. Exactly antisymmetric. Models whose values are coarser than float32 say nothing.
    """
    votes = torch.zeros(len(pairs), 2, dtype=torch.float64, device=pairs.device)  # values in piles below 1, above 1
    used = [layer for layer in layers if layer.part is not Part.REST]
    for layer in used:
        flat = layer.values.flatten(1)  # (m, v)
        at_most = max(1024, min(_VALUES_A_LAYER, _WORK // max(1, len(pairs) * len(used))))
        flat = flat[:, :: -(-flat.shape[1] // at_most)].contiguous()
        if flat.shape[1] < PILE:
            continue
        fine = is_fine(flat)
        due = (fine[pairs[:, 0]] & fine[pairs[:, 1]]).nonzero()[:, 0]
        for part in due.split(max(1, _CHUNK // flat.shape[1])):
            count, factor = piles(flat[pairs[part, 0]], flat[pairs[part, 1]])
            votes[part, 0] += torch.where(factor < 0, count, 0.0)
            votes[part, 1] += torch.where(factor > 0, count, 0.0)
    total, lead = votes.sum(1), votes[:, 0] - votes[:, 1]
    return torch.where((total >= ALL) & (lead.abs() >= 0.6 * total), LOG_ODDS * lead.sign(), 0.0)


def is_fine(values: Tensor) -> Tensor:
    """(m, v) float32 -> (m,) bool: whether most values use the lower half of the significand; rounded ones make piles by themselves."""
    low = values.view(torch.int32) & 0xFFF
    return ((low != 0) | (values == 0)).double().mean(1) > 0.9


def piles(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(p, v) float32 values of both -> number of values in the highest pile of log ratios, 0 without one, and its place, (p,) each."""
    floor = 1e-3 * first.square().mean(1, keepdim=True).sqrt()
    kept = (first != second) & (first.abs() > floor) & (first * second > 0)
    ratio = (second / torch.where(kept, first, 1.0)).log()  # (p, v)
    place = torch.arange(ratio.shape[1], device=ratio.device)
    ratio = torch.where(kept & (ratio.abs() < 1), ratio, 10.0 + place)  # what is left out stands apart
    ratio = _sorted(ratio)
    count, middle = torch.zeros_like(ratio[:, 0]), torch.zeros_like(ratio[:, 0])
    crowded = ((ratio[:, PILE - 1 :] - ratio[:, : 1 - PILE]) <= WINDOW).any(1).nonzero()[:, 0]
    if len(crowded):
        count[crowded], middle[crowded] = _highest(ratio[crowded].double(), place)
    return count, middle


def _sorted(rows: Tensor) -> Tensor:
    """Each row in rising order; on the CPU numpy is several times as fast as torch, which also finds out where each number was."""
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)) if rows.device.type == "cpu" else rows.sort(1).values


def _highest(ratio: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """(p, v) float64 sorted log ratios -> height and place of each row's highest pile; height 0 where much else lies near."""
    count = torch.searchsorted(ratio, ratio + WINDOW, right=True) - place
    highest, at = count.max(1, keepdim=True)
    middle = ratio.gather(1, at)
    near = torch.searchsorted(ratio, middle + WIDER * WINDOW) - torch.searchsorted(ratio, middle - WIDER * WINDOW)
    sharp = (highest >= PILE) & (highest >= SHARE_OF_NEAR * near) & (middle.abs() > SHRUNK) & (middle < 5)
    return torch.where(sharp, highest, 0)[:, 0].float(), middle[:, 0].float()
