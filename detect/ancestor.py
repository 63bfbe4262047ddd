"""Was b trained, directly or over others, from s? One log-odds from what each signal says, given where the family's root stands.

No signal decides alone. A child that is tuned for another task loses much of what its parent had learned, and siblings that walk the same
way look like a chain. What tells these apart is in how many units the change is kept, how much is missing beyond chance, which values are
equal bit for bit, direction (a parent came first, a sibling need not), balance (siblings moved alike), nearness (a parent is nearer to its
child than the root is) and order (the later of two grew at right angles to what the other had changed since the root, or lies farther from
it). Boosted trees weigh them, each allowed to speak only one way, fitted by `bench/fit_ancestor.py` on trees of known lineage, the true
root given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineage.detect.arrays import Tensor, torch
from lineage.detect.boosted import shipped
from lineage.detect.signals.inheritance import Inheritance
from lineage.detect.signals.retention import Votes
from lineage.detect.signals.rooted_growth import RootedGrowth
from lineage.detect.steps import Steps

FEATURES = (
    "low slope", "nearer", "kept", "retention", "lost", "total slope", "fell", "rose", "direction", "certain", "even", "order",
    "step", "log of the number of models",
)  # fmt: skip
SIGNS = (1, 1, 1, 1, -1, 0, -1, 0, 1, 1, 0, 1, 0, -1)  # of what each may say
TREES = "ancestor_trees"
CLIP = 6.0  # log-odds beyond which direction says no more
SHARPENED = 2.2  # ancestors are rare among the rows of the fit, so those of a chain come out too timid; chosen on the tuning half
MODELS_AT_MOST = 64  # of a family, for its number to say more: those of the fit that are larger are stars
# where a child has all of what its parent had changed, and so in nearly every unit
KEPT_SLOPE, MOST_SLOPE, MOST_LOST, LEAST_KEPT, MOST_FELL, MOST_ROSE = 0.8, 1.4, 0.2, 0.55, 0.2, 0.3
# the same of a child whose way went on in some units and back in others, but which is much nearer to the neighbour than to the root
NEAR_BY, NEAR_SLOPE, NEAR_FELL, NEAR_ROSE = 1.0, 1.6, 0.5, 0.75
# where it has most of that, and what is between them grew out of it: three in ten such models come from the other one, tuned for another
# task; of a neighbour that moved far less than that, too little is seen
MOSTLY_SLOPE, MOSTLY_TOTAL, MOSTLY_LOST, MOSTLY_KEPT, MOSTLY_STEP = 0.55, 1.6, 0.3, 0.5, 20.0
# z of rooted growth from which it tells the order better than distances from the root do, and how far apart the two may be then, beside
# what the neighbour had moved: farther out that hardly shows
OUTWARD_Z, OUTWARD_STEP = 3.0, 2.0
# of what the neighbour moved: of two models so near, lengths and growth along them differ by chance
HARDLY_APART = 0.03
OUTWARD_WITHIN = 0.06  # of gamma, what else may be true of the order
ALL_OF_IT = 0.9  # gamma from which all of the movement is one model's
# order from which it may be: a tuning that goes back in part lies a little nearer to the root than its parent does
KEPT_ORDER = -0.5
FARTHER = 0.6  # order from which on the child clearly lies farther from the root
NEAR_STEP = 0.25  # squared distance of two models over what the first had changed, up to which they are near
GROWN = 0.85  # order from which rooted growth, which is never beyond 1, has all of the movement be the later one's
# of a pair of which one surely comes from the other: by chance two trainings on the same data agree in nine tenths, not in all of it, and
# where they went on along the same way, units rise
LINE_LOW, LINE_TOTAL, LINE_MOST, LINE_LOST, LINE_KEPT, LINE_NEAR, LINE_ROSE, LINE_ORDER = (
    0.9, 0.93, 1.1, 0.02, 0.95, 2.0, 0.3, 1.15,
)  # fmt: skip
END_SLOPE, END_LOW = 0.8, 0.3  # total slope and, of a quarter of the layers, the low one
UNTOLD = -0.7  # log-odds that are then left at least
# of a child that lies well nearer to the neighbour than to the root, has all that it had changed, and rose in as many units as it fell:
# where families of the fit have siblings so near, they go the same way, and more of their units rise; or one has what the other lacks
CLOSE_BY, CLOSE_LOW, CLOSE_MOST, CLOSE_KEPT, CLOSE_LOST, CLOSE_BALANCE, CLOSE_ORDER = (
    1.3, 0.94, 1.06, 0.78, 0.1, 0.13, -0.05,
)  # fmt: skip
CLOSE = 2.0  # log-odds that are then left at least
SILENT = {
    "retention": ("retention",),
    "growth": ("direction", "even"),
    "counters": ("certain",),
}  # kinds that can be taken out


@dataclass(frozen=True, slots=True)
class PairOdds:
    """Of (m, k) neighbours s of each model b, float64 log-odds: that b comes from s by values that are equal bit for bit; that s came
    before b, and that by movement at right angles alone; the same from what only ever grows or decays; and of an even balance."""

    retention: Tensor
    direction: Tensor
    upright: Tensor
    certain: Tensor
    even: Tensor


def features(seen: Inheritance, votes: Votes, steps: Steps, said: PairOdds, outward: RootedGrowth) -> Tensor:
    """
    Args:
        seen, votes, outward: of (m, k) neighbours s of each model b, see signals/inheritance.py, signals/retention.py and
            signals/rooted_growth.py.
    Returns:
        (m, k, 14) float64 in the order of FEATURES.
    """
    apart = steps.apart.clamp(min=1e-300)
    nearer = (steps.from_root[:, None].clamp(min=1e-300) / apart).log().clamp(-5, 5)
    told = (outward.z.abs() >= OUTWARD_Z) & (steps.apart < OUTWARD_STEP**2 * steps.moved)
    order = torch.where(told, _agreeing(steps.order, outward.gamma), steps.order)
    chance = (steps.apart < HARDLY_APART**2 * steps.moved) & ~told & (order.abs() < FARTHER)
    chance &= (said.retention.abs() < 1) & (said.certain.abs() < 1)
    order = order.where(~chance, 0.0)
    direction = said.upright.where(chance, said.direction)
    both = (direction.clamp(-CLIP, CLIP) + said.certain).clamp(-CLIP, CLIP)
    models = torch.full_like(nearer, float(min(MODELS_AT_MOST, len(steps.from_root)))).log()
    columns = [
        seen.low.nan_to_num().clamp(-1, 2), nearer, votes.kept, said.retention, votes.lost, seen.total, votes.fell, votes.rose, both,
        said.certain.clamp(-CLIP, CLIP), said.even, order.clamp(-2, 2), steps.apart / steps.moved.clamp(min=1e-300), models,
    ]  # fmt: skip
    return torch.stack(columns, 2)


def _agreeing(order: Tensor, gamma: Tensor) -> Tensor:
    """Order by distances, as far as rooted growth agrees: where all movement is one model's, it may have gone on along the way as well."""
    least = torch.where(gamma <= -ALL_OF_IT, -torch.inf, gamma - OUTWARD_WITHIN)
    most = torch.where(gamma >= ALL_OF_IT, torch.inf, gamma + OUTWARD_WITHIN)
    return torch.minimum(torch.maximum(order, least), most)


def log_odds(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) float64."""
    odds = shipped(TREES).log_odds(found.flatten(0, -2)).view(found.shape[:-1])
    odds = torch.where(odds > 0, SHARPENED * odds, odds)
    open_ones = wholly_kept(found) | mostly_kept(found) | grown_out(found)
    odds = torch.where(open_ones, odds.clamp(min=UNTOLD), odds)
    return torch.where(close_by(found), odds.clamp(min=CLOSE), odds)


def _by_name(found: Tensor) -> dict[str, Tensor]:
    return dict(zip(FEATURES, found.unbind(-1), strict=True))


def _not_denied(at: Mapping[str, Tensor]) -> Tensor:
    """Features by name -> bool: whether b lies nearer to s than to the root, and neither equal values nor counters speak against s."""
    return (at["nearer"] > 0) & (at["retention"] >= -1) & (at["certain"] > -1)


def wholly_kept(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b has all that s had changed, in every part of it, and lies nearer to s than to the root,
    and farther out than s or not much less.

    A sibling that went the same way has it as well, so this is no proof; but nothing then says that b does not come from s.
    """
    at = _by_name(found)
    even = (at["total slope"] <= MOST_SLOPE) & (at["fell"] <= MOST_FELL) & (at["rose"] <= MOST_ROSE)
    uneven = (
        (at["total slope"] <= NEAR_SLOPE)
        & (at["fell"] <= NEAR_FELL)
        & (at["rose"] <= NEAR_ROSE)
        & (at["nearer"] >= NEAR_BY)
    )
    return (
        (at["low slope"] >= KEPT_SLOPE) & (at["lost"] <= MOST_LOST) & (at["kept"] >= LEAST_KEPT) & (even | uneven)
        & (at["order"] >= KEPT_ORDER) & _not_denied(at)
    )  # fmt: skip


def mostly_kept(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b has most of what s had changed, in half of its units and more, and what is between them
    grew out of s: a tuning for another task loses a part of what its parent had learned, as a sibling that went the same way lacks it."""
    at = _by_name(found)
    return (
        (at["low slope"] >= MOSTLY_SLOPE) & (at["total slope"] <= MOSTLY_TOTAL) & (at["lost"] <= MOSTLY_LOST) & (at["kept"] >= MOSTLY_KEPT)
        & (at["order"] >= GROWN) & (at["step"] <= MOSTLY_STEP) & _not_denied(at)
    )  # fmt: skip


def grown_out(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b lies near to s beside what s had changed, has most of that, and all that is between them
    grew out of s: that b then went back on it in part does not make it a sibling."""
    at = _by_name(found)
    return (
        (at["step"] <= NEAR_STEP)
        & (at["low slope"] >= KEPT_SLOPE)
        & (at["order"] >= GROWN)
        & (at["order"] <= 1)
        & (at["certain"] > -1)
    )


def close_by(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b lies well nearer to s than to the root, with all that s had changed, and units that hold
    less of it are as many as those that hold more: what came later is another task's, and not more or less of the same way."""
    at = _by_name(found)
    return (
        (at["nearer"] >= CLOSE_BY) & (at["total slope"] >= CLOSE_LOW) & (at["total slope"] <= CLOSE_MOST) & (at["kept"] >= CLOSE_KEPT)
        & (at["lost"] <= CLOSE_LOST) & ((at["fell"] - at["rose"]).abs() <= CLOSE_BALANCE) & (at["order"] >= CLOSE_ORDER)
        & _not_denied(at)
    )  # fmt: skip


def at_its_end(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b has all that s had changed since the root, taken over all values, and lies farther out:
    at the end of s of what is between the two, though units that hold little else may say less."""
    at = _by_name(found)
    return (
        (at["total slope"] >= END_SLOPE)
        & (at["total slope"] <= 2 - END_SLOPE)
        & (at["low slope"] >= END_LOW)
        & (at["order"] >= GROWN)
        & _not_denied(at)
    )


def surely_in_line(found: Tensor) -> Tensor:
    """(..., 14) features -> (...) bool: whether b holds all that s had changed, in nearly every unit, and lies far nearer to s than to the
    root: one of the two comes from the other, or both from what lies between them."""
    at = _by_name(found)
    return (
        (at["low slope"] >= LINE_LOW) & (at["total slope"] >= LINE_TOTAL) & (at["total slope"] <= LINE_MOST) & (at["lost"] <= LINE_LOST)
        & (at["kept"] >= LINE_KEPT) & (at["nearer"] >= LINE_NEAR) & (at["rose"] <= LINE_ROSE) & (at["order"] <= LINE_ORDER)
        & _not_denied(at)
    )  # fmt: skip


def log_odds_by_kind(found: Tensor) -> Mapping[str, Tensor]:
    """(..., 14) features -> kind of evidence -> (...) float64: how much each adds to what is left without it; `inheritance` is the rest."""
    whole = log_odds(found)
    kinds = {}
    for kind, names in SILENT.items():
        without = found.clone()
        for name in names:
            without[..., FEATURES.index(name)] = 0.0
        kinds[kind] = whole - log_odds(without)
    return {"inheritance": whole - sum(kinds.values()), **kinds}
