"""Is the family's oldest known model really the parent of those below it, or do they and it all come from a model that is not at hand?

On the Hub parents are often private, deleted or not crawled, and of two models alone nothing in their weights tells a child from a sibling
that moved more: the ranges of every measure are the same. So a stated share of missing parents stands against every edge at the top of a
tree, and further relatives, dates or claims must bring it down:

- three or more models: FEATURES below, trees fitted by `bench.fit_missing_parent` on families with and without their root;
- whether the root can be a child that hardly moved, by how far its children moved and how unlike;
- eight children and more: whether their steps have a part in common (common_step.py);
- dates: a parent is older than all its children; of siblings any may be the oldest;
- a claim that names the model; claims of the model and of its children that name the same other one, which is not at hand.

Dimension letters: m models, c children of the root.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from lineage.detect.arrays import Tensor, torch
from lineage.detect.boosted import shipped
from lineage.detect.common_step import CROWD, steps
from lineage.detect.decision import Decision
from lineage.detect.measurement import Measurement, SettledFamily
from lineage.detect.reasons import Reason
from lineage.detect.signals.drift import drift
from lineage.detect.signals.exact_retention import private_share
from lineage.detect.signals.opposition import against
from lineage.detect.tree import FamilyTree

INNER = 4.0  # log-odds against an unseen parent of a model that has no tensor of its own, see signals/shared_tensors.py
CROSSED = 6.0  # the same of a model of which two others each left another part as it is
CLAIMED = 2.0  # log-odds against an unseen parent where the child's card names this one
# the same for one, of each child whose card names what the oldest model's own card names, and of all: cards name a base's base at times
SAME_BASE, SAME_BASE_AT_MOST = 2.0, 8.0
BY_ITS_CARD = 0.6  # least of a child whose own card and the oldest model's name one base that is not at hand
OLDEST_AT_LEAST = 0.125  # chance of a sibling to be dated before all others, however many they are
TREES = "missing_parent_trees"
FEATURES = (
    "log of the number of children", "lowest cosine", "low cosine", "middle cosine", "nearest child", "spread of distances",
    "private share", "values kept", "balance", "least balance", "growth", "direction", "least direction", "balance beyond", "growth beyond",
    "opposed",
)  # fmt: skip
SIGNS = (0, 0, 0, 0, 0, -1, 1, 0, -1, -1, -1, -1, -1, -1, -1, 1)  # of what each may say for an unseen parent
# of the logarithms of siblings' steps, beside what is seen; least step beside the others' that shows; log-odds at most
UNLIKE, STILL, STILL_WORTH = 1.0, 0.03, 2.0
LIMIT = 1.2  # log-odds that the fitted trees may add either way
# children from which on a family speaks against an unseen parent: of three siblings whose parent is away a third was given to the one that
# had moved least, at 0.83 to 0.99, as often as two children to the parent that is there
FEWEST_CHILDREN = 3
OPPOSED, PER_OPPOSED = 0.05, 40.0  # mean vote of opposition that few true roots have, and log-odds a unit beyond it
OPPOSED_AT_MOST = 2.5  # log-odds: in a star of networks whose norms keep no length a true root showed 0.15


def missing_parents(tree: FamilyTree, family: SettledFamily, found: Measurement, prior: float) -> Tensor:
    """(m, m) float64, [child, root]: probability that `root` is the oldest model at hand, and both come from an unseen parent.

    Args:
        prior: share of parents that are not at hand.
    """
    unseen = torch.zeros_like(tree.direct)
    products = family.gram.products.sum(0)  # (m, m)
    inner = found.tensors.inner()
    for place, root in enumerate(tree.roots.tolist()):
        below = (tree.best_parents[place] == root).nonzero()[:, 0]
        if not len(below):
            continue
        features = top_features(root, below, family, products, found) if len(below) > 1 else None
        odds = unseen_log_odds(features, len(below), prior) + dated_first(root, below, found.evidence.dates)
        odds += stood_still(root, below, products) if len(below) >= FEWEST_CHILDREN else 0.0
        odds -= max(INNER * bool(inner[root]), CROSSED * found.tensors.crossed(root))
        odds += min(SAME_BASE_AT_MOST, SAME_BASE * float((found.evidence.declared[below, root] < 0).sum()))
        odds += float(tree.common_step[place])
        claimed = found.evidence.declared[:, root]  # (m,)
        chance = (odds - CLAIMED * (claimed > 0)).sigmoid()
        unseen[:, root] = torch.where(claimed < 0, chance.clamp(min=BY_ITS_CARD), chance)
    return unseen * tree.direct


def with_same_base(decisions: Sequence[Decision], declared: Tensor) -> list[Decision]:
    """The same, where a model is undecided because its parent may be unseen, with what the cards say to that.

    Args:
        declared: (m, m) float64, [child, parent], see signals/dates_and_claims.py.
    """
    place = {decision.model: i for i, decision in enumerate(decisions)}
    found = list(decisions)
    for i, decision in enumerate(decisions):
        likeliest = place.get(decision.likeliest or "")
        if decision.reason.key == "unseen_parent" and likeliest is not None and float(declared[i, likeliest]) < 0:
            said = Reason("same_base", models={"parent": str(decision.likeliest)})
            found[i] = replace(decision, reason=decision.reason.and_then(said))
    return found


def top_features(root: int, children: Tensor, family: SettledFamily, products: Tensor, found: Measurement) -> Tensor:
    """
    Args:
        root: a model; children: (c,) int64, two or more directly below it.
        products: (m, m) float64, inner products of the family's models over all values.
    Returns:
        (f,) float64 in the order of FEATURES.
    """
    distance, lengths = family.distance, family.lengths
    values = int(family.gram.values.sum())
    count = len(children)
    first, second = torch.triu_indices(count, count, 1)
    seen = drift(products, root)
    cosines = seen[children][:, children]
    cosine = cosines[first, second]
    with_others = (cosines.sum(1) - 1) / (count - 1)  # (c,)
    apart = distance[root][children].clamp(min=1e-300).log() / 2
    private = private_share(found.characters, root, children.tolist())
    kept = float(found.characters.equal[root][children].median())
    alive = 0.002 < kept < 0.9999
    balance = found.pairs.balance[children, root].nan_to_num(0.0).clamp(-3, 3)
    growth = found.pairs.growth_gamma[children, root].clamp(-3, 3)
    # both of a sibling in the place of the unseen parent: it moved itself what the others share
    stand_in = 1 - 2 * with_others
    direction = found.evidence.growth_at_right_angles[children, root].clamp(-6, 6)
    voted = against(seen, distance[root] / lengths[root], root, values)
    return torch.tensor(
        [
            float(torch.tensor(float(count)).log()), float(cosine.min()), float(cosine.quantile(0.1)), float(cosine.median()),
            float(apart.min() - apart.median()), float(apart.std()), min(private / (1 - kept), 3.0) if alive else 0.0, float(alive),
            float(balance.median()), float(balance.min()), float(growth.median()), float(direction.mean()), float(direction.min()),
            float((balance - stand_in).median()), float((growth - stand_in).median()), float(voted.mean()),
        ],
        dtype=torch.float64,
    )  # fmt: skip


def unseen_log_odds(features: Tensor | None, children: int, prior: float) -> float:
    """Log-odds that a root and its children all come from an unseen parent, from weights alone.

    A model from which many public ones come is seldom private itself, so the prior odds fall with their number.

    Args:
        features: (f,) float64, see `top_features`; None for a single child. prior: share of parents that are not at hand.
    """
    odds = float(torch.logit(torch.tensor(prior, dtype=torch.float64)))
    if features is None:
        return odds
    seen = float(shipped(TREES).log_odds(features[None])[0].clamp(-LIMIT, LIMIT))
    if children < FEWEST_CHILDREN:
        return odds + max(0.0, seen)
    opposed = min(OPPOSED_AT_MOST, PER_OPPOSED * max(0.0, float(features[-1]) - OPPOSED))
    return odds - CROWD * math.log(children) + seen + opposed


def stood_still(root: int, children: Tensor, products: Tensor) -> float:
    """Log-odds against an unseen parent since the root would have to be a child of it that hardly moved; 0 where such a child is likely.

    Of a child in its parent's place the square of its own step is in every inner product of two others' steps, so their lowest cosine
    bounds how far it moved beside them. Steps of siblings are as unlike in length as those seen here, and a little at first: the chance
    that the shortest of one more is that short.

    Args:
        children: (c,) int64, directly below the root; products: (m, m) float64, inner products over all values, around any point.
    """
    count = len(children)
    if count < 2:
        return 0.0
    squares, products_of_two = steps(root, children, products)
    lengths = squares.clamp(min=1e-300).sqrt()
    first, second = torch.triu_indices(count, count, 1)
    lowest = float((products_of_two / lengths[first] / lengths[second]).min())
    unlike = float(lengths.log().var()) * (count - 1)
    spread = math.sqrt((UNLIKE**2 + unlike) / count)
    still = math.log(max(lowest, STILL**2)) / 2 / spread
    chance = (count + 1) * math.erfc(-still / math.sqrt(2)) / 2
    return max(-STILL_WORTH, math.log(min(1.0, max(chance, 1e-300))))


def dated_first(root: int, children: Tensor, dates: Tensor) -> float:
    """Log-odds for an unseen parent from dates: that the root is the oldest of all says against it, 0 where it is not known to be.

    Args:
        dates: (m, m) float64, [child, parent]: log-odds from dates, above 0 where the parent is older, 0 where unknown.
    """
    known = dates[children, root]
    older = int((known > 0).sum())
    if not older or bool((known < 0).any()):
        return 0.0
    return float(torch.tensor(max(OLDEST_AT_LEAST, 1 / (older + 1)), dtype=torch.float64).log())
