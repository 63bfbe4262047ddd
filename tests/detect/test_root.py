"""The root is scored on the same pairs for every candidate, and two models' scores add up to the pair's log-odds."""

import math

import pytest
import torch

from lineage.detect.root import CENTRE, CLIP, came_before_all, centre, worth

LONG = torch.ones(4, dtype=torch.float64)


def antisymmetric(above):
    models = len(above)
    odds = torch.zeros(models, models, dtype=torch.float64)
    for a in range(models):
        for b in range(a):
            odds[b, a], odds[a, b] = above[b][a], -above[b][a]
    return odds


def test_of_two_models_the_scores_differ_by_the_log_odds_of_the_pair():
    odds = antisymmetric([[0, 1.5], [0, 0]])
    score = came_before_all(odds, torch.ones(2, 2).double().fill_diagonal_(0), LONG[:2], torch.arange(2))
    assert float(score[0] - score[1]) == pytest.approx(1.5, rel=0.02)


def test_the_score_of_a_root_agrees_with_the_obvious_sum_over_all_other_models():
    torch.manual_seed(0)
    raw = 5 * torch.randn(6, 6, dtype=torch.float64)
    odds = raw - raw.T
    points = torch.randn(6, 9, dtype=torch.float64)
    distance, lengths = torch.cdist(points, points).square(), points.square().sum(1)
    found = came_before_all(odds, distance, lengths, torch.tensor([4, 1]))
    middle = distance[~torch.eye(6, dtype=torch.bool)].median()
    for score, root in zip(found.tolist(), (4, 1), strict=True):
        others = [m for m in range(6) if m != root]
        weights = [
            float(d / (d + 0.01 * middle) * d / (d + 0.0001 * lengths[root]))
            for d in (distance[root, m] for m in others)
        ]
        clipped = [max(-CLIP, min(CLIP, float(odds[root, m]))) for m in others]
        mean = sum(w * c for w, c in zip(weights, clipped, strict=True)) / sum(weights)
        assert score == pytest.approx((sum(weights) ** 0.5 - 0.5) * mean)


def test_a_model_that_hardly_moved_has_little_say_in_who_came_first():
    odds = torch.zeros(4, 4, dtype=torch.float64)
    odds[0, 2:], odds[2:, 0] = 3.0, -3.0
    odds[1, 2:], odds[2:, 1] = 2.5, -2.5
    odds[1, 0], odds[0, 1] = 4.0, -4.0  # the near one seems to be the older
    distance = torch.ones(4, 4, dtype=torch.float64).fill_diagonal_(0)
    distance[0, 1] = distance[1, 0] = 1e-6
    first, near, *_ = came_before_all(odds, distance, LONG, torch.arange(4)).tolist()
    assert first > near


def test_many_children_are_worth_more_than_few_but_not_their_number():
    one, two, ten, hundred = worth(torch.tensor([1.0, 2.0, 10.0, 100.0])).tolist()
    assert one == 0.5
    assert 20 * one > hundred > ten > two


def test_pairs_that_moved_by_a_thousandth_of_their_length_say_little_even_where_all_did():
    odds = antisymmetric([[0, 3.0, 3.0, 3.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    apart = torch.ones(4, 4, dtype=torch.float64).fill_diagonal_(0)
    far, near = (float(came_before_all(odds, scale * apart, LONG, torch.arange(4))[0]) for scale in (1.0, 1e-6))
    assert 0 < near < 0.1 * far


def test_what_many_models_are_nearest_to_is_likelier_the_root_and_a_chain_says_nothing():
    star = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [-5.0, 0.0]], dtype=torch.float64)
    chain = torch.tensor([[1.0], [2.1], [3.3], [4.6]], dtype=torch.float64)
    of_star, of_chain = (centre(torch.cdist(p, p).square(), torch.arange(4)).tolist() for p in (star, chain))
    assert of_star == pytest.approx([CENTRE * math.log(2), 0, 0, 0])
    assert of_chain == [0, 0, 0, 0]
