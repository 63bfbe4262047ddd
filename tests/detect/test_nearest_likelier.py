"""Of possible parents the nearest is the likelier one; what cannot be a parent stays out."""

from __future__ import annotations

import torch

from lineage.detect.nearest_likelier import nearest_likelier

NEIGHBOURS = torch.tensor([[1, 2], [0, 2], [0, 1]])
APART = torch.tensor([[0.0, 1.0, 9.0], [1.0, 0.0, 4.0], [9.0, 4.0, 0.0]], dtype=torch.float64)


def test_the_nearest_gains_and_rows_keep_their_sum() -> None:
    share = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0.5, 0.5]], dtype=torch.float64)
    found = nearest_likelier(share, NEIGHBOURS, APART, root=0)
    assert float(found[2, 1]) > 0.65, "2 lies by 1, and well away from the root"
    assert torch.allclose(found.sum(1), torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))


def test_what_is_as_near_gains_as_much() -> None:
    apart = torch.tensor([[0.0, 2.0, 4.0], [2.0, 0.0, 4.0], [4.0, 4.0, 0.0]], dtype=torch.float64)
    share = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0.3, 0.7]], dtype=torch.float64)
    assert torch.allclose(nearest_likelier(share, NEIGHBOURS, apart, root=0)[2], share[2])


def test_what_is_no_parent_stays_out() -> None:
    share = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 1]], dtype=torch.float64)
    assert float(nearest_likelier(share, NEIGHBOURS, APART, root=0)[2, 1]) == 0.0
