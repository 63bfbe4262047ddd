"""Content identity: equal values, and values that are another model's values rounded to a coarser dtype.

Settled before anything else: an exact copy has no direction in its weights, and a rounded copy has exactly one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain

import numpy as np

from lineage.detect.backbone import is_adapter
from lineage.detect.decode import round_to
from lineage.detect.signature import Role, dotted, role_of
from lineage.detect.sketch_file import Sample, Sketch

DIGITS = {"F16": 11, "BF16": 8, "F32": 24, "F64": 53}  # digits of the significand


def value_digest(sketch: Sketch) -> str:
    """sha256 over all sampled values but counters, whatever dtype stores them: a float32 file of bfloat16 values equals the bfloat16 file.
    An adapter inside, whose values are not sampled, makes a difference."""
    digest = hashlib.sha256()
    for name in sorted(sketch.samples):
        sample = sketch.samples[name]
        if not _counts(sample):
            digest.update(f"{name}|{sample.shape}|{sample.start}|{sample.stop}|".encode())
            digest.update(np.ascontiguousarray(sample.values(), np.float64).tobytes())
    adapters = sorted(name for name in sketch.layout if is_adapter(name))
    digest.update("|".join(adapters).encode())
    return digest.hexdigest()


def _counts(sample: Sample) -> bool:
    return role_of(dotted(sample.name), sample.dtype, sample.shape) is Role.COUNTER


def precision(sketch: Sketch) -> int:
    """Digits of the significand in which most sampled values are stored; 0 if none are floats."""
    votes: dict[int, int] = {}
    for sample in sketch.samples.values():
        digits = DIGITS.get(sample.dtype, 0)
        votes[digits] = votes.get(digits, 0) + sample.stop - sample.start
    return max(votes, key=lambda digits: votes[digits], default=0)


def is_rounded_copy(coarse: Sketch, fine: Sketch) -> bool:
    """Whether every value that both samples have is in `coarse` that of `fine`, rounded to nearest in the dtype of `coarse`, and one
    at least was rounded: a wider file of values that fit into the narrow dtype may be the copy as well."""
    shared = coarse.samples.keys() & fine.samples.keys()
    rounded = False
    for name in shared:
        one, other = coarse.samples[name], fine.samples[name]
        if one.shape != other.shape and not _counts(one):
            return False
        start, stop = one.common(other)
        if start >= stop:
            continue
        mine, its = (s.values()[start - s.start : stop - s.start] for s in (one, other))
        if DIGITS.get(one.dtype, 0) < DIGITS.get(other.dtype, 0):
            if not np.array_equal(round_to(its, one.dtype), mine):
                return False
            rounded = rounded or not np.array_equal(its, mine)
        elif not np.array_equal(mine, its):
            return False
    return rounded


def copies(sketches: Sequence[Sketch]) -> dict[int, list[int]]:
    """Groups of equal content: first member -> all others, by position; only groups of two or more.

    Counters go on where nothing but a head is trained, so models with others are no copies; converters drop them, so a model without any
    is a copy of those that agree in theirs."""
    alike: dict[str, dict[tuple[float, ...], list[int]]] = {}
    for index, sketch in enumerate(sketches):
        counts = tuple(float(v) for s in sketch.samples.values() if _counts(s) for v in s.values())
        alike.setdefault(value_digest(sketch), {}).setdefault(counts, []).append(index)
    groups: list[list[int]] = []
    for by_counts in alike.values():
        one = len(by_counts.keys() - {()}) == 1
        groups += [sorted(chain.from_iterable(by_counts.values()))] if one else by_counts.values()
    return {first: others for first, *others in sorted(groups) if others}
