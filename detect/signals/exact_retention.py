"""Exact retention: which values are equal bit for bit, and whose value the others share where a few models differ.

Files of 16 bits hold eight or eleven digits, so a small step often rounds to nothing: tuning at the usual rates leaves a tenth to
nine tenths of the values of norms and embeddings as they were, reinforcement learning most of all values (arXiv 2505.11711), and frozen
parts and rows without a gradient stay in files of any precision. Two trainings hardly ever change a value to the same new one, so equal
values are characters, and the tree is found by parsimony, as in the phylogeny of species: seen from a root r, what s changed is in its
descendants alone; and a model that differs where two others agree has a branch of its own, so it is not what both come from.

Dimension letters: m models, v values, r possible roots, k neighbours of each model.
Source: parsimony, Fitch 1971, "Toward defining the course of evolution"; the use on weights is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch

VALUES = 16_384  # compared at most, spread over all layers
_SPARSE_COSTS = 32  # comparisons of two values in the time of one product of a sparse matrix
LARGE_FAMILY = 256  # models from which on fewer values are compared
FEWEST = 16  # values that must have changed and been kept or undone before they say anything
CLIP = 6.0  # log-odds


@dataclass(frozen=True, slots=True)
class Characters:
    """Values as characters: equal numbers are equal codes.

    Attributes:
        codes: (m, v) float32: the values that are not the same in all models.
        values: number of values looked at, those that never differ included.
        equal: (m, m) float64: share of the values looked at that are equal, ones on the diagonal.
        digits: (m,) int64: binary digits in which each model is stored. Rounding a finer model moves it from one value to the next
            wherever it lies near the border, in every copy alike, so only models of equal digits are compared.
    """

    codes: Tensor
    values: int
    equal: Tensor
    digits: Tensor


def characters(layers: Sequence[Layer], digits: Sequence[int]) -> Characters:
    """A spread sample of all layers' values, on the CPU.

    Args:
        layers: of m models, values (m, u, w); digits: binary digits in which each model is stored.
    """
    models = len(layers[0].values)
    at_most = VALUES if models <= LARGE_FAMILY else max(2048, VALUES * LARGE_FAMILY // models)
    total = sum(layer.values[0].numel() for layer in layers)
    chosen = []
    for layer in layers:
        flat = layer.values.flatten(1)  # (m, v)
        count = min(flat.shape[1], max(8, round(at_most * flat.shape[1] / total)))
        chosen.append(
            flat[:, torch.linspace(0, flat.shape[1] - 1, count).round().long().unique().to(flat.device)].cpu()
        )
    codes = torch.cat(chosen, 1)  # (m, v)
    codes = codes + 0.0  # minus zero is zero
    looked_at = codes.shape[1]
    codes = codes[:, (codes != codes[:1]).any(0)]
    same = _equal_values(codes)
    equal = (looked_at - codes.shape[1] + same) / looked_at
    return Characters(codes, looked_at, equal, torch.tensor(digits))


def _equal_values(codes: Tensor) -> Tensor:
    """(m, v) float32 -> (m, m) float64: number of values that are equal in two models."""
    models, values = codes.shape
    same = torch.zeros(models, models, dtype=torch.float64)
    if models > LARGE_FAMILY and values:
        shared = _shared_values(codes)
        if shared is not None:
            same.copy_(torch.from_numpy((shared @ shared.T).toarray()))
            return same.fill_diagonal_(float(values))
    for model in range(models):
        same[model, model:] = (codes[model:] == codes[model]).sum(1).double()
    return same + same.triu(1).T


def _shared_values(codes: Tensor) -> Any:
    """(m, g) sparse, 1 where a model has a value that another one has too in that place; None where so many are shared that comparing
    all is quicker."""
    from scipy.sparse import csr_array

    ranked, order = codes.sort(0)
    begins = torch.ones(ranked.shape, dtype=torch.bool)
    begins[1:] = ranked[1:] != ranked[:-1]
    ends = torch.ones(ranked.shape, dtype=torch.bool)
    ends[:-1] = begins[1:]
    group = begins.T.flatten().long().cumsum(0) - 1  # column by column
    alone = (begins & ends).T.flatten()
    model, group = order.T.flatten()[~alone], group[~alone]
    if int(group.bincount().square().sum()) * _SPARSE_COSTS > codes.numel() * len(codes):
        return None
    ones = torch.ones(len(group), dtype=torch.float64)
    return csr_array((ones.numpy(), (model.numpy(), group.numpy())), shape=(len(codes), int(begins.sum())))


def exact_inheritance(found: Characters, root: int) -> Tensor:
    """
    Args:
        root: the model that all is seen from.
    Returns:
        (m, m) float64, [child, parent]: log-odds that the child comes from the parent rather than from the root beside it: of the values
        that the parent changed, those that the child has from it against those that it has from the root; 0 where fewer than FEWEST say
        one or the other.
    """
    kept, undone = kept_and_undone(found, root)
    odds = ((kept + 1) / (undone + 1)).log().clamp(-CLIP, CLIP)
    alike = found.digits == found.digits[root]  # (m,)
    return torch.where((kept + undone >= FEWEST) & alike[:, None] & alike[None, :], odds, 0.0)


def kept_and_undone(found: Characters, root: int) -> tuple[Tensor, Tensor]:
    """(m, m) float64 each, [child, parent]: of the values in which the parent differs from the root, how many the child has from the
    parent, and how many from the root."""
    as_root = (found.codes == found.codes[root]).float()  # (m, v)
    both = (as_root @ as_root.T).double()  # (m, m): both as the root
    of_root = as_root.sum(1).double()  # (m,)
    # (m, m): equal among those that differ
    varying = found.equal * found.values - (found.values - found.codes.shape[1])
    return varying - both, of_root[:, None] - both


def private_share(found: Characters, model: int, others: Sequence[int]) -> float:
    """How sure is it that a model has a branch of its own: of the values in which two others agree, the smallest share over pairs of others
    in which the model differs from both, in units of what pairs of models differ in. 1 where nothing can be said.

    About 0 for what two of the others come from by separate ways; for a leaf of the tree what it changed itself.
    """
    others = [other for other in others if found.digits[other] == found.digits[model]]
    if len(others) < 2:
        return 1.0
    as_model = (found.codes == found.codes[model]).float()[others]  # (o, v)
    constant = found.values - found.codes.shape[1]
    shares = []
    rows = found.codes[others]
    for place in range(len(others) - 1):
        agree = rows[place + 1 :] == rows[place]  # (p, v)
        differ = (agree & (as_model[place] == 0)).sum(1)
        shares.append(differ / (agree.sum(1) + constant).clamp(min=1))
    return float(torch.cat(shares).min())
