"""The rules of the Model Atlas, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import torch

from lineage.detect.methods.atlas import chart
from lineage.detect.methods.to_decisions import CannotTake
from tests.detect.methods.models import asked, parents, subjects_of, two_families

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
SETTINGS = {"nearest": 5, "quantile": 0.6}


def days(*numbers: int) -> list[datetime]:
    return [BEGAN + timedelta(days=n) for n in numbers]


def apart(points: list[float]) -> torch.Tensor:
    return torch.tensor([[abs(a - b) for b in points] for a in points], dtype=torch.float64)


def test_it_needs_dates() -> None:
    with pytest.raises(CannotTake, match="date"):
        asked("atlas", subjects_of(two_families()[0]))


def test_parents_are_earlier_and_of_the_same_family() -> None:
    models, _ = two_families()
    dated = [replace(s, created_at=BEGAN + timedelta(days=i)) for i, s in enumerate(subjects_of(models))]
    found = parents(asked("atlas", dated))
    assert found["a"] is None and found["b"] is None
    order = list(models)
    assert all(p is None or (order.index(p) < order.index(c) and p[0] == c[0]) for c, p in found.items())


def test_a_duplicate_is_a_leaf_under_what_it_equals() -> None:
    found = chart([0, 1, 2], apart([0.0, 3.0, 3.0]), days(0, 1, 2), [False] * 3, SETTINGS)
    assert found == {1: 0, 2: 1}


def test_a_quantized_copy_is_a_leaf_under_the_nearest() -> None:
    found = chart([0, 1, 2, 3], apart([0.0, 3.0, 2.9, 4.0]), days(0, 3, 1, 4), [False, False, True, False], SETTINGS)
    assert found[2] == 1 and 2 not in found.values()


def test_a_chain_takes_the_nearest_and_a_sweep_the_earliest() -> None:
    snake = chart(
        list(range(6)), apart([0, 1, 2, 3, 4, 5]), days(0, 1, 2, 3, 4, 5), [False] * 6, {**SETTINGS, "quantile": 0.0}
    )
    assert snake[5] in (4, 0) and snake[3] in (2, 0)
    points = torch.eye(6, dtype=torch.float64)
    points[0] = 0
    fan = chart(list(range(6)), torch.cdist(points, points), days(0, 1, 2, 3, 4, 5), [False] * 6, SETTINGS)
    assert all(fan[i] == 0 for i in range(1, 6))
