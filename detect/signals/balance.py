"""Balance: did two models move away from each other alike, as two children of an unseen parent do?

For units of one tensor y / d = (|b|^2 - |a|^2) / |b - a|^2: about 1 where b grew out of a, strongly negative where b decayed, about 0 where
what made both longer is shared evenly between them. Two models that balance may both come from a third one that is not at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch
from lineage.detect.signals.units import measured

EVEN_BALANCE_WIDTH = 0.2  # width of the balance that siblings keep
EVEN_LIKELIHOOD_RATIO = (
    5.0  # how much likelier an even balance is for siblings of an unseen parent than for parent and child
)
UNEVEN_LIKELIHOOD_RATIO = 0.3  # how likely an uneven one is for them, against parent and child


def balance(layers: Sequence[Layer], pairs: Tensor) -> Tensor:
    """
    Args:
        pairs: (p, 2) int64, indices of models (a, b).
    Returns:
        (p,) float64: median over layers of the median over units of y / d; nan where nothing moved.
    """
    (found,) = measured(layers, pairs, layer_balance)
    return combined(found, pairs)


def combined(found: Sequence[Tensor], pairs: Tensor) -> Tensor:
    """(p,) of each layer -> their median, (p,) float64."""
    if not found:
        return torch.full((len(pairs),), torch.nan, dtype=torch.float64, device=pairs.device)
    return torch.stack(list(found)).nanquantile(0.5, dim=0)  # unlike nanmedian it turns its sign with the pair


def layer_balance(moved: Tensor, size: Tensor, grown: Tensor) -> Tensor:
    """(u, p) d, M, y of one layer's units -> (p,) median of y / d; nan where nothing moved."""
    moved, size, grown = moved.double(), size.double(), grown.double()
    return torch.where(moved > 1e-12 * size, grown / moved, torch.nan).nanquantile(0.5, dim=0)


def parting(balances: Tensor) -> Tensor:
    """Log of how much likelier a balance is for siblings of an unseen parent than for parent and child; 0 where it is nan."""
    return (
        (EVEN_LIKELIHOOD_RATIO * (-(balances / EVEN_BALANCE_WIDTH).square()).exp() + UNEVEN_LIKELIHOOD_RATIO)
        .log()
        .nan_to_num(0.0)
    )
