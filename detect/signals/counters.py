"""Counters: batch norm counts the batches that it has seen, in every file that keeps `num_batches_tracked`; the count only grows.

Of two related models the one with the lower count came first, unless the counter was reset: strong evidence, not proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lineage.detect.align import describe
from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.signature import Role
from lineage.detect.sketch_store import Sketch

LOG_ODDS = 4.0


def batches_seen(sketches: Sequence[Sketch]) -> list[float | None]:
    """The count of each model, of the one counter that most of them have under one name; None of a model that lacks it or never counted.

    A decoder that was put onto a trained encoder counts from nothing, so counts of other layers say nothing.
    """
    counts = [
        {t.name: float(sketch.samples[t.source].values().max()) for t in describe(sketch) if t.role is Role.COUNTER}
        for sketch in sketches
    ]
    having = Counter(name for own in counts for name in own)
    name = min(having, key=lambda name: (-having[name], name), default="")
    return [own.get(name) or None for own in counts]


def counters(sketches: Sequence[Sketch]) -> Tensor:
    """(m, m) float64, [child, parent]: LOG_ODDS where the count of the parent is lower, 0 where equal or not kept; antisymmetric."""
    seen = batches_seen(sketches)
    return torch.tensor(
        [[0.0 if c is None or p is None else LOG_ODDS * ((p < c) - (p > c)) for p in seen] for c in seen],
        dtype=torch.float64,
    ).reshape(len(seen), len(seen))


class CountersSignal:
    name = "counters"
    kind = Kind.CERTAIN
    phrase = "counters of batch norm, which only grow"

    def measure(self, family: SignalInputs) -> Tensor:
        return counters([model.sketch for model in family.models])
