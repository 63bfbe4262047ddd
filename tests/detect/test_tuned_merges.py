"""Which models were trained from a merge: those that went neither back to its base nor to one of its parts."""

import pytest

from lineage.detect.arrays import torch
from lineage.detect.merges import Merge
from lineage.detect.tuned_merges import leaf_merges, parts_first, settled_tunings, trained_from, tuned_decision

# coordinates: along one part, along the other, along what is new
BASE, ONE, OTHER, MERGED = (0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (1.0, 1.0, 0.0)
MERGE = Merge(3, ((1, 0.5), (2, 0.5)), 0, "task arithmetic", 0.0)


def distances(*points):
    points = torch.tensor(points, dtype=torch.float64)
    return (points[:, None] - points[None, :]).square().sum(2)


@pytest.mark.parametrize(
    ("model", "merge"),
    [
        ((1.0, 1.0, 1.0), 3),  # as far from the merge as two thirds of its parts' distance
        ((1.2, 0.8, 0.9), 3),
        ((0.1, 0.0, 0.6), None),  # another child of the base
        ((1.8, 0.1, 0.5), None),  # a child of a part
        ((1.6, 0.4, 0.1), None),  # on its way to a part
        ((1.0, 1.0, 2.0), 3),  # farther than the base, which tells it from a sibling
        ((1.0, 1.0, 3.0), None),  # too far to tell
    ],
)
def test_a_child_of_a_merge_goes_to_none_of_its_sources(model, merge):
    distance = distances(BASE, ONE, OTHER, MERGED, model)
    found = {3: MERGE}
    assert trained_from(found, distance).get(4) == merge
    assert leaf_merges(found, distance) == (set() if merge == 3 else {3})
    odds = parts_first(found, distance)
    assert (odds == -odds.T).all() and all(float(odds[3, source]) > 0 for source in (0, 1, 2))
    # the parts of the merge were there before what was trained from it
    assert [float(odds[4, source]) > 0 for source in range(4)] == [merge == 3] * 4


def test_of_two_merges_of_the_same_models_the_one_with_the_new_step_at_right_angles_is_the_parent():
    other = (1.0, 1.3, 0.0)
    distance = distances(BASE, ONE, OTHER, MERGED, other, (1.0, 1.3, 0.8))
    found = {3: MERGE, 4: Merge(4, ((1, 0.4), (2, 0.6)), 0, "TIES", 0.0)}
    assert trained_from(found, distance) == {5: 4} and leaf_merges(found, distance) == {3}


def test_what_the_parts_of_a_mean_come_from_is_no_child_of_it():
    """Of three, their base goes to none of them, and lies nearer to the mean than they do."""
    base, parts, mean = (
        (0.0, 0.0, 0.0, 0.0),
        ((3.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0)),
        (1.0, 1.0, 1.0, 0.0),
    )
    sibling, child = (0.3, 0.3, 0.4, 0.0), (1.0, 1.0, 1.0, 1.0)
    found = {4: Merge(4, ((1, 0.33), (2, 0.33), (3, 0.33)), None, "linear", 0.0)}
    assert trained_from(found, distances(base, *parts, mean, sibling, child)) == {6: 4}


@pytest.mark.parametrize("model", [(0.0, 0.0, 1.5), (0.0, 0.0, 4.0)])
def test_a_sibling_of_the_parts_is_no_child_of_their_mean_whether_their_base_is_at_hand_or_not(model):
    mean = Merge(0, ((1, 0.5), (2, 0.5)), None, "linear", 0.0)
    for others in ([], [BASE], [(0.1, 0.0, 0.2)]):
        assert trained_from({0: mean}, distances(MERGED, ONE, OTHER, model, *others)) == {}


def test_a_model_near_the_middle_of_its_family_is_still_seen_to_come_from_a_mean():
    child, mean = (1.0, 1.0, 0.7), Merge(3, ((1, 0.5), (2, 0.5)), None, "linear", 0.0)
    distance = distances(BASE, ONE, OTHER, MERGED, child)
    assert distance.sum(1).argmin() == 3 and distance.sum(1)[4] < distance.sum(1)[0]
    assert trained_from({3: mean}, distance) == {4: 3}
    ((model, (merge, share)),) = settled_tunings({3: mean}, distance).items()
    assert (model, merge) == (4, 3) and abs(share) < 0.01


def test_where_several_models_come_from_a_merge_their_tree_is_decided_with_it():
    distance = distances(BASE, ONE, OTHER, MERGED, (1.0, 1.0, 1.0), (1.0, 1.0, -0.9))
    assert set(trained_from({3: MERGE}, distance)) == {4, 5} and settled_tunings({3: MERGE}, distance) == {}


def test_a_moving_average_of_a_run_is_not_surely_a_tuning_of_the_mean_of_its_checkpoints():
    base, checkpoints = (0.0,) * 5, ((1.0, 0.8, 0.0, 0.0, 0.0), (2.0, 0.0, 0.8, 0.0, 0.0), (3.0, 0.0, 0.0, 0.8, 0.0))
    mean = tuple(sum(values) / 3 for values in zip(*checkpoints, strict=True))
    average = (*mean[:4], 0.3)
    distance = distances(base, *checkpoints, mean, average)
    found = {4: Merge(4, ((1, 1 / 3), (2, 1 / 3), (3, 1 / 3)), None, "linear", 0.0)}
    ((model, (merge, share)),) = settled_tunings(found, distance).items()
    assert (model, merge) == (5, 4)
    assert tuned_decision("average", "mean", share, 0.01, 0.8).parent is None


@pytest.mark.parametrize(
    ("model", "parent"), [((1.15, 0.85, 1.8), None), ((1.15, 0.85, 0.9), "mean"), ((1.02, 0.98, 1.8), "mean")]
)
def test_what_is_far_off_and_goes_a_tenth_of_the_way_to_a_part_is_not_surely_a_tuning_of_the_mean(model, parent):
    """A tuning of the base on what both parts learned lies there as well."""
    ((place, (merge, share)),) = settled_tunings({3: MERGE}, distances(BASE, ONE, OTHER, MERGED, model)).items()
    assert (place, merge) == (4, 3) and tuned_decision("model", "mean", share, 0.01, 0.8).parent == parent


def test_the_base_of_two_parts_with_many_relatives_of_one_is_no_child_of_their_mean():
    """It goes to neither part, as a child of the mean would; what came from a part is nearer to the others than it is."""
    later = [(2.0, 0.0, 0.8, *(0.6 * (place == i) for place in range(4))) for i in range(5)]
    points = [(*point, 0.0, 0.0, 0.0, 0.0) for point in (BASE, ONE, OTHER, (0.99, 0.99, 0.0))] + later
    mean = Merge(3, ((1, 0.5), (2, 0.5)), None, "linear", 0.0)
    assert trained_from({3: mean}, distances(*points)) == {}
    child = (1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0)
    assert trained_from({3: mean}, distances(*points, child)) == {9: 3}
