"""The evidence for and against one edge, layer by layer: what `lineage explain` shows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lineage.detect.align import Layer, NotComparable, align
from lineage.detect.arrays import torch
from lineage.detect.common_starts import models_of, starts_in
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.gram import gram, squared_lengths
from lineage.detect.methods.registry import decide_with
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.parts import in_common
from lineage.detect.reasons import Reason
from lineage.detect.signals.growth import growth
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.units import measurable
from lineage.detect.sketch_store import Sketch


@dataclass(frozen=True, slots=True)
class LayerEvidence:
    """
    Attributes:
        depth: the tensor's place in the model, 0 to 1.
        moved: |child - parent| / |parent| of the sampled units; equal_units: share of units that are equal bit for bit.
        growth_z: of this layer alone; positive says that the parent came first. growth_gamma, growth_error: what z is made of, None
            where growth does not apply (vectors, heads, embeddings, too few units).
        slope, slope_error: share of what the parent learned since its own parent that is still in the child, about 1 where the
            child was trained from it; None where the parent has no known parent or did not change.
    """

    name: str
    depth: float
    units: int
    values: int
    moved: float
    equal_units: float
    growth_z: float
    growth_gamma: float | None
    growth_error: float | None
    slope: float | None
    slope_error: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Attributes:
        child, parent: ids; names: id -> what people call it, of every model that is mentioned.
        relative_distance: |child - parent| / |parent| over the body and the embedding, as decisions have it.
        related: excess cosine of matching units, 1 for copies.
        growth_z, growth_gamma: of the pair, over all layers; positive says that the parent came first.
        equal: share of the compared units that are equal bit for bit.
        background: relatedness of the child with every model at hand, highest first, at most ten: (id, value).
        decision: about the child, with all models at hand; weighed: how many those are, the two included.
        since: id of the model that the slopes look from: the parent's own parent, None where none is known.
        layer_map: of models of different depth, which of the parent's layers are compared, in words.
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
    since: str | None
    names: Mapping[str, str]
    layer_map: str | None = None

    @property
    def probability(self) -> float:
        """That this parent is the parent of this child."""
        return next((c.probability for c in self.decision.candidates if c.parent == self.parent), 0.0)

    @property
    def tells(self) -> bool:
        """Whether it is known if this parent is the parent of this child."""
        return self.decision.answer is not AnswerKind.UNDECIDED and not self.common_start

    @property
    def common_start(self) -> bool:
        """Whether the two are no near relatives and yet had a start in common, or one is a long training of the other."""
        return any(self.parent in models_of(clause) for clause in starts_in(self.decision))


def explain(
    child: Subject, parent: Subject, others: Sequence[Subject], options: Options, device: torch.device
) -> Explanation:
    """
    Args:
        others: further models of the same signature that the decision may weigh.
    Raises:
        NotComparable: child and parent share no trained values.
    """
    everyone = [parent, child, *others]
    decisions = {decision.model: decision for decision in decide_with(options.method, everyone, options, device)}
    since = next((s for s in others if s.id == decisions[parent.id].parent), None)
    layers = align([s.sketch for s in (parent, child, since) if s], device)
    pair = torch.tensor([[0, 1]], device=device)
    rows = [_layer_evidence(layer, pair) for layer in layers]
    whole = growth(layers, pair)
    size = float(squared_lengths(layers)[0])
    excess = relatedness(align([s.sketch for s in everyone], device))[1]
    ranked = sorted(((float(excess[i]), s.id) for i, s in enumerate(everyone) if i != 1), reverse=True)
    found = Explanation(
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
        decision=decisions[child.id],
        weighed=len(everyone),
        since=since.id if since else None,
        names={subject.id: subject.label for subject in everyone},
    )
    return with_decision(found, decisions[child.id])


def with_decision(found: Explanation, decision: Decision) -> Explanation:
    """An explanation with what was decided about the child, in the words of a scan: a model that had a start in common with another one
    is not called unrelated to it, nor is one that shares too little with it to measure that."""
    if decision.reason.key == "unrelated" and found.related == 0:
        decision = decision.withdrawn(Reason("too_few_in_common", {"values": found.values}))
    elif decision.answer is AnswerKind.ROOT and decision.reason.key == "unrelated":
        decision = replace(decision, answer=AnswerKind.NO_RELATIVES)
    if decision.reason.key == "unrelated" and starts_in(decision):
        decision = replace(decision, reason=replace(decision.reason, key="no_near_relatives"))
    return replace(found, decision=decision)


def pair_layers(
    child: Sketch, parent: Sketch, since: Sketch | None = None, device: torch.device | None = None
) -> tuple[LayerEvidence, ...]:
    """The change from a parent to a child, layer by layer, without deciding anything.

    Args:
        since: of the parent's own parent, from which slopes are measured.
    Raises:
        NotComparable: they share no trained values.
    """
    on = device or torch.device("cpu")
    pair = torch.tensor([[0, 1]], device=on)
    own = in_common([parent, child])
    if since is not None:
        with contextlib.suppress(NotComparable):
            own = in_common([parent, child, since])
    return tuple(_layer_evidence(layer, pair) for layer in align(own, on))


def _layer_evidence(layer: Layer, pair: torch.Tensor) -> LayerEvidence:
    """layer: of parent, child and, where there is one, the parent's own parent."""
    first, second = layer.values[0].double(), layer.values[1].double()
    grown = growth([layer], pair) if measurable(layer) else None
    z, gamma = (float(grown.z[0]), float(grown.gamma[0])) if grown else (0.0, 0.0)
    slope = slope_error = None
    if len(layer.values) == 3:
        before = layer.values[2].double()
        learned = (first - before).norm()
        if learned > 0:
            slope = float(((second - before) * (first - before)).sum() / learned.square())
            slope_error = float((second - first).norm() / learned / first.numel() ** 0.5)
    return LayerEvidence(
        name=layer.name,
        depth=layer.depth,
        units=layer.values.shape[1],
        values=layer.values[0].numel(),
        moved=float((second - first).norm() / first.norm().clamp(min=1e-300)),
        equal_units=float((first == second).all(1).double().mean()),
        growth_z=z,
        growth_gamma=gamma if z else None,
        growth_error=abs(gamma / z) if z else None,
        slope=slope,
        slope_error=slope_error,
    )
