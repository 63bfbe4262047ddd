"""Direction: which of two models came first, from growth and decay together, as one log-odds.

Two things change the lengths of units in training. What is learned comes at right angles to what is there, so units that moved more
grew more (growth). Decay pulls every unit straight back towards zero. Growth alone is fooled where decay dominates, and the norm rule
where it does not. Decay shows in the radial cosine of a unit, c = (|b|^2 - |a|^2) / (2 |b - a| |(a + b)/2|): -1 where b is a
shrunk, and alike in all units and layers; growth makes it a little above 0, and unlike from unit to unit.

The features are z of growth's gamma in the fit of two terms (signals/growth.py; its mean over layers, and with layers weighed by their
certainty) and of three (with sqrt(M d), for movement along the unit), and the radial cosine. Movement at right angles makes the cosine
half of |b - a| / |(a + b)/2|, so the cosine is also split: how much of that it is, and what is left beyond it, which only pulling can
be. Each also stands weighted by how alike units are, how alike layers are, and how much was moved. A logistic without intercept, all of
whose features turn their sign when the pair is turned, gives the log-odds: swapping the models swaps the answer exactly.
`bench/fit_direction.py` fits it; bench/NOTES.md says on what, and what it does on families that it never saw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, cached, torch
from lineage.detect.signals.units import measured, turned

FEATURES = (
    "growth", "growth beside radial", "radial fine", "radial coarse", "growth by certainty",
    "as much as growth makes", "beyond growth, fine", "beyond growth, coarse",
)  # fmt: skip
GATES = ("always", "units alike", "layers alike", "moved far")


def direction(layers: Sequence[Layer], pairs: Tensor) -> Tensor:
    """
    Args:
        pairs: (p, 2) int64, indices of models (a, b).
    Returns:
        (p,) float64: log-odds that a came first; 0 where nothing can be measured. Exactly antisymmetric.
    """
    once, place = torch.unique(
        pairs.sort(1).values, dim=0, return_inverse=True
    )  # so that not even rounding tells orders apart
    said = log_odds(features(layers, once))[place]
    return torch.where(pairs[:, 0] > pairs[:, 1], -said, said)


def log_odds(features: Tensor) -> Tensor:
    """(p, 32) -> (p,) float64."""
    return features @ weights().to(features.device)


def features(layers: Sequence[Layer], pairs: Tensor) -> Tensor:
    """(p, 32) float64: eight features times four gates, in the order of FEATURES within GATES."""
    (rows,) = measured(layers, pairs, layer_features)
    return combined(rows, pairs)


def combined(rows: Sequence[Tensor], pairs: Tensor) -> Tensor:
    """(p, 10) of each layer, see `layer_features` -> (p, 32) float64 features."""
    if not rows:
        return torch.zeros(len(pairs), len(FEATURES) * len(GATES), dtype=torch.float64, device=pairs.device)
    layered = torch.stack(list(rows))  # (l, p, 10)
    valid = layered[:, :, 0]  # 0 or 1
    share = valid * layered[:, :, 1]
    share = share / share.sum(0).clamp(min=1e-300)  # (l, p)
    count = valid.sum(0).clamp(min=1).sqrt()
    certainty = valid * layered[:, :, 8]
    z_certain = (certainty * layered[:, :, 7]).sum(0) / certainty.sum(0).clamp(min=1e-300).sqrt()
    z_two = (valid * layered[:, :, 2]).sum(0) / count
    z_three = (valid * layered[:, :, 3]).sum(0) / count
    cosine = layered[:, :, 4]
    radial = (share * cosine).sum(0)
    size = radial.abs() + 0.01
    units_alike = (-(share * layered[:, :, 5]).sum(0) / size).exp()
    layers_alike = (-(share * (cosine - radial).square()).sum(0).sqrt() / size).exp()
    far = ((share * layered[:, :, 6]).sum(0) + 4).sigmoid()
    upright = layered[:, :, 9]  # the cosine that growth alone makes
    grown = (share * (cosine / upright.clamp(min=1e-6)).clamp(-1, 1)).sum(0)
    beyond = (share * (cosine - torch.minimum(torch.maximum(cosine, -upright), upright))).sum(0)
    odd = torch.stack(
        [
            (z_two / 5).tanh(), (z_three / 5).tanh(), (radial / 0.08).tanh(), (radial / 0.3).tanh(), (z_certain / 8).tanh(),
            grown, (beyond / 0.08).tanh(), (beyond / 0.3).tanh(),
        ],
        1,
    )  # (p, 8)  # fmt: skip
    gates = torch.stack([torch.ones_like(far), units_alike, layers_alike, far], 1)  # (p, 4)
    known = (valid.sum(0) > 0)[:, None]
    return torch.where(known, (gates[:, :, None] * odd[:, None, :]).flatten(1), 0.0)


@cached
def weights() -> Tensor:
    """(32,) float64, as fitted."""
    fitted = json.loads(files("lineage.detect").joinpath("direction_weights.json").read_text())
    return torch.tensor(fitted["weights"], dtype=torch.float64)


def layer_features(moved: Tensor, size: Tensor, grown: Tensor) -> Tensor:
    """From d, M, y of each unit, (u, p): (p, 10) of valid, weight, both z, median and spread of the cosine, log of the movement, gamma of
    two terms and its inverse variance, and the cosine that growth alone makes."""
    moved, size, grown = moved.double(), size.double(), grown.double()
    used = (moved > 1e-12 * size) & (size > 0)
    count = used.sum(0).double()
    valid = ((count >= 4) & ~turned(moved, grown)).double()
    d, m = torch.where(used, moved, 1.0), torch.where(used, size, 1.0)
    one = used.double()
    scale = (m * d).sqrt()
    cosine = torch.where(used, grown / (2 * scale), torch.nan)  # (u, p)
    quartiles = cosine.nanquantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=cosine.dtype, device=cosine.device), dim=0
    )  # (3, p)
    target = one * grown / scale
    terms = [one * (m / d).sqrt(), one * (d / m).sqrt(), one]
    gamma, variance = _of_movement(terms[:2], target, count)
    beside, beside_variance = _of_movement(terms, target, count)
    upright = torch.where(used, (d / m).sqrt() / 2, torch.nan).nanmedian(dim=0).values
    relative = torch.where(used, moved, 0.0).sum(0) / torch.where(used, size, 0.0).sum(0).clamp(min=1e-300)
    columns = [
        valid,
        torch.full_like(valid, float(moved.shape[0]) ** 0.5),
        (gamma / variance.sqrt()).clamp(-50, 50),
        (beside / beside_variance.sqrt()).clamp(-50, 50),
        quartiles[1],
        quartiles[2] - quartiles[0],
        relative.clamp(min=1e-12).log(),
        gamma,
        1 / variance,
        upright,
    ]
    return torch.where(valid[:, None] > 0, torch.stack(columns, 1), 0.0).nan_to_num(0.0, 0.0, 0.0)


def _of_movement(terms: Sequence[Tensor], target: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of target on the terms, (u, p) each: the second one's coefficient and its variance, (p,) each."""
    design = torch.stack(list(terms), 2)  # (u, p, t)
    normal = torch.einsum("upi,upj->pij", design, design)
    scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-300).sqrt()  # (p, t)
    ridge = 1e-9 * torch.eye(len(terms), dtype=normal.dtype, device=normal.device)
    inverse = torch.linalg.inv(normal / (scale[:, :, None] * scale[:, None, :]) + ridge)
    right = torch.einsum("upi,up->pi", design, target) / scale
    coefficients = torch.einsum("pij,pj->pi", inverse, right)
    left = (target.square().sum(0) - (coefficients * right).sum(1)).clamp(min=1e-12)
    variance = left / (count - len(terms)).clamp(min=1) * inverse[:, 1, 1]
    return coefficients[:, 1], variance.clamp(min=1e-300)
