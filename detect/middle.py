"""Which of several models that lie nearly together are the others trained from?

A child that hardly moved is as near to every far member of a family as its parent is, so that distances, growth and direction cannot tell
them apart: what they say of the two differs by chance. A third model c that did not go far says more. Seen from a, let x be the part of
the step from a to s that is in c's step,

    x = <c - a, s - a> / |s - a|^2.

If c and s were both trained from a, they have nothing to do with each other and x is about 0; if a and c were trained from s, it is
about 1. The farther c went, the wider x is spread, in proportion; and trainings that go the same way share a part of it, which makes x
greater than 0 in the one case and less than 1 in the other. So each c has a density of x under either; their ratios are added up, each
bounded, those of far models for less.

Set on the tuning half of `bench.hub_family`, where the true root wins against 84 of the 85 models that lie together with it; 86 of 86 in
the report half. In a run the later checkpoints all hold the earlier ones, and their middle wins: nothing is asked of models that do not lie
together.

Dimension letters: m models, r possible roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

from lineage.detect.arrays import Tensor, torch
from lineage.detect.geometry import NEARLY_EQUAL, Geometry
from lineage.detect.gram import squared_distances
from lineage.detect.signals.drift import drift

SAME = 1e-14  # squared distance in a group, in its share of the model's squared length, up to which it is rounding of the products
SEEN_BY = 0.5  # of the other models, for two to lie together
# of x, for each length of the step that c is away, and what chance adds at least
SPREAD, LEAST_SPREAD = 0.03, 0.05
SAME_WAY, ANY_WAY = 0.24, 0.06  # share of trainings that went the same way or back, whose x may be anything
WAY, WAY_BACK = 0.2, 0.2 / 3  # scale of their x, for each length and one more
BOUND, FAR = 1.0, 3.0  # log-odds of one model; lengths of the step from which on a model counts half
LOOKED_AT = 32  # models that count the most, for whether what they say of two is said independently
LOST = 6.0  # log-odds that one model that lies together with another may lose against it


def lie_together(distance: Tensor, roots: Tensor) -> Tensor:
    """(m, m) squared distances, (r,) int64 -> (r, r) bool, symmetric, true on the diagonal: seen from half of the others they are one."""
    apart = distance[roots][:, roots]  # (r, r)
    away = distance[:, roots]  # (m, r)
    seen = torch.stack(
        [(apart[:, i] <= NEARLY_EQUAL**2 * away[:, i, None]).double().mean(0) for i in range(len(roots))]
    )
    alike = torch.minimum(seen, seen.T) >= SEEN_BY
    return alike | torch.eye(len(roots), dtype=torch.bool)


def in_the_middle(geometry: Geometry, first: int, second: int) -> float:
    """Log-odds that the other models were trained from `first` and not from `second`."""
    return _of_pairs(geometry, [(first, second)])[0]


def of_neighbours(geometry: Geometry, asked: Tensor, known: dict[tuple[int, int], float]) -> Tensor:
    """(m, k) bool, pairs of a model and a neighbour -> (n,) float64 of those that are asked about, row by row: bounded log-odds that other
    models were trained from the neighbour and not from the model.

    Args:
        known: what was asked before about the same models; new answers are added.
    """
    pairs = [(int(geometry.neighbours[child, place]), child) for child, place in asked.nonzero().tolist()]
    new = [pair for pair in dict.fromkeys(pairs) if pair not in known]
    if new:
        products = geometry.gram.products.sum(0)
        for pair in new:
            said, weight = _told(geometry, *pair)
            near = weight.topk(min(LOOKED_AT, int((weight > 0).sum()))).indices
            ends = [torch.cat([torch.tensor([model]), near]) for model in pair]
            shares = [float(_independent(products[some][:, some], 0, weight[some][None])[0]) for some in ends]
            known[pair] = max(-LOST, min(LOST, float(said[near].sum()) * min(shares)))
    return torch.tensor([known[pair] for pair in pairs], dtype=torch.float64)


def _independent(products: Tensor, root: int, weights: Tensor) -> Tensor:
    """The share of what models say of a root that each says independently: the square of `drift` is what two have in common.

    Args:
        products: (n, n) float64, inner products of the models; weights: (p, n) float64, how much each counts for p pairs, the root 0.
    Returns:
        (p,) float64.
    """
    shared = drift(products, root).square()
    shared.fill_diagonal_(1.0)
    return weights.square().sum(1) / ((weights @ shared) * weights).sum(1).clamp(min=1e-300)


def _of_pairs(geometry: Geometry, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """The log-odds of each pair. What models say of a step counts by the share of it that is said independently, seen from either end:
    trainings that went the same way say one thing (the square of `drift` is what two have in common)."""
    told = [_told(geometry, *pair) for pair in pairs]
    independent = [1.0] * len(pairs)
    products = geometry.gram.products.sum(0)
    for root in sorted({model for pair in pairs for model in pair}):
        own = [place for place, pair in enumerate(pairs) if root in pair]
        weights = torch.stack([told[place][1] for place in own])  # (p, m)
        for place, share in zip(own, _independent(products, root, weights).tolist(), strict=True):
            independent[place] = min(independent[place], share)
    return [float(said.sum()) * share for (said, _), share in zip(told, independent, strict=True)]


def _told(geometry: Geometry, first: int, second: int) -> tuple[Tensor, Tensor]:
    """(m,) float64 each: what all other models say, and how much each of them counts; 0 where it cannot tell."""
    distance, values = distance_where_they_differ(geometry, first, second)
    said, weight = (torch.zeros(len(distance), dtype=torch.float64) for _ in range(2))
    others = telling(geometry, first, second, torch.arange(len(distance)))
    if not len(others):
        return said, weight
    part, near = held_parts(distance, first, second, others)
    away = [(distance[others, model] / distance[first, second]).sqrt() for model in (first, second)]
    odds = _density(part, away[0], values) - _density(1 - part, away[1], values)
    weight[others] = near
    said[others] = near * odds.clamp(-BOUND, BOUND)
    return said, weight


def distance_where_they_differ(geometry: Geometry, first: int, second: int) -> tuple[Tensor, int]:
    """(m, m) float64, squared distances over the groups of values in which two models differ, and the number of values in these: what
    others did to layers that one of the two left frozen tells nothing of the step between them."""
    products = geometry.gram.products
    apart = products[:, first, first] + products[:, second, second] - 2 * products[:, first, second]  # (g,)
    differ = apart > SAME * geometry.lengths[first] / len(apart)
    if bool(differ.all()) or not bool(differ.any()):
        return geometry.distance, int(geometry.gram.values.sum())
    return squared_distances(products[differ].sum(0)), int(geometry.gram.values[differ].sum())


def held_parts(distance: Tensor, root: int, child: int, others: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) float64 each: x of models that can tell, seen from `root`, and how near they are, 1 where the step ends."""
    step = float(distance[root, child])
    part = (distance[others, root] + step - distance[others, child]) / (2 * step)
    return part, 1 / (1 + torch.minimum(distance[others, root], distance[others, child]) / (step * FAR**2))


def telling(geometry: Geometry, first: int, second: int, models: Tensor) -> Tensor:
    """Those of (n,) models, but for these two, that can tell of the step between them: what rounding made of one of the two alone, it made
    of others in the same dtype as well. None of a step of no length."""
    if float(geometry.distance[first, second]) <= 0:
        return models[:0]
    digits = geometry.digits
    coarse = int(torch.minimum(digits[first], digits[second]))
    able = (digits > coarse) | (digits[first] == digits[second])
    able[torch.tensor([first, second])] = False
    return models[able[models]]


def of_those_together(scores: Tensor, together: Tensor) -> Tensor:
    """(r,) scores -> (r,): the best of the models that lie together with each."""
    return torch.where(together, scores[None, :].expand_as(together), -torch.inf).amax(1)


def middle(geometry: Geometry, roots: Tensor, together: Tensor) -> Tensor:
    """(r,) float64, 0 or negative: the most that each root loses against one that it lies together with."""
    lost = torch.zeros(len(roots), dtype=torch.float64)
    pairs = [(i, j) for i in range(len(roots)) for j in together[i].nonzero()[:, 0].tolist() if j > i]
    places = roots.tolist()
    for (i, j), odds in zip(pairs, _of_pairs(geometry, [(places[i], places[j]) for i, j in pairs]), strict=True):
        lost[i] = min(float(lost[i]), max(odds, -LOST))
        lost[j] = min(float(lost[j]), max(-odds, -LOST))
    return lost


def _density(part: Tensor, length: Tensor, values: int) -> Tensor:
    """Logarithm of the density of x where it is about 0. length: of each step, in that between the two."""
    spread = (length.square() / values + (SPREAD * length).square() + LEAST_SPREAD**2).sqrt()
    near = (-(part / spread).square() / 2).exp() / (spread * sqrt(2 * pi))
    on, back = WAY * (length + 1), WAY_BACK * (length + 1)
    away = torch.where(part > 0, SAME_WAY * (-part.abs() / on).exp() / on, ANY_WAY * (-part.abs() / back).exp() / back)
    return ((1 - SAME_WAY - ANY_WAY) * near + away).clamp(min=1e-300).log()
