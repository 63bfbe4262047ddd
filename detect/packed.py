"""Quantised copies of which nothing was compared with the model that they were packed from: what their claims and shapes say.

GPTQ, AWQ, bitsandbytes, fp8 and GGUF types that are not unpacked leave no weights that could be compared by value, so such a copy
has a signature of its own. What it claims (its card, tags, configuration, the metadata of a GGUF file) is weighed by two things that
packing leaves alone: the shapes of the tensors, and the values of those that stay floats, where both samples hold them. A claim alone
asserts nothing: the model that it names is kept as a possible parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.decision import Answer, Candidate, Decision
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sketch
from lineage.graphdb.schema import Relation

EQUAL_VALUES = 0.97  # siblings whose norms were frozen have equal norms as well: the claim tells which of them it is
SAME_SHAPES, SAME_VECTORS, UNSEEN = 0.75, 0.6, 0.5  # below every threshold that asserts: a claim is no finding
TIED = 1  # tensors more or less that are no other architecture: a head that is tied or not
MIN_EQUAL_VALUES = 256  # in tensors that are not constant


@dataclass(frozen=True, slots=True)
class Claimed:
    """A model that a quantised copy names as its base. sources: where it says so; sketch: None where nothing of it could be read."""

    id: str
    label: str
    sources: tuple[str, ...]
    sketch: Sketch | None


def told(decision: Decision) -> bool:
    """Whether values of weights have said something about a copy already: then its claims are not weighed."""
    return decision.parent is not None or bool(decision.candidates)


def settle(decision: Decision, sketch: Sketch, claimed: Sequence[Claimed]) -> Decision:
    """The decision about a quantised copy, once its claims are weighed; as it was where values of weights have told."""
    if told(decision):
        return decision
    weighed = [(claim, *_weight(sketch, claim)) for claim in claimed]
    for claim, chance, evidence, why in weighed:
        if chance == EQUAL_VALUES:
            return Decision(
                decision.model,
                Answer.PARENT,
                chance,
                claim.id,
                Relation.QUANTIZED_FROM,
                (Candidate(claim.id, chance),),
                ("content", "declared"),
                {"claimed_in": list(claim.sources), **evidence},
                f"a quantised copy: {why}",
            )
    fitting = [(claim, chance / len(claimed), evidence, why) for claim, chance, evidence, why in weighed if chance]
    if not fitting:
        ends = "; ".join(why for *_, why in weighed) or "the model that it is a copy of is not known"
        return replace(
            decision, answer=Answer.UNDECIDED, probability=0.0, decided_by=(), reason=f"a quantised copy; {ends}"
        )
    fitting.sort(key=lambda found: (-found[1], found[0].label))
    best, chance, evidence, why = fitting[0]
    return Decision(
        decision.model,
        Answer.UNDECIDED,
        chance,
        candidates=tuple(Candidate(claim.id, share) for claim, share, *_ in fitting),
        evidence={"claimed_in": list(best.sources), **evidence},
        reason=f"a quantised copy whose packed numbers are not compared; it names {best.label}, {why}",
    )


def _weight(copy: Sketch, claim: Claimed) -> tuple[float, dict[str, int], str]:
    """(chance, 0 where the shapes rule it out; numbers; the words for it)."""
    base = claim.sketch
    if base is None:
        return UNSEEN, {}, "whose weights were not read"
    equal, unequal = _equal_values(copy, base)
    if equal >= MIN_EQUAL_VALUES and not unequal:
        return (
            EQUAL_VALUES,
            {"equal_values": equal},
            f"{equal:,} values that were not packed are those of {claim.label}",
        )
    mine, its = _shapes(copy), _shapes(base)
    shared = (mine & its).total()
    numbers = {"equal_shapes": shared, "tensors_of_parent": its.total()}
    if (its - mine).total() + (mine - its).total() <= TIED:
        return SAME_SHAPES, numbers, "and every tensor has the shape that it has there"
    vectors: Counter[tuple[int, ...]] = Counter({s: n for s, n in its.items() if len(s) == 1})
    if vectors and not vectors - mine:
        return SAME_VECTORS, numbers, "and what was not packed has the shapes that it has there"
    return 0.0, numbers, f"it names {claim.label}, whose tensors have other shapes"


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
