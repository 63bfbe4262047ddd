"""Digits: of two models stored with unlike precision that hardly differ, which one's values did the other start from?

Take the coarser one's grid, the numbers its dtype can hold. If the finer model was trained from it, its values started on the grid and most
are still near it: their distances, in halves of a step, pile up at 0. If the coarser model was stored after the finer one, or after a
model near it, rounding spread the distances evenly from 0 to 1. Of 33 parents and children of unlike dtype that lie that near, all coarse
parents have a share of 0.51 or more in the first quarter, all coarse children 0.33 or less. Of a light tuning in bfloat16 three tenths of
the values went on to another number, and the rest are the parent's, rounded: 0.25 in the first quarter (five of seven architectures).
The signal orders a pair; a sibling that hardly left a coarse parent's grid is ordered like the parent. Own method.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.content import precision
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.signals.pairs import NEAREST_COMPARED

LOG_ODDS = 4.0
NEAR = 0.5, 0.6  # least share of values within half a step, for the coarser and for the finer model to have come first
# share of those in the first quarter from which they pile up, and up to which they are spread evenly
PILED, EVEN = 0.42, 0.29
FAR = 8.0  # steps: models farther apart are not looked at
_FLOOR = 1e-3  # of a layer's root mean square: smaller values have steps of their own, or none
_VALUES = 1 << 16  # of a layer


def digits(
    layers: Sequence[Layer], precisions: Sequence[int], distance: Tensor, lengths: Tensor, neighbours: Tensor
) -> Tensor:
    """
    Args:
        precisions: of each model, digits of the significand, 0 if unknown, see signals/content.py.
        distance: (m, m), lengths: (m,) float64, squared; neighbours: (m, k) int64, those of each model that are looked at.
    Returns:
        (m, m) float64, [child, parent]: log-odds that the parent came first; 0 where both have the same digits, or differ by more
            than a step. Antisymmetric.
    """
    said = torch.zeros(len(precisions), len(precisions), dtype=torch.float64)
    step = torch.tensor([2.0**-digits for digits in precisions], dtype=torch.float64)
    within = distance < (FAR * step).square()[:, None] * lengths[:, None]  # [coarse, fine]
    for fine, row in enumerate(neighbours.tolist()):
        for coarse in row:
            if 0 < precisions[coarse] < precisions[fine] and bool(within[coarse, fine]):
                said[fine, coarse] = LOG_ODDS * coarse_first(layers, coarse, fine, precisions[coarse])
                said[coarse, fine] = -said[fine, coarse]
    return said


def coarse_first(layers: Sequence[Layer], coarse: int, fine: int, precision: int) -> int:
    """1 if the coarser model came first, -1 if the finer one did, 0 if they do not say."""
    near = quarter = total = 0
    for layer in layers:
        if layer.part is Part.REST:
            continue
        grid, other = layer.values[coarse].flatten()[:_VALUES], layer.values[fine].flatten()[:_VALUES]
        kept = grid.abs() > _FLOOR * grid.square().mean().sqrt()
        grid, other = grid[kept], other[kept]
        half = 2.0 ** (grid.abs().log2().floor() - precision)
        away = (other - grid).abs() / half
        total += len(away)
        near += int((away <= 1).sum())
        quarter += int((away <= 0.25).sum())
    if near < NEAR[0] * total or not near:
        return 0
    share = quarter / near
    if share >= PILED:
        return 1
    return -1 if share <= EVEN and near >= NEAR[1] * total else 0


class DigitsSignal:
    name = "digits"
    kind = Kind.CERTAIN
    phrase = "the values lie near the grid of the coarser numbers that the parent is stored in"

    def measure(self, family: SignalInputs) -> Tensor:
        where = family.geometry
        precisions = [precision(model.sketch) for model in family.models]
        near = where.neighbours[:, :NEAREST_COMPARED]
        return digits(family.layers, precisions, where.distance, where.lengths, near)
