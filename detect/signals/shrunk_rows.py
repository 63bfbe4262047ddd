"""Decay seen in 16 bits: rows of the vocabulary that never got a gradient are another model's, shrunk by one factor and rounded.

BERT has a thousand rows of tokens that no text contains; decay multiplies them at every step and nothing else changes them. Rounding to
16 bits blurs the ratio of two values (decay.py needs it sharp), but not that of two rows: the one is the other times a factor, up to what
rounding leaves, and several rows have the same factor. The model with the shorter rows is the later one.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.family_values import plain, stored_digits
from lineage.detect.signals.decay import too_few_of_its_own

COARSE = 11  # digits of the significand of what 16 bits hold
FEWEST_ROWS, MOST_ROWS = 3, 16
NARROWEST = 64  # values of a row
SURE = 10.0  # standard errors of the mean factor, of what rounding leaves
SPREAD = 6.0  # of a single row's


def shrunk_rows(layers: Sequence[Layer]) -> Tensor:
    """
    Args:
        layers: of one family; embeddings count.
    Returns:
        (m, m) float64, [child, parent]: 1 where rows of the child are the parent's, shrunk; -1 the other way round; 0 where no three rows
        agree, and between two models in more than 16 bits. Antisymmetric.
    """
    models = len(layers[0].values)
    found = torch.zeros(models, models, dtype=torch.float64)
    for layer in layers:
        if layer.part is Part.EMBEDDING and layer.values.shape[2] >= NARROWEST:
            found += _of_table(layer.values[:, :MOST_ROWS].cpu())
    return found.sign()


def rows_fit_another(layers: Sequence[Layer], found: Tensor, sharp: Tensor) -> Tensor:
    """As decay.fits_another, for rows.

    Args:
        found: (m, m) float64, [child, parent], positive where the child's weights are the parent's, shrunk; sharp: the same of those for
            which single values show it.
    """
    found = found.where(sharp == 0, 0.0)
    tables = [layer.values[:, :MOST_ROWS].cpu() for layer in layers if layer.part is Part.EMBEDDING]

    def own_rows(child: int, parents: Tensor) -> Tensor:
        own = torch.zeros(len(parents), len(parents), dtype=torch.int64)
        for rows in tables:
            known = torch.stack([_of_rows(rows[[child, int(parent)]])[1][:, 1, 0] for parent in parents])  # (k, u)
            differs = (rows[parents][:, None] != rows[parents][None]).any(3)  # (k, k, u)
            own += (known[:, None] & differs).sum(2)
        return own

    return too_few_of_its_own(found, own_rows, FEWEST_ROWS)


def _of_table(rows: Tensor) -> Tensor:
    """(m, u, w) rows of a table -> (m, m), [child, parent]: 1 where the child's rows are shrunk, -1 where the parent's."""
    sign, _ = _of_rows(rows)
    return sign


def _of_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """See `_of_table`; beside it (u, m, m) bool: whether a row is the other model's, times a factor."""
    digits = torch.from_numpy(stored_digits([plain(rows.flatten(1))])).double()
    coarser = torch.minimum(digits[:, None], digits[None, :])
    off = 2.0**-coarser  # (m, m) what rounding of both leaves of a value, relative
    rows = rows.double()
    ratios = []
    for row in range(rows.shape[1]):
        inner = rows[:, row] @ rows[:, row].T  # (m, m)
        size = inner.diagonal().clamp(min=1e-300)
        cosine_sq = inner.square() / (size[:, None] * size[None, :])
        same = (inner > 0) & (1 - cosine_sq <= off.square())
        ratios.append(torch.where(same, 0.5 * (size[:, None] / size[None, :]).log(), torch.nan))  # child over parent
    ratio = torch.stack(ratios)  # (u, m, m)
    known = ~ratio.isnan()
    count = known.sum(0).clamp(min=1)
    mean = torch.where(known, ratio, 0.0).sum(0) / count
    error = off / rows.shape[2] ** 0.5
    alike = (torch.where(known, (ratio - mean).abs(), 0.0) <= SPREAD * error).all(0)
    sure = (coarser <= COARSE) & alike & (known.sum(0) >= FEWEST_ROWS) & (mean.abs() >= SURE * error / count.sqrt())
    return torch.where(sure, -mean.sign(), 0.0), known
