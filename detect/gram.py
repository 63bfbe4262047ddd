"""Aligned values -> inner products of all models, group by group: what inheritance, drift and distances are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detect.align import Layer, Part, blocks_of_units


@dataclass(frozen=True, slots=True)
class Gram:
    """
    Attributes:
        products: (g, m, m) float64: inner products within each group of values, after the models' mean is taken off, so that
            differences of near-identical models keep their digits.
        values: (g,) float64: number of values of each group.
        layer: for each group the index of its layer.
    """

    products: Tensor
    values: Tensor
    layer: tuple[int, ...]

    def distances(self) -> Tensor:
        """(m, m) float64: squared Euclidean distances over all groups."""
        return squared_distances(self.products.sum(0))

    def only(self, models: Tensor) -> Gram:
        """The same for some of the models, in the order given."""
        if torch.equal(models.cpu(), torch.arange(self.products.shape[1])):
            return self  # a large family's products are hundreds of megabytes
        return Gram(self.products[:, models][:, :, models], self.values, self.layer)

    def cpu(self) -> Gram:
        """The same on the CPU, where trees are decided."""
        return Gram(self.products.cpu(), self.values.cpu(), self.layer)


def gram(layers: Sequence[Layer]) -> Gram:
    """Groups are blocks of whole units, one to four a layer of the body or the embedding."""
    products, values, owner = [], [], []
    for index, layer in enumerate(layers):
        if layer.part is Part.REST:
            continue
        for block in blocks_of_units(layer):  # (m, v)
            centred = block.double() - block.mean(0, dtype=torch.float64)
            products.append(centred @ centred.T)
            values.append(block.shape[1])
            owner.append(index)
    device = layers[0].values.device
    return Gram(torch.stack(products), torch.tensor(values, dtype=torch.float64, device=device), tuple(owner))


def squared_distances(products: Tensor) -> Tensor:
    """(..., m, m) inner products -> (..., m, m) squared distances, never negative."""
    own = products.diagonal(dim1=-2, dim2=-1)
    return (own[..., :, None] + own[..., None, :] - 2 * products).clamp(min=0)


def squared_lengths(layers: Sequence[Layer]) -> Tensor:
    """(m,) float64: squared length of each model over the layers that `gram` takes."""
    own = [layer.values.double().square().sum((1, 2)) for layer in layers if layer.part is not Part.REST]
    return torch.stack(own).sum(0)
