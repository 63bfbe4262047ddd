"""The evidence for and against one edge, layer by layer: what `lineage explain` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from detect.align import align
from detect.decision import Decision
from detect.gram import gram
from detect.methods.registry import decide_with
from detect.pipeline import Options, Subject
from detect.signals.growth import growth
from detect.signals.relatedness import relatedness


@dataclass(frozen=True, slots=True)
class LayerEvidence:
    """
    Attributes:
        moved: |child - parent| / |parent| of the sampled units; equal_units: share of units that are equal bit for bit.
        growth_z: of this layer alone; positive says that the parent came first.
    """

    name: str
    units: int
    values: int
    moved: float
    equal_units: float
    growth_z: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Attributes:
        child, parent: ids; names: id -> what people call it, of every model that is mentioned.
        relative_distance: |child - parent| / |parent| over all layers; related: excess cosine of matching units, 1 for copies.
        growth_z, growth_gamma: of the pair, over all layers; positive says that the parent came first.
        equal: share of the compared units that are equal bit for bit.
        background: relatedness of the child with every model at hand, highest first, at most ten: (id, value).
        decision: about the child, with all models at hand; weighed: how many those are, the two included.
    """

    child: str
    parent: str
    relative_distance: float
    related: float
    growth_z: float
    growth_gamma: float
    equal: float
    values: int
    layers: tuple[LayerEvidence, ...]
    background: tuple[tuple[str, float], ...]
    decision: Decision
    weighed: int
    names: Mapping[str, str]

    @property
    def probability(self) -> float:
        """That this parent is the parent of this child."""
        return next((c.probability for c in self.decision.candidates if c.parent == self.parent), 0.0)


def explain(
    child: Subject, parent: Subject, others: Sequence[Subject], options: Options, device: torch.device
) -> Explanation:
    """
    Args:
        others: further models of the same signature that the decision may weigh.
    Raises:
        NotComparable: child and parent share no trained values.
    """
    layers = align([parent.sketch, child.sketch], device)
    pair = torch.tensor([[0, 1]], device=device)
    rows = []
    for layer in layers:
        first, second = layer.values[0].double(), layer.values[1].double()
        rows.append(
            LayerEvidence(
                name=layer.name,
                units=layer.values.shape[1],
                values=layer.values[0].numel(),
                moved=float((second - first).norm() / first.norm().clamp(min=1e-300)),
                equal_units=float((first == second).all(1).double().mean()),
                growth_z=float(growth([layer], pair).z[0]),
            )
        )
    whole = growth(layers, pair)
    size = sum(float(layer.values[0].double().square().sum()) for layer in layers)
    everyone = [parent, child, *others]
    excess = relatedness(align([s.sketch for s in everyone], device))[1]
    ranked = sorted(((float(excess[i]), s.id) for i, s in enumerate(everyone) if i != 1), reverse=True)
    decision = next(d for d in decide_with(options.method, everyone, options, device) if d.model == child.id)
    return Explanation(
        child=child.id,
        parent=parent.id,
        relative_distance=float((gram(layers).distances()[0, 1] / max(size, 1e-300)).sqrt()),
        related=float(excess[0]),
        growth_z=float(whole.z[0]),
        growth_gamma=float(whole.gamma[0]),
        equal=sum(row.units * row.equal_units for row in rows) / sum(row.units for row in rows),
        values=sum(row.values for row in rows),
        layers=tuple(rows),
        background=tuple((name, value) for value, name in ranked[:10]),
        decision=decision,
        weighed=len(everyone),
        names={subject.id: subject.label for subject in everyone},
    )
