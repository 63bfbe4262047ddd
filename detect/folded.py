"""Networks whose batch norms were folded into their kernels, as exports to ONNX and TorchScript do: set apart from those that keep them.

Folding multiplies each kernel by a factor of its own. Beside a model that kept its norms such factors look like training, and the length
of a kernel, which tells who came first, tells nothing. So the two kinds are decided about apart, and of a folded model it is then asked
whether its kernels are those of one that kept its norms, each times one factor: then it is its export.

Dimension letters: r rows (kernels), w values of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.reasons import Reason
from lineage.detect.signature import Role, dotted, role_of
from lineage.detect.sketch_file import Sample, Sketch
from lineage.graphdb.schema import Relation

MOSTLY = 0.5  # of the tensors of two dimensions and more: so many are kernels in a network that batch norms may be folded into
FEWEST_TENSORS, FEWEST_ROWS = 3, 48  # compared
# cosine of two kernels that differ by a factor and by rounding to 16 bits, least that of bfloat16; a short training leaves 0.9999
SAME_ROW = 1 - 5e-6
SAME_ROWS = 0.98  # share of the kernels that must be the same
RELATED_ROWS = 0.5  # median cosine of the kernels of relatives; of strangers it is below 0.1
PROBABILITY = 0.99  # that it is the export
UNTOLD = 0.33  # that one comes from the other, either way, or both from a third


def keeps_norms(sketch: Sketch) -> bool | None:
    """Whether a network of convolutions has statistics of batch norms; None for one of other layers."""
    shapes = [shape for shape in sketch.layout.values() if len(shape) > 1]
    if not shapes or sum(len(shape) > 2 for shape in shapes) <= MOSTLY * len(shapes):
        return None
    return any(role_of(dotted(name), "F32", shape) is Role.STATISTIC for name, shape in sketch.layout.items())


def norms_apart(subjects: Sequence[Subject], keep: Mapping[str, bool | None]) -> list[list[Subject]]:
    """The models in two lists where some keep their batch norms and others were folded, else in one.

    Args:
        keep: id -> whether it keeps them, see `keeps_norms`.
    """
    if not {True, False} <= {keep[s.id] for s in subjects}:
        return [list(subjects)]
    return [[s for s in subjects if keep[s.id] is not False], [s for s in subjects if keep[s.id] is False]]


def across_norms(
    subjects: Sequence[Subject], keep: Mapping[str, bool | None], said: Mapping[str, Decision]
) -> dict[str, Decision]:
    """Decisions about folded models that are exports of others that keep their norms, or related to them and to no other, by id.

    Args:
        subjects: of one backbone; keep: see `norms_apart`; said: what was decided about each among those of its own kind.
    """
    kinds = norms_apart(subjects, keep)
    if len(kinds) < 2:
        return {}
    others, folded = kinds
    named = {name for decision in said.values() for name in (*decision.named, *decision.siblings)}
    found = {}
    for model in folded:
        cosines = {other.id: row_cosines(model.sketch, other.sketch) for other in others}
        original = max(cosines, key=lambda name: float(np.median(cosines[name])))
        same, middle = float((cosines[original] >= SAME_ROW).mean()), float(np.median(cosines[original]))
        alone = not said[model.id].named and model.id not in named
        if same >= SAME_ROWS:
            found[model.id] = Decision(
                model=model.id,
                answer=AnswerKind.PARENT,
                probability=PROBABILITY,
                parent=original,
                relation=Relation.COPY_OF,
                candidates=(Candidate(original, PROBABILITY),),
                decided_by=("content",),
                evidence={"same_kernels": round(same, 4)},
                reason=Reason("folded", models={"parent": original}),
            )
        elif middle >= RELATED_ROWS and alone:
            found[model.id] = Decision(
                model=model.id,
                answer=AnswerKind.UNDECIDED,
                probability=UNTOLD,
                candidates=(Candidate(original, UNTOLD),),
                evidence={"kernel_cosine": round(middle, 4)},
                reason=Reason("folded_kin", models={"parent": original}),
            )
    return found


def row_cosines(one: Sketch, other: Sketch) -> np.ndarray:
    """(r,) cosine of each kernel in both samples, whatever its sign; one 0 where too few are in both."""
    found: list[np.ndarray] = []
    for name, own in one.samples.items():
        its = other.samples.get(name)
        if its is None or own.shape != its.shape or len(own.shape) < 3:
            continue
        x, y = _rows(own, its), _rows(its, own)
        if not len(x):
            continue
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        alive = lengths > 1e-12 * max(1e-12, float(lengths.max()))
        found.append(np.abs((x * y).sum(1)[alive] / lengths[alive]))
    if len(found) < FEWEST_TENSORS or sum(map(len, found)) < FEWEST_ROWS:
        return np.zeros(1)
    return np.concatenate(found)


def _rows(sample: Sample, other: Sample) -> np.ndarray:
    """(r, w) float64: the whole rows of a sample that are in another one's range as well."""
    start, stop = sample.common(other)
    width = int(np.prod(sample.shape[1:]))
    first, last = -(-start // width), stop // width
    values = sample.values()[first * width - sample.start : max(first, last) * width - sample.start]
    return values.astype(np.float64).reshape(-1, width)
