"""Was b trained, directly or over others, from s? One log-odds from what each signal says, given where the family's root stands.

Inheritance alone is a strict judge: a child that is tuned for another task with a new head loses in its upper layers much of what its
parent had learned, and siblings that walk the same way look like a chain. What tells these apart is in how many units the change is kept
(one vote each, wherever they lie), direction (a parent came first, a sibling need not), balance (siblings moved alike) and nearness (a
parent is nearer to its child than the root is). `bench/fit_ancestor.py` fits the weights on trees of the zoo's tuning half, the true
root given.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

FEATURES = ("inheritance", "direction", "certain", "even", "nearer", "kept")
CLIP = 6.0  # log-odds beyond which direction says no more
SHARPENED = 2.0  # one choice is made of many, so each may be surer; chosen on the tuning half


def pair_features(direction: Tensor, certain: Tensor, even: Tensor) -> Tensor:
    """What does not depend on the root.

    Args:
        direction, certain: (m, m) float64, [a, b]: log-odds that a came before b, from training and from what only ever grows or decays.
        even: (m, m) float64: log-likelihood ratio of an even balance, see signals/balance.py.
    Returns:
        (m, m, 3) float64, [s, b].
    """
    both = (direction.clamp(-CLIP, CLIP) + certain).clamp(-CLIP, CLIP)
    return torch.stack([both, certain.clamp(-CLIP, CLIP), even], 2)


def root_features(low: Tensor, from_root: Tensor, apart: Tensor, kept: Tensor) -> Tensor:
    """What depends on the root.

    Args:
        low: (m, k) float64: low slope of each neighbour's change since the root in b; nan where there is none.
        from_root: (m,) float64: squared distance of b from the root; apart: (m, k) float64: from each neighbour.
        kept: (m, k) float64: share of units that kept the neighbour's change.
    Returns:
        (m, k, 3) float64.
    """
    nearer = (from_root[:, None].clamp(min=1e-300) / apart.clamp(min=1e-300)).log().clamp(-5, 5)
    return torch.stack([low.nan_to_num().clamp(-1, 2), nearer, kept], 2)


def log_odds_by_kind(pair: Tensor, root: Tensor) -> dict[str, Tensor]:
    """(..., 3) features of the pair and (..., 3) of the root -> kind of evidence -> (...) float64, whose sum is the log-odds."""
    weight, constant = weights()
    low, nearer, still = root.unbind(-1)
    return {
        "inheritance": SHARPENED * (weight[0] * low + weight[4] * nearer + weight[5] * still + constant),
        "growth": SHARPENED * (pair[..., :2] @ weight[1:3]),
        "balance": SHARPENED * weight[3] * pair[..., 2],
    }


@cache
def weights() -> tuple[Tensor, float]:
    """(6,) float64 in the order of FEATURES, and the constant, as fitted."""
    fitted = json.loads(files("lineage.detect").joinpath("ancestor_weights.json").read_text())
    return torch.tensor(fitted["weights"], dtype=torch.float64), float(fitted["constant"])
