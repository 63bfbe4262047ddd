"""Same run: are three models in line, a -> b -> c, files of one training that was saved again and again?

Within a run every file continues what the one before it did: layers move in the same proportions, the same units move much, the distances
are alike, and what is trained does not change. A model tuned by somebody else, with another rate, another task or frozen parts, moves
otherwise than what it came from. `bench/fit_same_run.py` fits the logistic and says how often it is right. Own method.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detect.align import Layer

FEATURES = ("log of the spread over layers", "units alike", "log of the distances' ratio", "moved in both")
WEIGHTS = (-2.08, 2.02, -1.8, 4.36)  # as fitted on the tuning half of the zoo
CONSTANT = -7.77
FEWEST_UNITS = 8  # of a layer whose units' movements are compared
FARTHEST = 3.0  # log of the ratio of the distances, beyond which it counts no more
_LEAST = 0.02  # added to the spread, so that its logarithm stays bounded


def same_run(layers: Sequence[Layer], triples: Tensor) -> Tensor:
    """
    Args:
        triples: (t, 3) int64, indices of models in line of descent, the oldest first.
    Returns:
        (t,) float64: probability that all three are files of one run; 0 where no layer moved both times.
    """
    seen = features(layers, triples)
    odds = seen @ torch.tensor(WEIGHTS, dtype=torch.float64) + CONSTANT
    return torch.where(seen[:, 3] > 0, odds.sigmoid(), 0.0)


def features(layers: Sequence[Layer], triples: Tensor) -> Tensor:
    """(t, 4) float64 on the CPU, in the order of FEATURES."""
    rows = [_of_triple(layers, *triple) for triple in triples.tolist()]
    return torch.stack(rows) if rows else torch.zeros(0, len(FEATURES), dtype=torch.float64)


def _of_triple(layers: Sequence[Layer], a: int, b: int, c: int) -> Tensor:
    ratios, sizes, alike = [], [], []
    for layer in layers:
        first, second = (
            (layer.values[to] - layer.values[of]).double().square().sum(1).cpu() for of, to in ((a, b), (b, c))
        )  # (u,) each
        if float(first.sum()) == 0 or float(second.sum()) == 0:
            continue
        ratios.append(float((second.sum() / first.sum()).log()) / 2)
        sizes.append(layer.values[0].numel() ** 0.5)
        if layer.values.shape[2] > 1 and len(first) >= FEWEST_UNITS and bool((first > 0).all() & (second > 0).all()):
            alike.append(torch.corrcoef(torch.stack([first.log(), second.log()]))[0, 1].nan_to_num(0.0))
    if not ratios:
        return torch.zeros(len(FEATURES), dtype=torch.float64)
    ratio, weight = (torch.tensor(each, dtype=torch.float64) for each in (ratios, sizes))
    mean = (weight * ratio).sum() / weight.sum()
    spread = ((weight * (ratio - mean).square()).sum() / weight.sum()).sqrt()
    middle = torch.stack(alike).median() if alike else torch.zeros((), dtype=torch.float64)
    return torch.stack(
        [
            (spread + _LEAST).log(),
            middle,
            mean.abs().clamp(max=FARTHEST),
            torch.tensor(len(ratios) / len(layers), dtype=torch.float64),
        ]
    )
