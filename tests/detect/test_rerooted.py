"""Trees under several roots -> edges: only what lies between two roots turns round."""

from __future__ import annotations

import pytest
import torch

from lineage.detect.rerooted import edges

# models 0 to 3; 0 - 1 - 2 and 1 - 3: whatever the root is, 2 and 3 hang on 1
NEIGHBOURS = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def shares(parents: list[int], root: int, sure: float = 1.0) -> torch.Tensor:
    """(4, 4): all of a model's share at its parent, and what is left at the root."""
    found = torch.zeros(4, 4, dtype=torch.float64)
    for model, parent in enumerate(parents):
        if parent == root:
            found[model, 3] = 1.0
        elif parent >= 0:
            found[model, (NEIGHBOURS[model] == parent).nonzero()[0, 0]] = sure
            found[model, 3] = 1 - sure
    return found


def test_edges_off_the_way_are_those_of_the_likelier_view() -> None:
    """Seen from 0, far out, nothing tells where 2 and 3 come from; seen from 1 it is plain."""
    vague, plain = [-1, 0, 0, 0], [1, -1, 1, 1]
    roots, likely = torch.tensor([0, 1]), torch.tensor([0.25, 0.75], dtype=torch.float64)
    found, direct = edges([shares(vague, 0), shares(plain, 1)], torch.tensor([vague, plain]), roots, likely, NEIGHBOURS)
    assert float(found[2, 1]) > 0.83 and float(found[3, 1]) == float(found[2, 1])
    # which of 0 and 1 came first is as likely as the roots are
    assert float(found[0, 1]) == pytest.approx(0.75) and float(found[1, 0]) == pytest.approx(0.25)
    assert torch.allclose(found.sum(1), torch.tensor([0.75, 0.25, 1.0, 1.0], dtype=torch.float64))
    assert float(direct[2, 1]) == pytest.approx(float(found[2, 1])), "as 1's tree has it, whatever the root is"
    assert float(direct[0, 1]) == pytest.approx(0.75) and float(direct[1, 0]) == pytest.approx(0.25)


def test_one_root_gives_its_own_tree() -> None:
    tree = [-1, 0, 1, 1]
    found, direct = edges(
        [shares(tree, 0, 0.9)],
        torch.tensor([tree]),
        torch.tensor([0]),
        torch.tensor([1.0], dtype=torch.float64),
        NEIGHBOURS,
    )
    assert float(found[2, 1]) == pytest.approx(0.9) and float(found[2, 0]) == pytest.approx(0.1)
    assert float(direct[1, 0]) == 1.0 and float(found[0].sum()) == 0.0


def test_the_whole_way_turns_round() -> None:
    """0 - 1 - 2 with the root at either end."""
    down, up = [-1, 0, 1, 1], [1, 2, -1, 1]
    roots, likely = torch.tensor([0, 2]), torch.tensor([0.5, 0.5], dtype=torch.float64)
    found, _ = edges([shares(down, 0), shares(up, 2)], torch.tensor([down, up]), roots, likely, NEIGHBOURS)
    expected = [[0, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 1, 0, 0]]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64))
