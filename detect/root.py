"""Which member of a family came before all others: every candidate is scored on the same pairs, so that scores can be compared.

Under each hypothesis the root came before *all* other members, whatever tree lies below it. Adding up the edges of each candidate's own
tree instead rewards a candidate for edges that were chosen because their direction is sure (a winner's curse).

A member that hardly moved from the candidate says little about which of the two came first, so pairs count by how far apart they are.
Members share what misleads them, so their sum counts about as the square root of their number. For two models the scores of the two
roots are half the pair's log-odds and minus that half, so that their difference is the pair's log-odds.

Dimension letters: m models, r possible roots.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch

CLIP = 6.0  # log-odds of one pair beyond which they count no more
HARDLY_MOVED = 0.01  # of the family's median squared distance: a pair that near counts half
GROWTH, DETECTOR = 1.6, 0.6  # worth of each, fitted by bench.fit_root; for two models half of it


def came_before_all(came_first: Tensor, distance: Tensor, roots: Tensor) -> Tensor:
    """
    Args:
        came_first: (m, m) float64, [a, b]: log-odds that a came before b, 0 where not computed; distance: (m, m) float64, squared.
        roots: (r,) int64.
    Returns:
        (r,) float64: the weighted mean over the other members, times what their number is worth.
    """
    models = len(distance)
    apart = distance[~torch.eye(models, dtype=torch.bool)].median()
    weight = distance[roots] / (distance[roots] + HARDLY_MOVED * apart).clamp(min=1e-300)  # (r, m)
    weight = weight.masked_fill(came_first[roots] == 0, 0.0)
    mean = (weight * came_first[roots].clamp(-CLIP, CLIP)).sum(1) / weight.sum(1).clamp(min=1e-9)
    return worth(weight.sum(1).clamp(max=models - 1)) * mean


def worth(pairs: Tensor) -> Tensor:
    """How much pairs that share what misleads them are worth together, in pairs: a half of one pair, which speaks for either order."""
    return torch.where(pairs > 1, pairs.clamp(min=1).sqrt() - 0.5, pairs / 2)
