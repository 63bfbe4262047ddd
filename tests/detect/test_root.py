"""The root is scored on the same pairs for every candidate; pairs that say the same count once, and those that hardly moved little."""

import math
from types import SimpleNamespace

import pytest
import torch

from lineage.detect.root import (
    CENTRE,
    CLIP,
    HUB,
    came_before_all,
    centre,
    independent_pairs,
    nearest_to,
    of_nearly_equal,
    order_of_all,
    root_evidence,
    weights_of_pairs,
    worth,
)
from lineage.detect.signals.drift import drift


def scores(odds, points, roots, lengths=None):
    """Score of each root from (m, m) odds, [child, parent], and (m, d) points."""
    distance, products = torch.cdist(points, points).square(), points @ points.T
    weights = weights_of_pairs(distance, points.square().sum(1) if lengths is None else lengths, torch.tensor(roots))
    return [
        float(came_before_all(odds[:, r], w, drift(products, r))) for r, w in zip(roots, weights.unbind(1), strict=True)
    ]


def test_the_score_of_a_root_agrees_with_the_obvious_sum_over_all_other_models():
    torch.manual_seed(0)
    raw = 5 * torch.randn(6, 6, dtype=torch.float64)
    odds = raw - raw.T
    points = torch.randn(6, 9, dtype=torch.float64)
    distance, lengths = torch.cdist(points, points).square(), points.square().sum(1)
    middle = distance[~torch.eye(6, dtype=torch.bool)].median()
    for score, root in zip(scores(odds, points, [4, 1]), (4, 1), strict=True):
        others = [m for m in range(6) if m != root]
        weights = [
            float(d / (d + 0.01 * middle) * d / (d + 0.0001 * lengths[root]))
            for d in (distance[root, m] for m in others)
        ]
        clipped = [max(-CLIP, min(CLIP, float(odds[m, root]))) for m in others]
        mean = sum(w * c for w, c in zip(weights, clipped, strict=True)) / sum(weights)
        away = [(points[m] - points[root]) / (points[m] - points[root]).norm() for m in others]
        common = sum(
            v * w * float(a @ b) ** 2
            for v, a in zip(weights, away, strict=True)
            for w, b in zip(weights, away, strict=True)
        )
        pairs = max(weights) * sum(weights) ** 2 / common
        assert 1 < pairs < 5
        assert score == pytest.approx(pairs**0.25 * mean)


def test_a_model_without_a_date_neither_gains_nor_loses_by_the_dates_of_others():
    points = torch.eye(4, dtype=torch.float64)
    when = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    dates = 4 * (when[:, None] - when[None, :]).sign()

    def of_dates(odds):
        products = SimpleNamespace(products=(points @ points.T)[None], values=torch.tensor([4.0]))
        geometry = SimpleNamespace(
            gram=products, distance=torch.cdist(points, points).square(), lengths=torch.ones(4).double()
        )
        none = torch.zeros(4, 4, dtype=torch.float64)
        return root_evidence(geometry, none, none, {"dates": odds}, torch.arange(4)).ordered["dates"].tolist()

    assert of_dates(dates)[0] > 0 > of_dates(dates)[1]
    dates[3] = dates[:, 3] = 0
    oldest, second, third, undated = of_dates(dates)
    assert oldest == undated == 0 > second > third


def test_seen_from_far_out_on_a_star_many_pairs_are_one():
    torch.manual_seed(1)
    star = torch.cat([torch.zeros(1, 400), torch.randn(20, 400)]).double() + 3
    star[1] += 40 * torch.randn(400).double()
    every = torch.ones(21, dtype=torch.float64)

    def independent(root):
        others = every.clone()
        others[root] = 0
        return float(independent_pairs(others, drift(star @ star.T, root)))

    assert independent(0) > 15
    assert independent(1) < 1.1


def test_a_model_that_hardly_moved_has_little_say_in_who_came_first():
    odds = torch.zeros(4, 4, dtype=torch.float64)
    odds[2:, 0], odds[0, 2:] = 3.0, -3.0
    odds[2:, 1], odds[1, 2:] = 2.5, -2.5
    odds[0, 1], odds[1, 0] = 4.0, -4.0  # the near one seems to be the older
    points = torch.eye(4, dtype=torch.float64)[:, :3].clone()
    points[1] = points[0] + 1e-3
    first, near = scores(odds, points, [0, 1])
    assert first > near


def test_pairs_that_moved_by_a_thousandth_of_their_length_say_little_even_where_all_did():
    odds = torch.tensor([[0.0, -3, -3, -3], [3, 0, 0, 0], [3, 0, 0, 0], [3, 0, 0, 0]], dtype=torch.float64)
    points = torch.eye(4, dtype=torch.float64)
    far, near = (scores(odds, scale * points, [0], torch.ones(4).double())[0] for scale in (1.0, 1e-3))
    assert 0 < near < 0.1 * far


def test_many_pairs_are_worth_more_than_few_but_not_their_number():
    half, one, ten, hundred = worth(torch.tensor([0.5, 1.0, 10.0, 100.0])).tolist()
    assert (half, one) == (0.5, 1.0)
    assert 4 > hundred > ten > one


def test_certain_order_against_a_root_counts_in_full_and_for_it_as_a_mean():
    cosines = drift(torch.eye(5, dtype=torch.float64), 0)
    for_it, against = (order_of_all(torch.tensor([0, s, 0, 0, 0]).double(), cosines) for s in (4.0, -4.0))
    assert float(against) == -4
    assert 0 < float(for_it) < 2


def test_what_many_models_are_nearest_to_is_likelier_the_root_and_a_chain_says_little():
    torch.manual_seed(2)
    star = torch.cat([torch.zeros(1, 50), torch.randn(8, 50)]).double()
    chain = torch.tensor([[1.0], [2.1], [3.3], [4.6], [6.0]], dtype=torch.float64)
    of_star, of_chain = (centre(torch.cdist(p, p).square()) for p in (star, chain))
    count = float(nearest_to(torch.cdist(star, star).square())[0])
    assert count > 2.5
    assert float(of_star[0]) == pytest.approx(CENTRE + HUB * math.log(count / 2))  # all others are nearest to it
    assert float(of_star[1:].max()) < CENTRE
    assert float(of_chain.max() - of_chain.min()) < 2
    assert centre(torch.cdist(star[:2], star[:2]).square()).tolist() == [0, 0]


def test_the_centre_of_a_few_in_a_large_family_is_less_than_the_centre_of_all():
    torch.manual_seed(4)
    star = torch.cat([torch.zeros(1, 50), torch.randn(8, 50)]).double()
    chain = 30 + 9 * torch.arange(40)[:, None] * torch.ones(1, 50).double()
    alone, in_a_crowd = (float(centre(torch.cdist(p, p).square())[0]) for p in (star, torch.cat([star, chain])))
    assert in_a_crowd < 0.6 * alone


def test_what_the_detector_says_of_one_of_two_nearly_equal_models_it_says_of_both():
    came_first = torch.zeros(4, 4, dtype=torch.float64)
    came_first[2, 0], came_first[2, 1], came_first[3, 1] = 1.0, 3.0, 5.0
    points = torch.tensor([[0.0, 0.0], [0.01, 0.0], [5.0, 0.0], [0.0, 0.02]], dtype=torch.float64)
    away = torch.cdist(points, points).square()
    # the last is not far enough from the first to see it and the second as one
    assert of_nearly_equal(came_first, away[0]).tolist() == [0, 0, 2.0, 0]
    assert of_nearly_equal(came_first, away[1]).tolist() == [0, 0, 2.0, 5.0]


def test_a_far_model_shares_its_vote_among_those_that_are_about_as_near():
    points = torch.tensor([[0.0, 0.0], [0.001, 0.0], [5.0, 0.0], [0.0, 7.0]], dtype=torch.float64)
    root, stand_in, *_ = nearest_to(torch.cdist(points, points).square()).tolist()
    assert root == pytest.approx(stand_in, rel=0.05)
