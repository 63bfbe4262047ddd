"""Trainings of one model do not go opposite ways."""

import numpy as np
import torch

from lineage.detect.opposed_ends import LOG_ODDS, opposed_ends

random = np.random.default_rng(5)


def asked(parent_first: bool) -> float:
    """Four trainings of the first model of which one went on along the step to the second; both may be ancestors of all of them."""
    step = random.normal(size=200) * 0.1
    first = random.normal(size=200) * 10
    models = [first, first + step] if parent_first else [first + step, first]
    others = [first + random.normal(size=200) * 0.3 for _ in range(3)] + [
        first + 4 * step + random.normal(size=200) * 0.1
    ]
    values = np.stack([*models, *others])
    distance = torch.tensor(np.square(values[:, None] - values).sum(2))
    neighbours = torch.tensor([[1, 2]] + [[0, 2]] + [[0, 1]] * 4)
    pairs, below = torch.zeros(6, 2, dtype=torch.bool), torch.zeros(6, 2, dtype=torch.bool)
    pairs[1, 0] = True
    below[2:] = True
    return float(opposed_ends(distance, neighbours, pairs, below)[0])


def test_the_end_from_which_one_goes_back_is_not_where_the_others_come_from() -> None:
    assert (asked(parent_first=True), asked(parent_first=False)) == (LOG_ODDS, -LOG_ODDS)
