"""Questions about more than one line of descent: siblings, the whole tree, the way between two models, what they share, roots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from lineage.graphdb.schema import Model
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import EVERYTHING, Limits, Relative, step, walk


@dataclass(frozen=True, slots=True)
class CommonAncestor:
    """An ancestor of two models (or one of the two itself), with its generations above each."""

    ancestor: Relative
    depth_a: int
    depth_b: int


@dataclass(frozen=True, slots=True)
class Step:
    """One model on the way from one model to another.

    Attributes:
        relative: the model; kind and probability are of the edge between the model before and this one.
        direction: `up` to a parent, `down` to a child, None for the first.
    """

    relative: Relative
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A model without a known parent, and how many children it has."""

    hub_id: str
    repo_id: str
    children: int


def start_of(model: Model) -> Relative:
    """A model as the beginning of a walk."""
    return Relative(model.hub_id, model.repo_id, 0)


def siblings(store: GraphReader, model: Model, limits: Limits = EVERYTHING) -> list[Relative]:
    """Other children of the model's parents, by name.

    With `limits.depth` of n also children of its ancestors up to n generations above; depth says how far above the shared
    ancestor is, kind and probability are of the sibling's own edge to it.
    """
    above = walk(store, [start_of(model)], replace(limits, depth=limits.depth or 1), question="parents")
    own_line = {relative.hub_id for relative in above}
    depth_of = {relative.hub_id: relative.depth for relative in above[1:]}
    names = {relative.hub_id: relative.repo_id for relative in above}
    found: dict[str, Relative] = {}
    for row in step(store, depth_of, limits, question="children"):
        if row.hub_id in own_line or row.via is None:
            continue
        sibling = replace(row, depth=depth_of[row.via])
        rival = found.get(row.hub_id)
        if rival is None or _nearer(sibling, names) < _nearer(rival, names):
            found[row.hub_id] = sibling
    return sorted(found.values(), key=lambda relative: (relative.depth, relative.repo_id, relative.hub_id))


def _nearer(sibling: Relative, names: dict[str, str]) -> tuple[int, float, str, str]:
    return sibling.depth, -(sibling.probability or 0.0), names[sibling.via or ""], sibling.kind or ""


def tree(store: GraphReader, model: Model, limits: Limits = EVERYTHING) -> list[Relative]:
    """The family of a model: its oldest known ancestors at depth 0, and everything derived from them.

    `limits.depth` bounds the generations below the oldest ones. Where a cycle leaves no oldest one, the model is on top.
    """
    above = walk(store, [start_of(model)], replace(limits, depth=None), question="parents")
    with_parent = {row.via for row in step(store, [relative.hub_id for relative in above], limits, question="parents")}
    oldest = [Relative(r.hub_id, r.repo_id, 0) for r in above if r.hub_id not in with_parent] or [start_of(model)]
    oldest.sort(key=lambda relative: (relative.repo_id, relative.hub_id))
    return walk(store, oldest, limits, question="children")


def other_parents(
    store: GraphReader, found: Sequence[Relative], limits: Limits = EVERYTHING
) -> dict[str, tuple[Relative, ...]]:
    """hub_id -> further parents of the models of a tree, beside the one below which each is drawn; of merges, and of models whose parts
    come from several."""
    below = {relative.hub_id: relative.via for relative in found if relative.via is not None}
    others: dict[str, dict[str, Relative]] = {}
    for row in step(store, below, limits, question="parents"):
        if row.via is not None and row.hub_id != below[row.via]:
            others.setdefault(row.via, {})[row.hub_id] = row
    return {
        child: tuple(sorted(rows.values(), key=lambda row: (row.repo_id, row.hub_id))) for child, rows in others.items()
    }


def common_ancestors(store: GraphReader, a: Model, b: Model, limits: Limits = EVERYTHING) -> list[CommonAncestor]:
    """What both were derived from, nearest (fewest generations in sum) first; one may be the ancestor of the other."""
    above_a = _line(store, a, limits)
    above_b = _line(store, b, limits)
    shared = [
        CommonAncestor(above_a[hub_id], above_a[hub_id].depth, above_b[hub_id].depth)
        for hub_id in above_a.keys() & above_b.keys()
    ]
    return sorted(shared, key=_distance)


def path(store: GraphReader, a: Model, b: Model, limits: Limits = EVERYTHING) -> list[Step]:
    """The way from one model to another: up to the nearest shared ancestor, then down. Empty where nothing is shared.

    `limits.depth` bounds the generations of each half.
    """
    above_a = _line(store, a, limits)
    above_b = _line(store, b, limits)
    shared = [
        CommonAncestor(above_a[hub_id], above_a[hub_id].depth, above_b[hub_id].depth)
        for hub_id in above_a.keys() & above_b.keys()
    ]
    if not shared:
        return []
    top = min(shared, key=_distance).ancestor.hub_id
    up = _chain(above_a, top)  # from a up to the top
    down = _chain(above_b, top)  # from b up to the top
    steps = [Step(up[0])] + [Step(relative, "up") for relative in up[1:]]
    for upper, lower in zip(reversed(down[1:]), reversed(down[:-1]), strict=True):  # the edge is kept at its upper end
        steps.append(Step(replace(lower, kind=upper.kind, probability=upper.probability, via=upper.hub_id), "down"))
    return [replace(item, relative=replace(item.relative, depth=position)) for position, item in enumerate(steps)]


def decided_by(store: GraphReader, steps: Sequence[Step]) -> list[tuple[str, ...]]:
    """The kinds of evidence that decided each edge of a way, beside its models; nothing for the first, and for ties and claims."""
    rows = store.read(load("accepted_edges").text, {"models": [step.relative.hub_id for step in steps]})
    found = {(row["child"], row["parent"], row["kind"]): tuple(row["decided_by"] or ()) for row in rows}
    why: list[tuple[str, ...]] = [()] if steps else []
    for before, after in pairwise(steps):
        ends = before.relative.hub_id, after.relative.hub_id
        child, parent = ends if after.direction == "up" else ends[::-1]
        why.append(found.get((child, parent, after.relative.kind), ()))
    return why


def _line(store: GraphReader, model: Model, limits: Limits) -> dict[str, Relative]:
    return {relative.hub_id: relative for relative in walk(store, [start_of(model)], limits, question="parents")}


def _chain(line: dict[str, Relative], top: str) -> list[Relative]:
    """The way from the start of a walk to one of the models it reached."""
    chain = [line[top]]
    while chain[-1].via is not None:
        chain.append(line[chain[-1].via])
    return chain[::-1]


def _distance(shared: CommonAncestor) -> tuple[int, int, str, str]:
    depths = shared.depth_a, shared.depth_b
    return sum(depths), max(depths), shared.ancestor.repo_id, shared.ancestor.hub_id


def roots(store: GraphReader, limits: Limits = EVERYTHING, limit: int = 100) -> list[Root]:
    """Models with children but without a known parent, those with most children first."""
    params = {"kinds": [str(kind) for kind in limits.kinds], "min_probability": limits.min_probability, "limit": limit}
    return [Root(row["hub_id"], row["repo_id"], row["children"]) for row in store.read(load("roots").text, params)]


def children_counts(store: GraphReader, models: list[str], limits: Limits = EVERYTHING) -> dict[str, int]:
    """Direct children of some models (hub_ids); those without any are left out."""
    params = {
        "models": models,
        "kinds": [str(kind) for kind in limits.kinds],
        "min_probability": limits.min_probability,
    }
    return {row["hub_id"]: row["children"] for row in store.read(load("children_count").text, params)}
