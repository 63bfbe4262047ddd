"""How each unit of a layer differs between two models: the three numbers that growth, direction and balance are made of.

For models a, b and one unit: d = |b - a|^2, M = |(a + b)/2|^2, y = |b|^2 - |a|^2. Few pairs come from their differences. Of many pairs
the inner products of all models are computed, in tiles of models times models that stay in the cache, around the models' mean, so that
d is no small difference of large numbers. They are float32 where that leaves d, M and what is measured enough digits, and are done again in
float64 where it does not, as among near-identical models.

Dimension letters: m models, p pairs, u units, w values a unit, x and y models of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.side_by_side import side_by_side

MINIMUM_UNITS = 4
# lengths that changed by less, over all units and beside the squares of what moved, were kept: a turn of the units (merged OFT and BOFT)
# does that, and has no order; training changes them by as much as it moves, 0.16 and more in 1,000 pairs of real families
TURNED = 0.15
Measure = Callable[[Tensor, Tensor, Tensor], Tensor]

_GRAM_PAYS = 128  # number of inner products that a matrix product computes in the time of one pair's differences
_TILE = 128  # models on each side of a tile at most
_TILE_STATISTICS = 1 << 20  # units times pairs of a tile
_CHUNK_STATISTICS = 1 << 22  # units times pairs
_CHUNK_VALUES = 1 << 24  # numbers held at a time
_DIGITS = 2.0**-6  # of two models' squared lengths: what is smaller and made of them has lost six bits of its 24


@dataclass(frozen=True, slots=True)
class _Tile:
    """Pairs of a model in `first` and one in `second`, which is the same or comes later.

    Attributes:
        places: (p,) int64: of the pairs in the flattened (x, y) tile, rising.
        sign: (p,) float64: -1 where the pair asked about is turned; None where none is.
    """

    first: slice
    second: slice
    places: Tensor
    sign: Tensor | None

    @property
    def size(self) -> int:
        return (self.first.stop - self.first.start) * (self.second.stop - self.second.start)


@dataclass(frozen=True, slots=True)
class _Tiling:
    """order: (p,) int64, the pairs in the order of the tiles."""

    tiles: tuple[_Tile, ...]
    order: Tensor


@dataclass(frozen=True, slots=True)
class _CentredUnits:
    """Units around a point c, of one dtype.

    Attributes:
        values: (u, m, w): x - c; own: (u, m): |x - c|^2.
        more: (u, m): |x|^2 - |c|^2; half: (u, m): |x|^2 / 2.
    """

    values: Tensor
    own: Tensor
    more: Tensor
    half: Tensor

    def of(self, models: slice) -> _CentredUnits:
        return _CentredUnits(*(each[:, models] for each in (self.values, self.own, self.more, self.half)))


def turned(moved: Tensor, grown: Tensor) -> Tensor:
    """(u, p) d and y of the units of a layer -> (p,) bool: whether all of them kept their lengths while they moved."""
    return grown.abs().sum(0) <= TURNED * moved.sum(0)


def measured(layers: Sequence[Layer], pairs: Tensor, *measures: Measure) -> tuple[list[Tensor], ...]:
    """What functions of the units' d, M, y say, in one pass over the values.

    Args:
        pairs: (p, 2) int64, indices of models (a, b).
        measures: each from (u, p) d, M, y of a layer to (p, ...). They are given float32 where no unit's d or M is small against its
            models, so that d and M are above 0; nan where that is not enough for them has them asked again in float64. What they are
            given is theirs to overwrite. Only those odd in y turn with the pair.
    Returns:
        For each function a list of (p, ...), one a layer that can be measured.
    """
    useful = [layer for layer in layers if measurable(layer)]
    if not useful:
        return tuple([] for _ in measures)
    models = len(useful[0].values)
    if _GRAM_PAYS * len(pairs) < models * models:

        def of_layer(layer: Layer) -> list[Tensor]:
            return [torch.cat(each) for each in zip(*_from_differences(layer.values, pairs, measures), strict=True)]

    else:
        order = _busiest_first(pairs, models)
        ranked = pairs if order is None else order.argsort()[pairs]
        tilings = {side: _tiling(ranked, models, side) for side in {_side(layer) for layer in useful}}

        def of_layer(layer: Layer) -> list[Tensor]:
            values = layer.values if order is None else layer.values[order]
            return _from_products(values, tilings[_side(layer)], measures)

    said = side_by_side(of_layer, useful, useful[0].values.device.type)
    return tuple([of_measures[i] for of_measures in said] for i in range(len(measures)))


def _side(layer: Layer) -> int:
    """Models on each side of a tile: a power of two, so that the tile's statistics stay in the cache."""
    return min(_TILE, 1 << int(max(1, _TILE_STATISTICS / layer.values.shape[1]) ** 0.5).bit_length() - 1)


def measurable(layer: Layer) -> bool:
    """Whether a layer has enough units of enough values for statistics over units."""
    return layer.part is Part.BODY and layer.values.shape[1] >= MINIMUM_UNITS and layer.values.shape[2] > 1


def _from_differences(values: Tensor, pairs: Tensor, measures: Sequence[Measure]) -> Iterator[list[Tensor]]:
    """(m, u, w) values, (p, 2) pairs -> what the measures say of runs of pairs."""
    _, units, width = values.shape
    step = max(1, min(_CHUNK_STATISTICS // units, _CHUNK_VALUES // (units * width)))
    for part in pairs.split(step):
        first, second = values[part[:, 0]], values[part[:, 1]]  # (p, u, w)
        difference, middle = second - first, (first + second) / 2
        sums = difference.square().sum(2), middle.square().sum(2), 2 * (difference * middle).sum(2)  # (p, u) each
        moved, size, grown = (each.double().T for each in sums)
        yield [measure(moved, size, grown) for measure in measures]


def _busiest_first(pairs: Tensor, models: int) -> Tensor | None:
    """(m,) int64: models by the number of their pairs, where all pairs have one of a few: they then lie in one row of tiles; else None."""
    if models <= 2 * _TILE:
        return None
    order = (-pairs.flatten().bincount(minlength=models)).argsort()
    return order if bool((order.argsort()[pairs].amin(1) < _TILE).all()) else None


def _tiling(pairs: Tensor, models: int, side: int) -> _Tiling:
    """Pairs sorted by the tile that they lie in, the lower model first."""
    low, high = pairs.amin(1), pairs.amax(1)
    per_row = -(-models // side)
    tile = low // side * per_row + high // side
    width = torch.where(high // side == per_row - 1, models - (per_row - 1) * side, side)
    place = low % side * width + high % side
    order = (tile * side**2 + place).argsort()
    owners, counts = torch.unique_consecutive(tile[order], return_counts=True)
    sign = torch.where(pairs[:, 0] > pairs[:, 1], -1.0, 1.0).double()[order]
    found, start = [], 0
    for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
        first, second = (slice(side * i, min(models, side * (i + 1))) for i in divmod(owner, per_row))
        mine = slice(start, start + count)
        if first != second:
            first = slice(first.start, int(low[order[mine]].max()) + 1)  # rows without pairs are not computed
        turned = bool((sign[mine] < 0).any())
        found.append(_Tile(first, second, place[order[mine]], sign[mine] if turned else None))
        start += count
    return _Tiling(tuple(found), order)


def _from_products(values: Tensor, tiling: _Tiling, measures: Sequence[Measure]) -> list[Tensor]:
    """(m, u, w) values -> what the measures say of all pairs, in their order."""
    centre = values.mean(0)  # (u, w)
    rough = _centred(values, centre, torch.float32)
    largest = max(tile.size for tile in tiling.tiles)
    space = values.new_empty(3, largest * values.shape[1], dtype=torch.float64)
    fine: _CentredUnits | None = None
    parts = []
    for tile in tiling.tiles:
        said = _in_tile(rough.of(tile.first), rough.of(tile.second), tile, space, measures)
        if said is None:
            if fine is None and values.numel() <= _CHUNK_VALUES:
                fine = _centred(values, centre, torch.float64)
            first, second = (
                fine.of(models) if fine else _centred(values[models], centre, torch.float64)
                for models in (tile.first, tile.second)
            )
            said = _in_tile(first, second, tile, space, measures)
        parts.append(said or [])
    said = []
    for each in zip(*parts, strict=True):
        in_tiles = torch.cat(each)
        said.append(torch.empty_like(in_tiles).index_copy_(0, tiling.order, in_tiles))
    return said


def _centred(values: Tensor, centre: Tensor, dtype: torch.dtype) -> _CentredUnits:
    """(m, u, w) values around (u, w)."""
    models, units, width = values.shape
    around = centre.to(dtype)[:, None]  # (u, 1, w)
    moved = torch.empty(units, models, width, dtype=dtype, device=values.device)
    moved.copy_(values.transpose(0, 1)).sub_(around)
    own = torch.linalg.vector_norm(moved, dim=2).square_()  # (u, m)
    more = own + 2 * torch.bmm(moved, around.transpose(1, 2))[:, :, 0]
    return _CentredUnits(moved, own, more, (more + around.square().sum(2)) / 2)


def _in_tile(
    first: _CentredUnits, second: _CentredUnits, tile: _Tile, space: Tensor, measures: Sequence[Measure]
) -> list[Tensor] | None:
    """What the measures say of a tile's pairs; None where float32 has not enough digits. space: numbers to be overwritten."""
    shape = torch.Size((*first.own.shape, second.own.shape[1]))
    moved, size, grown = (
        each[: shape.numel()].view(shape) for each in space.view(first.own.dtype).unbind()
    )  # (u, x, y)
    torch.add(first.own[:, :, None], second.own[:, None, :], out=moved)
    moved.baddbmm_(first.values, second.values.transpose(1, 2), alpha=-2)
    torch.add(first.half[:, :, None], second.half[:, None, :], out=size)
    size.sub_(moved, alpha=0.25)
    torch.sub(second.more[:, None, :], first.more[:, :, None], out=grown)
    rough = moved.dtype == torch.float32
    if tile.first == tile.second:
        moved.diagonal(dim1=1, dim2=2).fill_(torch.inf if rough else 0.0)  # no pairs
    if rough:
        enough = moved.amin(2) > _DIGITS * (first.own + second.own.amax(1, keepdim=True))  # (u, x)
        enough &= size.amin(2) > _DIGITS * (first.half + second.half.amax(1, keepdim=True))
        if not bool(enough.all()):
            return None
    else:
        moved.clamp_(min=0)
    statistics = [each.flatten(1) for each in (moved, size, grown)]
    whole = tile.sign is None and 2 * len(tile.places) >= tile.size  # then picking from the results is quicker
    if not whole:
        statistics = [each.gather(1, tile.places.expand(len(each), -1)) for each in statistics]
    if tile.sign is not None:
        statistics[2] *= tile.sign
    said = [measure(*(each.clone() for each in statistics)) for measure in measures[:-1]]
    said.append(measures[-1](*statistics))
    if whole:
        said = [each.index_select(0, tile.places) for each in said]
    return None if rough and any(bool(each.isnan().any()) for each in said) else said
