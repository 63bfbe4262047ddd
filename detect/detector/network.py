"""The two networks of the trained detector: direction of a pair, and the parent of a child among candidates.

`DirectionNetwork` reads the tokens of a pair, one a layer: f(tokens of (a, b)) - f(tokens of (b, a)), so that turning the pair turns the
answer exactly. Layers are summed with learned attention, in half of its members after a transformer has looked at all of them together, so
their order does not matter.
`CandidateNetwork` reads the context of a child's candidates: for each candidate it sums over third models with learned attention, then
a transformer looks at all candidates and at "no parent" together. The order of candidates and of third models does not matter.

Dimension letters: p pairs, l layers, m children, k candidates, t third models, h hidden numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineage.detect.detector.context import PAIR, THIRD
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


class CandidateNetwork(nn.Module):
    """Context of the candidates -> log-probabilities of each to be the parent, and last of none to be."""

    def __init__(self, hidden: int = HIDDEN):
        super().__init__()
        self.read_third = nn.Sequential(
            nn.Linear(len(THIRD) + len(PAIR), hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.attend = nn.Linear(hidden, HEADS)
        self.read = nn.Sequential(
            nn.Linear((HEADS + 1) * hidden + len(PAIR), hidden),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, hidden),
        )
        self.none = nn.Parameter(torch.zeros(hidden))
        self.compare = _transformer(hidden, 2)
        self.judge = nn.Linear(hidden, 1)
        self.temperature = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, pair: Tensor, third: Tensor, used: Tensor, possible: Tensor) -> Tensor:
        """
        Args:
            pair: (m, k, len(PAIR)); third: (m, k, t, len(THIRD)); used: (m, k, t) bool; possible: (m, k) bool, candidates to choose among.
        Returns:
            (m, k + 1) log-probabilities; -inf (as -1e9) where not possible; last: no parent.
        """
        beside = pair[:, :, None, :].expand(-1, -1, third.shape[2], -1)
        hidden = self.read_third(torch.cat([third, beside], 3))  # (m, k, t, h)
        weights = self.attend(hidden).masked_fill(~used[..., None], -1e9).softmax(2)
        attended = (weights.transpose(2, 3) @ hidden).flatten(2)  # (m, k, heads * h)
        here = used[..., None].to(hidden.dtype)
        mean = (hidden * here).sum(2) / here.sum(2).clamp(min=1)  # (m, k, h)
        attended = attended * used.any(2)[..., None]  # two models alone have no third
        read = self.read(torch.cat([attended, mean, pair], 2))  # (m, k, h)
        options = torch.cat([read, self.none.expand(len(read), 1, -1)], 1)  # (m, k + 1, h)
        allowed = torch.cat([possible, torch.ones_like(possible[:, :1])], 1)
        compared = self.compare(options, src_key_padding_mask=~allowed)
        logits = self.judge(compared)[..., 0] / self.temperature
        return logits.masked_fill(~allowed, -1e9).log_softmax(1)


def _transformer(hidden: int, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(hidden, HEADS, 2 * hidden, DROPOUT, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
