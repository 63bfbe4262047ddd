"""Shared start: do two models have more in common than the random numbers that they started from?

Networks that were trained apart from one seed keep part of their common start, so they look related: at an excess cosine of 0.18 to
0.9 in language models of a few layers. What training makes comes at right angles to what is there, so a descendant still holds what its
ancestor was: of a and b the shorter one's length is found again along it in the other, <a, b> / min(|a|^2, |b|^2) is about 1, less where
decay shrank it. Of two models with a common start only that start is: the share falls as either learns. Measured (bench/NOTES.md): parents
and children at 0.87 or more in 20 of 21 families, trained apart from one seed at 0.32 to 0.69 once they had learned; just after the start
nothing tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch

MINIMUM_UNITS = 4
APART = 0.8  # share below which two models are more likely two trainings from one start than a parent and its child
EVEN_ODDS, STEEP = (
    0.72,
    25.0,
)  # share at which parent and child are as likely as a shared start, and how fast that turns


def found_again(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64: median over body layers of the share of the shorter one found again in the other; ones where none counts."""
    shares = []
    for layer in layers:
        if layer.part is not Part.BODY or min(layer.values.shape[1:]) < MINIMUM_UNITS:
            continue
        rows = (layer.values - layer.values.mean(2, keepdim=True)).flatten(1)  # (m, v)
        products = (rows @ rows.T).double()
        own = products.diagonal()
        shares.append(products / torch.minimum(own[:, None], own[None, :]).clamp(min=1e-300))
    if not shares:
        models = len(layers[0].values)
        return torch.ones(models, models, dtype=torch.float64)
    return torch.stack(shares).median(0).values


def kin(share: Tensor) -> Tensor:
    """Probability that a parent and a child so alike are one, rather than two trainings from one start; elementwise."""
    return ((share - EVEN_ODDS) * STEEP).sigmoid()
