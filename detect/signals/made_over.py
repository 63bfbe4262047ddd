"""Made over: a model that has only some of another one's layers, or its layers several times as experts, was made from it, and not it
from that.

Layers are left out when a model is distilled or pruned, and copied when it is made a mixture of experts; no tool adds layers of its own.
Whether it was made from this very model, or from one near it, is not said by that.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.interface import Kind, SignalInputs

LOG_ODDS = 8.0


class MadeOverSignal:
    name = "layers"
    kind = Kind.CERTAIN
    phrase = "it has only some of the layers, or copies of them"

    def measure(self, family: SignalInputs) -> Tensor:
        """LOG_ODDS where the child was made over more often than the parent; 0 where it was as often, or that is not known of one."""
        stage = torch.tensor([model.stage or 0 for model in family.models], dtype=torch.float64)
        known = torch.tensor([model.stage is not None for model in family.models])
        return LOG_ODDS * (stage[:, None] - stage[None, :]).sign() * (known[:, None] & known[None, :])
