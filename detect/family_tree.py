"""Evidence of one family -> its directed tree, decided for the family as a whole.

For every model that could be the family's root, a tree is built: the parent of b is the nearest model that is an ancestor of b as
seen from there (ancestor.py), or else the root. How well the directions of the tree's edges, drift at its top and opposition fit is
the root's score; a softmax over the roots turns scores into probabilities. The probability of an edge is summed over the roots, so
that "cannot tell which of these two" comes out exactly where the alternatives disagree. Edges of one family share what misleads them,
so their sum counts about as the square root of their number would: once for two models, three times for ten.

Dimension letters: m models, k neighbours of each, r possible roots, g groups of values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lineage.detect.ancestor import log_odds, pair_features, root_features
from lineage.detect.gram import Gram
from lineage.detect.signals.drift import drift
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.kept import UnitDistances, kept
from lineage.detect.signals.opposition import opposition

ALL_PAIRS_UP_TO = 64
NEIGHBOURS = 24
ROOTS = 24
CLIP = 6.0  # log-odds of one pair's direction beyond which they count no more
SPEAKS_UP = 3.0  # log-odds from which on an edge's direction is said in full voice
SPEAK = 6  # nearest neighbours of each model that are asked
SLOPE_LIMIT = 1.5  # total slope beyond which two models lie on one trajectory rather than in line


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about pairs of a family's models, all (m, m) float64.

    Attributes:
        came_first: [a, b]: log-odds that a came before b, antisymmetric, 0 where not computed.
        certain: [a, b]: log-odds from what only ever grows (counters) or shrinks (bare decay), and of parts of a mean.
        even: how much likelier the pair's balance is for siblings of an unseen parent than for parent and child, a log.
        prior: [child, parent]: log-odds from other evidence than weights (dates, declarations).
    """

    came_first: Tensor
    certain: Tensor
    even: Tensor
    prior: Tensor


@dataclass(frozen=True, slots=True)
class FamilyTree:
    """
    Attributes:
        root: (m,) float64, probability of each model to be the oldest known one.
        parent: (m, m) float64, [child, parent]; row sums are 1 - root.
        best_root: index of the most probable root.
        best_parent: (m,) int64, each model's parent in the tree of the best root; -1 for the root.
        slope: (m,) float64, low inheritance slope of the best parent in the child, seen from the best root; nan below the root.
    """

    root: Tensor
    parent: Tensor
    best_root: int
    best_parent: Tensor
    slope: Tensor


def nearest(distance: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """(m, m) squared distances -> (m, k) int64 indices of each model's nearest others, nearest first."""
    own = distance.clone().fill_diagonal_(torch.inf)
    everyone = distance.shape[0] - 1
    return own.topk(everyone if distance.shape[0] <= ALL_PAIRS_UP_TO else min(count, everyone), largest=False).indices


def possible_roots(came_first: Tensor, neighbours: Tensor, count: int = ROOTS) -> Tensor:
    """(r,) int64: all models of a small family; of a large one those that growth says came before most of their neighbours."""
    models = came_first.shape[0]
    if models <= ALL_PAIRS_UP_TO:
        return torch.arange(models)
    return came_first.gather(1, neighbours).clamp(-6, 6).mean(1).topk(count).indices


def decide_tree(
    gram: Gram,
    distance: Tensor,
    lengths: Tensor,
    neighbours: Tensor,
    units: UnitDistances,
    roots: Tensor,
    evidence: Evidence,
) -> FamilyTree:
    """
    Args:
        gram: of the family's m >= 2 models; distance: (m, m) float64, squared; lengths: (m,), squared.
        neighbours, roots: see `nearest` and `possible_roots`; units: of the same.
    """
    models = distance.shape[0]
    trained = evidence.came_first.T.clamp(-CLIP, CLIP) - evidence.even  # [child, parent]
    settled = evidence.certain.T + evidence.prior
    pairs = pair_features(evidence.came_first, evidence.certain, evidence.even)
    correlated = shared_doubt(evidence.came_first, neighbours)
    products = gram.products.sum(0)
    shares, slopes, scores = [], [], []
    for place, (root, opposed) in enumerate(zip(roots.tolist(), opposition(products, lengths, roots), strict=True)):
        share, low = parents_under(gram, root, neighbours, distance, lengths, kept(units, neighbours, place), pairs)
        score = _over_edges(share, trained, root, neighbours) + drift_score(products, root, share)
        scores.append(correlated * score + opposed + _over_edges(share, settled, root, neighbours))
        shares.append(share)
        slopes.append(low)
    likely = torch.stack(scores).softmax(0)  # (r,)
    best = int(likely.argmax())
    root_probability = torch.zeros(models, dtype=torch.float64).index_add_(0, roots, likely)
    parent = torch.zeros(models, models, dtype=torch.float64)
    for index, root in enumerate(roots.tolist()):
        parent.scatter_add_(1, neighbours, likely[index] * shares[index][:, :-1])
        parent[:, root] += likely[index] * shares[index][:, -1]
    best_root = int(roots[best])
    choice = shares[best].argmax(1)  # (m,) slot
    below_root = choice == neighbours.shape[1]
    slot = choice.clamp(max=neighbours.shape[1] - 1)[:, None]
    best_parent = torch.where(below_root, best_root, neighbours.gather(1, slot)[:, 0])
    best_parent[best_root] = -1
    slope = torch.where(below_root, torch.nan, slopes[best].gather(1, slot)[:, 0])
    slope[best_root] = torch.nan
    return FamilyTree(root_probability, parent, best_root, best_parent, slope)


def parents_under(
    gram: Gram, root: int, neighbours: Tensor, distance: Tensor, lengths: Tensor, still: Tensor, pairs: Tensor
) -> tuple[Tensor, Tensor]:
    """The tree if `root` is the root.

    Args:
        lengths: (m,) float64, squared.
        still: (m, k) float64: share of units in which each model has kept what each neighbour changed since the root.
        pairs: (m, m, 3) float64, see ancestor.pair_features.
    Returns:
        (m, k + 1) float64: for each model the probability of each neighbour, and last of the root itself, to be its parent; rows
        sum to 1, the root's own row is 0. And (m, k) float64, the low slope of each neighbour's change since the root.
    """
    models = neighbours.shape[0]
    child = torch.arange(models)[:, None]
    seen = inheritance(gram, root, neighbours)
    low, since_root = seen.low, seen.moved
    turned = turned_from(root, distance, lengths)
    possible = (turned[neighbours] < turned[:, None]) & (seen.total <= SLOPE_LIMIT) & ~low.isnan()
    possible &= (neighbours != root) & (since_root[neighbours] > 0)
    possible &= pairs[neighbours, child, 1] > -CLIP  # what certainly came later is no ancestor
    features = root_features(low, distance[:, root], distance[child, neighbours], still)
    ancestor = torch.where(possible, log_odds(pairs[neighbours, child], features).sigmoid(), 0.0)  # (m, k)
    before = torch.cat([torch.ones(models, 1, dtype=torch.float64), (1 - ancestor).cumprod(1)[:, :-1]], 1)
    share = torch.cat([ancestor * before, torch.zeros(models, 1, dtype=torch.float64)], 1)
    share[:, -1] = 1 - share.sum(1)
    share[root] = 0
    return share, low


def turned_from(root: int, distance: Tensor, lengths: Tensor) -> Tensor:
    """(m,) float64: twice one minus the cosine of each model and the root. Unlike their distance it does not shrink where decay does."""
    long = lengths.sqrt()
    return (distance[:, root] - (long - long[root]).square()).clamp(min=0) / (long * long[root])


def shared_doubt(came_first: Tensor, neighbours: Tensor) -> float:
    """What the sum over a tree's edges is weighed by: one over the square root of how many of them speak up.

    What misleads one edge misleads the others, so many sure edges are no surer together than their square root. Edges that say little, as
    in a small sample, are kept from it by chance, each by its own: their sum counts in full.
    """
    said = came_first.gather(1, neighbours[:, :SPEAK]).abs().div(SPEAKS_UP).clamp(max=1).mean()
    return float((1 + (came_first.shape[0] - 2) * said) ** -0.5)


def _over_edges(share: Tensor, scores: Tensor, root: int, neighbours: Tensor) -> Tensor:
    """Sum of (m, m) scores [child, parent] over a tree's edges, each by its probability."""
    return (share[:, :-1] * scores.gather(1, neighbours)).sum() + (share[:, -1] * scores[:, root]).sum()


def drift_score(products: Tensor, root: int, share: Tensor) -> Tensor:
    """Drift at the root: its children, taken two by two, should have left it in partly the same direction. A scalar."""
    below = share[:, -1]
    pairs = (below[:, None] * below[None, :]).fill_diagonal_(0)
    return (pairs * drift(products, root)).sum() / pairs.sum().clamp(min=1)
