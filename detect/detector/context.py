"""What the other models of a family say about a candidate: numbers of (child, candidate) and of (child, candidate, third model).

Everything is a ratio of inner products, so that it means the same in every architecture: who lies between whom, whose change since whom
is still in whom (inheritance), who left whom in the same direction (drift), and who came before whom (direction).

Dimension letters: m models, g groups of values, k candidates of a child, t third models of a child.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lineage.detect.gram import Gram, squared_distances
from lineage.detect.signals.inheritance import QUANTILE, weighted_quantile

GROUPS = 48  # groups of values are merged to so many at most
THIRDS = 24  # third models looked at for a child: its nearest
THIRDS_OF_MANY = 8  # the same in families of more than SMALL models
SMALL = 64
_CHUNK = 1 << 22

PAIR = (
    "came first", "came first strongly", "distance", "farther than the nearest", "farther than its nearest", "related",
    "candidate is early", "child is early", "evenness", "nearer ones", "family",
)  # fmt: skip
THIRD = (
    *(f"{how} of {s} in {t} from {o}" for o, s, t in
      (("s", "p", "b"), ("s", "b", "p"), ("p", "s", "b"), ("p", "b", "s"), ("b", "p", "s"), ("b", "s", "p"))
      for how in ("low", "total")),
    "cosine at s", "cosine at p", "cosine at b", "distance s b", "distance s p",
    "s before p", "s before b", "p before b",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """
    Attributes:
        candidates: (m, k) int64; thirds: (m, t) int64: indices of models.
        pair: (m, k, len(PAIR)) float32; third: (m, k, t, len(THIRD)) float32.
        used: (m, k, t) bool: false where the third is the candidate itself.
    """

    candidates: Tensor
    thirds: Tensor
    pair: Tensor
    third: Tensor
    used: Tensor


def context(gram: Gram, size: Tensor, related: Tensor, came_first: Tensor, candidates: Tensor) -> Context:
    """
    Args:
        gram: of m models; size: (m,) squared length of each; related: (m, m) excess cosine.
        came_first: (m, m) log-odds [a, b] that a came before b.
        candidates: (m, k) int64, nearest first.
    """
    models = len(size)
    products = merged(gram).products
    distance = squared_distances(products.sum(0)).float()  # (m, m)
    odds = came_first.float()
    thirds = candidates[:, : THIRDS if models <= SMALL else THIRDS_OF_MANY]  # (m, t)
    child = torch.arange(models)[:, None].expand_as(candidates)  # (m, k)
    b, p, s = torch.broadcast_tensors(child[:, :, None], candidates[:, :, None], thirds[:, None, :])  # (m, k, t) each
    orders = ((s, p, b), (s, b, p), (p, s, b), (p, b, s), (b, p, s), (b, s, p))
    low, total = _slopes(products, distance, torch.stack([torch.stack(order, -1) for order in orders]))  # (6, m, k, t)
    scale = distance[b, p].clamp(min=1e-30)

    def cosine(which: int, o: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return total[which] * (distance[o, one] / distance[o, other].clamp(min=1e-30)).clamp(max=1e12).sqrt()

    slopes = [each.clamp(-1, 3) - 0.5 for pair in zip(low, total, strict=True) for each in pair]
    cosines = [cosine(0, s, p, b), cosine(2, p, s, b), cosine(4, b, p, s)]
    logs = [((distance[one, s].clamp(min=1e-30) / scale).log() / 4).clamp(-3, 3) for one in (b, p)]
    before = [(odds[x, y] / 3).tanh() for x, y in ((s, p), (s, b), (p, b))]
    third = torch.stack([*slopes, *(c.clamp(-1, 1) for c in cosines), *logs, *before], -1).nan_to_num(0.0)
    own = distance.clone().fill_diagonal_(torch.inf)
    nearest = own.amin(1).clamp(min=1e-30)
    here = distance[child, candidates].clamp(min=1e-30)
    early = (odds / 2).tanh().sum(1) / max(1, models - 1)  # (m,)
    groups = squared_distances(products)[:, child, candidates]  # (g, m, k)
    share = groups / groups.sum(0).clamp(min=1e-30)
    evenness = share.square().sum(0) * share.shape[0]
    rank = torch.arange(candidates.shape[1]).expand_as(candidates).float()
    pair = torch.stack(
        [
            (odds[candidates, child] / 2).tanh(),
            (odds[candidates, child] / 6).clamp(-2, 2),
            ((here / size[child].float().clamp(min=1e-30)).log() / 6 + 1).clamp(-4, 4),
            ((here / nearest[child]).log() / 2).clamp(0, 6),
            ((here / nearest[candidates]).log() / 2).clamp(0, 6),
            related[child, candidates].float(),
            early[candidates],
            early[child],
            evenness.float().clamp(min=1).log() / 2,
            (rank + 1).log(),
            torch.full_like(here, float(models)).log() / 3,
        ],
        -1,
    )
    return Context(candidates, thirds, pair.nan_to_num(0.0), third.float(), s != p)


def merged(gram: Gram) -> Gram:
    """The same with neighbouring groups added up, GROUPS at most: enough for low quantiles, and quick."""
    if len(gram.values) <= GROUPS:
        return gram
    products = torch.stack([part.sum(0) for part in gram.products.tensor_split(GROUPS)])
    values = torch.stack([part.sum(0) for part in gram.values.tensor_split(GROUPS)])
    return Gram(products, values, tuple(part[0] for part in _split(gram.layer)))


def _split(owners: tuple[int, ...]) -> list[list[int]]:
    return [part.tolist() for part in torch.tensor(owners).tensor_split(GROUPS)]


def _slopes(products: Tensor, distance: Tensor, triples: Tensor) -> tuple[Tensor, Tensor]:
    """Low and total inheritance slope for (..., 3) models (origin, s, t): how much of the change of s since the origin is in t."""
    models = products.shape[1]
    key, place = torch.unique(
        (triples[..., 0] * models + triples[..., 1]) * models + triples[..., 2], return_inverse=True
    )
    low, total = [], []
    for part in key.split(max(1, _CHUNK // products.shape[0])):
        o, s, t = part // models**2, part // models % models, part % models
        own = products[:, o, o]
        moved = (products[:, s, s] - 2 * products[:, o, s] + own).clamp(min=0)  # (g, n)
        shared = products[:, s, t] - products[:, o, s] - products[:, o, t] + own
        low.append(weighted_quantile((shared / moved.where(moved > 0, torch.nan)).float(), moved.float(), QUANTILE))
        total.append((shared.sum(0) / moved.sum(0).clamp(min=1e-30)).float())
    return torch.cat(low)[place].nan_to_num(0.0), torch.cat(total)[place]
