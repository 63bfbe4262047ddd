"""Neural Phylogeny's direction: of several models, the parent is the one nearest to a fake initialisation (Yu & Wang, ICLR 2025).

A fake initialisation z is random, z_j ~ U(-1, 1) / n or N(0, 1) / n. The paper draws many and lets them vote; its released code draws
one. E||theta - z||^2 = ||theta||^2 + E||z||^2, so in expectation this is the model of the smallest norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FakeStart:
    """
    Attributes:
        kind: "uniform" or "normal".
        draws: how many vote.
        random: source of all draws, on the CPU.
    """

    kind: str
    draws: int
    random: torch.Generator

    def draw(self, count: int, values: int) -> Tensor:
        """(count, values) float64."""
        if self.kind == "normal":
            return torch.randn(count, values, generator=self.random, dtype=torch.float64) / values
        return (torch.rand(count, values, generator=self.random, dtype=torch.float64) * 2 - 1) / values


@dataclass(frozen=True, slots=True)
class IdentifiedParent:
    """A parent by its index among all models, and the share of the draws that chose it."""

    parent: int
    share: float


def identify(values: Tensor, members: Sequence[int], start: FakeStart) -> IdentifiedParent:
    """The member nearest to a fake start most often; of several, the one of the smallest norm.

    Args:
        values: (m, n) float64 of all models.
        members: indices of at least one of them.
    """
    own = values[list(members)]  # (c, n)
    votes = torch.zeros(len(members), dtype=torch.long)
    squares = own.square().sum(1).cpu()
    left = start.draws
    while left:
        z = start.draw(min(left, max(1, (1 << 24) // own.shape[1])), own.shape[1]).to(own)  # (d, n), 128 MB at most
        nearest = (squares[:, None] - 2 * (own @ z.T).cpu()).argmin(0)  # (d,); ||z|| is the same for all
        votes += torch.bincount(nearest, minlength=len(members))
        left -= z.shape[0]
    best = int((votes.double() - squares / squares.max().clamp(min=1e-300) / 2).argmax())
    return IdentifiedParent(members[best], float(votes[best]) / start.draws)
