"""Values that are equal bit for bit, as characters of a tree."""

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.signals.exact_retention import (
    CLIP,
    FEWEST,
    LARGE_FAMILY,
    characters,
    exact_inheritance,
    kept_and_undone,
    private_share,
)


def family(values=4000):
    """root -> parent -> child, and root -> sibling; each training changes a fifth of the values to new ones."""
    dice = np.random.default_rng(3)

    def trained(start):
        return np.where(dice.random(values) < 0.2, dice.normal(size=values), start).astype(np.float32)

    root = dice.normal(size=values).astype(np.float32)
    parent = trained(root)
    return np.stack([root, parent, trained(parent), trained(root)])


def found_in(models, digits=None):
    layer = Layer("w", 0.0, Part.BODY, models.shape[1], torch.from_numpy(models).unflatten(1, (40, -1)))
    return characters([layer], digits or [8] * len(models))


def test_kept_and_undone_agree_with_counting_value_by_value():
    models = family()
    found = found_in(models)
    kept, undone = kept_and_undone(found, 0)
    for s in range(4):
        for b in range(4):
            changed = models[s] != models[0]
            assert float(kept[b, s]) == (changed & (models[b] == models[s])).sum()
            assert float(undone[b, s]) == (changed & (models[b] == models[0])).sum()
    assert float(found.equal[0, 3]) == pytest.approx((models[0] == models[3]).mean())


def test_what_a_parent_changed_is_in_its_child_and_not_in_its_sibling():
    odds = exact_inheritance(found_in(family()), 0)
    assert float(odds[2, 1]) > 3
    assert float(odds[3, 1]) < -3
    assert float(odds[2, 3]) < -3


def test_a_few_equal_values_and_models_of_other_digits_say_nothing():
    few = family(FEWEST * 4)[:, :FEWEST]
    assert float(exact_inheritance(found_in(np.repeat(few[:, :10], 4, 1)[:, :40]), 0).abs().max()) <= CLIP
    mixed = exact_inheritance(found_in(family(), [24, 8, 8, 8]), 0)
    assert not bool(mixed.any()), "rounding a finer root moves the same values in every copy"


def test_a_model_between_two_others_has_no_branch_of_its_own_and_a_leaf_has():
    found = found_in(family())
    assert private_share(found, 0, [1, 2, 3]) < 0.02
    assert private_share(found, 3, [0, 1, 2]) > 0.15
    assert private_share(found, 3, [0]) == 1.0, "one other model cannot tell"


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.7])
def test_equal_values_of_a_large_family_are_those_of_each_pair(kept):
    dice = np.random.default_rng(4)
    models = dice.normal(size=(LARGE_FAMILY + 44, 120)).astype(np.float32)
    models = np.where(dice.random(models.shape) < kept, dice.integers(0, 3, models.shape).astype(np.float32), models)
    models[5, :60], models[6, :60] = 0.0, -0.0
    wanted = (models[:, None] == models[None]).mean(2)
    assert np.abs(found_in(models).equal.numpy() - wanted).max() < 1e-12
