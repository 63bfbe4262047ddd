"""Merges: models that are, tensor by tensor, a function of the weights of several others.

In: the aligned values of a family and their inner products. Out: for each model that is a merge its parents with their shares, the base
where there is one, and the method. `span_merges.py` finds weighted sums (linear, task arithmetic, Model Stock, SLERP, passthrough),
`trimmed_merges.py` those that drop single values (TIES, DARE). A model trained on from a merge is its child, and stays in the tree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor
from lineage.detect.coarser_runs import possible_runs, rounded_before
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.family_values import FamilyValues, family_values, plain
from lineage.detect.gram import Gram
from lineage.detect.line_of_descent import line_of_descent
from lineage.detect.reasons import Reason
from lineage.detect.regression import regression
from lineage.detect.span_merges import claimed_sum, span_merges
from lineage.detect.trimmed_merges import claimed_trims, trimmed_merges
from lineage.detect.trimmed_verdict import TrimmedMerge
from lineage.detect.value_merges import candidates, value_merges
from lineage.detect.weighted_sum import WeightedSum
from lineage.graphdb.schema import Relation

ONE_WEIGHT = 0.01  # by which weights of a mean differ less
MERGED = 0.98


@dataclass(frozen=True, slots=True)
class Merge:
    """Indices of models.

    Attributes:
        parts: parents with their shares of the weights (of the differences from the base where there is one), which sum to one, the
            largest first; of an unseen part nothing is counted.
        base: the model whose differences to the parents were merged; None where there is none.
        method: in words. off: what the parts leave unexplained, over their distance. unseen: whether a part is not at hand.
        weights: of each part, as it was multiplied; empty where that is not known. A part with a negative one was taken away.
        alike: models that may be the base as well, as far as the values of the merge tell.
        before: models that are known to have been there before the merge, so that none of them was trained from it.
    """

    model: int
    parts: tuple[tuple[int, float], ...]
    base: int | None
    method: str
    off: float
    unseen: bool = False
    weights: tuple[float, ...] = ()
    alike: tuple[int, ...] = ()
    before: frozenset[int] = frozenset()

    @property
    def beyond(self) -> bool:
        """Whether shares do not say all: a part was taken away, or the only one has a weight of its own."""
        return len(self.weights) == 1 or any(weight < 0 for weight in self.weights)

    @property
    def sources(self) -> tuple[int, ...]:
        """All models that it is made of, the base last."""
        return tuple(part for part, _ in self.parts) + (() if self.base is None else (self.base,))


def merges(
    layers: Sequence[Layer],
    gram: Gram,
    distance: Tensor,
    sources: np.ndarray | None = None,
    claimed: Mapping[int, Sequence[int]] | None = None,
    guests: Collection[int] = (),
) -> dict[int, Merge]:
    """
    Args:
        layers: of m models; gram: of the same, on the CPU; distance: (m, m) float64, squared.
        guests: models that nothing is asked about: what takes long, and does not move a tree's middle, is not looked for.
        sources, claimed: which models each one could have been made from, and what cards name, see possible_sources.py.
    Returns:
        model -> what it was merged from, for those that were.
    """
    models = len(distance)
    if models < 3:
        return {}
    values, inner = family_values(layers, distance, sources), _by_layer(gram)
    regressed = regression(values, inner)
    blocks = np.array([layer.part is Part.BODY for layer in layers if layer.part is not Part.REST])
    found = _as_claimed(values, distance, claimed or {}, blocks)
    known = {model: _as_sum(merge) for model, merge in found.items()}
    found |= {m: _of_span(m, s) for m, s in span_merges(values, regressed, blocks, known).items() if m not in known}
    alone, apart = [model for model in range(models) if model not in found], plain(distance)
    for model, taken in value_merges(values, apart, candidates(values, regressed, apart, alone)).items():
        if not any(part in found and model in found[part].sources for part in taken.all):
            found[model] = _of_span(model, taken)
    rest = [model for model in range(models) if model not in found]
    left = values
    if found and len(rest) > 1:
        left = values.only(rest)
        regressed = regression(left, [tensor[np.ix_(rest, rest)] for tensor in inner])
    asked = [place for place, model in enumerate(rest) if model not in guests]
    for model, trimmed in trimmed_merges(left, regressed, asked).items() if len(rest) > 2 else ():
        found[rest[model]] = _of_trimmed(rest, model, trimmed)
    found |= _run_again(values, distance, found, blocks)
    return {m: replace(merge, before=_came_before(sources, m)) for m, merge in found.items()}


def _as_claimed(
    values: FamilyValues, distance: Tensor, claimed: Mapping[int, Sequence[int]], blocks: np.ndarray
) -> dict[int, Merge]:
    """The models that merges of what their cards name explain to rounding: several sets of a crowd of merges do so about as well."""
    named = {m: pool for m, places in claimed.items() if len(pool := values.possible(m, places)) > 1}
    found = {m: _of_span(m, span) for m, pool in named.items() if (span := claimed_sum(values, m, pool, blocks))}
    left = {m: pool for m, pool in named.items() if m not in found}
    if left:
        taken = value_merges(values, plain(distance), left)
        found |= {model: _of_span(model, span) for model, span in taken.items()}
        left = {m: pool for m, pool in left.items() if m not in found}
    everyone = range(len(values.digits))
    return found | {
        m: _of_trimmed(everyone, m, merge) for m, merge in (claimed_trims(values, left) if left else {}).items()
    }


def _run_again(
    values: FamilyValues, distance: Tensor, found: Mapping[int, Merge], blocks: np.ndarray
) -> dict[int, Merge]:
    """The models that are merges of the same parts as the merge nearest to them, in another dtype."""
    runs = possible_runs(values, plain(distance), {model: merge.sources for model, merge in found.items()})
    again = {
        m for m, (near, pool) in runs.items() if len(found[near].parts) > 1 and rounded_before(values, m, near, pool)
    }
    left = {m: pool for m, (_, pool) in runs.items() if m not in again}
    tried = _as_claimed(values, distance, left, blocks) if left else {}
    same = {m: merge for m, merge in tried.items() if set(merge.sources) == set(found[runs[m][0]].sources)}
    return same | {m: replace(found[runs[m][0]], model=m) for m in again}


def _came_before(sources: np.ndarray | None, model: int) -> frozenset[int]:
    return frozenset() if sources is None else frozenset(np.flatnonzero(~sources[:, model]).tolist())


def _as_sum(merge: Merge) -> WeightedSum:
    return WeightedSum(merge.parts, merge.base, 0.0, merge.method, merge.off)


def _by_layer(gram: Gram) -> list[np.ndarray]:
    """(m, m) inner products of each layer."""
    products = plain(gram.products)
    by_layer: dict[int, list[int]] = {}
    for group, layer in enumerate(gram.layer):
        by_layer.setdefault(layer, []).append(group)
    return [products[groups[0]] if len(groups) == 1 else products[groups].sum(0) for groups in by_layer.values()]


def _of_span(model: int, span: WeightedSum) -> Merge:
    total = sum(abs(weight) for _, weight in span.members)
    parts = tuple((part, abs(weight) / total) for part, weight in span.members)
    weights = tuple(weight for _, weight in span.members)
    return Merge(model, parts, span.base, span.method, span.off, weights=weights, alike=span.alike)


def _of_trimmed(places: Sequence[int], model: int, trimmed: TrimmedMerge) -> Merge:
    """places: of the models that the trimmed merge counts."""
    parts = tuple((places[part], share) for part, share in trimmed.members)
    alike = tuple(places[other] for other in trimmed.alike)
    off = 1 - trimmed.explained
    return Merge(places[model], parts, places[trimmed.base], trimmed.method, off, trimmed.unseen, alike=alike)


def renumbered(found: Mapping[int, Merge], stay: Sequence[int]) -> dict[int, Merge]:
    """The same merges among the models that stay, by their new places."""
    place = {old: new for new, old in enumerate(stay)}
    return {
        place[m]: replace(
            merge,
            model=place[m],
            parts=tuple((place[part], share) for part, share in merge.parts),
            base=None if merge.base is None else place[merge.base],
            alike=tuple(place[other] for other in merge.alike if other in place),
            before=frozenset(place[other] for other in merge.before if other in place),
        )
        for m, merge in found.items()
        if m in place
    }


def merged_decision(models: Sequence[str], merge: Merge) -> Decision:
    """A merge has several parents. models: id of each."""
    shares = tuple((models[part], round(share, 4)) for part, share in merge.parts)
    weights = {models[part]: round(w, 4) for (part, _), w in zip(merge.parts, merge.weights, strict=False)}
    evidence = {
        "method": merge.method,
        "shares": dict(shares),
        "weights": weights if merge.base is not None or merge.beyond else {},
        "base": None if merge.base is None else models[merge.base],
        "perhaps_base": [models[other] for other in merge.alike],
        "unseen_part": merge.unseen,
        "off_the_line": merge.off,
    }
    return Decision(
        model=models[merge.model],
        answer=AnswerKind.PARENT,
        probability=MERGED,
        parent=shares[0][0],
        relation=Relation.MERGED_FROM,
        candidates=tuple(Candidate(name, MERGED) for name, _ in shares),
        decided_by=("merge",),
        evidence={name: value for name, value in evidence.items() if value not in (None, False, {}, [])},
        reason=_reason(shares, None if merge.base is None else models[merge.base], merge),
        merged_from=shares,
    )


def _reason(shares: Sequence[tuple[str, float]], base: str | None, merge: Merge) -> Reason:
    if merge.method == "linear" and len(shares) == 2:
        (first, first_share), (second, second_share) = shares
        values = {"first_share": first_share, "second_share": second_share}
        found = Reason("merge", values, {"first": first, "second": second})
    else:
        numbers = merge.weights if merge.beyond else [share for _, share in shares]
        told = {"method": merge.method, "shares": ", ".join(f"{number:.2f}" for number in numbers)}
        models = {"models": tuple(name for name, _ in shares)}
        linear = merge.method == "linear"
        found = Reason("merge_mean" if linear else "merge_weighted" if merge.beyond else "merge_of", told, models)
    if base is not None:
        found = found.and_then(Reason("merge_base", models={"base": base}))
    return found.and_then(Reason("merge_unseen")) if merge.unseen else found


def with_bases(
    decisions: Sequence[Decision], parents: Mapping[str, str], oldest: frozenset[str] = frozenset()
) -> list[Decision]:
    """The same, where one part of a sum of two and more is the ancestor of all others: they were added to it, each as its difference.

    A mean with the base and a sum of differences from it are the same numbers, and so are sums of differences from any of the parts; the
    family's tree tells which model is the base.

    Args:
        parents: child -> parent in the family's tree; oldest: its root and the models nearly equal to it, any of which may be its root.
    """
    return [_with_base(decision, parents, oldest) if decision.merged_from else decision for decision in decisions]


def _with_base(decision: Decision, parents: Mapping[str, str], oldest: frozenset[str]) -> Decision:
    """A mean of two, one trained from the other, stays one: nothing tells it from a sum."""
    if "perhaps_base" in decision.evidence:
        return _with_oldest_base(decision, parents)
    weights, given = _all_weights(decision), decision.evidence.get("base")
    negative = any(weight < 0 for weight in weights.values())
    if not weights or (len(weights) < 3 and not negative):
        return decision
    lines = {name: line_of_descent(name, parents) for name in weights}
    base = next((b for b in weights if all(b == name or b in line for name, line in lines.items())), None)
    if base is None and len(first := oldest & weights.keys()) == 1 and all(oldest & {n, *lines[n]} for n in lines):
        (base,) = first
    if base == given or (base is None and len(weights) > 2) or _plain_mean(decision):
        return decision
    rest = {name: weight for name, weight in weights.items() if name != base}
    total = sum(map(abs, rest.values()))
    order = sorted(rest.items(), key=lambda pair: -pair[1])
    parts = tuple((place, abs(weight) / total) for place, (_, weight) in enumerate(order, 2))
    off = float(decision.evidence.get("off_the_line", 0.0))
    method = "linear, with a negative weight" if base is None else "task arithmetic"
    names = [decision.model, base or "", *(name for name, _ in order)]
    merge = Merge(0, parts, None if base is None else 1, method, off, weights=tuple(weight for _, weight in order))
    return merged_decision(names, merge)


def _plain_mean(decision: Decision) -> bool:
    """Whether all parts have one weight, as in a mean of checkpoints of which all come from the first."""
    weights = [weight for _, weight in decision.merged_from]
    return decision.evidence.get("method") == "linear" and max(weights) - min(weights) < ONE_WEIGHT


def _with_oldest_base(decision: Decision, parents: Mapping[str, str]) -> Decision:
    """Of models that the merge's values do not tell apart, the one that the others were trained from is the base."""
    said, alike = decision.evidence, set(decision.evidence["perhaps_base"])
    base = next((name for name in reversed(line_of_descent(said["base"], parents)) if name in alike), said["base"])
    others = sorted({*alike, said["base"]} - {base})
    names = [decision.model, base, *(name for name, _ in decision.merged_from), *others]
    parts = tuple((place, share) for place, (_, share) in enumerate(decision.merged_from, 2))
    weights = tuple(said["weights"][name] for name, _ in decision.merged_from) if "weights" in said else ()
    alike_places = tuple(range(2 + len(parts), len(names)))
    off, unseen = said.get("off_the_line", 0.0), bool(said.get("unseen_part"))
    return merged_decision(names, Merge(0, parts, 1, said["method"], off, unseen, weights, alike_places))


def _all_weights(decision: Decision) -> dict[str, float]:
    """Of all parts of a weighted sum, the base among them, which sum to one; nothing where the sum is another one in each tensor."""
    method = decision.evidence.get("method")
    if method == "linear":
        return dict(decision.merged_from)
    weights = dict(decision.evidence.get("weights", {}))
    if method not in ("task arithmetic", "linear, with a negative weight") or not weights:
        return {}
    base = decision.evidence.get("base")
    return weights if base is None else {**weights, str(base): 1 - sum(weights.values())}
