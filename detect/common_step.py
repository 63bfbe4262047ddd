"""A step that all others have in common: seen from a model in the place of its parent, what it moved itself is in everyone's way.

Seen from what the others come from, two of them have always been found that have nothing to do with each other, and what another one
holds of a step is about nothing (middle.py). Seen from one of them instead, the own step lies in all others' steps: no inner product of
two of these is below its square, and all hold a part of those of the nearest. It speaks for a parent that is not at hand
(missing_parent.py), and for another root, from which nothing of it is seen (tree.py).

Dimension letters: m models, c children of the root.
"""

from __future__ import annotations

import math

from lineage.detect.arrays import Tensor, torch
from lineage.detect.geometry import Geometry
from lineage.detect.middle import held_parts, telling
from lineage.detect.signals.drift import differences_from
from lineage.detect.weighted_quantile import weighted_quantile

# lowest such product over the shortest step's square: nothing said, and all said
SHARED_BY_ALL, SURELY_SHARED = 0.12, 0.22
# shortest step over the middle one's: a child that hardly moved bounds the step of a stand-in, and tells nothing of what all share
SHORT, NOT_SHORT = 0.1, 0.18
NO_STEP = 1e-10  # square of a step over the model's own, from which on it is more than rounding
FEWEST_CHILDREN = 8  # fewer may all be akin
WORTH, CROWD = 4.0, 1.0  # log-odds, and for each factor e of the children, by which the prior against them falls
# steps looked at; others that must tell of one, and how near they must lie in all; steps that must be told
NEAREST, FEWEST, FEWEST_NEAR, FEWEST_STEPS = 3, 5, 3.0, 2
LOW = 0.2  # share of the others, by nearness, that may hold less
HELD, SURELY_HELD = 0.12, 0.2  # of a step, by the others: nothing said, and all said


def common_step(root: int, children: Tensor, products: Tensor, geometry: Geometry) -> float:
    """Log-odds, 0 or positive, that a root and its children all come from another model, since their steps have a part in common.

    Args:
        children: (c,) int64, directly below the root; products: (m, m) float64, inner products over all values, around any point.
    """
    return max(shared_by_all(root, children, products), held_by_the_others(root, children, geometry))


def shared_by_all(root: int, children: Tensor, products: Tensor) -> float:
    """The same since all steps from the root have a part in common; 0 where some do not. Args as of `common_step`."""
    if len(children) < FEWEST_CHILDREN:
        return 0.0
    squares, products_of_two = steps(root, children, products)
    shortest = float(squares.min())
    if shortest <= NO_STEP * float(products.diagonal().max()):
        return 0.0
    lowest = float(products_of_two.min()) / shortest
    beside = math.sqrt(shortest / float(squares.median()))
    return _reached(beside, SHORT, NOT_SHORT) * _worth(lowest, SHARED_BY_ALL, SURELY_SHARED, len(children))


def steps(root: int, children: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Of the steps from the root to its children: (c,) their squares, (c (c - 1) / 2,) inner products of two, ordered as `triu_indices`."""
    chosen = torch.cat([torch.tensor([root]), children])
    moved = differences_from(products[chosen][:, chosen], 0)[1:, 1:]  # (c, c)
    first, second = torch.triu_indices(len(children), len(children), 1)
    return moved.diagonal(), moved[first, second]


def held_by_the_others(root: int, children: Tensor, geometry: Geometry) -> float:
    """The same since the steps of the nearest children are in part held by the others.

    Seen from a parent, what another child holds of a child's step is about nothing (middle.py). Seen from a child in the place of the
    parent it is the share of the stand-in's own step in it, the same for all others; of the nearest children that share is the largest.
    """
    if len(children) < FEWEST_CHILDREN:
        return 0.0
    nearest = children[geometry.distance[root][children].argsort()][:NEAREST]
    lowest = []
    for child in nearest.tolist():
        part, near = held_parts(geometry.distance, root, child, telling(geometry, root, child, children))
        if len(part) >= FEWEST and float(near.sum()) >= FEWEST_NEAR:
            lowest.append(float(weighted_quantile(part[:, None], near[:, None], LOW)))
    if len(lowest) < FEWEST_STEPS:
        return 0.0
    return _worth(sum(lowest) / len(lowest), HELD, SURELY_HELD, len(children))


def _worth(part: float, nothing: float, all_of_it: float, children: int) -> float:
    """Log-odds for an unseen parent: 0 up to a part of `nothing`, from `all_of_it` on what outweighs the prior against many children."""
    return _reached(part, nothing, all_of_it) * (WORTH + CROWD * math.log(children))


def _reached(value: float, nothing: float, all_of_it: float) -> float:
    """0 to 1: how far a value is on its way between two limits."""
    return min(1.0, max(0.0, (value - nothing) / (all_of_it - nothing)))
