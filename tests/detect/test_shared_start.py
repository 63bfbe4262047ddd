"""A shared start is told from kinship by what is kept of the structure that training made."""

import torch

from lineage.detect.align import Layer, Part
from lineage.detect.signals.shared_start import APART, kin, over_relatives, structure_kept


def trained(start, seed, steps=6.0):
    """A weight after training: a few strong directions on top of what was there."""
    dice = torch.Generator().manual_seed(seed)
    left, right = torch.randn(start.shape[0], 3, generator=dice), torch.randn(3, start.shape[1], generator=dice)
    return start + steps * left @ right / start.shape[0] ** 0.5


def layers_of(*models):
    return [Layer(f"layer{i}.weight", 0.5, Part.BODY, 2048, torch.stack([m[i] for m in models])) for i in range(3)]


def start(seed):
    dice = torch.Generator().manual_seed(seed)
    return [torch.randn(32, 64, generator=dice) for _ in range(3)]


def test_two_trainings_from_one_start_are_apart_and_a_child_is_kin_though_it_moved_as_far():
    first = start(0)
    one = [trained(w, 10 + i) for i, w in enumerate(first)]
    other = [trained(w, 20 + i) for i, w in enumerate(first)]
    child = [trained(w, 30 + i) for i, w in enumerate(one)]
    kept = structure_kept(layers_of(one, other, child))
    assert torch.equal(kept, kept.T)
    assert kept[0, 1] < APART < -0.1 < kept[0, 2]
    assert kin(kept[0, 1]) < 0.1 < 0.99 < kin(kept[0, 2])


def test_half_of_a_parents_values_may_be_lost_where_its_structure_is_kept():
    one = [trained(w, 10 + i) for i, w in enumerate(start(0))]
    noise = start(5)
    child = [0.6 * w + 0.8 * n for w, n in zip(one, noise, strict=True)]
    kept = structure_kept(layers_of(one, child))
    assert kept[0, 1] > APART


def test_layers_too_small_to_have_structure_say_nothing():
    kept = structure_kept([Layer("a", 0.5, Part.BODY, 16, torch.randn(3, 4, 4))])
    assert kept.tolist() == [[0.0] * 3] * 3


def test_what_is_kin_to_kin_is_kin_by_the_weakest_link_of_the_best_path():
    kept = torch.tensor([[0, -0.2, -2.0, -3], [-0.2, 0, -0.3, -3], [-2.0, -0.3, 0, -2.5], [-3, -3, -2.5, 0]]).double()
    found = over_relatives(kept.clone())
    assert abs(float(found[0, 2]) + 0.3) < 1e-6
    assert abs(float(found[0, 3]) + 2.5) < 1e-6
    assert float(found[0, 1]) == float(kept[0, 1])
