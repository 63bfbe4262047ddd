"""How alike two networks' features on the same inputs are: the similarities of Neural Lineage, each differentiable.

In: features of two networks, (n samples, any further dimensions). Out: a scalar, larger is more alike.
Source: Yu & Wang, CVPR 2024, "Neural Lineage" (arXiv 2406.11129): l1, l2, CKA and DC; its released code also has l_p and log-sum-exp.
CKA: Kornblith et al. 2019 (linear kernel). DC, distance correlation: Székely et al. 2007.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LP_POWER = 4
LSE_TEMPERATURE = 0.01
_SMALL = 1e-12

Similarity = Callable[[Tensor, Tensor], Tensor]


def l1(one: Tensor, other: Tensor) -> Tensor:
    """-mean |f - g|; the two must have equal shapes."""
    return -(one - other).abs().mean()


def l2(one: Tensor, other: Tensor) -> Tensor:
    """-mean (f - g)^2; `reported` makes a distance of it."""
    return -(one - other).square().mean()


def lp(one: Tensor, other: Tensor) -> Tensor:
    """-mean |f - g|^4, as in the released code."""
    return -(one - other).abs().pow(LP_POWER).mean()


def lse(one: Tensor, other: Tensor) -> Tensor:
    """-t log mean exp(|f - g| / t): a soft largest difference, as in the released code."""
    spread = (one - other).abs().flatten() / LSE_TEMPERATURE
    return -LSE_TEMPERATURE * (spread.logsumexp(0) - torch.tensor(float(spread.numel())).log())


def cka(one: Tensor, other: Tensor) -> Tensor:
    """Linear centred kernel alignment, 0 to 1; widths may differ."""
    x, y = _centred(one), _centred(other)  # (n, d), (n, e)
    if max(x.shape[1], y.shape[1]) > len(x):  # (n, n) products are the smaller ones then
        a, b = x @ x.T, y @ y.T
        return (a * b).sum() / (a.norm() * b.norm()).clamp(min=_SMALL)
    return (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()).clamp(min=_SMALL)


def dc(one: Tensor, other: Tensor) -> Tensor:
    """Distance correlation, 0 to 1; widths may differ."""
    a, b = _double_centred(one), _double_centred(other)  # (n, n)
    covariance = (a * b).mean().clamp(min=_SMALL)
    return (covariance / (a.square().mean() * b.square().mean()).clamp(min=_SMALL).sqrt()).sqrt()


SIMILARITIES: dict[str, Similarity] = {"l1": l1, "l2": l2, "lp": lp, "lse": lse, "cka": cka, "dc": dc}


def reported(name: str, value: Tensor) -> Tensor:
    """What the released code reports: l2 is cut off at 0 (a linear step may overshoot) and turned into a negative distance."""
    return -(-value).clamp(min=0).sqrt() if name == "l2" else value


def _centred(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return flat - flat.mean(0)


def _double_centred(features: Tensor) -> Tensor:
    """(n, n) Euclidean distances between samples, rows and columns centred."""
    flat = features.flatten(1)
    own = flat.square().sum(1)
    squared = own[:, None] + own[None, :] - 2 * flat @ flat.T
    apart = squared > _SMALL
    distance = torch.where(apart, squared, 1.0).sqrt() * apart  # the gradient at equal samples is 0, not infinite
    return distance - distance.mean(0) - distance.mean(1)[:, None] + distance.mean()
