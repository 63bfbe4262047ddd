"""Quantized copies -> their originals: which model's values were packed into few bits.

The copies are models that are known to be packed (by a configuration, by their tensors) or that lie on a grid of few levels. Such a
copy is compared with the models that are not, once those were decided about: so it is no model's parent, changes no other
decision, and lies between no two models. Two things tell:

* What the quantizer left alone, such as norms, biases and embeddings: equal bit for bit to the original, and not to a sister that moved.
* The packed values. The error of rounding does not follow what training changed, so each value is a small vote; their likelihood
  decides between sisters nearer to one another than the error is, and where it does not, both are named.

Where neither fits any model, the original is not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp, log, sqrt
from typing import Any

import numpy as np

from lineage.detect.acceptance import WORTH_NAMING
from lineage.detect.copy_fit import CopyFit, fit_of
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.original_at_hand import MIN_EQUAL_VALUES, BestFits, best_fits, original_is_missing
from lineage.detect.packing_format import TO_NEAREST, bits_of
from lineage.detect.reasons import Reason
from lineage.detect.rounded_copies import rounded_reason
from lineage.detect.sampled_values import SampledValues, likely_originals
from lineage.detect.signals.content import precision
from lineage.graphdb.schema import Relation

SURE, BY_VALUES = 0.99, 0.98  # where values that were left alone tell, and where packed ones do
UNCHECKED = 0.9  # where the quantizer does not round to the nearest level, so that an unseen sister of the original may fit better
CORRELATED = 0.5  # of a value's vote counts: errors of one row or block go together
CLAIMED, LATER = 20.0, 0.1  # odds of a model that the copy names, and of one first published after it
ORIGINAL_UNSEEN = frozenset({"packed_unseen", "packed_unknown"})  # reasons of copies whose original is not at hand
RELATED_ERROR = 0.9  # relative error beyond which a model is no relative


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


def _decide(copy: Subject, how: str, fits: Sequence[CopyFit], values: SampledValues, options: Options) -> Decision:
    if not fits:
        reason = Reason("packed_unknown")
        return Decision(copy.id, AnswerKind.UNDECIDED, 0.0, evidence={"format": how}, reason=reason)
    found = best_fits(copy, fits, values)
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
    if original_is_missing(found, how, best[order[0]], error, others, values):
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


def _chances(found: BestFits, options: Options) -> list[float]:
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
