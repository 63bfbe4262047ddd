"""What published methods look at: the sampled values of models of one architecture, as matrices with one row a model.

They take raw values, so nothing is normalised here. m models, n values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lineage.detect.align import Layer, NotComparable, Part, align
from lineage.detect.clustering import families
from lineage.detect.methods.to_decisions import CannotTake, at_least
from lineage.detect.model_input import Subject
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.shared_start import structure_kept

AUTO, ALL = "auto", "all"
# The tensor that Neural Phylogeny's code looks at: fully connected, convolutional, residual, ViT.
_LOOKED_AT = ("fc1.weight", "layer1.0.conv1.weight", "conv1.weight", "blocks.2.mlp.fc2.weight")


def layers_of(name: str, subjects: Sequence[Subject], device: torch.device, fewest: int = 2) -> list[Layer]:
    """Aligned layers of the body, in order of depth.

    Raises:
        CannotTake: fewer models than the method needs, or models without comparable values.
    """
    at_least(fewest, subjects, name)
    try:
        return [layer for layer in align([s.sketch for s in subjects], device) if layer.part is not Part.REST]
    except NotComparable as failure:
        raise CannotTake(f"method {name}: {failure.message}", failure.try_next) from None


def some_values(name: str, layers: Sequence[Layer], tensor: str = AUTO, first: int = 1024) -> Tensor:
    """
    Args:
        tensor: its canonical name; `auto`: the one that Neural Phylogeny takes for such a network, else the first; `all`: every
            sampled value of all layers.
        first: number of values taken from the one tensor.
    Returns:
        (m, n) float64.
    Raises:
        CannotTake: no model has such a tensor.
    """
    if tensor == ALL:
        return torch.cat([layer.values.flatten(1) for layer in layers], 1).double()  # (m, n)
    return one_layer(name, layers, tensor).values.flatten(1)[:, :first].double()  # (m, n)


def one_layer(name: str, layers: Sequence[Layer], tensor: str = AUTO) -> Layer:
    """The layer of a name, or the one that `auto` selects.

    Raises:
        CannotTake: unknown name.
    """
    by_name = {layer.name: layer for layer in layers}
    wanted = [tensor] if tensor != AUTO else [known for known in _LOOKED_AT if known in by_name] or [layers[0].name]
    if wanted[0] not in by_name:
        raise CannotTake(f"method {name}: no tensor {tensor!r} to compare", f"one of {', '.join(list(by_name)[:8])}")
    return by_name[wanted[0]]


def related_groups(layers: Sequence[Layer]) -> list[list[int]]:
    """Models of common descent, as `lineage` finds them: what the plain rules choose among."""
    return families(relatedness(layers), structure_kept(layers))


def distances(values: Tensor) -> Tensor:
    """(m, n) -> (m, m) float64 Euclidean distances, zero on the diagonal."""
    products = values @ values.T
    squares = products.diagonal()
    return (squares[:, None] + squares[None, :] - 2 * products).clamp(min=0).sqrt().fill_diagonal_(0)


def coordinates(values: Tensor) -> Tensor:
    """(m, n) -> (m, at most m) float64 with the same distances: what lies in the plane of the models, turned.

    Clustering looks at distances alone, so nothing is lost and a million values are as quick as a thousand.
    """
    if values.shape[1] <= values.shape[0]:
        return values - values.mean(0)
    centred = values - values.mean(0)
    strength, direction = torch.linalg.eigh(centred @ centred.T)
    kept = strength >= strength.max().clamp(min=1e-300) * 1e-12
    kept[-1] = True  # where all models are equal
    return direction[:, kept] * strength[kept].clamp(min=0).sqrt()
