"""Trees of one family under its possible roots -> the probability of each edge.

A tree without its root is the same whatever the root is: with another one only the edges on the way between the two turn round. Seen from a
root far out, though, all other models share what lies between it and the middle of the family, and nothing tells which of them a model
comes from; seen from the middle it is plain. So every tree counts under every root, turned round to it, by a power of its own root's
probability: where one root is likelier than all others, its tree is what is said of the models that do not lie between.

Dimension letters: m models, k neighbours of each, r possible roots.
Source: Felsenstein 1981, "Evolutionary trees from DNA sequences" (the pulley principle: reversible changes do not place the root).
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.arrays import Tensor, torch

POWER = 1.5  # of the probability of the root that a tree is seen from
LEAST = 1e-3  # weight or probability below which a tree is not turned round


def edges(
    shares: Sequence[Tensor], parents: Tensor, roots: Tensor, likely: Tensor, neighbours: Tensor
) -> tuple[Tensor, Tensor]:
    """
    Args:
        shares: (m, k + 1) float64 of each root: probability of each neighbour, and last of that root, to be a model's parent.
        parents: (r, m) int64: each model's likeliest parent in the tree of each root; -1 for the root itself.
        roots: (r,) int64; likely: (r,) float64, their probabilities.
        neighbours: (m, k) int64.
    Returns:
        (m, m) float64, [child, parent], probability of each edge; and of those alone that a tree has from its own root: whether that is the
        parent, or in the place of one that is not at hand, is asked of these, see missing_parent.py.
    """
    models = len(neighbours)
    weight = likely**POWER
    weight = weight / weight.sum()
    found, direct = (torch.zeros(models, models, dtype=torch.float64) for _ in range(2))
    for share, root, counts in zip(shares, roots.tolist(), weight, strict=True):
        found.scatter_add_(1, neighbours, counts * share[:, :-1])
        found[:, root] += counts * share[:, -1]
        direct[:, root] += counts * share[:, -1]
    for place in (weight >= LEAST).nonzero()[:, 0].tolist():
        for other in (likely >= LEAST).nonzero()[:, 0].tolist():
            counts, root = weight[place] * likely[other], int(roots[place])
            way = _turned_round(shares[place], parents[place], root, int(roots[other]), neighbours)
            for model, turned, at_root in way:
                found[model] += counts * turned
                direct[model] += counts * at_root
    return found, direct


def _turned_round(
    share: Tensor, parents: Tensor, root: int, other: int, neighbours: Tensor
) -> list[tuple[int, Tensor, Tensor]]:
    """Of the tree of one root under another one, the models on the way from the other: each with (m,) what changes about its parents, and
    (m,) of that what is about edges at the tree's own root."""
    way = []
    below, sure = -1, 1.0  # the model before on the way, and the probability that it goes on here
    model = other
    for _ in range(len(parents)):
        at_root, own = (torch.zeros(len(parents), dtype=torch.float64) for _ in range(2))
        at_root[root] = share[model, -1]
        own.scatter_add_(0, neighbours[model], share[model, :-1])
        own += at_root
        turned, at_root = -sure * own, -sure * at_root
        if below >= 0:
            turned[below] += sure
            at_root[below] += sure * (model == root)
        way.append((model, turned, at_root))
        if model == root:
            break
        below, model = model, int(parents[model])
        sure *= float(own[model])
    return way
