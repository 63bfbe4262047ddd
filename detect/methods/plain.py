"""Plain rules of direction on the nearest model, the parts that published methods are made of.

nearest: the parent is the nearest model (so two that are nearest to each other are each other's parents). min-norm: the nearest among
those of smaller length, Neural Phylogeny's direction in expectation (Yu & Wang, ICLR 2025). effective-rank: the nearest among those of
lower effective rank, the direction of TensorLock. kurtosis: the nearest among those of higher or lower kurtosis, MoTHer's directions
(Horwitz et al., ICLR 2025). All may choose only among models found to be related, which ours finds out by itself and gives away here;
`among=all` takes that away. A model without candidates is a root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lineage.detect.align import Layer, Part
from lineage.detect.decision import Decision
from lineage.detect.gram import gram
from lineage.detect.methods.registry import settings_of
from lineage.detect.methods.to_decisions import as_decisions
from lineage.detect.methods.values import layers_of, related_groups
from lineage.detect.model_input import Subject
from lineage.detect.options import Options

LESS = 1e-12  # relative: equal numbers say nothing


def nearest(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("nearest", subjects, options, device, None)


def min_norm(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("min-norm", subjects, options, device, squared_length)


def by_effective_rank(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    return _decide("effective-rank", subjects, options, device, effective_rank)


def by_kurtosis(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    which = settings_of("kurtosis", options.settings)["parent"]
    sign = -1.0 if which == "higher" else 1.0
    values = {"which": which}
    return _decide("kurtosis", subjects, options, device, lambda layers: sign * total_kurtosis(layers), values)


def _decide(
    name: str,
    subjects: Sequence[Subject],
    options: Options,
    device: torch.device,
    score: Callable[[Sequence[Layer]], Tensor] | None,
    values: Mapping[str, str] | None = None,
) -> list[Decision]:
    """score: of each model, (m,); a parent's is lower than its child's. None: everyone may be everyone's parent."""
    settings = settings_of(name, options.settings)
    layers = layers_of(name, subjects, device)
    apart = gram(layers).distances().cpu().fill_diagonal_(torch.inf)  # (m, m)
    if settings["among"] == "related":
        allowed = torch.zeros(apart.shape, dtype=torch.bool)
        for members in related_groups(layers):
            allowed[torch.tensor(members)[:, None], torch.tensor(members)] = True
        apart[~allowed] = torch.inf
    if score is not None:
        own = score(layers).cpu()
        apart[own[None, :] >= own[:, None] - LESS * own.abs()[:, None]] = torch.inf  # [child, parent]
    best = apart.min(1)
    parents = [int(p) if d < torch.inf else None for d, p in zip(best.values.tolist(), best.indices, strict=True)]
    return as_decisions(name, subjects, parents, values=values)


def squared_length(layers: Sequence[Layer]) -> Tensor:
    """(m,) float64."""
    return torch.stack([layer.values.double().square().sum((1, 2)) for layer in layers]).sum(0)


def effective_rank(layers: Sequence[Layer]) -> Tensor:
    """(m,) float64, mean over layers: the exponential of the entropy of the singular values, each over their sum.

    Source: Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    """
    ranks = []
    for layer in layers:
        if min(layer.values.shape[1:]) < 2:
            continue
        strength = torch.linalg.svdvals(layer.values).double()  # (m, min(u, w))
        share = strength / strength.sum(1, keepdim=True).clamp(min=1e-300)
        ranks.append(torch.special.entr(share).sum(1).exp())
    if not ranks:
        return torch.zeros(layers[0].values.shape[0], dtype=torch.float64)
    return torch.stack(ranks).mean(0)


def kurtosis(values: Tensor) -> Tensor:
    """(m, ...) -> (m,) float64 Fisher kurtosis of all values of each model: 0 for normal ones."""
    flat = values.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return centred.pow(4).mean(1) / centred.square().mean(1).square().clamp(min=1e-300) - 3


def total_kurtosis(layers: Sequence[Layer]) -> Tensor:
    """(m,) float64: sum over the layers of the body."""
    return torch.stack([kurtosis(layer.values) for layer in layers if layer.part is Part.BODY]).sum(0)
