"""Parents of merges that drop values: all that are needed, and none that only comes near."""

import numpy as np
import pytest

from lineage.detect.family_values import FamilyValues, last_place, rounded, stored_digits
from lineage.detect.rounded_one import rounded_last
from lineage.detect.trimmed_fit import Differences, differences, shrunk
from lineage.detect.trimmed_verdict import TrimmedSums

BFLOAT16 = 8
TENSORS, VALUES = 4, 640


def half(values):
    return rounded(values.astype(np.float32), BFLOAT16)


def merged(chance, parents, weights):
    """A base, tunings of it, and the mean of what two of them changed, where they agree in sign; of one alone elsewhere."""
    base = 0.1 * chance.standard_normal((TENSORS, VALUES)) * chance.uniform(0.05, 1, (TENSORS, VALUES))
    moved = [0.01 * chance.standard_normal((TENSORS, VALUES)) for _ in range(parents)]
    one, other = moved[:2]
    mean = weights[0] * one + weights[1] * other
    taken = np.where(one * other > 0, mean, np.where(np.abs(one) > np.abs(other), one, other))
    return base, moved, base + taken * (chance.random((TENSORS, VALUES)) < 0.8)


@pytest.mark.parametrize(("off", "third"), [(0.5, True), (4.0, False)])
def test_what_comes_near_to_the_values_that_two_parents_leave_is_no_third(off, third):
    """off: digits by which the third model misses those values, evenly: of a parent it is less than one."""
    chance = np.random.default_rng(2)
    deltas = 100 * chance.standard_normal((3, TENSORS, VALUES))  # in digits
    of_third = chance.random((TENSORS, VALUES)) < 0.4
    moved = np.where(of_third, deltas[2] + chance.uniform(-off, off, of_third.shape), deltas[0])
    seen = Differences(9, 8, (0, 1, 2), moved, deltas, np.ones_like(moved))
    scales = [np.ones(TENSORS)] * 2
    found = seen._gaining(seen._sums([0, 1], scales), of_third, [0, 1], scales)
    assert (found is not None) is third


def test_a_parent_that_explains_nothing_beside_the_others_is_left_out():
    chance = np.random.default_rng(1)
    base, moved, merge = merged(chance, 3, (0.5, 0.5))
    members = np.stack([half(base + step) for step in moved])
    seen = differences(9, 8, (0, 1, 2), half(merge), half(base), members, BFLOAT16)
    scale = np.ones(TENSORS)
    assert seen._not_needed([0, 2, 1], [scale, 3 * scale, scale]) == 1
    assert seen._not_needed([0, 1], [scale, scale]) is None


def test_a_few_values_that_were_rounded_in_between_hide_no_merge():
    """Of a sum of two, the part that is stored like the sum is nearly as likely to be one of it and the other part."""
    chance = np.random.default_rng(0)
    base, one, other = (size * chance.standard_normal(8192) for size in (0.1, 0.02, 0.02))
    one, other = half(base + one), base + other
    merge = base + 0.57 * (one - base) + 0.73 * (other - base)
    coarser = (chance.random(8192) < 0.03) * chance.uniform(-3, 3, 8192)  # digits
    merge = half(merge + last_place(np.abs(merge), BFLOAT16) * coarser)
    rows = np.stack([base, one, other, merge]).astype(np.float32)
    same = np.arange(4)
    values = FamilyValues((rows,), stored_digits([rows]), np.ones(4), same, {BFLOAT16: same, 24: same})
    assert rounded_last(values, range(4))[1] < -1200


def test_values_of_either_parent_make_a_merge_where_the_base_has_values_that_training_would_have_moved():
    """Training in 16 bits leaves single values of each as well, but moves those near zero."""
    chance = np.random.default_rng(7)
    parts = 100 * chance.standard_normal((2, TENSORS, VALUES))
    which = chance.choice(3, size=(TENSORS, VALUES), p=(0.55, 0.25, 0.2))
    moved = np.choose(which, [np.zeros_like(parts[0]), *parts])
    sums = np.stack([np.zeros_like(moved), parts[0], parts[1], parts[0] + parts[1]])
    seen = TrimmedSums(moved, parts, sums, np.ones_like(moved))
    assert seen.judged([1, 2], 0, [1.0, 1.0]) is None
    found = seen.judged([1, 2], 0, [1.0, 1.0], surely_dropped=True)
    assert found is not None and set(found.parents) == {1, 2} and not found.unseen
    alone = TrimmedSums(np.where(which == 2, parts[1] + 7.0, moved), parts[:1], sums[:2], np.ones_like(moved))
    assert alone.judged([1], 0, [1.0]) is None
    found = alone.judged([1], 0, [1.0], surely_dropped=True)
    assert found is not None and found.parents == [1] and found.unseen


def test_layers_that_were_frozen_are_no_values_that_a_merge_kept():
    """A model of which some layers are its base's own and the others were trained, seen from a sibling that was trained in those alone."""
    chance = np.random.default_rng(5)
    first = np.arange(TENSORS)[:, None] < TENSORS // 2
    parts = 100 * chance.standard_normal((2, TENSORS, VALUES))
    parts[0] *= first  # the base, which the sibling left in the first layers
    moved = np.where(first, parts[0], 100 * chance.standard_normal((TENSORS, VALUES)))
    sums = np.stack([0 * moved, parts[0], parts[1], parts.sum(0)])
    seen = TrimmedSums(moved, parts, sums, np.ones_like(moved))
    assert seen.judged((0, 1), 2, (1.0, 0.4), surely_dropped=True) is None


def test_values_that_decay_alone_moved_are_no_values_that_a_merge_kept():
    """Two trainings shrink weights without a gradient by factors of their own: the ratio of their differences is one number."""
    chance = np.random.default_rng(6)
    base = 0.1 * chance.standard_normal((TENSORS, VALUES)).astype(np.float32)
    dead = chance.random((TENSORS, VALUES)) < 0.3
    trained = [
        np.where(dead, base * factor, base + 0.01 * chance.standard_normal(base.shape)) for factor in (0.995, 0.99)
    ]
    own, other = (values.astype(np.float32).astype(np.float64) for values in trained)
    start = base.astype(np.float64)
    seen = differences(9, 8, (0,), own, start, other[None], 24)
    assert shrunk(own - start, start, seen.off)[dead].mean() > 0.99 and not seen.moved[dead].any()
    assert shrunk(own - start, start, seen.off)[~dead].mean() < 0.02 and not seen.promising()
    assert differences(9, 8, (0,), half(own), half(start), half(other)[None], BFLOAT16).moved[dead].any(), (
        "16 bits are too coarse"
    )


@pytest.mark.parametrize("dropped", [True, False])
def test_parents_of_which_few_values_come_from_one_alone_are_found_where_values_were_surely_dropped(dropped):
    """DARE of three that keeps eight in ten: of each parent alone come three in a hundred."""
    chance = np.random.default_rng(4)
    deltas = 100 * chance.standard_normal((6, TENSORS, VALUES))  # in digits
    weights, kept = {1: 0.5, 3: 0.3, 4: 0.25}, 0.8
    masks = {place: chance.random((TENSORS, VALUES)) < kept for place in weights}
    moved = sum(weight / kept * deltas[place] * masks[place] for place, weight in weights.items())
    moved += chance.uniform(-0.5, 0.5, moved.shape)
    found = Differences(9, 8, tuple(range(10, 16)), moved, deltas, np.ones_like(moved), dropped).explained()
    if dropped:
        assert found is not None and set(found.parents) == {11, 13, 14} and not found.unseen
        assert dict(found.members)[11] == pytest.approx(0.5 / 1.05, abs=0.02)
    else:  # not looked for in models of which nothing says that they are merges
        assert found is None or found.unseen


def test_where_all_candidates_are_copies_of_the_model_nothing_is_found():
    moved = 100 * np.random.default_rng(4).standard_normal((TENSORS, VALUES))
    for copies in (1, 2):
        deltas = np.stack([moved] * copies)
        assert Differences(9, 8, tuple(range(copies)), moved, deltas, np.ones_like(moved), True).explained() is None


@pytest.mark.parametrize("at_hand", [True, False])
def test_what_lies_near_to_a_parent_that_is_gone_is_no_parent(at_hand):
    """A light tuning of a parent differs from it in a few values by a digit or two."""
    chance = np.random.default_rng(4)
    base, moved, _ = merged(chance, 2, (0.5, 0.5))
    one, other = (half(base + 2 * step) for step in moved)
    which = chance.random((TENSORS, VALUES))
    merge = np.select([which < 0.3, which < 0.6, which < 0.8], [one, other, half((one + other) / 2)], half(base))
    little = 1.2 * last_place(np.abs(other), BFLOAT16) * (chance.random((TENSORS, VALUES)) < 0.2)
    second = other if at_hand else half(other + little)
    found = differences(9, 8, (0, 1), merge, half(base), np.stack([one, second]), BFLOAT16).explained()
    assert (
        found is not None
        and set(found.parents) == ({0, 1} if at_hand else {0})
        and found.unseen is found.near is not at_hand
    )
