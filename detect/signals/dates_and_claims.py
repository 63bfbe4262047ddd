"""Evidence beside the weights: publication dates, and what cards claim. Both can be switched off."""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.interface import Kind, SignalInputs

DATE_LOG_ODDS = (
    4.0  # a parent is published before its child in 99.7 % of documented pairs (Horwitz et al. 2025, arXiv 2503.10633)
)
DECLARED_LOG_ODDS = 2.0
# against either of two models whose cards name one base that is not at hand as the other's parent
SAME_BASE_LOG_ODDS = 4.0


class DatesSignal:
    name = "dates"
    kind = Kind.OUTSIDE
    phrase = "publication dates"

    def measure(self, family: SignalInputs) -> Tensor:
        """0 also where a date is unknown."""
        models = family.models
        if not family.options.dates:
            return torch.zeros(len(models), len(models), dtype=torch.float64)
        known = torch.tensor([s.created_at is not None for s in models])
        when = torch.tensor([s.created_at.timestamp() if s.created_at else 0.0 for s in models], dtype=torch.float64)
        return DATE_LOG_ODDS * (when[:, None] - when[None, :]).sign() * (known[:, None] & known[None, :])


class ClaimsSignal:
    name = "declared"
    kind = Kind.CLAIM
    phrase = "what the model card claims"

    def measure(self, family: SignalInputs) -> Tensor:
        """Not antisymmetric: 0 where nothing is claimed, negative where two claim one model that is not at hand."""
        models = family.models
        found = torch.zeros(len(models), len(models), dtype=torch.float64)
        if not family.options.declared:
            return found
        claiming: dict[str, list[int]] = {}
        for i, child in enumerate(models):
            for name in child.elsewhere:
                claiming.setdefault(name, []).append(i)
        for some in claiming.values():
            found[torch.tensor(some)[:, None], torch.tensor(some)] = -SAME_BASE_LOG_ODDS
        found.fill_diagonal_(0.0)
        place = {subject.id: i for i, subject in enumerate(models)}
        for i, child in enumerate(models):
            for name in child.declared & place.keys() - {child.id}:
                found[i, place[name]] = DECLARED_LOG_ODDS
        return found
