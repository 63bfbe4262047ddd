"""Quantized copies -> their originals: which model's values were rounded, or packed into few bits.

`rounded` finds models whose values are another one's in a coarser dtype. `decide_copies` takes models that are known to be packed (by
a configuration, by their tensors) or that lie on a grid of few levels. Such a copy is compared with the models that are not, once
those were decided about: so it is no model's parent, changes no other decision, and lies between no two models. Two things tell:

* What the quantizer left alone, such as norms, biases and embeddings: equal bit for bit to the original, and not to a sister that moved.
* The packed values. The error of rounding does not follow what training changed, so each value is a small vote; their likelihood
  decides between sisters nearer to one another than the error is, and where it does not, both are named.

Where neither fits any model, the original is not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from lineage.detect.acceptance import WORTH_NAMING
from lineage.detect.arrays import Tensor
from lineage.detect.copy_fit import (
    LEVELS_IN,
    CopyFit,
    SampledValues,
    fit_of,
    is_coarser,
    leaning,
    likely_originals,
    outside_near_zero,
    outside_share,
    unfolded,
)
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.reasons import Reason
from lineage.detect.signals.content import is_rounded_copy, precision
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample, Sketch
from lineage.graphdb.schema import Relation

MAX_ROUNDED_DISTANCE = 2.0**-6  # relative distance under which one model may be the other one rounded
CASTS = {8: "bf16", 11: "fp16", 24: "fp32"}  # digits of the significand -> what a file of them is called
SURE, BY_VALUES = 0.99, 0.98  # where values that were left alone tell, and where packed ones do
UNCHECKED = 0.9  # where the quantizer does not round to the nearest level, so that an unseen sister of the original may fit better
LEANING_BY_CHANCE = 0.002  # probability that a copy of the model named seems to be one of another that is not at hand
MIN_EQUAL_VALUES = 64  # in tensors that are not constant
CORRELATED = 0.5  # of a value's vote counts: errors of one row or block go together
CLAIMED, LATER = 20.0, 0.1  # odds of a model that the copy names, and of one first published after it
MOST_ERROR = {
    1: 0.9,
    2: 0.8,
    3: 0.45,
    4: 0.25,
    5: 0.1,
    6: 0.06,
}  # bits -> relative error beyond which a model is not the original
FINE_ERROR = 0.04  # the same of eight bits, in whole numbers or floats
TO_NEAREST = (  # packings whose usual quantizers round each value to the nearest level
    "bitsandbytes",
    "torchao",
    "quanto",
    "mlx 2",
    "mlx 3",
    "mlx 4",
    "gguf Q",
    "onnx",
    "fp8",
    "int8",
    "compressed-tensors fp8",
    "compressed-tensors nvfp4",
    "compressed-tensors mxfp4",
)
EVEN_BITS = 5  # from which on whole numbers leave levels of a block unused
MOST_OUTSIDE = {  # share of the original's values that are nearer to another level, by the beginning of what a format is called
    "mlx 6": 0.03,
    "mlx 8": 0.1,
    **dict.fromkeys(TO_NEAREST, 0.003),
    "": 1.0,
}
MOST_NEAR_ZERO = {  # the same of values near zero; some quantizers change a scale after they have rounded with it
    "quanto": 1.0,
    "hqq 4": 0.01,
    "hqq 8": 1.0,
    "mlx 3": 0.001,
    "mlx 4": 0.005,
    "mlx 6": 1.0,
    "mlx 8": 1.0,
    "gguf Q4_": 0.005,
    "gguf Q5_": 0.005,
    "": 0.0025,
}
FEWEST_OUTSIDE = 4
CLEAN = 0.006  # share up to which a tensor may be rounded to the nearest level
FLOATS_SHARE = 64
AS_FLOATS = ", as floats again"
RELATED_ERROR = 0.9  # relative error beyond which a model is no relative


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
                reason=rounded_reason(digits[i], fine.id),
            )
    return decisions


def rounded_reason(digits: int, parent: str) -> Reason:
    if digits not in CASTS:
        return Reason("rounded", {"digits": digits}, {"parent": parent})
    return Reason("cast", {"dtype": CASTS[digits]}, {"parent": parent})


def packing_of(subject: Subject) -> str | None:
    """How a model's numbers are packed, or were before they were written as floats again; None for plain numbers."""
    if subject.quantization is not None:
        return subject.quantization
    bits = grid_bits(subject.sketch)
    return None if bits is None else f"{bits} bits{AS_FLOATS}"


def decide_copies(
    copies: Mapping[str, str], subjects: Sequence[Subject], originals: Sequence[Subject], options: Options
) -> Iterator[Decision]:
    """
    Args:
        copies: id of each packed copy -> how it is packed; subjects: models, the copies among them.
        originals: those that may be an original: neither packed nor rounded nor a copy.
    """
    values = SampledValues()
    for subject in subjects:
        if subject.id in copies:
            likely = likely_originals(subject, originals, values)
            fits = [fit for model in likely if (fit := fit_of(subject, model, values)) is not None]
            yield _decide(subject, copies[subject.id], fits, values, options)


@dataclass(frozen=True, slots=True)
class _BestFits:
    """A copy beside the models that fit it best.

    Attributes:
        best: the fits that are equal in most values; equal_values: how many; told: tensors that some model equals.
        packed: the other tensors that all of them were compared in; folded: whether scales were moved between tensors.
        unequal: tensors that all of them were compared in, and that none equals.
    """

    copy: Subject
    best: Sequence[CopyFit]
    equal_values: int
    told: frozenset[str]
    packed: Sequence[str]
    folded: bool
    unequal: Sequence[str]


def _best_fits(copy: Subject, fits: Sequence[CopyFit], values: SampledValues) -> _BestFits:
    size = {name: sample.stop - sample.start for name, sample in copy.sketch.samples.items()}
    equal = [sum(size[name] for name in fit.equal) for fit in fits]
    best: Sequence[CopyFit] = [fit for fit, count in zip(fits, equal, strict=True) if count == max(equal)]
    told = frozenset(name for fit in fits for name in fit.equal)
    packed = sorted(set.intersection(*(set(fit.error) for fit in best)) - told)
    without_scales = unfolded(copy, best, packed, values)
    unequal = packed
    if without_scales is not None:
        best, packed = without_scales, sorted(without_scales[0].error)
    return _BestFits(copy, best, max(equal), told, packed, without_scales is not None, unequal)


def _decide(copy: Subject, how: str, fits: Sequence[CopyFit], values: SampledValues, options: Options) -> Decision:
    if not fits:
        reason = Reason("packed_unknown")
        return Decision(copy.id, AnswerKind.UNDECIDED, 0.0, evidence={"format": how}, reason=reason)
    found = _best_fits(copy, fits, values)
    best, left_alone = found.best, found.equal_values >= MIN_EQUAL_VALUES
    chances = _chances(found, options)
    order = sorted(range(len(best)), key=lambda i: -chances[i])
    first = best[order[0]].subject
    length_sq = sum(
        float(np.square(values.of(copy, copy.sketch.samples[n]), dtype=np.float64).sum()) for n in found.packed
    )
    error = sqrt(sum(best[order[0]].error[n] for n in found.packed) / length_sq) if length_sq else 0.0
    evidence: dict[str, Any] = {
        "format": how,
        **({"bits": bits} if (bits := bits_of(how)) is not None else {}),
        "equal_values": found.equal_values,
        "relative_distance": round(error, 6),
        "values_compared": sum(
            s.stop - s.start for n, s in copy.sketch.samples.items() if n in {*found.told, *found.packed}
        ),
    }
    others = [fit.subject for fit in fits if fit is not best[order[0]] and fit.subject.id != first.id]
    if _original_is_missing(found, how, best[order[0]], error, values) or _leans(found, how, first, others, values):
        near = (Candidate(first.id, WORTH_NAMING),) if error <= RELATED_ERROR else ()
        reason = Reason("packed_unseen", {"format": how}, {"parent": first.id}) if near else Reason("packed_unknown")
        chance = WORTH_NAMING if near else 0.0
        return Decision(copy.id, AnswerKind.UNDECIDED, chance, candidates=near, evidence=evidence, reason=reason)
    sure = SURE if left_alone and len(best) == 1 else BY_VALUES
    sure = sure if how.startswith(TO_NEAREST) or first.id in copy.declared or not best[order[0]].error else UNCHECKED
    candidates = tuple(
        Candidate(best[i].subject.id, round(sure * chances[i], 4))
        for place, i in enumerate(order)
        if sure * chances[i] >= WORTH_NAMING or place == 0
    )
    decision = Decision(
        copy.id, AnswerKind.UNDECIDED, candidates[0].probability, candidates=candidates, evidence=evidence
    )
    if candidates[0].probability < options.threshold:
        second = candidates[1].parent if len(candidates) > 1 else best[order[1]].subject.id
        return replace(decision, reason=Reason("packed_two", {"format": how}, {"parent": first.id, "second": second}))
    by_values = _chances(found, replace(options, declared=False, dates=False))[order[0]]
    numbers = {"format": how, "equal_values": found.equal_values}
    relation, reason = (
        Relation.QUANTIZED_FROM,
        Reason("packed_left_alone" if left_alone else "packed_values", numbers, {"parent": first.id}),
    )
    if not best[order[0]].error:  # nothing is left of any tensor
        relation = Relation.QUANTIZED_FROM if best[order[0]].cast else Relation.COPY_OF
        reason = Reason("copy_equal_values", {"values": found.equal_values})
        if best[order[0]].cast:
            reason = rounded_reason(_digits(how, copy), first.id)
    return replace(
        decision,
        answer=AnswerKind.PARENT,
        parent=first.id,
        relation=relation,
        decided_by=("content",) if sure * by_values >= options.threshold else ("content", "declared"),
        reason=reason,
    )


def _digits(how: str, copy: Subject) -> int:
    """Digits of the significand after a cast: GGUF has vectors in float32 whatever its matrices are in."""
    named = how.lower()
    return 8 if "bf16" in named else 11 if "f16" in named or "fp16" in named else precision(copy.sketch)


def bits_of(how: str) -> int | None:
    """Bits of a value, as far as the name of a packing says."""
    words = how.lower().replace("_", " ").split()
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.isdigit() and after.startswith("bit"):
            return int(word)
    named = {
        "int8": 8,
        "uint8": 8,
        "fp8": 8,
        "q8": 8,
        "q6": 6,
        "q5": 5,
        "q4": 4,
        "iq4": 4,
        "q3": 3,
        "iq3": 3,
        "q2": 2,
        "iq2": 2,
    }
    named |= {"nf4": 4, "fp4": 4, "nvfp4": 4, "mxfp4": 4, "int4": 4, "f16": 16, "bf16": 16}
    return next((named[word] for word in words if word in named), None)


def _chances(found: _BestFits, options: Options) -> list[float]:
    """How likely each of the best models is the original: the likelihood of all packed values, claims, dates. They sum to 1."""
    copy, marks = found.copy, []
    for fit in found.best:
        mark = 0.0
        for name in found.packed:
            sample = copy.sketch.samples[name]
            mark -= CORRELATED * (sample.stop - sample.start) / 2 * log(max(fit.error[name], 1e-30))
        subject = fit.subject
        mark += log(CLAIMED) if options.declared and subject.id in copy.declared else 0.0
        if options.dates and copy.created_at and subject.created_at and subject.created_at > copy.created_at:
            mark += log(LATER)
        marks.append(mark)
    weights = [exp(mark - max(marks)) for mark in marks]
    return [weight / sum(weights) for weight in weights]


def _left_alone(found: _BestFits, how: str) -> list[str]:
    """Tensors that no model has, and that were not packed: vectors, and what is still in 16 bits. Where scales were moved between tensors,
    those of blocks may differ all the same."""
    samples = found.copy.sketch.samples
    return [
        name
        for name in found.unequal
        if (len(samples[name].shape) == 1 or (samples[name].dtype in ("F16", "BF16") and not how.endswith(AS_FLOATS)))
        and not (found.folded and any(part.isdigit() for part in name.split(".")))
    ]


def _original_is_missing(found: _BestFits, how: str, nearest: CopyFit, error: float, values: SampledValues) -> bool:
    """Whether no model is the original: what the quantizer left alone is that of none, or the rest lies farther off than rounding."""
    if any(not is_coarser(found.copy, nearest.subject, name, values) for name in _left_alone(found, how)):
        return True
    bits = bits_of(how)
    if error > MOST_ERROR.get(bits or 4, FINE_ERROR):
        return True
    if found.folded:
        return False
    even = "fp" not in how and not how.startswith("bitsandbytes 4")
    near_zero = outside_near_zero(found.copy, nearest.subject, found.packed, values, _width(how), even)
    if how.startswith(TO_NEAREST) or _to_nearest(near_zero):
        outside, seen = (sum(pair[i] for pair in near_zero.values()) for i in (0, 1))
        if outside > FEWEST_OUTSIDE and outside > _most(MOST_NEAR_ZERO, how) * seen:
            return True
    outside_all = outside_share(found.copy, nearest.subject, found.packed, values, even and (bits or 4) >= EVEN_BITS)
    return outside_all is not None and outside_all > _most(MOST_OUTSIDE, how)


def _leans(found: _BestFits, how: str, nearest: Subject, others: Sequence[Subject], values: SampledValues) -> bool:
    """Whether what is left of a copy points to or away from another model, as it does where the copy is of one that is not at hand.

    Asked where the quantizer does not round to the nearest level: there nothing else shows it.
    """
    if how.startswith(TO_NEAREST) or not others or not found.packed:
        return False
    limit = NormalDist().inv_cdf(1 - LEANING_BY_CHANCE / 2 / len(others))
    return any(abs(leaning(found.copy, nearest, o, found.packed, values, found.folded)) > limit for o in others)


def _most(limits: Mapping[str, float], how: str) -> float:
    """The limit of the first beginning that a format has; every format begins with the last, which is empty."""
    return next(most for form, most in limits.items() if how.startswith(form))


def _width(how: str) -> int:
    """Values that share a scale: where levels lie unevenly, the more of them are seen, the more they tell."""
    return FLOATS_SHARE if how.startswith(("fp8", "compressed-tensors fp8")) else LEVELS_IN


def _to_nearest(near_zero: Mapping[str, tuple[int, int, int]]) -> bool:
    """Whether some tensors are another model's, rounded to the nearest level: then the quantizer did so with all of them."""
    clean = [outside <= CLEAN * known for outside, _, known in near_zero.values() if known >= MIN_EQUAL_VALUES]
    return 3 * sum(clean) >= len(clean) > 0


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
