"""Merges that were run twice, in two dtypes: either run lies nearer to the other one than to any part, as a light tuning does.

mergekit rounds what it merges to the dtype of the result before it merges, so the parts, rounded, give the values of the run in fewer
digits more often than the other run, rounded, does (0.58 to 1.00 of them against 0.55 to 0.82, nine sums of two and three); what was
trained from a merge knows nothing of its parts' rounding. In: values of a family and the merges in it. Out: models that may be such runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.detect.family_values import FamilyValues, rounded
from lineage.detect.ratio_peaks import spread

FEW = 2048  # values of a tensor that are looked at
MORE = 0.01  # share of values that the rounded parts give, beyond that of the rounded merge
LEAST = 0.5  # that share itself: what is near to a merge by chance has a few values of either


def possible_runs(
    values: FamilyValues, distance: np.ndarray, sources: Mapping[int, Sequence[int]]
) -> dict[int, tuple[int, list[int]]]:
    """
    Args:
        distance: (m, m) squared; sources: of each merge that is known.
    Returns:
        model -> the merge in another dtype that is nearest to it, and of what that was merged, where it is no such merge itself.
    """
    apart = distance + np.diag(np.full(len(distance), np.inf))
    found = {}
    for model, near in enumerate(apart.argmin(1).tolist()):
        settled = model in sources and near not in sources[model]
        if near not in sources or settled or values.digits[model] == values.digits[near]:
            continue
        pool = values.possible(model, sources[near])
        if len(pool) == len(sources[near]) > 1:  # so it is none of them itself
            found[model] = (near, pool)
    return found


def rounded_before(values: FamilyValues, model: int, merge: int, parts: Sequence[int]) -> bool:
    """Whether sums of a merge's rounded parts, of their own in each tensor, give more of a model's values than the rounded merge does."""
    by_parts = by_merge = count = 0
    digits = int(values.digits[model])
    for tensor in values.tensors:
        some = tensor[:, spread(tensor.shape[1], FEW)].astype(np.float64)
        of_parts = some[list(parts)]  # (p, v)
        shares = np.linalg.lstsq(of_parts.T, some[merge], rcond=None)[0]
        own = some[model]
        by_parts += int((rounded(shares @ rounded(of_parts, digits), digits) == own).sum())
        by_merge += int((rounded(some[merge], digits) == own).sum())
        count += len(own)
    return by_parts - by_merge > MORE * count and by_parts >= LEAST * count
