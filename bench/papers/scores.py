"""How well parents were named: overall, lineage and direction accuracy, and links over several generations.

overall: of all models, roots included, those whose parent (or that they have none) is named. lineage: of all children, those that stand in
one family with their true parent, whoever is called the parent. direction: of the children that are linked to their true parent, those
whose arrow is right. Source of the three: Yu & Wang, ICLR 2025, which leaves their denominators open; these are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

Parents = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Score:
    overall: float
    lineage: float
    direction: float
    linked: float


def score(truth: Parents, found: Parents) -> Score:
    """
    Args:
        truth: model -> parent, None for a root. found: the same; a model may be missing, which is a wrong answer.
    """
    children = [(c, p) for c, p in truth.items() if p is not None and p in truth]
    group = _groups(found)
    right = [found.get(model, "") == parent for model, parent in truth.items()]
    together = [c in group and group[c] == group.get(p) for c, p in children]
    linked = [found.get(c) == p or found.get(p) == c for c, p in children]
    turned = [found.get(c) == p for (c, p), link in zip(children, linked, strict=True) if link]
    return Score(_share(right), _share(together), _share(turned), _share([found.get(c) == p for c, p in children]))


def _share(facts: Sequence[bool]) -> float:
    return fmean(facts) if facts else 0.0


def _groups(found: Parents) -> dict[str, str]:
    """model -> one member of its connected part of the found links."""
    above = {model: model for model in found}

    def top(model: str) -> str:
        while above[model] != model:
            model = above[model]
        return model

    for child, parent in found.items():
        if parent is not None and parent in above:
            above[top(child)] = top(parent)
    return {model: top(model) for model in found}


def ancestors(parents: Parents, model: str, at_most: int = 100) -> list[str]:
    """Parent, grandparent, ... of a model, as far as they are named."""
    chain: list[str] = []
    above = parents.get(model)
    while above is not None and above not in chain and len(chain) < at_most:
        chain.append(above)
        above = parents.get(above)
    return chain


def links(truth: Parents, found: Parents, generations: int) -> tuple[int, int]:
    """(right, all) links from a model to its ancestor of so many generations before."""
    right = known = 0
    for model in truth:
        true = ancestors(truth, model)
        if len(true) >= generations:
            known += 1
            said = ancestors(found, model)
            right += len(said) >= generations and said[generations - 1] == true[generations - 1]
    return right, known


@dataclass(frozen=True, slots=True)
class Spread:
    mean: float
    deviation: float
    worst: float
    best: float
    runs: int

    def text(self) -> str:
        return f"{self.mean:.3f} ± {self.deviation:.3f} ({self.worst:.3f})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), pstdev(values), min(values), max(values), len(values))
