"""Which member of a family came before all others: every candidate is scored on the same pairs, so that scores can be compared.

Under each hypothesis the root came before *all* other members, whatever tree lies below it. Adding up the edges of each candidate's own
tree instead rewards a candidate for edges that were chosen because their direction is sure (a winner's curse).

A member that hardly moved from the candidate says little about which of the two came first, so pairs count by how far apart they are:
against the family's median, and against the candidate's own length (growth orders 0.54 of 371 pairs of
a base and its child below a hundredth of the length right, 0.71 below a twentieth, 0.83 below a fifth and 0.98 beyond).
Members share what misleads them, so their sum counts about as the square root of their number. For two models the scores of the two
roots are half the pair's log-odds and minus that half, so that their difference is the pair's log-odds.

And models that many others are nearest to are likelier the ones that the others were trained from (`centre`). That is a prior of how
people publish: what is tuned once is likelier to be tuned again; compare the root of a tree that grows by preferential attachment
(Bubeck, Devroye & Lugosi 2017, arXiv 1411.3317).

Dimension letters: m models, r possible roots.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch

CLIP = 6.0  # log-odds of one pair beyond which they count no more
HARDLY_MOVED = 0.01  # of the family's median squared distance: a pair that near counts half
STILL = 1e-4  # of the candidate's squared length: a pair that near counts half
GROWTH, DETECTOR, CENTRE = 1.6, 0.6, 1.0  # worth of each, see bench.fit_root; for two models half of the first two


def came_before_all(came_first: Tensor, distance: Tensor, lengths: Tensor, roots: Tensor) -> Tensor:
    """
    Args:
        came_first: (m, m) float64, [a, b]: log-odds that a came before b, 0 where not computed; distance: (m, m) and
        lengths: (m,) float64, squared; roots: (r,) int64.
    Returns:
        (r,) float64: the weighted mean over the other members, times what their number is worth.
    """
    models = len(distance)
    apart = distance[~torch.eye(models, dtype=torch.bool)].median()
    away = distance[roots]  # (r, m)
    weight = away / (away + HARDLY_MOVED * apart).clamp(min=1e-300)
    weight = weight * away / (away + STILL * lengths[roots][:, None]).clamp(min=1e-300)
    weight = weight.masked_fill(came_first[roots] == 0, 0.0)
    mean = (weight * came_first[roots].clamp(-CLIP, CLIP)).sum(1) / weight.sum(1).clamp(min=1e-9)
    return worth(weight.sum(1).clamp(max=models - 1)) * mean


def worth(pairs: Tensor) -> Tensor:
    """How much pairs that share what misleads them are worth together, in pairs: a half of one pair, which speaks for either order."""
    return torch.where(pairs > 1, pairs.clamp(min=1).sqrt() - 0.5, pairs / 2)


def centre(distance: Tensor, roots: Tensor) -> Tensor:
    """(m, m) squared distances, (r,) roots -> (r,) float64 log-odds of each: the log of the number of models that it is nearest to,
    beyond the one on either side that a member of a chain has."""
    return CENTRE * (nearest_to(distance)[roots] - 1.0).clamp(min=1).double().log()


def nearest_to(distance: Tensor) -> Tensor:
    """(m, m) squared distances -> (m,) int64: the number of models that each is nearest to."""
    return distance.clone().fill_diagonal_(torch.inf).argmin(1).bincount(minlength=len(distance))
