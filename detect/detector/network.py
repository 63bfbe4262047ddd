"""The network of the trained detector: the direction of a pair.

`DirectionNetwork` reads the tokens of a pair, one a layer: f(tokens of (a, b)) - f(tokens of (b, a)), so that turning the pair turns the
answer exactly. Layers are summed with learned attention, in half of its members after a transformer has looked at all of them together, so
their order does not matter.

Dimension letters: p pairs, l layers, h hidden numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineage.detect.detector.tokens import EVEN, ODD

HIDDEN = 64
MEMBERS = (0, 1, 0, 1)
HEADS = 4
DROPOUT = 0.2


class DirectionNetwork(nn.Module):
    """Tokens -> log-odds that the first of the pair came first: the mean of what several networks say that were trained apart.

    Args:
        members: for each of them the number of transformer layers that look at all layers of the pair together.
    """

    def __init__(self, hidden: int = HIDDEN, members: Sequence[int] = MEMBERS):
        super().__init__()
        self.members = nn.ModuleList(DirectionMember(hidden, layers) for layers in members)
        self.temperature = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, odd: Tensor, even: Tensor, present: Tensor) -> Tensor:
        """(p, l, len(ODD)), (p, l, len(EVEN)), (p, l) bool -> (p,); 0 where no layer is present."""
        said = torch.stack([member(odd, even, present) for member in self.members])
        return said.mean(0) / self.temperature


class DirectionMember(nn.Module):
    """One network of the ensemble; the same tokens, the same answer."""

    def __init__(self, hidden: int, layers: int):
        super().__init__()
        self.read = nn.Sequential(
            nn.Linear(len(ODD) + len(EVEN), hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, hidden)
        )
        self.compare = _transformer(hidden, layers) if layers else None
        self.attend = nn.Linear(hidden, HEADS)
        self.judge = nn.Sequential(
            nn.Linear((HEADS + 1) * hidden + len(ODD), hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, 1)
        )

    def forward(self, odd: Tensor, even: Tensor, present: Tensor) -> Tensor:
        said = self._one_way(odd, even, present) - self._one_way(-odd, even, present)
        return torch.where(present.any(1), said, 0.0)

    def _one_way(self, odd: Tensor, even: Tensor, present: Tensor) -> Tensor:
        hidden = self.read(torch.cat([odd, even], 2))  # (p, l, h)
        if self.compare:
            some = present | ~present.any(1, keepdim=True)  # nothing to look at would make nan
            hidden = self.compare(hidden, src_key_padding_mask=~some)
        weights = self.attend(hidden).masked_fill(~present[:, :, None], -1e9).softmax(1)  # (p, l, heads)
        attended = (weights.transpose(1, 2) @ hidden).flatten(1)  # (p, heads * h)
        here = present[:, :, None].to(hidden.dtype)
        mean = (hidden * here).sum(1) / here.sum(1).clamp(min=1)  # (p, h)
        summed = (odd * here).sum(1) / here.sum(1).clamp(min=1).sqrt()  # (p, o): what adds up over layers
        judged: Tensor = self.judge(torch.cat([attended, mean, summed / 3], 1))[:, 0]
        return judged


def _transformer(hidden: int, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(hidden, HEADS, 2 * hidden, DROPOUT, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
