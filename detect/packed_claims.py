"""What a quantized copy claims, where its values name no original: weighed by what packing leaves alone.

Values that cannot be unpacked (QuIP, unknown types of GGUF) leave no weights to compare, so such a copy has a signature
of its own. What it claims (its card, tags, configuration, the metadata of a GGUF file) is weighed by two things: the shapes of the
tensors, and the values of those that stay floats, where both samples hold them. A claim alone asserts nothing: the model that it
names is kept as a possible parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.reasons import Reason
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sketch
from lineage.graphdb.schema import Relation

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
        kin = [clause for clause in decision.reason.then if clause.key == "packed_kin"]
        ends = [*([why for *_, why in weighed] or [Reason("packed_unknown")]), *kin]
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
        start, stop = one.common(other)
        if stop <= start:
            continue
        mine = one.values()[start - one.start : stop - one.start]  # (values,)
        its = other.values()[start - other.start : stop - other.start]  # (values,)
        if its.min() == its.max():
            continue
        same = int(np.count_nonzero(mine == its))
        equal, unequal = equal + same, unequal + len(its) - same
    return equal, unequal
