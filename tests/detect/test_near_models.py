"""Models that are alike in a coarse dtype have one representative."""

import numpy as np

from lineage.detect.near_models import near_of, representatives


def distances(points):
    return np.square(points[:, None, :] - points[None, :, :]).sum(-1)


def test_the_model_with_the_most_near_models_represents_them_and_others_represent_themselves():
    points = np.array([[0.0, 0.0], [0.9, 0.0], [-0.9, 0.0], [0.0, 0.9], [50.0, 0.0], [50.5, 0.0], [90.0, 0.0]])
    chosen = representatives(distances(points), 1.0)
    assert chosen.tolist()[:4] == [0, 0, 0, 0] and chosen[6] == 6
    assert chosen[4] == chosen[5] in (4, 5)
    assert near_of(chosen, 0) == [1, 2, 3] and near_of(chosen, 6) == []


def test_every_model_is_near_to_its_representative_which_is_its_own():
    points = np.random.default_rng(3).normal(size=(200, 2))
    apart = distances(points)
    chosen = representatives(apart, 0.05)
    assert (apart[np.arange(200), chosen] <= 0.05).all() and (chosen[chosen] == chosen).all()
    assert len(set(chosen.tolist())) < 120


def test_a_radius_of_nothing_leaves_all_models_apart():
    points = np.random.default_rng(4).normal(size=(20, 3))
    assert representatives(distances(points), 0.0).tolist() == list(range(20))
