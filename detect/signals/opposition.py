"""Opposition: seen from the model that all others come from, no two of them lie in opposite directions.

Seen from the root v, x - v is the sum of the steps that training took from v to x, and steps of different trainings agree in part or not at
all: what every training changes first is the same. Seen from a child that moved little, the root lies behind it, so what the others
share with it makes negative cosines, for all of them with the root. So each member has one vote, the most negative cosine that it makes
with any other: their mean does not fade as the family grows, while the mean over pairs does. In 15 of 15 real trees the most negative
cosine seen from the true root was -0.019 or more; near stand-ins have -0.05 to -0.7. In stars with members that hardly moved a true root
shows mean votes up to 0.15, nearly all of them about one such member, so that what opposition says is bounded. So is each vote: a few
members that training did not make (scales moved between layers, layers drawn anew) may lie opposite to each other seen from the true root,
at cosines of -0.5, while most members see nothing there; behind a stand-in nearly all of them see the root.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch

TOLERANCE = 0.02  # cosines down to minus this are seen from true roots
STANDARD_ERRORS = 3.0  # of the cosine of two random directions with this number of values
LOG_ODDS = 20.5  # for each unit of the mean vote and each square root of the number of members, see bench.fit_root
# of the middle vote that one counts at most, and votes that count in full
OUTLYING, IN_FULL = 6.0, 0.05
LIMIT = 9.0  # log-odds that opposition may add: all votes may be about one member that lies opposite by chance
SAME = 1e-7  # squared distance, in squared lengths of the model, below which a difference has no direction


def bounded(opposed: Tensor) -> Tensor:
    """What `strength` says against roots -> log-odds of each against a root that nothing opposes: 0 or negative."""
    return -LIMIT * (LOG_ODDS * opposed / LIMIT).tanh()


def strength(votes: Tensor) -> Tensor:
    """(o,) votes against a root -> () float64, 0 or positive: their mean, times the square root of their number; votes far above the
    middle one count less."""
    if len(votes) < 2:
        return votes.sum() * 0
    return len(votes) ** 0.5 * votes.clamp(max=OUTLYING * float(votes.median()) + IN_FULL).mean()


def against(cosines: Tensor, moved: Tensor, origin: int, values: int) -> Tensor:
    """
    Args:
        cosines: (m, m) float64, of the models' differences from the origin, see signals/drift.py; moved: (m,) float64: their squared
            distance from it, in its squared lengths; values: number of values that they are about.
    Returns:
        (o,) float64: for each of the other models that differs from the origin, how far below what a true root shows its most negative
        cosine with another one lies; 0 where it does not.
    """
    kept = moved > SAME  # (m,)
    kept[origin] = False
    cosine = cosines[kept][:, kept]
    if len(cosine) < 2:
        return torch.zeros(len(cosine), dtype=torch.float64)
    lowest = cosine.fill_diagonal_(1.0).amin(1)
    return (-lowest - TOLERANCE - STANDARD_ERRORS * values**-0.5).clamp(min=0)
