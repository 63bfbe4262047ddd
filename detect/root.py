"""Which member of a family came before all others: every candidate is scored on the same pairs, so that scores can be compared.

Under each hypothesis the root came before *all* other members, whatever tree lies below it. Adding up the edges of each candidate's own
tree instead rewards a candidate for edges that were chosen because their direction is sure (a winner's curse).

A member that hardly moved from the candidate says little about which of the two came first, so pairs count by how far apart they are:
against the family's median, and against the candidate's own length (growth orders 0.54 of 371 pairs of a base and its child below a
hundredth of the length right, 0.71 below a twentieth, 0.83 below a fifth and 0.98 beyond).

And pairs are worth together as many as are independent of each other: seen from a member far out on a star, everything else lies in one
direction, so that its many pairs are the one pair with the middle of the star over and over; seen from the middle they are as many as there
are directions (`independent_pairs`). Pairs share what misleads them beyond that, so that many are worth little more than one; the one that
speaks most against the candidate counts by itself (`came_after`), or the second of a chain would be as good a root as the first.
The trained detector errs alike about all pairs of a model, so its mean counts once, over what it says of nearly equal models as well. For
two models each gets half of what the pair says, since what speaks for one speaks against the other.

Models that many others are nearest to are likelier the ones that the others were trained from (`centre`). That is a prior of how people
publish: what is tuned once is likelier to be tuned again; compare the root of a tree that grows by preferential attachment (Bubeck,
Devroye & Lugosi 2017, arXiv 1411.3317).

Which of candidates that lie together others are a little nearer to is chance, so each has the best centre of them; which of them it is,
middle.py says.

Dimension letters: m models, r possible roots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineage.detect.arrays import Tensor, torch
from lineage.detect.geometry import NEARLY_EQUAL, Geometry, nearly_equal_to
from lineage.detect.middle import lie_together, middle, of_those_together
from lineage.detect.signals.drift import drift
from lineage.detect.signals.opposition import against, bounded, strength
from lineage.detect.signals.shared_tensors import SharedTensors

DATES = "dates"  # the signal's name
CLIP = 6.0  # log-odds of one pair beyond which they count no more
HARDLY_MOVED = 0.01  # of the family's median squared distance: a pair that near counts half
STILL = 1e-4  # of the candidate's squared length: a pair that near counts half
# worth of each, see bench.fit_root
GROWTH, CAME_AFTER, DETECTOR = 0.27, 1.6, 0.7
WON = 2.0  # of a model that the others lie around
POWER = 0.25  # of the number of independent pairs
HANDED_ON = 1.5  # of models that lie together, one that another has bit for bit, in part or whole: frozen layers are those of what is tuned
CENTRE = 3.5  # for being about as near to every other model as its nearest
HUB = 18.5  # for each factor e of the models that are nearest to it, times the root of the share that it is about as near to


def root_scores(
    geometry: Geometry,
    growth: Tensor,
    detector: Tensor,
    ordered: Mapping[str, Tensor],
    roots: Tensor,
    tensors: SharedTensors,
) -> dict[str, Tensor]:
    """
    Args:
        growth, detector: (m, m) float64, [child, parent]: log-odds that the parent came first, 0 where not computed; ordered: kind of
            evidence that counts as it is -> the same.
        roots: (r,) int64.
    Returns:
        Kind of evidence -> (r,) float64 log-odds of each root.
    """
    found = root_evidence(geometry, growth, detector, ordered, roots)
    distance = geometry.distance
    together = lie_together(distance, roots)
    one_from_another = tensors.by_two()  # (m, m)
    handed_on = (tensors.copied | one_from_another.any(1))[roots]
    return {
        "centre": of_those_together(centre(distance)[roots], together)
        + WON * middle(geometry, roots, together | one_from_another[roots][:, roots])
        - HANDED_ON * ((together & handed_on[None, :]).any(1) & ~handed_on).double(),
        "growth": GROWTH * found.before + CAME_AFTER * found.after,
        "detector": DETECTOR * found.detector,
        "opposition": bounded(found.opposed),
        **found.ordered,
    }


@dataclass(frozen=True, slots=True)
class RootEvidence:
    """What speaks for and against each possible root before it is weighed, all (r,) float64.

    Attributes:
        before, after, detector: see `came_before_all`, `came_after`, `mean_before`; opposed: see signals/opposition.py, `strength`.
        ordered: kind of evidence that counts as it is -> see `order_of_all`.
    """

    before: Tensor
    after: Tensor
    detector: Tensor
    opposed: Tensor
    ordered: Mapping[str, Tensor]


def root_evidence(
    geometry: Geometry, growth: Tensor, detector: Tensor, ordered: Mapping[str, Tensor], roots: Tensor
) -> RootEvidence:
    """Args as of `root_scores`."""
    distance, products = geometry.distance, geometry.gram.products.sum(0)
    values = int(geometry.gram.values.sum())
    half = 0.5 if len(distance) == 2 else 1.0
    ordered = {kind: odds.clamp(max=0) if kind == DATES and _undated(odds) else odds for kind, odds in ordered.items()}
    weights = weights_of_pairs(distance, geometry.lengths, roots)
    before, after, opposed, said = [], [], [], []
    certain: dict[str, list[Tensor]] = {kind: [] for kind in ordered}
    for weight, root in zip(weights.unbind(1), roots.tolist(), strict=True):
        cosines = drift(products, root)
        before.append(half * came_before_all(growth[:, root], weight, cosines))
        after.append(half * came_after(growth[:, root], weight))
        said.append(mean_before(of_nearly_equal(detector, distance[root]), weight))
        moved = distance[root] / geometry.lengths[root]
        moved[nearly_equal_to(root, distance)] = 0  # what these say, middle.py weighs
        opposed.append(strength(against(cosines, moved, root, values)))
        for kind, odds in ordered.items():
            certain[kind].append(half * order_of_all(odds[:, root], cosines))
    return RootEvidence(
        torch.stack(before),
        torch.stack(after),
        half * torch.stack(said),
        torch.stack(opposed),
        {kind: torch.stack(each) for kind, each in certain.items()},
    )


def _undated(dates: Tensor) -> bool:
    """Whether one of the models has no date, of (m, m) log-odds: it may be the oldest as well as the one that is the oldest of those dated,
    so that one is no likelier the root for it. The others are less likely all the same: one is older than they."""
    return bool((dates == 0).all(1).any())


def weights_of_pairs(distance: Tensor, lengths: Tensor, roots: Tensor) -> Tensor:
    """(m, m) and (m,) squared, (r,) roots -> (m, r) float64, 0 to 1: what each model says about whether a root came before it."""
    apart = distance[~torch.eye(len(distance), dtype=torch.bool)].median()
    away = distance[:, roots]  # (m, r)
    weight = away / (away + HARDLY_MOVED * apart).clamp(min=1e-300)
    return weight * away / (away + STILL * lengths[roots]).clamp(min=1e-300)


def of_nearly_equal(came_first: Tensor, away: Tensor) -> Tensor:
    """What pairs say about a root, each with the same pair of every model that is nearly equal to the root as seen from the other one:
    which of those the detector looked at, and what it made of their difference, is chance.

    Args:
        came_first: (m, m) float64, [child, parent]: log-odds that the parent came first, 0 where not computed; away: (m,) squared
            distances of the root.
    Returns:
        (m,) float64 log-odds that the root came before each model, 0 where none was computed.
    """
    # (m, m), [other, model like the root]
    alike = (away[None, :] <= NEARLY_EQUAL**2 * away[:, None]) & (came_first != 0)
    return (came_first * alike).sum(1) / alike.double().sum(1).clamp(min=1)


def mean_before(came_first: Tensor, weight: Tensor) -> Tensor:
    """(m, ...) log-odds that a root came before each model, weights of the same -> (...) the weighted mean over those computed."""
    weight = weight.masked_fill(came_first == 0, 0.0)
    return (weight * came_first.clamp(-CLIP, CLIP)).sum(0) / weight.sum(0).clamp(min=1e-9)


def came_before_all(came_first: Tensor, weight: Tensor, cosines: Tensor) -> Tensor:
    """
    Args:
        came_first: (m,) float64: log-odds that the root came before each model, 0 where not computed; weight: (m,) of the same.
        cosines: (m, m) float64, of the other models' differences from the root, see signals/drift.py.
    Returns:
        () float64: the weighted mean over the other members, times what so many independent pairs are worth.
    """
    independent = independent_pairs(weight.masked_fill(came_first == 0, 0.0), cosines)
    return worth(independent) * mean_before(came_first, weight)


def came_after(came_first: Tensor, weight: Tensor) -> Tensor:
    """() float64, 0 or negative: the strongest evidence that some model came before the root, see `came_before_all`."""
    return (weight * came_first.clamp(-CLIP, 0)).amin()


def order_of_all(ordered: Tensor, cosines: Tensor) -> Tensor:
    """() float64, from (m,) log-odds that the root certainly came before each model: what they say for it is a mean over all models,
    since a part of a merge is no likelier the root for being older than the merge; what they say against it counts in full."""
    others = (cosines.diagonal() > 0).double()  # all but the root
    against = ordered.clamp(max=0)
    mean = ordered.clamp(0, CLIP).sum() / others.sum().clamp(min=1)
    return worth(independent_pairs(others, cosines)) * mean + came_before_all(against, others, cosines)


def independent_pairs(weight: Tensor, cosines: Tensor) -> Tensor:
    """(m,) weights of 0 to 1, (m, m) cosines of the differences that they are about -> () float64: the number of independent ones of the
    greatest of these weights that would be worth as much: the square of their sum over what each two have in common."""
    shared = cosines.square()
    shared.fill_diagonal_(1.0)
    return weight.amax() * weight.sum().square() / (weight @ shared @ weight).clamp(min=1e-300)


def worth(pairs: Tensor) -> Tensor:
    """How much independent pairs are worth together, in pairs."""
    return torch.where(pairs > 1, pairs.clamp(min=1) ** POWER, pairs)


def centre(distance: Tensor) -> Tensor:
    """(m, m) squared distances -> (m,) float64 log-odds of each model to be the root, 0 or positive; see `nearest_to`, `as_near`.

    In a deep tree the model that most others are nearest to is often not the root, so the number of these counts by the share of the
    family that it is in the middle of.
    """
    among, hub = centrality(distance)
    return CENTRE * among + HUB * hub


def centrality(distance: Tensor) -> tuple[Tensor, Tensor]:
    """(m, m) squared distances -> (m,) float64 each: the two parts of `centre` before they are weighed."""
    models = len(distance)
    if models < 3:
        return torch.zeros(models, dtype=torch.float64), torch.zeros(models, dtype=torch.float64)
    near = as_near(distance)
    among = near.sum(0) / (models - 1)
    beyond = (_votes(near) - 2).clamp(min=0)  # a member of a chain has one on either side
    return among, among.sqrt() * (1 + beyond / 2).log()


def nearest_to(distance: Tensor) -> Tensor:
    """(m, m) squared distances -> (m,) float64: the number of models that each is nearest to. Each model has one vote and shares it among
    those that are about as near, as the inverse fourth power of their distance: which of the root and a child that hardly moved is
    a little nearer to a far one is chance."""
    return _votes(as_near(distance))


def _votes(near: Tensor) -> Tensor:
    """See `nearest_to`; near: (m, m), see `as_near`."""
    share = near.square()
    return (share / share.sum(1, keepdim=True)).sum(0)


def as_near(distance: Tensor) -> Tensor:
    """(m, m) squared distances -> (m, m) float64, 0 to 1: the squared distance of each model's nearest in that to each other one."""
    near = distance.clone().fill_diagonal_(torch.inf).clamp(min=1e-300)
    return near.amin(1, keepdim=True) / near
