"""Merged adapters: the difference of two models has a low rank in some matrices and is zero everywhere else.

Comes in: the sketches of a child and its parent. Goes out: rank and matrices, or None where the difference is not of that kind. Merging
LoRA adds B A to a weight, of rank r, and rounds; norms, biases and all other matrices stay as they were, bit for bit. The sample of a
matrix is a block of whole rows, and a block of D = B A has at most rank r, so blocks of m rows show ranks up to m / 2. Rounding adds
noise of the spacing of the stored numbers: what is below its largest singular value, sigma (sqrt(m) + sqrt(n)) for noise of variance
sigma^2, is not counted.

Source: Hu et al. 2022, "LoRA"; singular values of noise: Davidson and Szarek 2001, theorem II.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.decode import round_to
from lineage.detect.model_input import Subject
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import DIGITS
from lineage.detect.signature import FLOAT_DTYPES, Role, role_of
from lineage.detect.sketch_file import Sample, Sketch
from lineage.graphdb.schema import Relation

MARGIN = 1.5  # noise is not quite white where most changes are smaller than the spacing of numbers
TAIL = 1.25  # times the expected energy of rounding that is not counted
DENSE = 0.2  # of a block's values
FEWEST_MATRICES = 2
NAMED = 6  # kinds of matrices


@dataclass(frozen=True, slots=True)
class LowRankChange:
    """rank: the highest of any matrix; modules: last names of those that changed; matrices: how many; untouched: of other tensors."""

    rank: int
    modules: tuple[str, ...]
    matrices: int
    untouched: int


def low_rank_change(child: Sketch, parent: Sketch) -> LowRankChange | None:
    """The difference as a merged adapter, None where it is none. Heads do not count: they are replaced for a task."""
    changed: list[tuple[Sample, np.ndarray, np.ndarray]] = []
    untouched = 0
    for name, sample in child.samples.items():
        other = parent.samples.get(name)
        if other is None or role_of(name, sample.dtype, sample.shape) in (Role.HEAD, Role.CONSTANT, Role.COUNTER):
            continue
        if other.shape != sample.shape or (other.start, other.stop) != (sample.start, sample.stop):
            continue
        mine, its = sample.values(), other.values()
        if np.array_equal(mine, its) or _rounded_alike(sample, other):
            untouched += 1
        elif len(sample.shape) < 2 or sample.dtype not in FLOAT_DTYPES:
            return None  # training moves vectors as well
        else:
            changed.append((sample, mine, its))
    if len(changed) < FEWEST_MATRICES or not untouched:
        return None
    ranks = []
    for sample, mine, its in changed:
        rank = _rank(sample, mine, its)
        if rank is None:
            return None
        ranks.append(rank)
    if not max(ranks):
        return None  # all of it is smaller than rounding
    modules = sorted({sample.name.removesuffix(".weight").rpartition(".")[2] for sample, _, _ in changed})
    return LowRankChange(max(ranks), tuple(modules), len(changed), untouched)


def _rounded_alike(sample: Sample, other: Sample) -> bool:
    """Whether a tensor is the parent's, stored in fewer digits."""
    if DIGITS.get(sample.dtype, 0) >= DIGITS.get(other.dtype, 0):
        return False
    return np.array_equal(round_to(other.values(), sample.dtype), sample.values())


def _rank(sample: Sample, mine: np.ndarray, its: np.ndarray) -> int | None:
    """Rank of a block's difference; None where it is not low.

    Args:
        mine, its: (values,) of the block.
    """
    width = int(np.prod(sample.shape[1:]))
    if not width or len(mine) % width:
        return None
    difference = (mine.astype(np.float64) - its.astype(np.float64)).reshape(-1, width)  # (m, n)
    if np.count_nonzero(difference) < DENSE * difference.size:
        return None  # hardly any training changes few values, which is a low rank as well
    if difference.shape[0] > difference.shape[1]:
        difference = difference.T
    m, n = difference.shape
    squares = np.linalg.eigvalsh(difference @ difference.T)  # (m,) ascending
    exponents = np.frexp(mine.astype(np.float64))[1] - DIGITS[sample.dtype]  # of the spacing of stored numbers
    sigma = sqrt(float(np.mean(np.square(np.exp2(exponents.astype(np.float64))))) / 12)
    noise = MARGIN * sigma * (sqrt(m) + sqrt(n))
    rank = int(np.count_nonzero(squares > noise**2))
    left = float(squares[: m - rank].sum())  # more than rounding leaves: weaker parts of the product lie in it
    return rank if 2 * rank <= m and left <= TAIL * sigma**2 * m * n else None


def with_merged_adapters(decisions: Sequence[Decision], subjects: Sequence[Subject]) -> list[Decision]:
    """The same, saying of each fine-tuned model whether it is its parent with an adapter merged into it.

    Args:
        decisions: about the subjects.
    """
    sketches = {subject.id: subject.sketch for subject in subjects}
    return [
        _named(decision, sketches.get(decision.model), sketches.get(decision.parent or "")) for decision in decisions
    ]


def _named(decision: Decision, child: Sketch | None, parent: Sketch | None) -> Decision:
    if decision.answer is not AnswerKind.PARENT or decision.relation is not Relation.FINE_TUNED_FROM:
        return decision
    found = None if child is None or parent is None else low_rank_change(child, parent)
    if found is None:
        return decision
    shown = ", ".join(found.modules[:NAMED]) + (" …" if len(found.modules) > NAMED else "")
    evidence = {
        "rank": found.rank,
        "modules": list(found.modules),
        "matrices": found.matrices,
        "untouched": found.untouched,
    }
    reason = decision.reason.and_then(Reason("low_rank", {"rank": found.rank, "modules": shown}))
    return replace(decision, evidence={**decision.evidence, "low_rank": evidence}, reason=reason)
