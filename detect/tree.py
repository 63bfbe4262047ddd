"""Evidence of one family -> its directed tree, decided for the family as a whole.

For every model that could be the family's root, a tree is built: the parent of b is the nearest model that is an ancestor of b as
seen from there (ancestor.py), or else the root. Roots are compared by evidence that does not depend on their trees (root.py,
signals/opposition.py), by a step that all directly below them share (common_step.py), and by dates and claims along the trees' edges; a
softmax turns scores into probabilities. The probability of an edge is summed over the roots, each tree turned round to every root
(rerooted.py), so that "cannot tell which of these two" comes out exactly where the alternatives disagree. And under every root its children
may come from a model that is not at hand (missing_parent.py).

Dimension letters: m models, k neighbours of each, r possible roots, g groups of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineage.detect.ancestor import PairOdds, at_its_end, features, log_odds, log_odds_by_kind, surely_in_line
from lineage.detect.arrays import Tensor, torch
from lineage.detect.common_step import common_step
from lineage.detect.geometry import Geometry
from lineage.detect.middle import of_neighbours
from lineage.detect.nearest_likelier import nearest_likelier
from lineage.detect.opposed_ends import opposed_ends
from lineage.detect.rerooted import edges
from lineage.detect.root import mean_before, nearest_to, root_scores, weights_of_pairs
from lineage.detect.side_by_side import side_by_side
from lineage.detect.signals.exact_retention import Characters, exact_inheritance
from lineage.detect.signals.inheritance import inheritance
from lineage.detect.signals.interface import Kind
from lineage.detect.signals.kept_since import kept_since_parent
from lineage.detect.signals.registry import of_kind
from lineage.detect.signals.retention import UnitDistances, Votes, votes
from lineage.detect.signals.rooted_growth import RootedGrowth, rooted_growth
from lineage.detect.signals.shared_start import kin
from lineage.detect.signals.shared_tensors import SharedTensors
from lineage.detect.steps import steps_from

ALL_PAIRS_UP_TO = 64
NEIGHBOURS = 24
ROOTS, FEWER_ROOTS = 24, 14  # that a tree is tried under; fewer where even pairs are chosen
HUBS = 8  # of these
LARGE = 200  # models of a family from which on pairs are chosen
# log-odds below the likeliest root from which a root of a large family gets no tree: one in four hundred
HOPELESS = 6.0
COMPARED = 6  # roots that get one however unlikely
FEW = 12  # models of a family up to which each gets one
CLIP = 6.0  # log-odds of one pair's direction beyond which they count no more
# what lies that much nearer to the root than another, in units of what is between them, does not come from it
ORDER_LEAST = -0.7
# log-odds at least that a model comes from what may as well be the root where it lies at its end, beside those of the two roots
AT_ITS_END, RIVAL_AT_MOST = 1.5, 6.0
# z of rooted growth from which it may come from it nevertheless: a tuning that goes back is nearer to the root
SURELY_OUTWARD = 3.0
# log-odds that a model comes from another one with which it is surely in line, where other models come from that one; beside the
# log-odds of the latter, which count alone where the others come from the model itself
IN_LINE = 1.5
ON_ITS_GRID = (
    2.0  # log-odds that a model comes from one whose grid it hardly left; a sibling may have left it as little
)
COMMON_STEP_AT_MOST = 1.0  # log-odds against a root: two of 22 true roots show the most of it
PASSES = 2  # in which what a model holds of a candidate is weighed by the likeliest parents of that one
NOT_NEITHER = -8.0  # log-odds that neither of two models comes from the other where they alone share a tensor
SLOPE_LIMIT = 1.5  # total slope beyond which two models lie on one trajectory rather than in line


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about pairs of a family's models, all (m, m) float64.

    Attributes:
        signals: name of each signal -> [child, parent], see signals/interface.py.
        even: how much likelier the pair's balance is for siblings of an unseen parent than for parent and child, a log.
        upright: 0 to 1, how far the pair's movement can have been at right angles, see signals/growth.py.
        of_another: bool, whether what is shrunk in the child may as well be another model's weights, see signals/decay.py.
    """

    signals: Mapping[str, Tensor]
    even: Tensor
    upright: Tensor
    of_another: Tensor

    @property
    def growth(self) -> Tensor:
        """[child, parent]: log-odds that the parent came first, antisymmetric, 0 where not computed."""
        return self.signals["growth"]

    @property
    def detector(self) -> Tensor:
        """[child, parent]: the same, of the trained detector."""
        return self.signals["detector"]

    @property
    def growth_at_right_angles(self) -> Tensor:
        """Of growth what counts about which model came before all others."""
        return self.upright * self.growth

    @property
    def detector_at_right_angles(self) -> Tensor:
        """The same of the trained detector."""
        return self.upright * self.detector

    @property
    def dates(self) -> Tensor:
        """[child, parent]: log-odds of publication dates."""
        return self.signals["dates"]

    @property
    def declared(self) -> Tensor:
        """[child, parent]: log-odds of claims, 0 without one."""
        return self.signals["declared"]

    @property
    def certain(self) -> Tensor:
        """[child, parent]: log-odds from what training alone does not do."""
        first, *others = (self.signals[signal.name] for signal in of_kind(Kind.CERTAIN))
        return sum(others, first)

    @property
    def certain_of_ancestor(self) -> Tensor:
        """The same, without what speaks for another model as well: that came before the child, and yet may be no ancestor of it."""
        speaks_for_all = self.signals["heads"].clamp(min=0)
        return self.certain - self.signals["decay"].clamp(min=0) * self.of_another - speaks_for_all


@dataclass(frozen=True, slots=True)
class RootedTree:
    """The tree under one possible root.

    Attributes:
        share: (m, k + 1) float64: for each model the probability of each neighbour, and last of the root itself, to be its parent;
            rows sum to 1, the root's own row is 0.
        low: (m, k) float64, the low slope of each neighbour's change since the root.
        features: (m, k, 14) float64, see ancestor.py; told: (m, k) float64 log-odds of dates, claims and digits; possible: (m, k) bool.
    """

    root: int
    share: Tensor
    low: Tensor
    features: Tensor
    told: Tensor
    possible: Tensor

    def terms(self) -> dict[str, Tensor]:
        """Kind of evidence -> (m, k) float64 log-odds that each neighbour of a model is an ancestor; nan where it cannot be one."""
        kinds = {**log_odds_by_kind(self.features), "declared": self.told}
        return {kind: odds.where(self.possible, torch.nan) for kind, odds in kinds.items()}

    def parent(self, neighbours: Tensor) -> Tensor:
        """(m,) int64: the likeliest parent of each model; -1 for the root."""
        choice = self.share.argmax(1)
        found = torch.where(choice == neighbours.shape[1], self.root, neighbours.gather(1, self.slot[:, None])[:, 0])
        found[self.root] = -1
        return found

    @property
    def slot(self) -> Tensor:
        """(m,) int64: place of the likeliest parent among the neighbours; the last one where it is the root."""
        return self.share.argmax(1).clamp(max=self.share.shape[1] - 2)

    @property
    def slope(self) -> Tensor:
        """(m,) float64: low slope of the likeliest parent; nan directly below the root, and for the root."""
        below = (self.share.argmax(1) == self.share.shape[1] - 1) | (self.share.sum(1) == 0)
        return self.low.gather(1, self.slot[:, None])[:, 0].masked_fill(below, torch.nan)


@dataclass(frozen=True, slots=True)
class FamilyTree:
    """
    Attributes:
        root: (m,) float64, probability of each model to be the oldest known one.
        parent: (m, m) float64, [child, parent]; row sums are 1 - root.
        roots: (r,) int64, the models that may be the root; scores: kind of evidence -> (r,) float64 log-odds of each.
        best_parents: (r, m) int64, each model's parent in the tree of each possible root; -1 for the root itself.
        direct: (m, m) float64, [child, parent]: probability of edges from the root of a tree, see rerooted.py.
        best_tree: of the most probable root; terms: its own, see RootedTree.terms; neighbours: (m, k) int64, what their columns are about.
        common_step: (r,) float64, see common_step.py, of the models directly below each root.
    """

    root: Tensor
    parent: Tensor
    roots: Tensor
    scores: Mapping[str, Tensor]
    best_parents: Tensor
    direct: Tensor
    best_tree: RootedTree
    terms: Mapping[str, Tensor]
    neighbours: Tensor
    common_step: Tensor

    @property
    def best_root(self) -> int:
        return self.best_tree.root

    @property
    def best_parent(self) -> Tensor:
        """(m,) int64: each model's parent in the tree of the best root; -1 for the root."""
        return self.best_tree.parent(self.neighbours)


def nearest(distance: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """(m, m) squared distances -> (m, k) int64 indices of each model's nearest others, nearest first."""
    own = distance.clone().fill_diagonal_(torch.inf)
    everyone = distance.shape[0] - 1
    return own.topk(everyone if distance.shape[0] <= ALL_PAIRS_UP_TO else min(count, everyone), largest=False).indices


def possible_roots(came_first: Tensor, distance: Tensor, lengths: Tensor) -> Tensor:
    """(r,) int64: all models of a small family; of a large one those that came before most of the models measured against them, and those
    that are the nearest of most, as the root of a star is. came_first: (m, m) log-odds, [child, parent]."""
    every = torch.arange(len(came_first))
    if len(every) <= ALL_PAIRS_UP_TO:
        return every
    weight = weights_of_pairs(distance, lengths, every)
    known = weight.masked_fill(came_first == 0, 0.0).sum(0)
    roots = ROOTS if len(every) <= LARGE else FEWER_ROOTS
    oldest = (known.clamp(max=1) * mean_before(came_first, weight)).topk(roots - HUBS).indices
    hubs = nearest_to(distance).topk(HUBS).indices
    return torch.cat([oldest, hubs]).unique()


def decide_tree(
    geometry: Geometry,
    units: UnitDistances,
    roots: Tensor,
    evidence: Evidence,
    found: Characters,
    tensors: SharedTensors,
) -> FamilyTree:
    """
    Args:
        geometry: of the family's m >= 2 models.
        roots: see `possible_roots`; units: of the same; found: values of the same as characters; tensors: that they share.
    """
    neighbours, models = geometry.neighbours, len(geometry.distance)
    ordered = {s.name: evidence.signals[s.name] for s in of_kind(Kind.CERTAIN, Kind.OUTSIDE)}
    likely_kin = kin(geometry.shared).clamp(min=1e-3).log()  # (m, m)
    scores = {
        **root_scores(
            geometry, evidence.growth_at_right_angles, evidence.detector_at_right_angles, ordered, roots, tensors
        ),
        "shared start": likely_kin[roots].sum(1) / (models - 1) ** 0.5,
        "shared tensors": tensors.side_of_tree(geometry.distance)[roots],
    }
    held = HeldTensors.of(tensors, neighbours)
    total = torch.stack(list(scores.values())).sum(0)
    kept = _worth_a_tree(total, models, evidence.declared)
    roots, scores = roots[kept], {kind: score[kept] for kind, score in scores.items()}
    rival = torch.full((models,), -torch.inf, dtype=torch.float64)
    rival[roots] = total[kept]

    asked: dict[tuple[int, int], float] = {}

    def under(place: int) -> RootedTree:
        root = int(roots[place])
        voted = votes(units, neighbours, int(kept[place]))
        outward = rooted_growth(units, neighbours, int(kept[place]))
        retention = exact_inheritance(found, root)
        return parents_under(geometry, root, voted, outward, evidence, retention, rival - rival[root], held, asked)

    trees = side_by_side(under, range(len(roots)))
    scores["declared"] = torch.stack(
        [_over_edges(tree.share, evidence.declared, tree.root, neighbours) for tree in trees]
    )
    best_parents = torch.stack([tree.parent(neighbours) for tree in trees])
    products = geometry.gram.products.sum(0)
    common = torch.tensor(
        [
            common_step(tree.root, (parents == tree.root).nonzero()[:, 0], products, geometry)
            for tree, parents in zip(trees, best_parents, strict=True)
        ],
        dtype=torch.float64,
    )
    scores["common step"] = -common.clamp(max=COMMON_STEP_AT_MOST)
    likely = torch.stack(list(scores.values())).sum(0).softmax(0)  # (r,)
    root_probability = torch.zeros(models, dtype=torch.float64).index_add_(0, roots, likely)
    parent, direct = edges([tree.share for tree in trees], best_parents, roots, likely, neighbours)
    best = trees[int(likely.argmax())]
    return FamilyTree(
        root_probability, parent, roots, scores, best_parents, direct, best, best.terms(), neighbours, common
    )


def _worth_a_tree(score: Tensor, models: int, declared: Tensor) -> Tensor:
    """Places of the roots that a tree is built for: all of a few models; of more, where no claims could change their order, those
    that are not hopeless, and a few more for `decided_by` to compare with."""
    if models <= FEW or bool(declared.any()):
        return torch.arange(len(score))
    ranked = (-score).argsort()
    near = int((score > float(score.max()) - HOPELESS).sum())
    return ranked[: max(near, COMPARED)].sort().values


def parents_under(
    geometry: Geometry,
    root: int,
    voted: Votes,
    outward: RootedGrowth,
    evidence: Evidence,
    retention: Tensor,
    rival: Tensor,
    held: HeldTensors | None,
    asked: dict[tuple[int, int], float],
) -> RootedTree:
    """The tree if `root` is the root.

    Args:
        voted, outward: of each model's units about its neighbours, seen from the root.
        retention: (m, m) float64, [child, parent]: log-odds that the child comes from the parent, from values that are equal bit for bit.
        rival: (m,) float64: log-odds that another model is the root rather than this one. Of two that may be, which came first is one
            question, and which of the two a third model comes from is another: that one lies at this or at that end of what is between
            them. Were the other one the root, what lies at its end would be a child of it as most are, without inheritance.
        held: the tensors that models share with their neighbours; None where none does.
        asked: of pairs that are surely in line, which of the two others come from, see middle.py; filled in here.
    """
    neighbours = geometry.neighbours
    found, possible, low = seen_from(geometry, root, voted, outward, evidence, retention)
    child = torch.arange(len(neighbours))[:, None]
    told = evidence.declared[child, neighbours] + evidence.dates[child, neighbours].clamp(max=0)
    told += evidence.signals["digits"][child, neighbours].clamp(max=ON_ITS_GRID)
    odds = torch.full(possible.shape, -torch.inf, dtype=torch.float64)  # (m, k)
    odds[possible] = log_odds(found[possible])
    end = possible & at_its_end(found)
    odds[end] = torch.maximum(odds, rival[neighbours].clamp(max=RIVAL_AT_MOST) + AT_ITS_END)[end]
    line = possible & surely_in_line(found)
    first = of_neighbours(geometry, line, asked) + opposed_ends(geometry.distance, neighbours, line, odds > 0)
    surely = IN_LINE + first
    odds[line] += (surely - odds[line]).clamp(min=0) * (first / 2).tanh().clamp(min=0) + first.clamp(max=0)
    odds[possible] += told[possible]
    neither = torch.zeros_like(odds)
    if held is not None:
        odds = odds.masked_fill(held.tensors.undone(root)[child, neighbours], -torch.inf)
        neither = neither.masked_fill(held.alone, NOT_NEITHER)
    # of two models one at most comes from the other
    ancestor = (odds - (neither.exp() + turned_round(odds, neighbours).exp()).log()).sigmoid()
    order = None if held is None else held.order
    share = first_of(ancestor, order)
    share[root] = 0
    for _ in range(PASSES):
        share = first_of(ancestor * kept_since_parent(geometry.gram, neighbours, share), order)
        share[root] = 0
    share = nearest_likelier(share, neighbours, geometry.distance, root)
    return RootedTree(root, share, low, found, told, possible)


@dataclass(frozen=True, slots=True)
class HeldTensors:
    """The tensors that models share with their neighbours.

    Attributes:
        order: (m, k) int64: places of the neighbours, those first that share the most; alone: (m, k) bool: no other model shares it.
    """

    tensors: SharedTensors
    order: Tensor
    alone: Tensor

    @classmethod
    def of(cls, tensors: SharedTensors, neighbours: Tensor) -> HeldTensors | None:
        """None where nothing is shared."""
        if not len(tensors.values):
            return None
        child = torch.arange(len(neighbours))[:, None]
        nearest = torch.linspace(0.5, 0.0, neighbours.shape[1]).double()  # of as many values the nearest first
        order = (-tensors.shared()[child, neighbours] - nearest).argsort(1)
        return cls(tensors, order, tensors.by_two()[child, neighbours])


def first_of(ancestor: Tensor, order: Tensor | None = None) -> Tensor:
    """(m, k) probabilities of each neighbour to be an ancestor -> (m, k + 1) of each to be the first one in order, and of none to be one.

    Args:
        order: (m, k) int64, places; as they are if None.
    """
    if order is not None:
        ancestor = ancestor.gather(1, order)
    before = torch.cat([torch.ones(len(ancestor), 1, dtype=torch.float64), (1 - ancestor).cumprod(1)], 1)  # (m, k + 1)
    first = ancestor * before[:, :-1]
    if order is not None:
        first = torch.zeros_like(first).scatter_(1, order, first)
    return torch.cat([first, 1 - first.sum(1, keepdim=True)], 1)


def seen_from(
    geometry: Geometry, root: int, voted: Votes, outward: RootedGrowth, evidence: Evidence, retention: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Returns:
        (m, k, f) features of each model and each neighbour, see ancestor.py; (m, k) bool, whether the neighbour can be an ancestor at all;
        (m, k) float64, the low slope of what it changed.
    """
    neighbours = geometry.neighbours
    child = torch.arange(len(neighbours))[:, None]
    seen, steps = inheritance(geometry.gram, root, neighbours), steps_from(root, geometry)
    said = PairOdds(
        retention[child, neighbours],
        evidence.growth[child, neighbours],
        evidence.growth_at_right_angles[child, neighbours],
        evidence.certain_of_ancestor[child, neighbours],
        evidence.even[child, neighbours],
    )
    outward = outward.where(~rounded_apart(geometry))
    possible = (steps.order > ORDER_LEAST) | (outward.z > SURELY_OUTWARD)
    possible &= (seen.total <= SLOPE_LIMIT) & ~seen.low.isnan()
    possible &= (neighbours != root) & (seen.moved[neighbours] > 0)
    possible &= said.certain > -CLIP  # what certainly came later is no ancestor
    return features(seen, voted, steps, said, outward), possible, seen.low


def rounded_apart(geometry: Geometry) -> Tensor:
    """(m, k) bool: whether a model and a neighbour, stored with unlike precision, lie within a step of the coarser one: what is between
    them is rounding, and goes back to the root where the root lies on the same grid."""
    digits, near = geometry.digits, geometry.neighbours
    coarser = torch.minimum(digits[:, None], digits[near])
    step = torch.where(coarser > 0, 0.5 ** coarser.double(), 0.0)
    within = geometry.distance.gather(1, near) < step.square() * geometry.lengths[:, None]
    return within & (digits[:, None] != digits[near])


def turned_round(odds: Tensor, neighbours: Tensor) -> Tensor:
    """(m, k) log-odds that each neighbour is an ancestor -> (m, k) that it is a descendant; -inf where it has no such neighbour itself."""
    child = torch.arange(len(neighbours))[:, None, None]
    back = neighbours[neighbours] == child  # (m, k, k)
    return odds[neighbours].where(back, -torch.inf).amax(2)


def _over_edges(share: Tensor, scores: Tensor, root: int, neighbours: Tensor) -> Tensor:
    """Sum of (m, m) scores [child, parent] over a tree's edges, each by its probability."""
    return (share[:, :-1] * scores.gather(1, neighbours)).sum() + (share[:, -1] * scores[:, root]).sum()
