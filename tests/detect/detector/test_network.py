"""What the networks guarantee by construction, whatever their weights."""

from __future__ import annotations

import pytest
import torch

from lineage.detect.detector.network import DirectionNetwork
from lineage.detect.detector.tokens import EVEN, ODD


@pytest.fixture
def dice():
    torch.manual_seed(5)
    return torch.Generator().manual_seed(5)


def drawn(dice):
    odd, even = (torch.randn(7, 9, len(names), generator=dice) for names in (ODD, EVEN))
    return odd, even, torch.rand(7, 9, generator=dice) > 0.3


@pytest.mark.slow
def test_turning_the_pair_turns_the_answer_exactly(dice):
    network = DirectionNetwork().eval()
    odd, even, present = drawn(dice)
    assert torch.equal(network(odd, even, present), -network(-odd, even, present))


def test_the_order_of_layers_does_not_matter(dice):
    network = DirectionNetwork().eval()
    odd, even, present = drawn(dice)
    order = torch.randperm(9, generator=dice)
    mixed = network(odd[:, order], even[:, order], present[:, order])
    assert torch.allclose(mixed, network(odd, even, present), atol=1e-5)


def test_absent_layers_do_not_matter_and_without_any_there_is_no_answer(dice):
    network = DirectionNetwork().eval()
    odd, even, present = drawn(dice)
    there = present[:, :, None]
    assert torch.allclose(network(odd * there, even * there, present), network(odd, even, present), atol=1e-5)
    assert not network(odd, even, torch.zeros_like(present)).any()
