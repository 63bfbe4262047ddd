"""Merges that take or move single values: every value is that of one of two models (Arcee fusion), or of one model moved towards the
other by the same step at most (nearswap).

Training in 16 bits leaves values of its parent, and a child of that training leaves some of these: but not all values that differ between
the two are one's or the other's. In: values of a family. Out: the two models and their shares. Source: mergekit (arXiv 2403.13257).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from lineage.detect.family_values import FamilyValues, last_place, rounded
from lineage.detect.ratio_peaks import spread
from lineage.detect.regression import Regression
from lineage.detect.weighted_sum import WeightedSum

FEW, FEW_IN_CROWD = 512, 64  # values of a tensor that are looked at
FEWEST = 128  # values that tell
MOST_EQUAL = 4  # models that have the most values in common with one, of which two may be its parts
EQUAL = 0.3  # share of values that are the nearer one's, at least
DIFFER = 0.5  # share of values in which the two differ
COARSE = 8  # digits in which values are compared: a difference that was added again in 16 bits is off by less
ALL = 0.99  # share of these that are one's or the other's
LEAST = 0.02  # share that is of the smaller part
CROWD, POOL = 128, 24  # models of a family from which on only so many likely ones are looked at
NEAREST = 12  # models that may have been moved
AT_STEP = 0.2  # share of values that moved by the largest step
STEP = 0.9  # quantile of sizes that is the step
STEP_DIGITS, SEEN = 4.0, 0.1  # a step in digits, for values that are compared, and the share of these at least
OFF = 2.0  # digits that a moved value may be off
SWAPPED, BY_CHANCE = 0.98, 0.75


def value_merges(
    values: FamilyValues, distance: np.ndarray, among: Mapping[int, Sequence[int]]
) -> dict[int, WeightedSum]:
    """
    Args:
        distance: (m, m) squared; among: models that may be such merges -> those that they may be made of.
    """
    count = FEW if len(values.digits) < CROWD else FEW_IN_CROWD
    few = [tensor[:, spread(tensor.shape[1], count)] for tensor in values.tensors]
    of_dtype = {
        d: np.concatenate([rounded(t, d).astype(np.float32) for t in few], 1) for d in {COARSE, *values.digits.tolist()}
    }
    starts = np.cumsum([0, *(t.shape[1] for t in few[:-1])])
    found = {}
    for model, others in among.items():
        near = sorted(others, key=lambda m: float(distance[model, m]))[:NEAREST]
        places, digits = np.array([model, *dict.fromkeys([*near, *others])], np.int64), int(values.digits[model])
        merge = _of_either(of_dtype[COARSE][places], places, starts, values) or _moved_by_steps(
            of_dtype[digits][places], places, digits
        )
        if merge is not None:
            found[model] = merge
    return found


def candidates(
    values: FamilyValues, regressed: Regression, distance: np.ndarray, models: Iterable[int]
) -> dict[int, Sequence[int]]:
    """Those of which each of some models may be such a merge: all others, of a crowd the nearest and likeliest."""
    everyone = range(len(values.digits))
    if len(everyone) < CROWD:
        return {model: values.possible(model, everyone) for model in models}
    near = {m: values.possible(m, np.argsort(distance[m], kind="stable").tolist())[:NEAREST] for m in models}
    return {m: [*dict.fromkeys([*some, *regressed.likely(values, m, POOL)])] for m, some in near.items()}


def _of_either(rows: np.ndarray, places: np.ndarray, starts: np.ndarray, values: FamilyValues) -> WeightedSum | None:
    """rows: (c, v) of the model and its candidates; places: which models they are; starts: (l,) where tensors begin."""
    equal = rows == rows[0]  # (c, v)
    often = equal.sum(1)
    first = sorted(range(1, len(rows)), key=lambda c: (-often[c], values.rank(int(places[c]))))[:MOST_EQUAL]
    if not first or often[first[0]] < EQUAL * rows.shape[1]:
        return None
    for one, other in combinations(first, 2):
        differ = rows[one] != rows[other]
        count = int(differ.sum())
        if count < DIFFER * differ.size or int(((equal[one] | equal[other]) & differ).sum()) < ALL * count:
            continue
        share = float((equal[one] & differ).sum()) / count
        of_one, of_all = (np.add.reduceat(some.astype(np.int64), starts) for some in (equal[one] & differ, differ))
        each = of_one / np.clip(
            of_all, 1, None
        )  # (l,); a tensor of one of them is what a stack has, or training beside frozen ones
        mixed = float(((each > LEAST / 2) & (each < 1 - LEAST / 2)).mean())
        if LEAST <= share <= 1 - LEAST and mixed > DIFFER:
            members = sorted(((int(places[one]), share), (int(places[other]), 1 - share)), key=lambda pair: -pair[1])
            return WeightedSum(tuple(members), None, 0.0, "single values of either, as Arcee fusion takes them", 0.0)
    return None


def _moved_by_steps(rows: np.ndarray, places: np.ndarray, digits: int) -> WeightedSum | None:
    """rows: (c, v) of the model and its candidates, the nearest first; places: which models they are."""
    own = rows[0].astype(np.float64)
    for start in range(1, min(len(rows), NEAREST + 1)):
        moved = own - rows[start]
        digit = last_place(np.maximum(np.abs(own), np.abs(rows[start])), digits)
        size = np.abs(moved)
        step = float(np.quantile(size, STEP))
        seen = (size > OFF * digit) & (step >= STEP_DIGITS * digit)
        at_step = seen & (np.abs(size - step) <= digit)
        if not step or int(seen.sum()) < max(FEWEST, SEEN * seen.size) or at_step.sum() < AT_STEP * seen.sum():
            continue
        # the quantile has some value's rounding
        step = float(np.average(size[at_step], weights=digit[at_step] ** -2.0))
        toward = np.clip(rows - rows[start], -step, step)  # (m, v)
        good = ((np.abs(toward - moved) <= OFF * digit) & seen).sum(1) / int(seen.sum())
        chance = float(((np.abs(np.roll(moved, 1) - moved) <= OFF * digit) & seen).sum()) / int(seen.sum())
        good[[0, start]] = 0.0
        other = int(good.argmax())
        held = float(((np.abs(own - rows[other]) > OFF * digit) & seen).sum()) / int(seen.sum())  # did not arrive
        if good[other] >= SWAPPED and chance < BY_CHANCE and held > AT_STEP:
            own_way = rows[other].astype(np.float64) - rows[start]
            share = float(np.clip(moved @ own_way / max(float(own_way @ own_way), 1e-300), LEAST, 1 - LEAST))
            members = sorted(((int(places[start]), 1 - share), (int(places[other]), share)), key=lambda pair: -pair[1])
            return WeightedSum(
                tuple(members), None, 0.0, "one moved towards the other by a step at most, as nearswap does", 0.0
            )
    return None
