"""Decay seen bare: weights that never got a gradient shrink by one common factor while everything else is trained.

Border pixels, words that the data lacks, dead units: weight decay multiplies all of their weights by (1 - rate x decay) at every step
(SGD and AdamW; Adam with decay in the gradient does not keep the ratio). So the ratios b / a of two models pile up at one value beside 1,
sharp to the rounding of float32, and the shrunk model is the later one. Nothing else that training does makes such a pile. Two children of
one parent pile up as well, at the ratio of their factors: the signal orders a pair in time, it does not say that one is the other's parent.
And where the piled up weights of an earlier model are another model's bit for bit, as a sibling trained without decay leaves those of the
parent, they may have been shrunk from either (`fits_another`).

All layers shrink by one factor. Scaled units (norms folded into the next matrix, merged IA3) pile up as well, each at a factor of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

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
AS_HIGH = 0.5  # of the highest pile, one beyond 1 on the other side: units were scaled both ways
ALIKE = 0.01  # of the log of the factor: layers whose factors differ by less shrank by one factor
ONE_FACTOR = 0.6  # share of the piled up values that must have it
APART = 1000.0  # between the logs of positive and of negative values
_VALUES_A_LAYER = 8192
_CHUNK = 1 << 20  # pairs times values at a time
_WORK = 1 << 27  # pairs times values in all; a large family samples


def decay(layers: Sequence[Layer], pairs: Tensor) -> tuple[Tensor, Tensor]:
    """
    Args:
        pairs: (p, 2) int64, indices of models (a, b).
    Returns:
        (p,) float64: log-odds that a came first: LOG_ODDS where b's bare weights are a's shrunk, -LOG_ODDS where a's are b's, 0 where there
        are no piles or they disagree; and the same where the layers shrank by one factor, 0 elsewhere. Exactly antisymmetric. Models whose
        values are coarser than float32 say nothing.
    """
    counts, factors = [], []
    for flat in _sampled(layers, len(pairs)):
        count, factor = torch.zeros(2, len(pairs), device=pairs.device)
        fine = is_fine(flat)
        due = (fine[pairs[:, 0]] & fine[pairs[:, 1]]).nonzero()[:, 0]
        logs = logs_of(flat)
        for part in due.split(max(1, _CHUNK // flat.shape[1])):
            count[part], factor[part] = piles(logs[pairs[part, 0]], logs[pairs[part, 1]])
        counts.append(count)
        factors.append(factor)
    if not counts or not len(pairs):
        return (torch.zeros(len(pairs), dtype=torch.float64, device=pairs.device),) * 2
    count, factor = torch.stack(counts, 1).double(), torch.stack(factors, 1).double()  # (p, l)
    total = count.sum(1)
    lead = (count * (factor < 0)).sum(1) - (count * (factor > 0)).sum(1)
    odds = torch.where((total >= ALL) & (lead.abs() >= 0.6 * total), LOG_ODDS * lead.sign(), 0.0)
    highest = factor.gather(1, count.argmax(1)[:, None])  # (p, 1)
    alike = (factor - highest).abs() <= ALIKE * highest.abs() + 2 * WINDOW
    return odds, torch.where((count * alike).sum(1) >= ONE_FACTOR * total, odds, 0.0)


def _sampled(layers: Sequence[Layer], pairs: int) -> Iterator[Tensor]:
    """(m, v) values of each layer that may pile up."""
    used = [layer for layer in layers if layer.part is not Part.REST]
    at_most = max(1024, min(_VALUES_A_LAYER, _WORK // max(1, pairs * len(used))))
    for layer in used:
        flat = layer.values.flatten(1)  # (m, v)
        flat = flat[:, :: -(-flat.shape[1] // at_most)].contiguous()
        if flat.shape[1] >= PILE:
            yield flat


def fits_another(layers: Sequence[Layer], found: Tensor) -> Tensor:
    """
    Args:
        found: (m, m) float64, [child, parent]: positive where the child's bare weights are the parent's, shrunk.
    Returns:
        (m, m) bool, [child, parent]: positive ones where the bare weights in which the parent differs from another model that comes into
        question are too few for a pile: what is shrunk may be that one's.
    """
    return too_few_of_its_own(found, lambda child, parents: _own_values(layers, child, parents), PILE)


def too_few_of_its_own(found: Tensor, own: Callable[[int, Tensor], Tensor], fewest: int) -> Tensor:
    """
    Args:
        found: (m, m) float64, [child, parent]: positive where the child's weights are the parent's, shrunk.
        own: of a child and (k,) int64 parents the (k, k) number of shrunk things in which each parent differs from each other one.
    Returns:
        (m, m) bool, [child, parent]: positive ones where fewer than `fewest` of these are the parent's and not also some other parent's.
    """
    doubtful = torch.zeros(found.shape, dtype=torch.bool)
    for child in range(len(found)):
        parents = (found[child] > 0).nonzero()[:, 0]
        # (k, k): those shrunk themselves hold other values
        rivals = (found[parents][:, parents] == 0).fill_diagonal_(False)
        if bool(rivals.any()):
            doubtful[child, parents] = ((own(child, parents) < fewest) & rivals).any(1)
    return doubtful


def _own_values(layers: Sequence[Layer], child: int, parents: Tensor) -> Tensor:
    """(k, k) int64: number of values in the piles of each parent and the child in which the parent differs from each other one."""
    own = torch.zeros(len(parents), len(parents), dtype=torch.int64)
    for flat in _sampled(layers, len(parents)):
        first = flat[parents.to(flat.device)]  # (k, v)
        second = flat[child].expand_as(first).contiguous()
        logs = logs_of(first), logs_of(second)
        count, middle = piles(*logs)
        inside = ((logs[1] - logs[0] - middle[:, None]).abs() <= 2 * WINDOW) & (count > 0)[:, None] & (first != second)
        for place in range(len(parents)):
            own[place] += (inside[place] & (first[place] != first)).sum(1).cpu()
    return own


def is_fine(values: Tensor) -> Tensor:
    """(m, v) float32 -> (m,) bool: whether most values use the lower half of the significand; rounded ones make piles by themselves."""
    low = values.view(torch.int32) & 0xFFF
    return ((low != 0) | (values == 0)).double().mean(1) > 0.9


def logs_of(values: Tensor) -> Tensor:
    """(m, v) float32 -> (m, v) float64 logs of their sizes, those of negative values set apart; nan where they are next to nothing."""
    floor = 1e-3 * values.square().mean(1, keepdim=True).sqrt()
    kept = values.abs() > floor
    logs = torch.where(kept, values.abs(), 1.0).double().log()
    return torch.where(kept, logs + APART * (values < 0), torch.nan)


def piles(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(p, v) logs of both -> number of values in the highest pile of log ratios, 0 without one, and its place, (p,) each.

    Units that are scaled each by a factor of its own make piles on either side of 1. Where the highest on both sides are about as high, the
    place is 0: neither model is the shrunk one. The other way round the heights are the same and the places have the other sign.
    """
    ratio = (second - first).float()  # (p, v)
    place = torch.arange(ratio.shape[1], device=ratio.device)
    ratio = torch.where((ratio != 0) & (ratio.abs() < 1), ratio, 10.0 + place)  # what is left out stands apart
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
    """(p, v) float64 sorted log ratios -> height and place of each row's highest pile; height 0 where much else lies near, place 0 where
    one on the other side is about as high."""
    last = torch.searchsorted(ratio, ratio + WINDOW, right=True) - 1  # (p, v): of the pile that begins at each value
    middles = (ratio + ratio.gather(1, last)) / 2
    counts = last - place + 1
    sides = [counts * ((side * middles > SHRUNK) & (side * middles < 5)) for side in (-1, 1)]
    (below, at_below), (above, at_above) = (each.max(1, keepdim=True) for each in sides)
    highest = torch.maximum(below, above)
    middle = middles.gather(1, torch.where(below > above, at_below, at_above))
    near = torch.searchsorted(ratio, middle + WIDER * WINDOW, right=True) - torch.searchsorted(
        ratio, middle - WIDER * WINDOW
    )
    sharp = (highest >= PILE) & (highest >= SHARE_OF_NEAR * near)
    one_side = torch.minimum(below, above) < AS_HIGH * highest
    return torch.where(sharp, highest, 0)[:, 0].float(), middle.where(one_side, 0.0)[:, 0].float()
