"""Parents that a model cannot have, since it holds what they lack and a nearer ancestor has: a tensor bit for bit, or a head.

Tensors are made once and handed down (signals/shared_tensors.py), and so is a head. Its weights may be seeded alike in many trainings, but
the biases of its inner layers begin at zero, and no other training finds them again. Where a model shares one with another that lies
between it and the parent which its tree says, and that parent has it not, the other one is its parent: the tree asks how changes are spread
over units, and a child that goes on along its parent's way, or is changed far beyond it, looks there like a sibling.

Dimension letters: m models, n of them asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lineage.detect.arrays import Tensor
from lineage.detect.head_distances import head_distances
from lineage.detect.line_of_descent import line_of_descent
from lineage.detect.signals.shared_tensors import SharedTensors
from lineage.detect.sketch_file import Sketch
from lineage.detect.steps import beside_turning

ASKED = 4  # nearest models between a model and its parent whose heads are compared
LEAST = 0.5  # probability of the parent
# of what the one between had changed since the parent, what the model has at least; and how much farther it lies from the parent, in units
# of what is between the two, less where that is short, see steps.py
SLOPE, FARTHER = 0.8, 0.5
# squared distance over mean squared length up to which one head was made of the other, 2 of unrelated ones; and squared distance of the
# two models, in units of what the one between had changed, up to which that tells: a model that hardly moved lies on many ways
KEPT_HEAD, NEAR = 0.5, 2.0
SURE = 0.95  # share of the parent's probability that goes to the one between


def with_handed_down(
    parent: Tensor, distance: Tensor, tensors: SharedTensors, sketches: Sequence[Sketch], merges: Collection[int] = ()
) -> Tensor:
    """
    Args:
        parent: (m, m) float64, [child, parent], probabilities; distance: (m, m) squared.
        merges: models that are made of several, which have tensors of each.
    Returns:
        The same, where a parent is refuted with most of its probability at the nearest model between that hands down what it lacks.
    """
    best = parent.argmax(1).tolist()
    likely = parent.amax(1) >= LEAST
    above = {child: best[child] for child in likely.nonzero()[:, 0].tolist()}
    found = parent.clone()
    for child, first in above.items():
        if child in merges:
            continue
        between = [model for model in _between(child, first, distance) if model not in merges]
        held = _shared(child, first, tensors)
        near = [m for m in between[:ASKED] if float(distance[child, m]) <= NEAR * float(distance[first, m])]
        heirs = [model for model in between if held is not None and float(held[model]) > 0]
        heirs += [model for model in near if _kept_head(child, model, first, sketches)]
        heirs = [model for model in heirs if child not in line_of_descent(model, above)]
        if heirs:
            # the nearest of those that share as much
            heir = heirs[0] if held is None else max(heirs, key=lambda m: float(held[m]))
            moved = SURE * float(found[child, first])
            found[child, first] -= moved
            found[child, heir] += moved
    return found


def _between(child: int, first: int, distance: Tensor) -> list[int]:
    """The nearest models that the child may come from rather than from the first one, if that is their ancestor."""
    own, moved = distance[child], distance[first].clamp(min=1e-300)  # (m,) each
    slope = (own[first] + distance[first] - own) / (2 * moved)
    farther = beside_turning((own[first] - distance[first]) / own.clamp(min=1e-300), own, distance[first])
    possible = (slope >= SLOPE) & (farther >= FARTHER) & (distance[first] > 0) & (own > 0)
    possible[child] = possible[first] = False
    places = possible.nonzero()[:, 0]
    return places[own[places].argsort()].tolist()


def _shared(child: int, first: int, tensors: SharedTensors) -> Tensor | None:
    """(m,) float64: how many values each model shares with the child in tensors of the body that the first one has not; None where it
    has no such tensor."""
    own = tensors.codes[:, child]  # (t,)
    asked = tensors.body & (own != tensors.codes[:, first])
    same = tensors.codes[asked] == own[asked][:, None]  # (t, m)
    return tensors.values[asked] @ same.double() if bool((same.sum(1) > 1).any()) else None


def _kept_head(child: int, between: int, first: int, sketches: Sequence[Sketch]) -> bool:
    """Whether a model kept the head of the one between, and the first one has no such head."""
    apart = head_distances([sketches[model] for model in (child, between, first)], [0], of_biases=True)[:, 0]
    return bool(apart[1] <= KEPT_HEAD) and not bool(apart[2] <= KEPT_HEAD)
