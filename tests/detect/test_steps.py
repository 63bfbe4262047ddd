"""The order of models under a root."""

import numpy as np
import pytest
import torch

from lineage.detect.steps import turned_from


def test_how_far_models_have_turned_is_the_obvious_angle_also_among_near_ones():
    dice = np.random.default_rng(0)
    root = dice.normal(size=500)
    models = np.stack([root, *(root + moved * dice.normal(size=500) for moved in (1e-6, 0.1, 1.0))])
    distance = torch.tensor(((models[:, None] - models[None]) ** 2).sum(2))
    lengths = torch.tensor((models**2).sum(1))
    wanted = [2 * (1 - m @ root / np.linalg.norm(m) / np.linalg.norm(root)) for m in models]
    assert turned_from(0, distance, lengths).tolist() == pytest.approx(wanted, abs=1e-14)


def test_decay_brings_a_later_model_nearer_to_the_root_and_does_not_turn_it_back():
    dice = np.random.default_rng(1)
    root = dice.normal(size=400)
    middle = 0.9 * root + 0.8 * dice.normal(size=400)
    last = 0.7 * (middle + 0.1 * dice.normal(size=400))
    models = np.stack([root, middle, last])
    distance = torch.tensor(((models[:, None] - models[None]) ** 2).sum(2))
    assert distance[0, 2] < distance[0, 1]
    turned = turned_from(0, distance, torch.tensor((models**2).sum(1)))
    assert turned[2] > turned[1] > turned[0]
