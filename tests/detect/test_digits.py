"""Of a coarse and a finer model that hardly differ, the grid of the coarse one says which came first."""

import torch

from lineage.detect.align import Layer, Part
from lineage.detect.signals.digits import LOG_ODDS, digits

BF16, F32 = 8, 24


def said(first, second, precisions):
    values = torch.stack([first, second])[:, :, None].float()
    products = values.flatten(1).double()
    distance, lengths = torch.cdist(products, products).square(), products.square().sum(1)
    layer = Layer("layer.weight", 0.5, Part.BODY, len(first), values)
    found = digits([layer], precisions, distance, lengths, torch.tensor([[1], [0]]))
    assert torch.equal(found, -found.T)
    return float(found[1, 0])  # that the first one is the parent


def start():
    return torch.randn(4096, generator=torch.Generator().manual_seed(0))


def step(share):
    return share * 2.0**-8 * start().abs() * torch.randn(4096, generator=torch.Generator().manual_seed(1))


def test_a_child_that_hardly_left_its_parents_grid_came_second():
    parent = start().bfloat16().float()
    assert said(parent, parent + step(0.1), (BF16, F32)) == LOG_ODDS
    assert said(parent + step(0.1), parent, (F32, BF16)) == -LOG_ODDS


def test_what_was_rounded_after_a_little_training_came_second():
    parent = start()
    child = (parent + step(0.1)).bfloat16().float()
    assert said(parent, child, (F32, BF16)) == LOG_ODDS


def test_a_light_tuning_in_coarse_numbers_came_second_though_a_third_of_them_went_on_to_the_next():
    """A step of training that is less than half of one of the grid's changes nothing; others go to the next number there is."""
    parent = start()
    child = parent.bfloat16().float()
    moved = torch.arange(len(child)) % 3 == 0
    child = torch.where(moved, child * (1 + 2.0**-7), child).bfloat16().float()
    assert said(parent, child, (F32, BF16)) == LOG_ODDS


def test_models_of_the_same_digits_or_far_apart_are_not_ordered():
    parent = start().bfloat16().float()
    assert said(parent, (parent + step(0.5)).bfloat16().float(), (BF16, BF16)) == 0
    assert said(parent, parent + step(100), (BF16, F32)) == 0
    assert said(parent, parent + step(3), (BF16, F32)) == 0
