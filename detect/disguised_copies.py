"""Copies in disguise: a model plus noise, or with scaled tensors. They are copies of the model and nothing that was trained from it.

Noise added to weights is white: within a tensor every row and every column changes by the same amount, up to what chance leaves, and from
tensor to tensor the amount is one constant, or one share of the tensor's own spread. What training changes follows gradients, and rows
differ by far more than chance: energies of rows of white noise vary by (kurtosis - 1) / w for rows of w values; those of trained models by
tens to thousands of times that. A scaled copy is, tensor by tensor, the other model times a number, to rounding.

Which of the two is the copy: noise is at right angles to the original, n . p = 0, and not to the copy, n . (p + n) = |n|^2. That is seen
where noise is strong; else, and for scaled copies, dates, claims and places of publication tell, or nothing does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from lineage.detect.arrays import Tensor
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import DIGITS
from lineage.detect.signature import FLOAT_DTYPES, Role, role_of
from lineage.detect.sketch_file import Sketch
from lineage.graphdb.schema import Relation

NEIGHBOURS = 3  # of each model are looked at
MOST_NOISE_SQ = 0.3**2  # |noise|^2 over |model|^2
FEWEST_ROWS, FEWEST_VALUES = 16, 16  # of a matrix, and of a row
FEWEST_MATRICES = 2
MOST_VARIATION = (
    1.1  # times what chance leaves in energies of rows and columns, with five standard errors; most trainings: 2 to 50
)
LEVEL_SPREAD = 0.1  # of the noise's level from tensor to tensor, relative
CHANGED = 0.9  # of the values
SCALED_TO = 0.5  # of the last digit, residual of a scaled tensor: rounding once leaves 0.29 on average, twice 0.41
SCALED_BY = 1e-3  # from one, at least somewhere
SURE, CERTAIN_Z = 0.97, 6.0  # probability of a direction; how far apart both hypotheses must lie, in standard errors


@dataclass(frozen=True, slots=True)
class Disguise:
    """How one model is another one in disguise.

    Attributes:
        kind: `noise` or `scaled`; size: of the noise over the model, or the largest factor.
        first: 0 where the first of the two is the original, 1 where the second is, None where the values do not tell.
    """

    kind: str
    size: float
    first: int | None


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The same sampled rows of one matrix in both models, (u, w) float64; digits: of the coarser one."""

    one: np.ndarray
    other: np.ndarray
    digits: int


def disguised(
    subjects: Sequence[Subject],
    relative: Tensor,
    options: Options,
    known: frozenset[str],
    sources: np.ndarray | None = None,
) -> dict[str, Decision]:
    """Decisions about copies in disguise, by id; their originals get none.

    Args:
        relative: (m, m) |i - j|^2 over |i|^2.
        known: ids of models that are decided about already.
        sources: (m, m) bool, [child, parent], see possible_sources.py.
    """
    found: dict[str, Decision] = {}
    open_ones = [i for i, subject in enumerate(subjects) if subject.id not in known]
    pairs = set()
    among = relative[open_ones][:, open_ones].fill_diagonal_(inf).numpy()
    nearest = among.argsort(1, kind="stable")[:, :NEIGHBOURS].tolist()
    for at, places in enumerate(nearest):
        near = [(min(at, to), max(at, to)) for to in places if 0 < among[at, to] < MOST_NOISE_SQ]
        pairs |= {(open_ones[low], open_ones[high]) for low, high in near}
    for i, j in sorted(pairs):
        one, other = subjects[i], subjects[j]
        if one.id in found or other.id in found:
            continue
        disguise = disguise_of(one.sketch, other.sketch)
        if disguise is not None:
            original, copy, told_by = _original(one, other, disguise, options)
            if told_by is not None and sources is not None and not sources[(i, j) if copy is one else (j, i)]:
                continue  # a model moved a little by a merge has changed as by noise
            found[copy.id] = _decision(copy, original, disguise, told_by)
    return found


def disguise_of(one: Sketch, other: Sketch) -> Disguise | None:
    """How two models are one in disguise; None where they are not, or too little of them can be compared."""
    matrices = _matrices(one, other)
    first = next(matrices, None)
    if first is None:
        return None
    for test in (_scaled, _noisy):
        if test([first]) is not None:  # most pairs are distinguished by one matrix
            everything = [first, *matrices]
            return test(everything) if len(everything) >= FEWEST_MATRICES else None
    return None


def _matrices(one: Sketch, other: Sketch) -> Iterator[_Matrix]:
    for name, mine in one.samples.items():
        its = other.samples.get(name)
        if (
            its is None
            or not {mine.dtype, its.dtype} <= FLOAT_DTYPES
            or role_of(name, mine.dtype, mine.shape) is not Role.WEIGHT
        ):
            continue
        width = int(np.prod(mine.shape[1:]))
        if mine.shape != its.shape or (mine.start, mine.stop) != (its.start, its.stop) or width < FEWEST_VALUES:
            continue
        if (mine.stop - mine.start) % width or (mine.stop - mine.start) // width < FEWEST_ROWS:
            continue
        rows, its_rows = (m.values().astype(np.float64).reshape(-1, width) for m in (mine, its))
        yield _Matrix(rows, its_rows, min(DIGITS[mine.dtype], DIGITS[its.dtype]))


def _scaled(matrices: Sequence[_Matrix]) -> Disguise | None:
    """Whether every matrix is the other one times a number."""
    factors = []
    for matrix in matrices:
        size = float(np.vdot(matrix.one, matrix.one))
        factor = float(np.vdot(matrix.one, matrix.other)) / size if size else 0.0
        left = float(np.linalg.norm(matrix.other - factor * matrix.one))
        if factor <= 0 or left > SCALED_TO * 2.0**-matrix.digits * float(np.linalg.norm(matrix.other)):
            return None
        factors.append(max(factor, 1 / factor))
    return Disguise("scaled", max(factors), None) if max(factors) - 1 > SCALED_BY else None


def _noisy(matrices: Sequence[_Matrix]) -> Disguise | None:
    """Whether the difference is white in every matrix, and of one level."""
    levels, shares = [], []
    along, error_sq, values, noise_sq, length_sq = 0.0, 0.0, 0, 0.0, 0.0
    for matrix in matrices:
        noise = matrix.other - matrix.one  # (u, w)
        if np.count_nonzero(noise) < CHANGED * noise.size or not _white(noise):
            return None
        variance = float(np.mean(np.square(noise)))
        levels.append(sqrt(variance))
        shares.append(sqrt(variance) / float(matrix.one.std()))
        size = float(np.vdot(matrix.one, matrix.one))
        along += float(np.vdot(noise, matrix.one)) / variance
        error_sq += size / variance
        values, noise_sq, length_sq = values + noise.size, noise_sq + variance * noise.size, length_sq + size
    if len(matrices) > 1 and min(_spread(levels), _spread(shares)) > LEVEL_SPREAD:
        return None
    z, apart = (
        along / sqrt(error_sq),
        values / sqrt(error_sq),
    )  # 0 if the first is the original, -apart if the second is
    tells = apart >= CERTAIN_Z
    return Disguise("noise", sqrt(noise_sq / length_sq), None if not tells else 0 if z > -apart / 2 else 1)


def _white(noise: np.ndarray) -> bool:
    """Whether energies of rows and of columns vary by no more than chance."""
    squares = np.square(noise)
    mean = float(squares.mean())
    excess = float(np.square(squares).mean()) / mean**2 - 1  # kurtosis - 1
    rows, columns = squares.mean(1), squares.mean(0)  # (u,), (w,)
    return all(
        float(energies.var(ddof=1)) / mean**2 <= (MOST_VARIATION + 5 * sqrt(2 / len(energies))) * excess / many
        for energies, many in ((rows, noise.shape[1]), (columns, noise.shape[0]))
    )


def _spread(levels: Sequence[float]) -> float:
    return float(np.std(levels) / np.mean(levels))


def _original(
    one: Subject, other: Subject, disguise: Disguise, options: Options
) -> tuple[Subject, Subject, str | None]:
    """(original, copy, the kind of evidence that tells; None where nothing does)."""
    pair = (one, other)
    if disguise.first is not None:
        return pair[disguise.first], pair[1 - disguise.first], "content"
    if options.declared and (one.id in other.declared) != (other.id in one.declared):
        original, copy = pair if one.id in other.declared else (other, one)
        doubted = options.dates and original.younger_than_any([copy])
        return original, copy, None if doubted else "declared"
    if options.dates and one.created_at and other.created_at and one.created_at != other.created_at:
        return (one, other, "dates") if one.created_at < other.created_at else (other, one, "dates")
    first = min(pair, key=lambda subject: (len(subject.label), subject.label))
    return first, other if first is one else one, None


def _decision(copy: Subject, original: Subject, disguise: Disguise, told_by: str | None) -> Decision:
    size = {"percent": 100 * disguise.size} if disguise.kind == "noise" else {"factor": disguise.size}
    reason = Reason(f"copy_{disguise.kind}", size, {"original": original.id})
    evidence = {
        "disguise": disguise.kind,
        "size": round(disguise.size, 6),
        "values_compared": copy.sketch.sampled_values,
    }
    decision = Decision(
        copy.id,
        AnswerKind.PARENT,
        SURE,
        original.id,
        Relation.COPY_OF,
        (Candidate(original.id, SURE),),
        tuple(dict.fromkeys(("content", told_by or "content"))),
        evidence,
        reason,
    )
    if told_by is not None:
        return decision
    return replace(
        decision,
        answer=AnswerKind.UNDECIDED,
        probability=0.5,
        parent=None,
        relation=None,
        candidates=(Candidate(original.id, 0.5),),
        decided_by=(),
        evidence={**evidence, "equal_to": original.id},
        reason=reason.and_then(Reason("copy_unknown")),
    )
