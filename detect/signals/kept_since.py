"""Inheritance from where a candidate came from: what it changed since its own parent is in its children, once.

Seen from a far root, two trainings of one model share nearly all that lies between: each seems to hold what the other one changed
(slope 1), and the one that went further looks like a child of the other. Seen from the model a that the candidate s came from, a child b
of s has <b - a, s - a> / |s - a|^2 about 1: 0.87 to 1.42 over 86 pairs of eight families, checkpoints of a run among them. Of
trainings of one model on the same data the one that goes further has 1.5 to 7.7, and of trainings on other data less than a half.
A model that was trained on from s for as long again and longer, on the same data, has 2.1 to 2.9 as well; nothing found parts the two
(the same slopes of what s changed in its least structured directions, and of its units), and sweeps and seeds are more usual.

Dimension letters: m models, k neighbours of each, c likeliest parents of a neighbour.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch

LEAST, MOST = 0.5, 1.5  # slopes between which a model may come from the candidate
WIDTH = 0.05  # of either bound
TRAINED_ON = 0.1  # probability that a model which holds more than that was trained on from the candidate
PARENTS = 4  # of a candidate that are looked at, the likeliest


def kept_since_parent(distance: Tensor, neighbours: Tensor, share: Tensor) -> Tensor:
    """
    Args:
        distance: (m, m) squared; neighbours: (m, k) int64.
        share: (m, k + 1) float64, the probability of each neighbour, and last of the root, to be a model's parent, see `RootedTree`.
    Returns:
        (m, k) float64, 0 to 1: the probability that a model holds what its neighbour changed since that one's own parent. What was changed
        since the root is not looked at here, see signals/inheritance.py.
    """
    chance, place = share[:, :-1].topk(min(PARENTS, neighbours.shape[1]))  # (m, c)
    parent = neighbours.gather(1, place)
    step = distance.gather(1, parent)  # (m, c)
    child = torch.arange(len(neighbours))[:, None, None]
    above = parent[neighbours]  # (m, k, c)
    moved = step[neighbours]
    shared = distance[child, above] + moved - distance.gather(1, neighbours)[:, :, None]
    slope = shared / (2 * moved).clamp(min=1e-300)
    further = ((slope - MOST) / WIDTH).sigmoid()
    holds = ((slope - LEAST) / WIDTH).sigmoid() * (1 - (1 - TRAINED_ON) * further)
    return 1 - (chance[neighbours] * (1 - holds)).sum(2)
