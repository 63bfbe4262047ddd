"""Quantized copies: a model's values in a coarser dtype, unpacked from few bits, or packed so that nothing can be compared by value.

Rounded and unpacked copies are found by value. GPTQ, AWQ, bitsandbytes, fp8 and GGUF types that are not unpacked leave no weights that
could be compared, so such a copy has a signature of its own. What it claims (its card, tags, configuration, the metadata of a GGUF
file) is weighed by two things that packing leaves alone: the shapes of the tensors, and the values of those that stay floats, where both
samples hold them. A claim alone asserts nothing: the model that it names is kept as a possible parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.acceptance import WORTH_NAMING
from lineage.detect.arrays import Tensor
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import is_rounded_copy, precision
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample, Sketch
from lineage.graphdb.schema import Relation

MAX_ROUNDED_DISTANCE = 2.0**-6  # relative distance under which one model may be the other one rounded


def rounded(subjects: Sequence[Subject], relative: Tensor) -> dict[str, Decision]:
    """Decisions for models that are another member's values in a coarser dtype."""
    digits = [precision(s.sketch) for s in subjects]
    decisions: dict[str, Decision] = {}
    for i, j in (relative < MAX_ROUNDED_DISTANCE**2).fill_diagonal_(False).nonzero().tolist():
        coarse, fine = subjects[i], subjects[j]
        if digits[i] < digits[j] and coarse.id not in decisions and is_rounded_copy(coarse.sketch, fine.sketch):
            decisions[coarse.id] = Decision(
                model=coarse.id,
                answer=AnswerKind.PARENT,
                probability=0.999,
                parent=fine.id,
                relation=Relation.QUANTIZED_FROM,
                candidates=(Candidate(fine.id, 0.999),),
                decided_by=("content",),
                evidence={
                    "values_compared": coarse.sketch.sampled_values,
                    "digits": digits[i],
                    "digits_of_parent": digits[j],
                },
                reason=Reason("rounded", {"digits": digits[i]}, {"parent": fine.id}),
            )
    return decisions


def quantized(subjects: Sequence[Subject], relative: Tensor, options: Options) -> dict[str, Decision]:
    """Decisions for models unpacked from few bits: a copy of the nearest model that was not, if no other is nearly as near."""
    decisions: dict[str, Decision] = {}
    full = [i for i, subject in enumerate(subjects) if not subject.quantized]
    for i, subject in enumerate(subjects):
        if not subject.quantized:
            continue
        near = sorted((float(relative[i, j]), j) for j in full)[:3]
        if not near:
            reason = Reason("packed_unknown")
            decisions[subject.id] = Decision(
                subject.id, AnswerKind.ROOT, 0.99, decided_by=("relatedness",), reason=reason
            )
            continue
        weights = [(near[0][0] + 1e-30) / (distance + 1e-30) for distance, _ in near]  # (1, below 1, ...)
        chance = [0.98 * w**2 / sum(v**2 for v in weights) for w in weights]
        candidates = tuple(
            Candidate(subjects[j].id, round(p, 4)) for (_, j), p in zip(near, chance, strict=True) if p >= WORTH_NAMING
        )
        best = subjects[near[0][1]]
        tells = chance[0] >= options.threshold
        decisions[subject.id] = Decision(
            model=subject.id,
            answer=AnswerKind.PARENT if tells else AnswerKind.UNDECIDED,
            probability=chance[0],
            parent=best.id if tells else None,
            relation=Relation.QUANTIZED_FROM if tells else None,
            candidates=candidates,
            decided_by=("content",) if tells else (),
            evidence={
                "relative_distance": round(near[0][0] ** 0.5, 6),
                "values_compared": subject.sketch.sampled_values,
                **({"bits": bits} if (bits := grid_bits(subject.sketch)) is not None else {}),
            },
            reason=Reason("packed_nearest" if tells else "packed_tie", models={"parent": best.id}),
        )
    return decisions


GRID = {8: (127, 128), 4: (7, 8)}  # bits -> the largest whole number that the largest value of a row or block may be
GRID_BLOCKS = {8: (0,), 4: (0, 128, 64, 32)}  # values that share a scale; 0: a row
SMALL_NUMBERS = 24  # whole numbers up to which the dtype of the file does not blur the grid
ON_GRID, OFF_GRID_AT_MOST = 0.98, 0.1  # share of the values that lie on it, and how far off a whole number they may be
FEWEST_ON_GRID = 512  # values, in at least half of the matrices


def grid_bits(sketch: Sketch) -> int | None:
    """Bits in which a model's matrices were stored before they were written as floats again; None where they were not.

    Every value of a row or block is then a whole number times one scale, and the largest one is the largest number there is.
    """
    matrices = [
        s for s in sketch.samples.values() if len(s.shape) == 2 and s.dtype in FLOAT_DTYPES and s.shape[1] >= 64
    ]
    for bits, largest in GRID.items():
        for block in GRID_BLOCKS[bits]:
            if any(_on_grid(matrices[:1], block, n) and _on_grid(matrices, block, n) for n in largest):
                return bits
    return None


def _on_grid(matrices: Sequence[Sample], block: int, largest: int) -> bool:
    on_grid = 0
    for sample in matrices:
        width = block or sample.shape[1]
        values = sample.values()
        if sample.shape[1] % width or sample.start % width or len(values) < width:
            continue
        rows = values[: len(values) // width * width].reshape(-1, width).astype(np.float64)
        most = np.abs(rows).max(1, keepdims=True)
        number = rows / np.where(most > 0, most, 1.0) * largest
        told = (np.abs(number) <= SMALL_NUMBERS) & (np.abs(number) > 0.5 * (largest > SMALL_NUMBERS))
        near = np.abs(number - np.round(number)) <= OFF_GRID_AT_MOST
        on_grid += int(told.sum()) >= FEWEST_ON_GRID and float((near & told).sum()) >= ON_GRID * float(told.sum())
    return bool(matrices) and 2 * on_grid > len(matrices)


EQUAL_VALUES = 0.97  # siblings whose norms were frozen have equal norms as well: the claim tells which of them it is
SAME_SHAPES, SAME_VECTORS, UNSEEN = 0.75, 0.6, 0.5  # below every threshold that asserts: a claim is no finding
TIED = 1  # tensors more or less that are no other architecture: a head that is tied or not
MIN_EQUAL_VALUES = 256  # in tensors that are not constant


@dataclass(frozen=True, slots=True)
class ClaimedOriginal:
    """A model that a quantized copy names as its base. sources: where it says so; sketch: None where nothing of it could be read."""

    id: str
    label: str
    sources: tuple[str, ...]
    sketch: Sketch | None


def decided_by_values(decision: Decision) -> bool:
    """Whether values of weights have already decided about a copy: then its claims are not weighed."""
    return decision.parent is not None or bool(decision.candidates)


def settle(decision: Decision, sketch: Sketch, claimed: Sequence[ClaimedOriginal]) -> Decision:
    """The decision about a quantized copy, once its claims are weighed; unchanged where values of weights have decided."""
    if decided_by_values(decision):
        return decision
    weighed = [(claim, *_weight(sketch, claim)) for claim in claimed]
    for claim, chance, evidence, reason in weighed:
        if chance == EQUAL_VALUES:
            return Decision(
                decision.model,
                AnswerKind.PARENT,
                chance,
                claim.id,
                Relation.QUANTIZED_FROM,
                (Candidate(claim.id, chance),),
                ("content", "declared"),
                {"claimed_in": list(claim.sources), **evidence},
                reason,
            )
    fitting = [(claim, chance / len(claimed), evidence, why) for claim, chance, evidence, why in weighed if chance]
    if not fitting:
        ends = [why for *_, why in weighed] or [Reason("packed_unknown")]
        return replace(
            decision, answer=AnswerKind.UNDECIDED, probability=0.0, decided_by=(), reason=ends[0].and_then(*ends[1:])
        )
    fitting.sort(key=lambda found: (-found[1], found[0].label))
    best, chance, evidence, reason = fitting[0]
    return Decision(
        decision.model,
        AnswerKind.UNDECIDED,
        chance,
        candidates=tuple(Candidate(claim.id, share) for claim, share, *_ in fitting),
        evidence={"claimed_in": list(best.sources), **evidence},
        reason=reason,
    )


def _weight(copy: Sketch, claim: ClaimedOriginal) -> tuple[float, dict[str, int], Reason]:
    """(chance, 0 where the shapes rule it out; numbers; the reason)."""
    base, models = claim.sketch, {"parent": claim.id}
    if base is None:
        return UNSEEN, {}, Reason("packed_unread", models=models)
    equal, unequal = _equal_values(copy, base)
    if equal >= MIN_EQUAL_VALUES and not unequal:
        numbers = {"equal_values": equal}
        return EQUAL_VALUES, numbers, Reason("packed_equal_values", numbers, models)
    mine, its = _shapes(copy), _shapes(base)
    shared = (mine & its).total()
    numbers = {"equal_shapes": shared, "tensors_of_parent": its.total()}
    if (its - mine).total() + (mine - its).total() <= TIED:
        return SAME_SHAPES, numbers, Reason("packed_same_shapes", models=models)
    vectors: Counter[tuple[int, ...]] = Counter({s: n for s, n in its.items() if len(s) == 1})
    if vectors and not vectors - mine:
        return SAME_VECTORS, numbers, Reason("packed_same_vectors", models=models)
    return 0.0, numbers, Reason("packed_other_shapes", models=models)


def _shapes(sketch: Sketch) -> Counter[tuple[int, ...]]:
    """How many tensors there are of each shape, names and order of axes aside: converters change both."""
    return Counter(tuple(sorted(shape)) for shape in sketch.layout.values())


def _equal_values(copy: Sketch, base: Sketch) -> tuple[int, int]:
    """Values that both samples hold as floats: (equal, not equal). Constant tensors, such as norms that never moved, do not count."""
    equal = unequal = 0
    for name in copy.samples.keys() & base.samples.keys():
        one, other = copy.samples[name], base.samples[name]
        if one.shape != other.shape or not {one.dtype, other.dtype} <= FLOAT_DTYPES:
            continue
        start, stop = max(one.start, other.start), min(one.stop, other.stop)
        if stop <= start:
            continue
        mine = one.values()[start - one.start : stop - one.start]  # (values,)
        its = other.values()[start - other.start : stop - other.start]  # (values,)
        if its.min() == its.max():
            continue
        same = int(np.count_nonzero(mine == its))
        equal, unequal = equal + same, unequal + len(its) - same
    return equal, unequal
