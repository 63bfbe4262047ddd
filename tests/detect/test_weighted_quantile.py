"""Weighted quantiles against numpy's plain sort of every column."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lineage.detect.weighted_quantile import sort_network, weighted_quantile


def test_a_weighted_quantile_reaches_its_share_of_the_weight_and_skips_what_is_missing():
    values = torch.tensor([3.0, 1.0, torch.nan, 2.0])
    assert weighted_quantile(values, torch.tensor([1.0, 1.0, 50.0, 8.0]), 0.10) == 1.0
    assert weighted_quantile(values, torch.tensor([1.0, 1.0, 50.0, 8.0]), 0.15) == 2.0
    assert weighted_quantile(torch.full((3,), torch.nan), torch.ones(3), 0.5).isnan()


@pytest.mark.parametrize("groups", [1, 2, 5, 32, 33])
def test_weighted_quantiles_are_those_of_a_plain_sort(groups):
    random = np.random.default_rng(groups)
    values, weights = random.standard_normal((groups, 40)), random.exponential(size=(groups, 40)) * 1e-30
    weights[random.random((groups, 40)) < 0.2] = 0.0
    found = weighted_quantile(torch.from_numpy(values), torch.from_numpy(weights), 0.25)
    for value, weight, quantile in zip(values.T, weights.T, found.tolist(), strict=True):
        order = np.argsort(value)
        reached = np.cumsum(weight[order]) >= 0.25 * weight.sum()
        expected = value[order][reached & (weight[order] > 0)]
        assert np.isnan(quantile) if not len(expected) else quantile == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 8, 64])
def test_the_network_sorts_as_numpy_does(rows):
    values = np.random.default_rng(rows).integers(-9, 9, size=(rows, 5, 3))
    sorted_here = torch.from_numpy(values.copy())
    sort_network(sorted_here)
    assert np.array_equal(sorted_here.numpy(), np.sort(values, axis=0))
