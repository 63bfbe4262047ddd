"""Rows of a vocabulary without a gradient, shrunk by decay and rounded to 16 bits: which model came first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.signals.shrunk_rows import rows_fit_another, shrunk_rows


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def bfloat(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values.astype(np.float32)).bfloat16().float().numpy()


def table(*models: np.ndarray, part: Part = Part.EMBEDDING) -> list[Layer]:
    values = torch.from_numpy(np.stack(models).astype(np.float32))
    return [Layer("embeddings.weight", 0.0, part, values[0].numel(), values)]


@pytest.fixture
def rows() -> np.ndarray:
    return 0.05 * np.random.default_rng(1).standard_normal((8, 384))


@pytest.mark.parametrize("stored", [half, bfloat])
def test_the_model_with_the_shorter_rows_came_later_whichever_way_it_is_asked(rows, stored):
    child = rows * 0.98
    child[:3] += 0.002 * np.random.default_rng(2).standard_normal((3, 384))  # tokens that occur
    found = shrunk_rows(table(stored(rows), stored(child), stored(child * 0.97)))
    assert found.tolist() == [[0, -1, -1], [1, 0, -1], [1, 1, 0]]


def test_a_factor_is_told_down_to_ten_errors_of_what_rounding_leaves(rows):
    error = 2.0**-11 / 384**0.5 / 8**0.5
    for factor, told in ((1 - 30 * error, 1), (1 - 3 * error, 0), (1.0, 0)):
        assert shrunk_rows(table(half(rows), half(rows * factor)))[1, 0] == told


@pytest.mark.parametrize(
    "why", ["every row trained", "rows of other factors", "two rows", "more than 16 bits", "a matrix"]
)
def test_what_says_nothing(rows, why):
    rng = np.random.default_rng(3)
    child = rows * 0.98
    if why == "every row trained":
        child += 2e-4 * rng.standard_normal(rows.shape)
    if why == "rows of other factors":
        child = rows * rng.uniform(0.9, 0.99, (8, 1))
    if why == "two rows":
        child[2:] = rng.standard_normal((6, 384))
    stored = (lambda values: values) if why == "more than 16 bits" else half
    layers = table(stored(rows), stored(child), part=Part.BODY if why == "a matrix" else Part.EMBEDDING)
    assert not shrunk_rows(layers).any()


def test_one_model_in_16_bits_is_enough(rows):
    assert shrunk_rows(table(rows, half(rows * 0.98)))[1, 0] == 1


@pytest.mark.parametrize("moved", [0, 5])
def test_rows_that_a_sibling_left_as_they_were_may_be_shrunk_from_either(rows, moved):
    """The parent, a child trained without decay that moved some rows, and one with decay."""
    sibling = rows.copy()
    sibling[:moved] += 0.002 * np.random.default_rng(2).standard_normal((moved, 384))
    layers = table(half(rows), half(sibling), half(rows * 0.98))
    found = shrunk_rows(layers)
    assert found[2].tolist() == [1, 1, 0]
    assert rows_fit_another(layers, found, 0 * found)[2].tolist() == [not moved, True, False]
