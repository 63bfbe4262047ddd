"""The part of a family that is shown: generations opened as far as they fit, the rest folded into counts.

A family can have thousands of members, of which a person can look at a few dozen. The line from the oldest known ancestors down to the
model that a page is about is always open, and every model that was opened by a click; besides, whole generations as long as they fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lineage.pages.members import Brood, EdgeFacts, Relatives

SHOWN = 12  # children of one model at first
FITTING = 60  # models that a page shows without being asked
GENERATIONS = 64  # walked up or down at most; deeper families begin in the middle


@dataclass(frozen=True, slots=True)
class FoldedFamily:
    """A family, as far as it is shown.

    Attributes:
        tops: the oldest known ancestors; ids: all shown models, parents before children.
        hidden: model -> children that are not shown although it is open; closed: model -> its children, none of which is shown.
        line: the models from the tops to the one that the page is about.
    """

    tops: tuple[str, ...]
    ids: tuple[str, ...]
    edges: tuple[EdgeFacts, ...]
    hidden: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)
    line: frozenset[str] = frozenset()


def lines_above(source: Relatives, model: str) -> tuple[list[str], list[EdgeFacts]]:
    """The oldest known ancestors of a model (itself if it has none), and all edges on the way up."""
    edges: list[EdgeFacts] = []
    seen, frontier = {model}, [model]
    with_parent: set[str] = set()
    for _ in range(GENERATIONS):
        if not frontier:
            break
        found = source.parents(frontier)
        edges += found
        with_parent |= {edge.child for edge in found}
        frontier = sorted({edge.parent for edge in found} - seen)
        seen |= set(frontier)
    tops = sorted(seen - with_parent) or [model]  # a cycle leaves no oldest one
    return tops, edges


def fold(
    source: Relatives,
    model: str,
    *,
    opened: Collection[str] = (),
    more: Mapping[str, int] | None = None,
    fitting: int = FITTING,
    shown: int = SHOWN,
) -> FoldedFamily:
    """The family of a model.

    Args:
        opened: models whose children are shown in any case; more: model -> how many of its children are shown.
        fitting: models shown without being asked; shown: children of one model.
    """
    tops, above = lines_above(source, model)
    line = frozenset({model, *tops, *(e.child for e in above), *(e.parent for e in above)})
    wanted, asked = more or {}, set(opened)
    on_line: dict[str, list[EdgeFacts]] = {}
    for edge in above:
        on_line.setdefault(edge.parent, []).append(edge)
    ids = dict.fromkeys(tops)
    edges: dict[tuple[str, str, str], EdgeFacts] = {}
    hidden: dict[str, int] = {}
    closed: dict[str, int] = {}
    below: dict[str, int] = {}
    level = list(tops)
    for _ in range(GENERATIONS):
        expected = sum(min(shown, below.get(i, shown)) for i in level)
        everything = len(ids) + expected <= fitting or not edges
        chosen = [i for i in level if everything or i in line or i in asked or i in wanted]
        closed |= {i: below[i] for i in level if i not in chosen and below.get(i)}
        if not chosen:
            break
        broods = source.children({i: wanted.get(i, shown) for i in chosen})
        following: list[str] = []
        for parent in chosen:
            brood = broods.get(parent, Brood((), 0, {}))
            added = {(e.child, e.parent, e.relation): e for e in (*brood.edges, *on_line.get(parent, ()))}
            edges |= added
            below |= brood.below
            children = {edge.child for edge in added.values()}
            if len(children) < brood.total:
                hidden[parent] = brood.total - len(children)
            for edge in added.values():
                if edge.child not in ids:
                    ids[edge.child] = None
                    following.append(edge.child)
        level = following
    return FoldedFamily(tuple(tops), tuple(ids), tuple(edges.values()), hidden, closed, line)
