"""Aligned values of two models -> one token a layer: scale-free evidence that means the same in every architecture.

For a pair (a, b), with D = b - a and M = (a + b)/2, groups of values are the rows of a layer (what one unit owns), its columns (what
one input feeds), single values, and the leading singular directions of D. For a group: d = |D|^2, m = |M|^2, and the radial
cosine c = <D, M> / (|D| |M|): what training adds lies at right angles to what was there, so it makes c of the later model positive
where much moved; decay makes it negative, alike everywhere or most where weights are seldom used.

A token has *odd* numbers, which turn their sign when the pair is turned (c against movement and against size, regressions of it,
differences of what is measured of each model alone), and *even* ones, which do not (how far, how evenly, what kind of layer).

Dimension letters: m models, p pairs, u units (rows), w values of a unit (columns), q quantile bins, k singular directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.side_by_side import side_by_side

BINS = 4
DIRECTIONS = 4
FORMATS = ("bfloat16", "float16")  # that a file's values may have been rounded to
ONE_BY_ONE = 1024  # single values looked at in a layer; with 512 to 4096 the shipped networks say the same
_CHUNK_VALUES = 1 << 20
_TINY = 1e-30

_GROUP_ODD = (
    "c mean", "c median", "c mean by movement", "z two", "z three", "z alpha", "gamma",
    *(f"c at movement {i}" for i in range(BINS)), *(f"c at size {i}" for i in range(BINS)),
    "c with movement", "c with size", "scaled only",
)  # fmt: skip
_GROUP_EVEN = ("c spread", "movement spread", "size spread", "movement with size", "count", "untouched", "pure scaling")
_VALUE_ODD = (
    *(f"sign at movement {i}" for i in range(2 * BINS)), *(f"sign at size {i}" for i in range(2 * BINS)), "growth of single values",
)  # fmt: skip
_VALUE_EVEN = ("kurtosis of change", "equal values", "log movement with log size")
_SPECTRUM_ODD = (
    *(f"lead {i}" for i in range(DIRECTIONS)), *(f"lead without scaling {i}" for i in range(DIRECTIONS)),
    "lead mean", "lead mean without scaling",
)  # fmt: skip
_SPECTRUM_EVEN = ("stable rank of change", "share of the lead", "scaling share")
_ALONE_ODD = (
    "norm", "norm by movement", "kurtosis", "shape L1", "largest", "zeros", "row norm spread", "column norm spread", "stable rank",
    "from the start", *(f"of {dtype}" for dtype in FORMATS),
)  # fmt: skip
_LAYER_EVEN = (
    "moved", "values", "depth", "embedding", "vector", "matrix", "first", "last", *(f"both of {dtype}" for dtype in FORMATS),
)  # fmt: skip

ODD = (
    *(f"rows: {n}" for n in _GROUP_ODD), *(f"columns: {n}" for n in _GROUP_ODD), *_VALUE_ODD, *_SPECTRUM_ODD, *_ALONE_ODD,
)  # fmt: skip
EVEN = (
    *(f"rows: {n}" for n in _GROUP_EVEN), *(f"columns: {n}" for n in _GROUP_EVEN), *_VALUE_EVEN, *_SPECTRUM_EVEN, *_LAYER_EVEN,
)  # fmt: skip

GROUPS = ("rows", "columns", "values", "spectrum", "alone")


def kind_of(name: str) -> str:
    """Which of GROUPS a number of ODD belongs to."""
    if name.startswith(("rows:", "columns:")):
        return name.partition(":")[0]
    if name in _VALUE_ODD:
        return "values"
    return "spectrum" if name in _SPECTRUM_ODD else "alone"


@dataclass(frozen=True, slots=True)
class Tokens:
    """
    Attributes:
        odd: (p, l, len(ODD)) float32, numbers that turn with the pair; even: (p, l, len(EVEN)) float32, numbers that do not.
        present: (p, l) bool: layers that moved; the others are 0.
    """

    odd: Tensor
    even: Tensor
    present: Tensor

    def turned(self) -> Tokens:
        """The tokens of the pairs (b, a)."""
        return Tokens(-self.odd, self.even, self.present)


def tokens(layers: Sequence[Layer], pairs: Tensor, alone: Sequence[Tensor] | None = None) -> Tokens:
    """
    Args:
        layers: l of them, of m models; pairs: (p, 2) int64, indices of models (a, b).
        alone: `measured_alone` of the same layers, where several runs of pairs share it.
    """
    alone = measured_alone(layers) if alone is None else alone
    found: tuple[list[Tensor], ...] = ([], [], [])
    for index, layer in enumerate(layers):
        sample = _sampled(layer)
        step = max(1, _CHUNK_VALUES // max(1, layer.values[0].numel()))
        of_pairs = partial(_of_layer, layer, index, len(layers), alone[index], sample)
        parts = side_by_side(of_pairs, pairs.split(step), layer.values.device.type)
        for into, each in zip(found, zip(*parts, strict=True), strict=True):
            into.append(torch.cat(each))
    odd, even, present = (torch.stack(each, 1) for each in found)
    return Tokens(odd, even, present)


def _of_layer(
    layer: Layer, index: int, count: int, alone: Tensor, sample: Tensor, pairs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    first, second = layer.values[pairs[:, 0]], layer.values[pairs[:, 1]]  # (p, u, w)
    change, middle = second - first, (first + second) / 2
    moved, size, along = change.square(), middle.square(), change * middle
    # summed in float64: where all units move alike, what is left between them would be the rounding of the sums
    rows = [each.sum(2, dtype=torch.float64) for each in (moved, size, along)]  # (p, u)
    columns = [each.sum(1, dtype=torch.float64) for each in (moved, size, along)]  # (p, w)
    d, m, y = (each.sum(1) for each in rows)  # (p,)
    present = (d > 1e-14 * m) & (m > 0)
    matrix = layer.values.shape[1] > 1 and layer.values.shape[2] > 1
    parts = [_groups(*rows), _groups(*columns) if matrix else _none(len(pairs), _GROUP_ODD, _GROUP_EVEN, change)]
    parts.append(_values(sample[pairs[:, 0]], sample[pairs[:, 1]]))
    parts.append(
        _spectrum(change, middle, d, m, y) if matrix else _none(len(pairs), _SPECTRUM_ODD, _SPECTRUM_EVEN, change)
    )
    difference = alone[pairs[:, 1]] - alone[pairs[:, 0]]  # (p, ...)
    relative = (d / m.clamp(min=_TINY)).sqrt()
    by_movement = (2 * y / (d * m).clamp(min=_TINY).sqrt())[:, None]
    odd_alone = torch.cat([difference[:, :1], by_movement, difference[:, 1:]], 1)
    kind = [layer.depth, layer.part is Part.EMBEDDING, not matrix, matrix, index == 0, index == count - 1]
    even_layer = torch.cat(
        [
            (relative.clamp(min=1e-7).log()[:, None] + 3) / 3,
            torch.tensor([[(layer.values[0].numel() + 1) ** 0.25 / 10, *map(float, kind)]])
            .to(d)
            .expand(len(pairs), -1),
            (alone[pairs[:, 0]] + alone[pairs[:, 1]])[:, -len(FORMATS) :] / 2,
        ],
        1,
    )
    odd = torch.cat([*(odd for odd, _ in parts), odd_alone], 1)
    even = torch.cat([*(even for _, even in parts), even_layer], 1)
    keep = present[:, None]
    odd, even = (torch.where(keep, each, 0.0).nan_to_num(0.0, 0.0, 0.0).float().clamp(-6, 6) for each in (odd, even))
    return odd, even, present


def _groups(moved: Tensor, size: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """From d, m, <D, M> of each group, (p, g): odd (p, len(_GROUP_ODD)), even (p, len(_GROUP_EVEN))."""
    used = (moved > 1e-14 * size) & (size > 0)
    count = used.sum(1)  # (p,)
    one = used.double()
    n = count.clamp(min=1)
    d, m = torch.where(used, moved, 1.0), torch.where(used, size, 1.0)
    scale = (d * m).sqrt()
    c = torch.where(used, along / scale, 0.0)
    log_d, log_m = torch.where(used, (d / m).log() / 2, 0.0), torch.where(used, m.log() / 2, 0.0)
    mean = c.sum(1) / n
    centred = one * (c - mean[:, None])
    quartiles = torch.where(used, c, torch.nan).nanquantile(c.new_tensor([0.25, 0.5, 0.75]), dim=1)  # (3, p)
    weight = torch.where(used, d, 0.0)
    by_movement = (weight * c).sum(1) / weight.sum(1).clamp(min=_TINY)
    x_d = one * (log_d - (log_d.sum(1) / n)[:, None])
    x_m = one * (log_m - (log_m.sum(1) / n)[:, None])

    def correlation(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt().clamp(min=1e-12)

    two = _regression([one * (m / d).sqrt(), one * (d / m).sqrt()], 2 * c, n)
    three = _regression([one * (m / d).sqrt(), one * (d / m).sqrt(), one], 2 * c, n)
    spread = quartiles[2] - quartiles[0]
    root = n.double().sqrt()
    odd = [
        _big(4 * mean), _big(4 * quartiles[1]), _big(4 * by_movement),
        _big(two[1][:, 1]), _big(three[1][:, 1]), _big(two[1][:, 0]), two[0][:, 1].clamp(-2, 2),
        *_by_bins(c, log_d, used, BINS), *_by_bins(c, log_m, used, BINS),
        correlation(centred, x_d) * root / 3, correlation(centred, x_m) * root / 3,
        (one * c.sign() * (c.abs() > 0.98)).sum(1) / n,
    ]  # fmt: skip
    even = [
        4 * spread, (x_d.square().sum(1) / n).sqrt(), (x_m.square().sum(1) / n).sqrt(), correlation(x_d, x_m),
        n.double().log() / 4, 1 - n / used.shape[1], (one * (c.abs() > 0.98)).sum(1) / n,
    ]  # fmt: skip
    enough = (count >= 4)[:, None]
    return torch.where(enough, torch.stack(odd, 1), 0.0), torch.where(enough, torch.stack(even, 1), 0.0)


def _by_bins(c: Tensor, key: Tensor, used: Tensor, bins: int) -> list[Tensor]:
    """Mean of c within equal shares of the groups, sorted by key: `bins` times (p,)."""
    order = torch.where(used, key, torch.inf).argsort(1)
    summed = torch.nn.functional.pad(torch.where(used, c, 0.0).gather(1, order).cumsum(1), (1, 0))  # (p, g + 1)
    count = used.sum(1)[:, None]  # (p, 1)
    edges = -(
        (-torch.arange(bins + 1, device=c.device) * count) // bins
    )  # (p, bins + 1), the first is 0, the last the count
    inside = summed.gather(1, edges).diff(dim=1) / edges.diff(dim=1).clamp(min=1)  # (p, bins)
    return list(_big(4 * inside).unbind(1))


def _regression(terms: Sequence[Tensor], target: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of target on terms, (p, g) each: coefficients and their z, (p, t) each."""
    design = torch.stack(list(terms), 2)  # (p, g, t)
    normal = design.transpose(1, 2) @ design  # (p, t, t)
    scale = normal.diagonal(dim1=1, dim2=2).clamp(min=_TINY).sqrt()  # (p, t)
    ridge = 1e-9 * torch.eye(len(terms), dtype=normal.dtype, device=normal.device)
    inverse = torch.linalg.inv(normal / (scale[:, :, None] * scale[:, None, :]) + ridge)
    right = (design * target[:, :, None]).sum(1) / scale
    found = (inverse @ right[:, :, None])[:, :, 0]
    # not |target|^2 less what is explained: where terms nearly lie on a line that difference is rounding alone
    left = (target - (design @ (found / scale)[:, :, None])[:, :, 0]).square().sum(1).clamp(min=1e-12)
    variance = (left / (count - len(terms)).clamp(min=1))[:, None] * inverse.diagonal(dim1=1, dim2=2)
    return found / scale, found / variance.clamp(min=_TINY).sqrt()


def _values(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """From sampled single values, (p, v) each: signs of movement against movement and against size."""
    change, middle = second - first, (first + second) / 2
    used = change != 0
    count = used.sum(1).clamp(min=1)
    c = torch.where(used, torch.sign(change * middle), 0.0)
    odd = []
    for key in (change.abs(), middle.abs()):
        odd += [each / 2 for each in _by_bins(c.double(), key, used, 2 * BINS)]
    fourth, square = change.double().pow(4).sum(1) / count, change.double().square().sum(1) / count
    growth = (second.abs() - first.abs()).double().sum(1) / change.abs().double().sum(1).clamp(min=_TINY)
    odd.append(_big(4 * growth))
    log_d = torch.where(used, change.abs().clamp(min=1e-12).log(), 0.0).double()
    log_m = torch.where(used, middle.abs().clamp(min=1e-12).log(), 0.0).double()
    x_d = used * (log_d - (log_d.sum(1) / count)[:, None])
    x_m = used * (log_m - (log_m.sum(1) / count)[:, None])
    together = (x_d * x_m).sum(1) / (x_d.square().sum(1) * x_m.square().sum(1)).sqrt().clamp(min=1e-12)
    even = [(fourth / square.square().clamp(min=_TINY)).clamp(min=0.1).log() / 2, 1 - count / change.shape[1], together]
    return torch.stack(odd, 1), torch.stack([each.double() for each in even], 1)


def _spectrum(change: Tensor, middle: Tensor, d: Tensor, m: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How much of a and of b lies in the leading singular directions of the change, with and without uniform scaling taken off."""
    shrink = (y / m.clamp(min=_TINY)).float()  # (p,)
    odd, lead_share = [], []
    means = []
    for matrix in (change, change - shrink[:, None, None] * middle):
        left, values, right = _leading(matrix)
        inside = torch.einsum("puk,puw,pwk->pk", left, middle, right)  # (p, k)
        ratio = (inside / values.clamp(min=_TINY)).clamp(-3, 3)
        strong = values > 1e-6 * values[:, :1].clamp(min=_TINY)
        ratio = torch.where(strong, ratio, 0.0)
        odd += [ratio[:, i].double() for i in range(DIRECTIONS)]
        weight = values.square()
        means.append(((weight * ratio).sum(1) / weight.sum(1).clamp(min=_TINY)).double())
        lead_share.append((weight[:, 0] / matrix.square().sum((1, 2)).clamp(min=_TINY)).double())
    rest = 1 / lead_share[0].clamp(min=1e-6)
    even = [rest.log() / 3, lead_share[1], y.square() / (d * m).clamp(min=_TINY)]
    return torch.stack([*odd, *means], 1), torch.stack(even, 1)


def _leading(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular triples by subspace iteration from a fixed start: (p, u, k), (p, k), (p, w, k)."""
    u, w = matrix.shape[1:]
    k = min(DIRECTIONS, u, w)
    start = torch.randn(w, k, generator=torch.Generator().manual_seed(0)).to(matrix)
    scaled = matrix / matrix.square().sum((1, 2), keepdim=True).sqrt().clamp(min=_TINY)
    right = _orthonormal(scaled.transpose(1, 2) @ (scaled @ start))
    left = _orthonormal(scaled @ right)  # (p, u, k)
    small = left.transpose(1, 2) @ matrix  # (p, k, w)
    energy, turn = torch.linalg.eigh((small @ small.transpose(1, 2)).double())  # rising
    energy, turn = energy.flip(1), turn.flip(2).float()
    values = energy.clamp(min=0).sqrt().float()  # (p, k)
    left = left @ turn
    right = (small.transpose(1, 2) @ turn) / values.clamp(min=_TINY)[:, None, :]
    if k < DIRECTIONS:
        pad = DIRECTIONS - k
        left, right = (torch.nn.functional.pad(each, (0, pad)) for each in (left, right))
        values = torch.nn.functional.pad(values, (0, pad))
    return left, values, right


def _orthonormal(columns: Tensor) -> Tensor:
    """(p, n, k) -> the same span, orthonormal; Gram and Schmidt, twice for the digits."""
    found: list[Tensor] = []
    for i in range(columns.shape[2]):
        column = columns[:, :, i]
        for _ in range(2):
            for other in found:
                column = column - (column * other).sum(1, keepdim=True) * other
            column = column / column.square().sum(1, keepdim=True).sqrt().clamp(min=_TINY)
        found.append(column)
    return torch.stack(found, 2)


def measured_alone(layers: Sequence[Layer]) -> list[Tensor]:
    """What is measured of each model alone: (m, 11) float64 for each layer."""
    found = []
    for layer in layers:
        gain = layer.values.shape[2] == 1 and bool((layer.values.mean(dtype=torch.float64) - 1).abs() < 0.5)
        step = max(1, _CHUNK_VALUES // layer.values[0].numel())
        found.append(torch.cat([_alone(models, gain) for models in layer.values.split(step)]))
    return found


def _alone(values: Tensor, gain: bool) -> Tensor:
    """(m, u, w) values of one layer -> (m, 11) float64. gain: they are factors that start at 1."""
    on_grid = [(values.to(getattr(torch, dtype)).to(values.dtype) == values).double().mean((1, 2)) for dtype in FORMATS]
    values = values.double()
    flat = values.flatten(1)  # (m, v)
    square = flat.square().mean(1).clamp(min=_TINY)
    rms = square.sqrt()
    rows, columns = values.square().mean(2).clamp(min=_TINY), values.square().mean(1).clamp(min=_TINY)
    kurtosis = flat.pow(4).mean(1) / square.square()
    products = (
        values @ values.transpose(1, 2) if values.shape[1] <= values.shape[2] else values.transpose(1, 2) @ values
    )
    stable = products.square().sum((1, 2)).clamp(min=_TINY) / products.diagonal(dim1=1, dim2=2).sum(1).square().clamp(
        min=_TINY
    )
    vector = values.shape[2] == 1
    started = (
        (flat - 1.0 if gain else flat).square().sum(1).clamp(min=_TINY).log() / 2 if vector else torch.zeros_like(rms)
    )
    return torch.stack(
        [
            8 * rms.log(),
            4 * kurtosis.clamp(min=_TINY).log(),
            20 * (flat.abs().mean(1) / rms),
            2 * (flat.abs().amax(1) / rms).clamp(min=_TINY).log(),
            20 * (flat.abs() < 0.05 * rms[:, None]).double().mean(1),
            4 * rows.log().std(1, correction=0),
            4 * columns.log().std(1, correction=0),
            4 * stable.log(),
            2 * started,
            *on_grid,
        ],
        1,
    )


def _sampled(layer: Layer) -> Tensor:
    """(m, v): the same few thousand single values of every model."""
    flat = layer.values.flatten(1)
    if flat.shape[1] <= ONE_BY_ONE:
        return flat
    chosen = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0))[:ONE_BY_ONE]
    return flat[:, chosen.sort().values.to(flat.device)]


def _none(pairs: int, odd: Sequence[str], even: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
    zeros = torch.zeros(pairs, len(odd) + len(even), dtype=torch.float64, device=like.device)
    return zeros[:, : len(odd)], zeros[:, len(odd) :]


def _big(x: Tensor) -> Tensor:
    """Any number, pressed into a few units: sign and order kept, odd."""
    return x.asinh()
