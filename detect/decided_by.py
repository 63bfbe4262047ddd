"""What moved a decision: the kinds of evidence behind one edge with their log-odds, strongest first.

An edge is asserted because the root above it was chosen, which says which way the edge points, and because of the models under that root
its parent is the nearest ancestor. So what each kind says for the best root that has the edge, against the best one that has not, and
what makes the parent an ancestor, or keeps others from being one, is compared on one scale.
"""

from __future__ import annotations

from collections.abc import Mapping

from lineage.detect.arrays import torch
from lineage.detect.tree import FamilyTree

CERTAIN_TERM = "counters"  # as ancestor.py calls what all certain signals add together
LEAST = 0.1  # log-odds below which a kind of evidence moved nothing


def root_terms(tree: FamilyTree, child: int, parent: int) -> dict[str, float]:
    """Kind -> log-odds that it gives to the best root with the edge, against the best one without it; empty where all have it."""
    total = torch.stack(list(tree.scores.values())).sum(0)  # (r,)
    has = tree.best_parents[:, child] == parent  # (r,)
    if bool(has.all()) or not bool(has.any()):
        return {}
    mine = int(total.masked_fill(~has, -torch.inf).argmax())
    other = int(total.masked_fill(has, -torch.inf).argmax())
    return {kind: float(score[mine] - score[other]) for kind, score in tree.scores.items()}


def strongest_first(*terms: Mapping[str, float]) -> tuple[str, ...]:
    """Kinds that speak for the edge, the sum of what each says in several places counting; never empty."""
    together: dict[str, float] = {}
    for some in terms:
        for kind, value in some.items():
            together[kind] = together.get(kind, 0.0) + value
    ranked = sorted(together, key=lambda kind: -together[kind])
    return tuple(kind for kind in ranked if together[kind] > LEAST) or tuple(ranked[:1])


def ancestor_terms(tree: FamilyTree, child: int, parent: int) -> dict[str, float]:
    """Kind -> log-odds that the parent is an ancestor; where it is the root, that the likeliest other model is not."""
    under, near = tree.best_tree, tree.neighbours[child]
    terms = {kind: odds[child] for kind, odds in tree.terms.items()}
    here = (near == parent).nonzero()
    if parent != under.root and len(here):
        return {kind: float(odds[int(here)]) for kind, odds in terms.items()}
    total = torch.stack(list(terms.values())).sum(0).nan_to_num(-torch.inf)  # (k,)
    if not bool(total.isfinite().any()):
        return {}
    rival = int(total.argmax())
    return {kind: -float(odds[rival]) for kind, odds in terms.items()}


def by_signal(terms: Mapping[str, float], certain: Mapping[str, float]) -> dict[str, float]:
    """Terms of an ancestor, where what certain evidence adds is shared among the signals that it is from, by what each says.

    Args:
        terms: with CERTAIN_TERM for all certain evidence together; certain: signal -> its log-odds for the pair.
    """
    total = sum(certain.values())
    if CERTAIN_TERM not in terms or not total:
        return dict(terms)
    shared = {name: terms[CERTAIN_TERM] * odds / total for name, odds in certain.items() if odds}
    return {**{kind: value for kind, value in terms.items() if kind != CERTAIN_TERM}, **shared}
