"""Statistics of units from products of many models, and growth made of them, against differences of the pairs in float64."""

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part, align
from lineage.detect.signals import units
from lineage.detect.signals.growth import growth
from lineage.detect.signals.units import TURNED, measured
from tests.builders import sketch_of

MODELS, UNITS, WIDTH = 140, 24, 20  # more models than a tile has


def noise(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((MODELS, UNITS, WIDTH))).float()


def family_tree() -> torch.Tensor:
    """Each model is an earlier one, shrunk, and moved unlike in every unit."""
    random = np.random.default_rng(7)
    models = noise(1)
    moved = torch.from_numpy(random.lognormal(-1.2, 0.5, (MODELS, UNITS, 1))).float()
    for i in range(1, MODELS):
        models[i] = 0.98 * models[int(random.integers(0, i))] + moved[i] * models[i]
    return models


def clusters() -> torch.Tensor:
    """Far groups of models that differ within a group by 1e-4."""
    return noise(2)[torch.arange(MODELS) % 5] + 1e-4 * noise(3)


def frozen_units() -> torch.Tensor:
    models = family_tree()
    models[MODELS // 2 :, :5] = models[0, :5]
    return models


FAMILIES = {
    "a tree": family_tree,
    "strangers": lambda: noise(4),
    "near-identical models": lambda: noise(4)[:1] + 1e-4 * noise(5),
    "clusters": clusters,
    "half precision": lambda: (noise(4)[:1] + 0.01 * noise(5)).half().float(),
    "bfloat16": lambda: family_tree().bfloat16().float(),
    "frozen units": frozen_units,
    "scaled copies": lambda: noise(4)[:1] * torch.linspace(0.9, 1.0, MODELS)[:, None, None] + 0.01 * noise(5),
}


def layer(values: torch.Tensor) -> Layer:
    return Layer("a.weight", 0.0, Part.BODY, values[0].numel(), values)


def all_pairs(models: int = MODELS) -> torch.Tensor:
    return torch.triu_indices(models, models, 1).T


def from_differences(values: torch.Tensor, pairs: torch.Tensor) -> list[torch.Tensor]:
    a, b = values.double()[pairs[:, 0]], values.double()[pairs[:, 1]]
    return [(b - a).square().sum(2), ((a + b) / 2).square().sum(2), ((b - a) * (b + a)).sum(2)]  # (p, u) each


def fitted(values: torch.Tensor, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """z and gamma of weighted least squares, by QR of each pair's units, in float64; 0 where the units only turned."""
    d, m, y = from_differences(values, pairs)
    used = d > 1e-12 * m
    root = torch.where(used, (m * d).clamp(min=1e-300) ** -0.5, 0.0)
    target = (root * y)[:, :, None]
    design = torch.stack([root * m, root * d], 2)  # (p, u, 2)
    q, r = torch.linalg.qr(design)
    coefficients = torch.linalg.solve(r, q.mT @ target)  # (p, 2, 1)
    left = (target - design @ coefficients).square().sum((1, 2)) / (used.sum(1) - 2)
    gamma = coefficients[:, 1, 0].masked_fill(y.abs().sum(1) <= TURNED * d.sum(1), 0.0)
    return gamma / left.sqrt() * r[:, 1, 1].abs(), gamma


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_growth_of_all_pairs_is_that_of_each_pair_in_float64(name):
    values = FAMILIES[name]()
    pairs = all_pairs()
    z, gamma = fitted(values, pairs)
    found = growth([layer(values)], pairs)
    assert ((found.z - z).abs() <= 1e-3 * z.abs().clamp(min=1)).all()
    assert ((found.gamma - gamma).abs() <= 1e-3 * torch.maximum(gamma.abs(), (gamma / z).nan_to_num(0.0).abs())).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_d_keeps_its_digits_however_near_the_models_are(name):
    values = FAMILIES[name]()
    pairs = all_pairs()
    (moved,), (size,), (grown,) = measured(
        [layer(values)],
        pairs,
        lambda d, m, y: d.T.double(),
        lambda d, m, y: m.T.double(),
        lambda d, m, y: (y / (m * d).sqrt()).nan_to_num(0.0).T.double(),
    )
    d, m, y = from_differences(values, pairs)
    assert ((moved - d).abs() <= 1e-4 * d + 1e-13 * m).all()
    assert ((size - m).abs() <= 1e-4 * m).all()
    stirred = d > 1e-12 * m
    assert (grown - y / (m * d).sqrt())[stirred].abs().max() < 1e-4


def test_float32_serves_where_models_lie_apart_and_float64_where_they_do_not():
    def dtypes(values):
        ((seen,),) = measured([layer(values)], all_pairs(), lambda d, m, y: d.new_zeros(d.shape[1], 1))
        return seen.dtype

    assert dtypes(noise(4)) == torch.float32
    assert dtypes(clusters()) == torch.float64


def test_few_pairs_many_pairs_and_turned_pairs_are_answered_alike_and_in_their_order():
    values = family_tree()
    pairs = all_pairs()
    shuffled = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))]
    whole = growth([layer(values)], pairs)
    by_pair = {tuple(p): z for p, z in zip(pairs.tolist(), whole.z.tolist(), strict=True)}
    for asked in (shuffled, shuffled[:2000], shuffled[:20]):
        there, back = growth([layer(values)], asked), growth([layer(values)], asked.flip(1))
        assert there.z.tolist() == pytest.approx([by_pair[tuple(p)] for p in asked.tolist()], rel=1e-3, abs=1e-3)
        assert torch.equal(there.z, -back.z)
        assert torch.equal(there.gamma, -back.gamma)
    both = torch.cat([shuffled[:500], shuffled[:500].flip(1)])
    z = growth([layer(values)], both).z
    assert torch.equal(z[:500], -z[500:])


def test_small_tiles_and_large_ones_say_the_same(monkeypatch):
    values = family_tree()
    whole = growth([layer(values)], all_pairs())
    monkeypatch.setattr(units, "_TILE", 16)
    assert growth([layer(values)], all_pairs()).z.tolist() == pytest.approx(whole.z.tolist(), rel=1e-3, abs=1e-3)


def test_pairs_that_all_have_one_of_a_few_models_lie_in_one_row_of_tiles():
    values = torch.cat([family_tree(), noise(8), noise(9)])
    few = torch.tensor([7, 150, 300, 301, 412])
    star = torch.stack([few.repeat_interleave(len(values)), torch.arange(len(values)).repeat(len(few))], 1)
    star = torch.unique(star[star[:, 0] != star[:, 1]].sort(1).values, dim=0)
    order = units._busiest_first(star, len(values))
    tiles = units._tiling(order.argsort()[star], len(values), units._TILE).tiles
    assert sum(tile.size for tile in tiles) < len(values) * (len(few) + units._TILE)
    z, gamma = fitted(values, star)
    found = growth([layer(values)], star)
    assert ((found.z - z).abs() <= 1e-3 * z.abs().clamp(min=1)).all()
    assert ((found.gamma - gamma).abs() <= 1e-3 * torch.maximum(gamma.abs(), (gamma / z).nan_to_num(0.0).abs())).all()


@pytest.mark.parametrize(
    ("shape", "units"),
    [
        ((3, 3, 8, 24), 24),
        ((1, 1, 24, 40), 40),
        ((3, 3, 24, 1), 24),
        ((24, 8, 3, 3), 24),
        ((24, 1, 3, 3), 24),
        ((3, 3, 7, 7), 3),
    ],
)
def test_filters_are_units_wherever_their_axis_lies_and_whatever_they_are_called(shape, units):
    """(height, width, inputs, outputs) as TensorFlow has them, under any name, and with one filter for each input."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    sketches = [sketch_of({"conv1/weights": values}), sketch_of({"conv1/weights": 2 * values})]
    (layer,) = align(sketches, torch.device("cpu"))
    assert layer.values.shape[1] == units
