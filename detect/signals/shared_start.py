"""Shared start: do two models have more in common than the random numbers that they started from?

Networks that were trained apart from one seed keep part of their common start, so they look related: at an excess cosine of 0.18 to
0.9. But a start is noise, and what training makes of it is the most structured part of a weight. A descendant keeps what its ancestor had
learned at least as well as the noise below it; of two models with a common start the noise alone is kept. So for the strongest singular
directions of one model's weights we ask how much of them the other one has, T, and how much it has of the whole, F (both 1 where it was
kept, less where it was lost). Relatives have log T + 2 log(T / F) at about 0 even where a short training left only half of the parent's
values (F of 0.4, T of 0.6); models trained apart lie at -0.7 or lower once they have learned (T of 0.15 to 0.6, F of 0.4 to 0.9). Just
after the start nothing tells them apart. Own method; bench/NOTES.md has the figures. Related: Gueta et al. 2023, arXiv 2302.04863, on
what fine-tuned models of one base share.

Dimension letters: m models, u units, w weights of each, k directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.side_by_side import side_by_side

MINIMUM_UNITS = 8
ROWS, COLUMNS = 64, 512  # of a layer that are looked at, at most
DIRECTIONS = 4  # the strongest, of every eight rows one at most
APART = -0.6  # below it two models are more likely two trainings from one start than a parent and its child
STEEP = 12.0  # how fast the log-odds rise around it


def structure_kept(layers: Sequence[Layer]) -> Tensor:
    """(m, m) float64, symmetric: median over body layers of log T + 2 log(T / F); zeros where no layer is large enough."""
    large = [
        layer.values for layer in layers if layer.part is Part.BODY and min(layer.values.shape[1:]) >= MINIMUM_UNITS
    ]
    found = side_by_side(layer_structure_kept, large, large[0].device.type if large else "cpu")
    if not found:
        models = len(layers[0].values)
        return torch.zeros(models, models, dtype=torch.float64)
    return torch.stack([torch.stack(rows).median(0).values for rows in zip(*found, strict=True)]).double()


def layer_structure_kept(values: Tensor) -> Tensor:
    """(m, u, w) -> (m, m) float32. The model whose strongest directions are the better kept counts as the older one."""
    rows = values - values.mean(2, keepdim=True)
    rows = rows if rows.shape[1] <= rows.shape[2] else rows.transpose(1, 2)
    rows = rows[:, :ROWS, :COLUMNS]
    count = max(1, min(DIRECTIONS, rows.shape[1] // 8))
    strength, sides = torch.linalg.eigh((rows @ rows.transpose(1, 2)).double())
    strength, sides = strength[:, -count:].clamp(min=0).sqrt(), sides[:, :, -count:].to(rows.dtype)  # (m, k), (m, r, k)
    weight = 1 / strength.clamp(min=1e-30).to(rows.dtype)
    strongest = (sides * weight[:, None]) @ (sides.transpose(1, 2) @ rows)  # (m, r, w): sum of u v^T
    flat = rows.flatten(1)
    kept = (strongest.flatten(1) @ flat.T).double() / strength.sum(1, keepdim=True).clamp(min=1e-30)
    structure = torch.maximum(kept, kept.T).clamp(0.02, 2).log()
    products = (flat @ flat.T).double()
    lengths = products.diagonal()
    whole = (products / torch.minimum(lengths[:, None], lengths[None, :]).clamp(min=1e-300)).clamp(0.02, 2).log()
    return (structure.clamp(max=0) + 2 * (structure - whole).clamp(max=0.1)).float()


def over_relatives(kept: Tensor) -> Tensor:
    """(m, m) -> (m, m): the weakest link of the best path between two models. What is kin to a model's kin is kin to it, even where a
    long training left little of the structure that the two have in common."""
    if len(kept) < 3:
        return kept
    link = kept.double().numpy()
    weakest = np.full(link.shape, np.inf)
    inside, best, through = [0], link[0].copy(), np.zeros(len(link), int)
    best[0] = -np.inf
    while len(inside) < len(link):
        # the strongest link to a model that is not yet among them is the last one of its best path (Prim)
        new = int(best.argmax())
        weakest[new, inside] = weakest[inside, new] = np.minimum(weakest[through[new], inside], best[new])
        inside.append(new)
        nearer = (link[new] > best) & (best > -np.inf)
        best[nearer], through[nearer] = link[new][nearer], new
        best[new] = -np.inf
    return torch.tensor(weakest).fill_diagonal_(0.0)


def kin(kept: Tensor) -> Tensor:
    """Probability that a parent and a child so alike are one, rather than two trainings from one start; elementwise."""
    return ((kept - APART) * STEEP).sigmoid()
