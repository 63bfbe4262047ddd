"""Same run: are three models in line, a -> b -> c, files of one training that was saved again and again?

Within a run every file continues what the one before it did: layers move in the same proportions, the same units move much, the distances
are alike, and what is trained does not change. A model tuned elsewhere, with another rate, another task or frozen parts, moves
otherwise than what it came from. `bench/fit_same_run.py` fits the logistic and says how often it is right. Own method.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch

FEATURES = ("log of the spread over layers", "units alike", "log of the distances' ratio", "moved in both")
WEIGHTS = (-2.08, 2.02, -1.8, 4.36)  # as fitted on the tuning half of the zoo
CONSTANT = -7.77
FEWEST_UNITS = 8  # of a layer whose units' movements are compared
FARTHEST = 3.0  # log of the ratio of the distances, beyond which it counts no more
_CHUNK_VALUES = 1 << 20  # numbers held at a time
_LEAST = 0.02  # added to the spread, so that its logarithm stays bounded


def same_run(layers: Sequence[Layer], triples: Tensor) -> Tensor:
    """
    Args:
        triples: (t, 3) int64, indices of models in line of descent, the oldest first.
    Returns:
        (t,) float64: probability that all three are files of one run; 0 where no layer moved both times.
    """
    if not len(triples):
        return torch.zeros(0, dtype=torch.float64)
    seen = features(layers, triples)
    odds = seen @ torch.tensor(WEIGHTS, dtype=torch.float64) + CONSTANT
    return torch.where(seen[:, 3] > 0, odds.sigmoid(), 0.0)


def features(layers: Sequence[Layer], triples: Tensor) -> Tensor:
    """(t, 4) float64 on the CPU, in the order of FEATURES; zeros where no layer moved both times."""
    edges, place = torch.unique(triples.unfold(1, 2, 1).reshape(-1, 2), dim=0, return_inverse=True)
    before, after = place.reshape(-1, 2).unbind(1)  # (t,) edges a -> b and b -> c
    ratios, both, alike = [], [], []
    for layer in layers:
        units = _moved(layer.values, edges)  # (e, u)
        first, second = units[before], units[after]  # (t, u)
        whole = units.sum(1)
        both.append((whole[before] > 0) & (whole[after] > 0))
        ratios.append((whole[after] / whole[before]).log() / 2)
        if layer.values.shape[2] > 1 and units.shape[1] >= FEWEST_UNITS:
            each = ((first > 0) & (second > 0)).all(1)
            alike.append(torch.where(each, _correlation(first.log(), second.log()), torch.nan))
    moved = torch.stack(both)  # (l, t)
    ratio = torch.where(moved, torch.stack(ratios), 0.0)
    size = torch.tensor([layer.values[0].numel() ** 0.5 for layer in layers], dtype=torch.float64)
    weight = moved * size[:, None]
    total = weight.sum(0).clamp(min=1e-300)  # (t,)
    mean = (weight * ratio).sum(0) / total
    spread = ((weight * (ratio - mean).square()).sum(0) / total).sqrt()
    middle = torch.stack(alike).nanmedian(0).values.nan_to_num(0.0) if alike else torch.zeros_like(mean)
    share = moved.double().mean(0)
    found = torch.stack([(spread + _LEAST).log(), middle, mean.abs().clamp(max=FARTHEST), share], 1)
    return torch.where(share[:, None] > 0, found, 0.0)


def _moved(values: Tensor, edges: Tensor) -> Tensor:
    """(m, u, w) values, (e, 2) edges -> (e, u) float64 on the CPU: squared movement of each unit along each edge."""
    step = max(1, _CHUNK_VALUES // values[0].numel())
    parts = (values[part[:, 1]] - values[part[:, 0]] for part in edges.to(values.device).split(step))
    return torch.cat([part.double().square().sum(2).cpu() for part in parts])


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """(t, u) each -> (t,) over units; 0 where one of them does not vary."""
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return ((x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()).nan_to_num(0.0)
