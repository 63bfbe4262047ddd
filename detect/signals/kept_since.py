"""Inheritance from where a candidate came from: what it changed since its own parent is in its children, once, and in all of its parts.

Seen from a far root, two trainings of one model share nearly all that lies between: each seems to hold what the other one changed
(slope 1), and one that hardly moved looks like the parent of all others. Seen from the model a that the candidate s came from, a child b
of s has <b - a, s - a> / |s - a|^2 about 1 in every group of values; its siblings have it in some and lack it in others, and of trainings
of one model on the same data the one that goes further has 1.5 to 7.7. A model that was trained on from s for as long again and longer,
on the same data, has 2.1 to 2.9 as well; nothing found parts the two (the same slopes of what s changed in its least structured
directions, and of its units), and sweeps and seeds are more usual.

The slope of the lowest quarter of the groups, and of all values where that is beyond 1, were weighed by a logistic regression on 426
pairs of a grandchild and its parent, and 963 of siblings, of 22 families; of those of each family left out 0.91 came out right.
`PRIOR` takes off what siblings are more there, and more: a wrong veto hides a parent.

Dimension letters: m models, k neighbours of each, c likeliest parents of a neighbour, g groups of values.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch
from lineage.detect.gram import Gram
from lineage.detect.signals.inheritance import QUANTILE
from lineage.detect.weighted_quantile import weighted_quantile

# log-odds for the low slope, for what is beyond ONCE over all values, and without either
LOW, BEYOND, NEITHER = 9.1, 8.4, -7.1
PRIOR = 2.0
ONCE = 1.2  # real families lost answers where 1.0 was the limit: a run goes on the same way
TRAINED_ON = 0.1  # probability that a model which holds far more than that was trained on from the candidate
PARENTS = 4  # of a candidate that are looked at, the likeliest
_CHUNK = 1 << 20  # groups times candidates times their parents at a time


def kept_since_parent(gram: Gram, neighbours: Tensor, share: Tensor) -> Tensor:
    """
    Args:
        gram: of the m models; neighbours: (m, k) int64.
        share: (m, k + 1) float64, the probability of each neighbour, and last of the root, to be a model's parent, see `RootedTree`.
    Returns:
        (m, k) float64, 0 to 1: the probability that a model holds what its neighbour changed since that one's own parent. What was changed
        since the root is not looked at here, see signals/inheritance.py.
    """
    chance, place = share[:, :-1].topk(min(PARENTS, neighbours.shape[1]))  # (m, c)
    parent = neighbours.gather(1, place)
    products = gram.products.flatten(1)  # (g, m * m)
    models, size = len(neighbours), neighbours.shape[1] * place.shape[1] * len(products)
    own = gram.products.diagonal(dim1=1, dim2=2)  # (g, m)
    to_parent = gram.products.gather(2, parent.expand(len(products), -1, -1))  # (g, m, c)
    step = (own[:, :, None] + own[:, parent] - 2 * to_parent).clamp(min=0)
    found = []
    for children in torch.arange(models).split(max(1, _CHUNK // size)):
        candidate = neighbours[children]  # (b, k)
        above = parent[candidate]  # (b, k, c)
        child, other = children[:, None, None] * models, candidate[:, :, None]
        to_candidate = products[:, child + other] - products[:, child + above]
        shared = to_candidate - products[:, other * models + above] + own[:, above]  # <b - a, s - a>
        moved = step[:, candidate]  # (g, b, k, c)
        total = shared.sum(0) / moved.sum(0).clamp(min=1e-300)
        low = weighted_quantile(shared / moved, moved, QUANTILE).nan_to_num(1.0)
        odds = LOW * low.clamp(-1, 1) - BEYOND * (total - ONCE).clamp(0, 1) + NEITHER + PRIOR
        holds = torch.maximum(odds.sigmoid(), TRAINED_ON * (total > 1).double())
        found.append(1 - (chance[candidate] * (1 - holds)).sum(2))
    return torch.cat(found)
