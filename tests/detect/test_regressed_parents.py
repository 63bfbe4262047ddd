"""Parents of a merge that drops values, found by what they have on average in it."""

import numpy as np
import pytest

from lineage.detect.regressed_parents import regressed_parents

NUMBERS = np.array([0.6, 0.38, 0.9])


def test_a_parent_that_moved_little_shows_where_the_others_moved_less():
    chance = np.random.default_rng(3)
    deltas = chance.standard_normal((6, 8, 512)) * np.exp(chance.standard_normal((6, 8, 512)))
    deltas[:3] *= np.array([1.0, 0.7, 0.03])[:, None, None]
    kept = chance.random((3, 8, 512)) < 0.7
    moved = (NUMBERS[:, None, None] * deltas[:3] * kept).sum(0)
    off = np.full(moved.shape, 1e-4)
    found = dict(regressed_parents(moved, deltas, off))
    assert set(found) == {0, 1, 2}
    assert [found[part] for part in range(3)] == pytest.approx(NUMBERS, rel=0.02)
