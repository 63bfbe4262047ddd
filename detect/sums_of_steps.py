"""Models whose step from another one is a weighted sum of the steps of a few others: merges of which a part, or the base, is not at hand.

Merges of models at hand are sums to rounding error (span_merges.py). Where the base of a sum of differences is away, a model near to it is
in its place, and a few hundredths of the step are left. A tuning is no such sum: the best two other models explain 0.6 of its step where
three learned the same text, and 0.99 where one is its twin, which explains it alone. In: distances. Out: the models and their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from lineage.detect.decision import Decision
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation

NEAREST, MOST = 48, 3  # models that are tried, and those of a sum
LEFT = 0.05  # share of the squared step that is left
NEEDED = 4.0  # times as much is left without any of them
ALONG = 0.8  # cosine of the steps of two of them: checkpoints of one run lie along one line
WEIGHTS = (0.1, 3.0)  # sizes of weights: a model beside another one that hardly moved fits with any weight
WHOLE = 0.1  # what the weights differ from one, where two alone would be a plain mean, which rounding error tells


def with_sums_of_steps(
    decisions: Sequence[Decision],
    distance: np.ndarray,
    merges: Set[int] = frozenset(),
    sources: np.ndarray | None = None,
) -> list[Decision]:
    """Decisions of a family, without the parents of models that are sums of steps.

    Args:
        decisions: one for each of m models; distance: (m, m) squared; merges: places of models that are no parts of others' sums.
        sources: (m, m) bool, [child, parent], see possible_sources.py; None: any.
    """
    place = {decision.model: i for i, decision in enumerate(decisions)}
    found = list(decisions)
    no_merges = np.ones(len(decisions), bool)
    no_merges[[*merges]] = False
    for child, decision in enumerate(decisions):
        start = place.get(decision.parent or "")
        if decision.relation is not Relation.FINE_TUNED_FROM or start is None:
            continue
        others = no_merges.copy() if sources is None else no_merges & sources[child]
        others[[child, start]] = False
        parts = sum_of_steps(child, start, np.flatnonzero(others), distance)
        if parts:
            weights = {decisions[part].model: round(weight, 2) for part, weight in parts.items()}
            weights = {decision.parent or "": round(1 - sum(weights.values()), 2), **weights}
            weights = {name: weight for name, weight in weights.items() if abs(weight) >= WEIGHTS[0]}
            told = {"shares": ", ".join(f"{weight:.2f}" for weight in weights.values())}
            reason = Reason("merge_near", told, {"models": tuple(weights)})
            found[child] = decision.withdrawn(reason, sum_of=weights)
    return found


def sum_of_steps(
    model: int, start: int, others: Sequence[int] | np.ndarray, distance: np.ndarray
) -> Mapping[int, float]:
    """
    Args:
        start: the model from which steps are taken; others: those that may be parts; distance: (m, m) squared.
    Returns:
        part -> its weight, of two or three; empty where the step is no such sum.
    """
    from_start = distance[start]
    some = np.asarray(others, np.int64)
    some = some[from_start[some] > 0]
    near = some[np.argsort(distance[model, some], kind="stable")[:NEAREST]].tolist()
    if len(near) < 2 or from_start[model] <= 0:
        return {}
    places = np.array([*near, model])
    unit = np.sqrt(from_start[places])
    steps = (from_start[places][:, None] + from_start[places][None, :] - distance[np.ix_(places, places)]) / 2
    cosine = steps / np.outer(unit, unit)  # (n + 1, n + 1)
    left = cosine.copy()
    chosen: list[int] = []
    for _ in range(MOST):
        free = np.diag(left)[:-1]
        gain = np.where(free > 1e-6, left[:-1, -1] ** 2 / np.maximum(free, 1e-6), 0.0)
        gain[chosen] = 0.0
        best = int(gain.argmax())
        if gain[best] <= 0:
            return {}
        left = left - np.outer(left[:, best], left[best]) / left[best, best]
        chosen.append(best)
        if len(chosen) > 1 and (weights := _weights(chosen, cosine)) is not None:
            scaled = weights * unit[-1] / unit[chosen]
            bounded = all(WEIGHTS[0] <= abs(weight) <= WEIGHTS[1] for weight in scaled)
            if bounded and (len(chosen) > 2 or abs(1 - scaled.sum()) > WHOLE):
                return {near[c]: float(w) for c, w in zip(chosen, scaled, strict=True)}
    return {}


def _weights(chosen: Sequence[int], cosine: np.ndarray) -> np.ndarray | None:
    """Of the chosen unit steps in the model's, which is the last; None where they leave too much, or one of them is not needed."""
    between = cosine[np.ix_(chosen, chosen)]
    if float(np.abs(between - np.diag(np.diag(between))).max()) > ALONG:
        return None
    left = _left(chosen, cosine)
    without = min(_left([c for c in chosen if c != one], cosine) for one in chosen)
    if left > LEFT or without < NEEDED * left:
        return None
    return np.linalg.solve(between, cosine[chosen, -1])


def _left(chosen: Sequence[int], cosine: np.ndarray) -> float:
    toward = cosine[chosen, -1]
    return 1 - float(toward @ np.linalg.lstsq(cosine[np.ix_(chosen, chosen)], toward, rcond=1e-9)[0])
