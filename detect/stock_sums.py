"""Model Stock: tensor by tensor a base moved to the mean of its tunings, by a number of each tensor's own.

It often moves less than the last digit shows, so that what a tuning adds is hardly more than what rounding leaves. But all tunings have
equal parts in every tensor, which nothing else has. As one minus a number of 16 bits is rounded, parts need not sum to one: the origin
has one too. In: one model of 16 bits, seen from its pool. Out: base and tunings.
Source: Model Stock, arXiv 2403.19522, as mergekit computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from lineage.detect.family_values import FamilyValues
from lineage.detect.near_models import near_of
from lineage.detect.regression import ROUNDED_IN_BETWEEN, apart
from lineage.detect.span_fit import View, view
from lineage.detect.weighted_sum import TELLING, WeightedSum, all_differ

HALVES = (8, 11)  # digits of the dtypes of 16 bits
BASES, NEAR_BASES = 3, 32  # models in the middle, and models near to the first of them, that are tried as the base
EVERYONE = 128  # models of a family up to which those that lie in the model's direction are looked for among all
TUNINGS, OF_NEAR_BASE = 24, 12  # candidates of one model, fewer seen from a model near to the first base
SIZES = (2, 3)
EVEN, VERY_EVEN = 0.08, 0.02  # of the parts of tunings, by which they differ in a tensor
LEAST = 0.01  # usual part of a tuning
NEEDED, NEEDED_IF_VERY_EVEN = 1.5, 1.15  # what remains without a tuning, over what remains with all
FEWEST_TENSORS, MANY_TENSORS = 3, 5  # that many of very even parts are no chance


def stock_sum(values: FamilyValues, model: int, pool: Sequence[int]) -> WeightedSum | None:
    """The Model Stock merge that a model is, or None. pool: candidates, the likeliest first."""
    digits = int(values.digits[model])
    if digits not in HALVES or len(values.tensors) < FEWEST_TENSORS:
        return None
    hubs = values.possible(model, values.hubs.tolist())[:BASES]
    if not hubs:
        return None
    near = sorted(near_of(values.nearest[digits], hubs[0]), key=values.rank)[:NEAR_BASES]
    bases = [*dict.fromkeys([*hubs, *values.possible(model, near)])]
    everyone = range(len(values.digits)) if len(values.digits) <= EVERYONE else pool
    seen = view(values, model, [*bases, *(m for m in values.possible(model, everyone) if m not in bases)])
    found: list[tuple[float, int, tuple[int, ...]]] = []
    for base in range(len(bases)):
        some = _candidates(seen, base, values)[: TUNINGS if bases[base] in hubs else OF_NEAR_BASE]
        found += _moved_evenly(seen, base, some, 2.0 ** (1 - digits))
    if not found:
        return None
    _, base, tunings = min(found)
    whole = float(np.diagonal(seen.inner, axis1=1, axis2=2).sum(0)[list(tunings)].max())
    off = (min(found)[0] / max(whole, 1e-300)) ** 0.5
    members = tuple((seen.pool[t], 1 / len(tunings)) for t in tunings)
    return WeightedSum(members, seen.pool[base], 0.0, "model stock", off)


def _candidates(seen: View, base: int, values: FamilyValues) -> list[int]:
    """Places of the models that are no copies of the base, those in whose direction the model lies first."""
    near = set(near_of(values.nearest[int(values.digits[seen.model])], seen.pool[base]))
    inner = seen.inner
    toward = inner[:, base, base][:, None] - inner[:, base, :-1]  # (l, p), of the model's way with each one's
    own = np.diagonal(inner, axis1=1, axis2=2)[:, :-1]
    length = np.clip(own + own[:, [base]] - 2 * inner[:, base, :-1], 1e-30, None)  # (l, p)
    alike = (np.square(toward) / length).sum(0)
    alike[[i for i, m in enumerate(seen.pool) if i == base or m in near]] = -1.0
    return [int(i) for i in np.argsort(-alike, kind="stable") if alike[i] > 0]


def _moved_evenly(
    seen: View, base: int, candidates: Sequence[int], rounded_off: float
) -> list[tuple[float, int, tuple[int, ...]]]:
    """What remains, base and tunings of sets whose tunings have equal parts in every tensor."""
    found: list[tuple[float, int, tuple[int, ...]]] = []
    for size in SIZES:
        chosen = np.array(list(combinations(candidates, size)), np.int64).reshape(-1, size)
        sets = np.concatenate([chosen, np.full((len(chosen), 1), base)], 1)  # (s, n)
        if not len(sets):
            continue
        remainder, parts = seen.fit(sets, origin=True)  # (s, l), (s, l, n + 1)
        allowed = seen.allowed(sets)
        good = (remainder <= ROUNDED_IN_BETWEEN * allowed).all(1) & (np.abs(parts[:, :, -1]) <= rounded_off).all(1)
        for i in np.flatnonzero(good).tolist():
            differ = all_differ(
                apart(seen.inner[:, sets[i][:, None], sets[i][None, :]]), allowed[i]
            )  # adapters leave norms
            uneven = _uneven(parts[i, differ, :size]) if int(differ.sum()) >= FEWEST_TENSORS else np.inf
            if uneven < EVEN and _all_needed(seen, sets[i], float(remainder[i].sum()), uneven):
                found.append((float(remainder[i].sum()), base, tuple(chosen[i].tolist())))
    return found


def _uneven(parts: np.ndarray) -> float:
    """By how much the parts of tunings (l, n) differ in a tensor, over their usual size; infinite where all tensors have the same parts."""
    mean = parts.mean(1)
    usual = float(np.sqrt(np.square(mean).mean()))
    differ = float(np.sqrt(np.square(parts - mean[:, None]).mean()))
    return differ / usual if usual > LEAST and float(mean.std()) > EVEN * usual else float("inf")


def _all_needed(seen: View, chosen: np.ndarray, remainder: float, uneven: float) -> bool:
    without = [float(seen.fit(np.delete(chosen, i)[None, :], True)[0].sum()) for i in range(len(chosen))]
    least = max(remainder, TELLING / 4 * float(seen.rounding.sum()))
    very_even = uneven < VERY_EVEN and len(seen.values) >= MANY_TENSORS
    return min(without) > (NEEDED_IF_VERY_EVEN if very_even else NEEDED) * least
