"""Counters: batch norm counts the batches that it has seen, in every file that keeps `num_batches_tracked`; the count only grows.

Of two related models the one with the lower count came first, unless the counter was reset: strong evidence, not proof. A head or decoder
that was put onto a model begins to count anew, so counts are compared only of modules whose weights are related.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from lineage.detect.align import describe
from lineage.detect.arrays import Tensor, torch
from lineage.detect.head_distances import distances_over
from lineage.detect.head_modules import head_module
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.signature import Role, natural_key
from lineage.detect.sketch_store import Sample, Sketch

LOG_ODDS = 4.0
FEW, VALUES = 4, 512  # matrices around a counter that are compared, and values of each
# squared distance over mean squared length from which on two modules are not made of one another; 2 of unrelated ones
OTHER_MODULE = 1.5


def batches_seen(sketches: Sequence[Sketch]) -> list[float | None]:
    """The count of each model, of the one counter that most of them have under one name; None of a model that lacks it or never counted."""
    return _seen(_counts(sketches))


def comparable_counts(sketches: Sequence[Sketch]) -> Tensor:
    """(m, m) bool: whether that counter counts for weights that are related in two models; of a head whether they are known to be."""
    return _comparable(_most_common(_counts(sketches)), sketches)


def counters(sketches: Sequence[Sketch]) -> Tensor:
    """(m, m) float64, [child, parent]: LOG_ODDS where the count of the parent is lower, 0 where equal, not kept or of other weights;
    antisymmetric."""
    counts = _counts(sketches)
    seen = _seen(counts)
    found = torch.tensor(
        [[0.0 if c is None or p is None else LOG_ODDS * ((p < c) - (p > c)) for p in seen] for c in seen],
        dtype=torch.float64,
    ).reshape(len(seen), len(seen))
    if not bool((found != 0).any()):
        return found
    return found * _comparable(_most_common(counts), sketches)


def _counts(sketches: Sequence[Sketch]) -> list[dict[str, float]]:
    return [
        {t.name: float(sketch.samples[t.source].values().max()) for t in describe(sketch) if t.role is Role.COUNTER}
        for sketch in sketches
    ]


def _most_common(counts: Sequence[Mapping[str, float]]) -> str:
    having = Counter(name for own in counts for name in own)
    return min(having, key=lambda name: (-having[name], name), default="")


def _seen(counts: Sequence[Mapping[str, float]]) -> list[float | None]:
    name = _most_common(counts)
    return [own.get(name) or None for own in counts]


def _comparable(counter: str, sketches: Sequence[Sketch]) -> Tensor:
    between, values = distances_over(_around(counter, sketches), range(len(sketches)), len(sketches))
    of_body = head_module(counter, "I64", ()) is None
    return (between < OTHER_MODULE * values) | ((values == 0) & of_body)


def _around(counter: str, sketches: Sequence[Sketch]) -> list[dict[int, Sample]]:
    """Matrices of the innermost module around a counter that any of them is sampled of: of each the models that have it in one shape. Rows
    of classes are looked at where there are no others."""
    found: dict[tuple[str, tuple[int, ...]], dict[int, Sample]] = defaultdict(dict)
    heads = set()
    for model, sketch in enumerate(sketches):
        for tensor in describe(sketch):
            if len(tensor.shape) > 1 and tensor.role in (Role.WEIGHT, Role.HEAD):
                found[tensor.name, tensor.shape][model] = sketch.samples[tensor.source].first(VALUES)
                heads |= {tensor.name} if tensor.role is Role.HEAD else set()
    shared = sorted((key for key, having in found.items() if len(having) > 1), key=lambda key: natural_key(key[0]))
    head = head_module(counter, "I64", ())
    for module in _modules(counter):
        if head is not None and not module.startswith(f"{head}."):
            break
        inside = [key for key in shared if key[0].startswith(module)]
        chosen = [key for key in inside if key[0] not in heads] or inside
        if chosen:
            return [found[key] for key in chosen[:FEW]]
    return []


def _modules(name: str) -> list[str]:
    """The modules that a tensor lies in, the innermost first, each with its dot."""
    pieces = name.split(".")
    return [".".join([*pieces[:count], ""]) for count in range(len(pieces) - 1, 0, -1)] + [""]


class CountersSignal:
    name = "counters"
    kind = Kind.CERTAIN
    phrase = "counters of batch norm, which only grow"

    def measure(self, family: SignalInputs) -> Tensor:
        return counters([model.sketch for model in family.models])
