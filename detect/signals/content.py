"""Content identity: equal values, and values that are another model's values rounded to a coarser dtype.

Settled before anything else: an exact copy has no direction in its weights, and a rounded copy has exactly one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from lineage.detect.backbone import is_adapter
from lineage.detect.decode import DTYPE_BYTES, decode, round_to
from lineage.detect.signature import Role, dotted, role_of
from lineage.detect.sketch_file import Sample, Sketch

NEARLY_ALL = 0.9  # of the smaller sample
BEGINNING = 8  # values
FEWEST_EQUAL = 64  # values of a tensor that are the same in another model by no chance
DIGITS = {"F16": 11, "BF16": 8, "F32": 24, "F64": 53}  # digits of the significand


def value_digest(sketch: Sketch) -> str:
    """sha256 over all sampled values but counters, whatever dtype stores them: a float32 file of bfloat16 values equals the bfloat16 file.
    An adapter inside, whose values are not sampled, makes a difference, and so do a head or a table of another size."""
    digest = hashlib.sha256()
    for name in sorted(sketch.samples):
        sample = sketch.samples[name]
        if not _counts(sample):
            digest.update(f"{name}|{sample.shape}|{sample.start}|{sample.stop}|".encode())
            digest.update(np.ascontiguousarray(sample.values(), np.float64).tobytes())
    others = sorted(f"{n}{shape}" for n, shape in sketch.layout.items() if n not in sketch.samples and len(shape) > 1)
    adapters = sorted(name for name in sketch.layout if is_adapter(name))
    digest.update("|".join([*others, *adapters]).encode())
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


def equal_tensors(one: Sketch, other: Sketch) -> list[str]:
    """Tensors of a model that another one has bit for bit, under whatever name; constant and tiny ones do not count."""
    by_shape: dict[tuple[int, ...], list[Sample]] = {}
    for sample in other.samples.values():
        by_shape.setdefault(tuple(sample.shape), []).append(sample)
    return [
        name
        for name, own in one.samples.items()
        if not _counts(own) and any(_same_values(own, its) for its in by_shape.get(tuple(own.shape), ()))
    ]


def _same_values(own: Sample, its: Sample) -> bool:
    start, stop = own.common(its)
    if own.dtype != its.dtype or stop - start < FEWEST_EQUAL:
        return False
    mine, theirs = (s.values()[start - s.start : stop - s.start] for s in (own, its))
    return bool(mine.min() < mine.max()) and np.array_equal(mine, theirs)


def copies(sketches: Sequence[Sketch]) -> dict[int, list[int]]:
    """Groups of equal content: first member -> all others, by position; only groups of two or more.

    Counters go on where nothing but a head is trained, so models with others are no copies; converters drop them, and statistics, so that
    a model without is a copy of one that is equal in everything that both have."""
    first: dict[tuple[str, tuple[float, ...]], list[int]] = {}
    for index, sketch in enumerate(sketches):
        counts = tuple(float(v) for s in sketch.samples.values() if _counts(s) for v in s.values())
        first.setdefault((value_digest(sketch), counts), []).append(index)
    groups: list[list[int]] = []
    alike: dict[bytes, list[list[int]]] = {}
    begins = {group[0]: _begins(sketches[group[0]]) for group in first.values()}
    for group in sorted(first.values(), key=lambda group: -len(sketches[group[0]].samples)):
        own = begins[group[0]]
        same = alike.setdefault(next(iter(own.values()), b""), [])
        fits = [
            known
            for known in same
            if _could_agree(own, begins[known[0]]) and _agree(sketches[known[0]], sketches[group[0]])
        ]
        if len(fits) == 1:  # of which of several that differ it is a copy is not known
            fits[0].extend(group)
        else:
            same.append(group)
            groups.append(group)
    return {min(group): sorted(group)[1:] for group in groups if len(group) > 1}


def _begins(sketch: Sketch) -> dict[str, bytes]:
    """The first values of each sampled matrix, in the order of their names: copies have the same."""
    names = sorted(name for name, sample in sketch.samples.items() if len(sample.shape) > 1)
    return {name: _first_values(sketch.samples[name]).tobytes() for name in names}


def _first_values(sample: Sample) -> np.ndarray:
    return decode(sample.raw[: BEGINNING * DTYPE_BYTES[sample.dtype]], sample.dtype).astype(np.float32)


def _could_agree(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> bool:
    return all(other.get(name, begin) == begin for name, begin in one.items())


def _agree(one: Sketch, other: Sketch) -> bool:
    """Whether two models are equal in all values that both samples have, and these are nearly all of the smaller one."""
    both = ((name, shape, other.layout[name]) for name, shape in one.layout.items() if name in other.layout)
    if any(is_adapter(name) for sketch in (one, other) for name in sketch.layout) or any(
        len(shape) > 1 and shape != its for _, shape, its in both
    ):
        return False
    shared = 0
    for name in one.samples.keys() & other.samples.keys():
        own, its = one.samples[name], other.samples[name]
        start, stop = own.common(its)
        mine, theirs = (s.values()[start - s.start : max(start, stop) - s.start] for s in (own, its))
        if (own.shape != its.shape and not _counts(own)) or not np.array_equal(mine, theirs):
            return False
        shared += max(0, stop - start)
    return shared >= NEARLY_ALL * min(one.sampled_values, other.sampled_values)
