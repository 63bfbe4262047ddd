"""Opposition: seen from the model that all others come from, no two of them lie in opposite directions.

Seen from the root v, x - v is the sum of the steps that training took from v to x, and steps of different trainings agree in part or not at
all: what every training changes first is the same. Seen from a model that moved little, the root lies behind it, so the others' steps that
agree with its own make negative cosines. Seen from a model that moved far, all others lie in one direction: cosines near one. A root has
no negative cosines and a small mean; each alone is misled, by leaves that moved far and by leaves that hardly moved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lineage.detect.signals.drift import drift

# log-odds a unit of: mean negative part of the cosines, most negative cosine, mean cosine, share of clearly negative ones. A softmax over
# the models of 84 trees of the zoo's tuning half, `bench/fit_opposition.py`; doubled, which the same half does not mind and stars of short
# and long trainings need
WEIGHTS = (-1.46, -4.66, -2.86, -3.9)
CLEARLY = 0.03
SAME = 1e-7  # squared distance, in squared lengths of the model, below which a difference has no direction


def opposition(products: Tensor, lengths: Tensor, roots: Tensor) -> Tensor:
    """
    Args:
        products: (m, m) float64: inner products of the models over all values, around any point.
        lengths: (m,) float64: squared length of each model; roots: (r,) int64: the models that may be the root.
    Returns:
        (r,) float64: log-odds of each, up to a constant, to be the root of all.
    """
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    return torch.stack([angles(products, lengths, root) @ weights for root in roots.tolist()])


def angles(products: Tensor, lengths: Tensor, origin: int) -> Tensor:
    """(4,) float64: what WEIGHTS weigh, over all pairs of other models seen from one; zeros where fewer than two others differ from it."""
    own = products.diagonal()
    kept = own - 2 * products[origin] + own[origin] > SAME * lengths[origin]  # (m,)
    kept[origin] = False
    if int(kept.sum()) < 2:
        return torch.zeros(4, dtype=torch.float64)
    cosine = drift(products, origin)[kept][:, kept]
    first, second = torch.triu_indices(len(cosine), len(cosine), 1)
    pairs = cosine[first, second]
    against = (-pairs).clamp(min=0)
    return torch.stack([against.mean(), against.max(), pairs.mean(), (pairs < -CLEARLY).double().mean()])
