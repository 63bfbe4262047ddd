"""Aligned values -> inner products of all models, group by group: what inheritance, drift and distances are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage.detect.align import Layer, Part, blocks_of_units
from lineage.detect.arrays import Tensor, torch

_STRIP = 64  # models whose products with the others are made at a time


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
    blocks = [
        (index, block)
        for index, layer in enumerate(layers)
        if layer.part is not Part.REST
        for block in blocks_of_units(layer)
    ]
    device, models = layers[0].values.device, len(layers[0].values)
    products = torch.empty(len(blocks), models, models, dtype=torch.float64, device=device)
    for into, (_, block) in zip(products, blocks, strict=True):
        _inner_products(block.double() - block.mean(0, dtype=torch.float64), into)
    values = torch.tensor([block.shape[1] for _, block in blocks], dtype=torch.float64, device=device)
    return Gram(products, values, tuple(index for index, _ in blocks))


def _inner_products(rows: Tensor, into: Tensor) -> None:
    """rows @ rows.T of (m, v) rows, written into (m, m): half of it is computed, the other half copied."""
    for start in range(0, len(rows), _STRIP):
        strip = slice(start, start + _STRIP)
        torch.mm(rows[strip], rows[start:].T, out=into[strip, start:])
        into[start + _STRIP :, strip] = into[strip, start + _STRIP :].T


def squared_distances(products: Tensor) -> Tensor:
    """(..., m, m) inner products -> (..., m, m) squared distances, never negative."""
    own = products.diagonal(dim1=-2, dim2=-1)
    return (own[..., :, None] + own[..., None, :] - 2 * products).clamp(min=0)


def squared_lengths(layers: Sequence[Layer]) -> Tensor:
    """(m,) float64: squared length of each model over the layers that `gram` takes."""
    own = [layer.values.double().square().sum((1, 2)) for layer in layers if layer.part is not Part.REST]
    return torch.stack(own).sum(0)
