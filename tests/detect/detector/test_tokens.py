"""Tokens: turned with the pair, the same whatever the order of units and whatever the scale, nothing where nothing moved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lineage.detect.detector.tokens import EVEN, ODD, tokens
from tests.detect.detector.families import layers_of_family

PAIRS = torch.tensor([[0, 1], [0, 2], [1, 4], [2, 3], [4, 7]])


def close(one, other, tolerance=2e-3):
    return torch.allclose(one.odd, other.odd, atol=tolerance) and torch.allclose(one.even, other.even, atol=tolerance)


def test_turning_a_pair_turns_the_odd_numbers_and_keeps_the_even_ones():
    layers = layers_of_family()
    there, back = tokens(layers, PAIRS), tokens(layers, PAIRS.flip(1))
    assert close(back, there.turned())
    assert torch.equal(there.present, back.present)
    assert there.odd.abs().sum() > 0


def test_there_is_a_name_for_every_number():
    found = tokens(layers_of_family(), PAIRS)
    assert found.odd.shape == (5, 6, len(ODD)) and found.even.shape == (5, 6, len(EVEN))
    assert len(set(ODD)) == len(ODD) and len(set(EVEN)) == len(EVEN)
    assert bool(torch.isfinite(found.odd).all()) and bool(torch.isfinite(found.even).all())


def test_the_scale_of_the_weights_does_not_matter():
    layers = [layer for layer in layers_of_family() if layer.values.shape[2] > 1]
    scaled = [replace(layer, values=layer.values * 8) for layer in layers]
    assert close(tokens(layers, PAIRS), tokens(scaled, PAIRS))


def test_the_order_of_units_matters_to_nothing_but_the_single_values_sampled():
    layers = [layer for layer in layers_of_family() if layer.values.shape[2] > 1]
    mixed = [
        replace(
            layer,
            values=layer.values[:, torch.randperm(layer.values.shape[1], generator=torch.Generator().manual_seed(1))],
        )
        for layer in layers
    ]
    here, there = tokens(layers, PAIRS), tokens(mixed, PAIRS)
    groups = [i for i, name in enumerate(ODD) if name.startswith(("rows:", "columns:"))]
    assert torch.allclose(here.odd[..., groups], there.odd[..., groups], atol=2e-3)


def test_a_layer_that_did_not_move_is_absent():
    layers = layers_of_family()
    layers[0].values[1] = layers[0].values[0]
    found = tokens(layers, PAIRS[:1])
    assert found.present[0].tolist() == [False, True, True, True, True, True]
    assert not found.odd[0, 0].any() and not found.even[0, 0].any()


def test_pairs_are_described_alike_one_by_one_and_together():
    layers = layers_of_family()
    together = tokens(layers, PAIRS)
    for i in range(len(PAIRS)):
        alone = tokens(layers, PAIRS[i : i + 1])
        assert torch.allclose(alone.odd[0], together.odd[i], atol=1e-3)


def test_pure_decay_is_seen_as_scaling_towards_zero():
    layers = layers_of_family()
    for layer in layers:
        layer.values[1] = layer.values[0] * 0.9
    found = tokens(layers, PAIRS[:1])
    scaled = found.odd[0, found.present[0]][:, ODD.index("rows: scaled only")]
    assert scaled.tolist() == pytest.approx([-1.0] * len(scaled), abs=1e-3)


def test_values_that_half_precision_can_hold_are_seen_of_one_model_and_of_both():
    layers = layers_of_family()
    rounded = []
    for layer in layers:
        values = layer.values.clone()
        values[:2] = values[:2].bfloat16().float()  # the first two models
        rounded.append(replace(layer, values=values))
    found = tokens(rounded, torch.tensor([[0, 1], [0, 2], [2, 3]]))
    one, both = ODD.index("of bfloat16"), EVEN.index("both of bfloat16")
    there = found.present.all(0)
    assert found.odd[0, there, one].tolist() == [0.0] * int(there.sum())
    assert (found.odd[1, there, one] < -0.8).all() and (found.odd[2, there, one].abs() < 0.2).all()
    assert (found.even[0, there, both] == 1).all() and (found.even[2, there, both] < 0.2).all()
