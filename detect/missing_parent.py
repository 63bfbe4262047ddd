"""Is the family's oldest known model really the parent of those below it, or do they and it all come from a model that is not at hand?

On the Hub parents are often private, deleted or not crawled, and of two models alone nothing in their weights tells a child from a sibling
that moved more: the ranges of every measure are the same. So a stated share of missing parents stands against every edge at the top of a
tree, and further relatives, dates or claims must bring it down:

- three or more models: FEATURES below, a logistic fitted by `bench.fit_missing_parent` on trees with and without their root;
- dates: a parent is older than all its children; of siblings any may be the oldest;
- a claim that names the model.

Dimension letters: m models, c children of the root.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from lineage.detect.family import Measured
from lineage.detect.family_tree import FamilyTree
from lineage.detect.signals.drift import drift
from lineage.detect.signals.exact_retention import Characters, private_share

CLAIMED = 2.0  # log-odds against an unseen parent where the child's card names this one
OLDEST_AT_LEAST = 0.125  # chance of a sibling to be dated before all others, however many they are
FEATURES = ("log of the number of children", "lowest cosine", "low cosine", "middle cosine")


def missing_parents(
    tree: FamilyTree, products: Tensor, distance: Tensor, found: Measured, prior: float
) -> Tensor:
    """(m, m) float64, [child, root]: probability that `root` is the oldest model at hand, and both come from an unseen parent.

    Args:
        products, distance: (m, m) float64 of the family, see gram.py; prior: share of parents that are not at hand.
    """
    unseen = torch.zeros_like(tree.direct)
    for place, root in enumerate(tree.roots.tolist()):
        below = (tree.best_parents[place] == root).nonzero()[:, 0]
        if not len(below):
            continue
        features = top_features(root, below, products, distance, found.characters)
        odds = unseen_log_odds(features, prior) + dated_first(root, below, found.evidence.dates)
        claims = CLAIMED * (found.evidence.declared[:, root] > 0)  # (m,)
        unseen[:, root] = (odds - claims).sigmoid()
    return unseen * tree.direct


def top_features(root: int, children: Tensor, products: Tensor, distance: Tensor, found: Characters) -> Tensor:
    """
    Args:
        root: a model; children: (c,) int64, those directly below it; products, distance: (m, m) float64, see gram.py.
    Returns:
        (f,) float64 in the order of FEATURES.
    """
    count = len(children)
    values = [float(torch.tensor(float(count)).log())]
    if count > 1:
        first, second = torch.triu_indices(count, count, 1)
        cosine = drift(products, root)[children][:, children][first, second]
        values += [float(cosine.min()), float(cosine.quantile(0.1)), float(cosine.median())]
    else:
        values += [0.0, 0.0, 0.0]
    return torch.tensor(values, dtype=torch.float64)


def unseen_log_odds(features: Tensor, prior: float) -> float:
    """Log-odds that a root and its children all come from an unseen parent, from weights alone.

    Args:
        features: (f,) float64, see `top_features`; prior: share of parents that are not at hand.
    """
    return float(torch.logit(torch.tensor(prior, dtype=torch.float64)))


def dated_first(root: int, children: Tensor, dates: Tensor) -> float:
    """Log-odds for an unseen parent from dates: that the root is the oldest of all says against it, 0 where it is not known to be.

    Args:
        dates: (m, m) float64, [child, parent]: log-odds from dates, above 0 where the parent is older, 0 where unknown.
    """
    known = dates[children, root]
    older = int((known > 0).sum())
    if not older or bool((known < 0).any()):
        return 0.0
    return float(torch.tensor(max(OLDEST_AT_LEAST, 1 / (older + 1)), dtype=torch.float64).log())
