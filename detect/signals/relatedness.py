"""Relatedness: do two models have the same unit in the same place?

Unit i of a model trained from another still resembles unit i of its parent more than it resembles the parent's other units; between
models that started apart there is no such match. So the background needs no third model: it is the match with the *other* units of
the same two models. excess = mean cosine of own units - mean cosine of other units, layers weighted by their size; 1 for copies, 0 for
models that started apart, and between where there is descent, or only a common random start (a trap that the family tree has to see).
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch

MINIMUM_UNITS = 4


def relatedness(layers: Sequence[Layer]) -> Tensor:
    """
    Returns:
        (m, m) float64: excess cosine of matching units, symmetric, ones on the diagonal. Layers count by their whole size, so that a
        sample answers like all values; small first layers keep a common random start longest and would say too much.
    """
    models = layers[0].values.shape[0]
    total = torch.zeros(models, models, dtype=torch.float64, device=layers[0].values.device)
    weight = 0
    for layer in layers:
        units, width = layer.values.shape[1:]
        if layer.part is not Part.BODY or units < MINIMUM_UNITS or width < MINIMUM_UNITS:
            continue
        centred = layer.values - layer.values.mean(2, keepdim=True)  # (m, u, w)
        directions = torch.nn.functional.normalize(centred, dim=2, eps=1e-30)  # (m, u, w)
        flat = directions.reshape(models, -1)  # (m, u*w)
        own = (flat @ flat.T).double()  # (m, m), sums over units
        summed = directions.sum(1).double()  # (m, w)
        other = summed @ summed.T - own  # (m, m)
        total += layer.size * (own / units - other / (units * (units - 1)))
        weight += layer.size
    if weight:
        total /= weight
    return total.fill_diagonal_(1.0)
