"""A folded family as a drawing: what each box says, how it is painted, and where a click on it leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lineage.graphdb.schema import counted
from lineage.pages.drawing import Drawing, Line, Node, draw
from lineage.pages.folding import FoldedFamily
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.words import percent, relation_phrase, relation_word, visible

FOLD = "fold:"  # how the id of a place holder begins


class Links(Protocol):
    """Where things on a page lead; None for nowhere. A file has anchors, a server has addresses."""

    def model(self, member: Member) -> str | None: ...

    def edge(self, edge: EdgeFacts) -> str | None: ...

    def unfold(self, member: Member, hidden: int) -> str | None:
        """The same page with more of a model's children."""
        ...

    def open(self, member: Member) -> str | None:
        """The same page with the children of a model of which none is shown."""
        ...


def picture(folded: FoldedFamily, facts: Mapping[str, Member], links: Links, marked: str | None = None) -> Drawing:
    """The drawing of a family."""
    arrived: dict[str, EdgeFacts] = {}
    for edge in folded.edges:
        best = arrived.get(edge.child)
        if best is None or (edge.probability or 0.0) > (best.probability or 0.0):
            arrived[edge.child] = edge
    nodes = [
        _node(facts[i], arrived.get(i), 0 if links.open(facts[i]) else folded.closed.get(i, 0), links, i == marked)
        for i in folded.ids
        if i in facts
    ]
    lines = [_line(edge, facts, links) for edge in folded.edges if edge.child in facts and edge.parent in facts]
    for parent, hidden in folded.hidden.items():
        if parent in facts:
            nodes.append(
                Node(
                    FOLD + parent,
                    f"{hidden:,} more",
                    "show more" if links.unfold(facts[parent], hidden) else "folded",
                    "fold",
                    href=links.unfold(facts[parent], hidden),
                    about=f"{counted(hidden, 'more child', 'more children')} of {visible(facts[parent].name)}",
                )
            )
            lines.append(Line(FOLD + parent, parent, "fold"))
    for parent, closed in folded.closed.items():
        where = links.open(facts[parent]) if parent in facts else None
        if where is not None:
            about = f"show {counted(closed, 'child', 'children')} of {visible(facts[parent].name)}"
            nodes.append(Node(FOLD + parent, f"{closed:,} below", "show", "fold", href=where, about=about))
            lines.append(Line(FOLD + parent, parent, "fold"))
    return draw(nodes, lines)


def _node(member: Member, edge: EdgeFacts | None, closed: int, links: Links, marked: bool) -> Node:
    name = visible(member.name)
    if edge is not None:
        note = f"{relation_word(edge.relation)} {percent(edge.probability)}"
    else:
        note = {
            "root": "root",
            "no_relatives": "no relatives known",
            "undecided": "cannot tell",
            "parent": "parent not shown",
        }.get(member.answer, "not compared")
    if closed:
        note += f" · {closed:,} below"
    tone = (
        "contradicts" if member.outcome == "contradicts" else "undecided" if member.answer == "undecided" else "plain"
    )
    if edge is None and member.answer == "root" and tone == "plain":
        tone = "root"
    about = [name, note]
    if member.outcome == "contradicts" and member.outcome_reason:
        about.append(f"the card contradicts: {visible(member.outcome_reason)}")
    return Node(member.id, member.name, note, tone, marked, links.model(member), ", ".join(about))


def _line(edge: EdgeFacts, facts: Mapping[str, Member], links: Links) -> Line:
    child, parent = visible(facts[edge.child].name), visible(facts[edge.parent].name)
    about = f"{child} {relation_phrase(edge.relation)} {parent}, probability {percent(edge.probability)}"
    style = edge.relation.lower().replace("_", "-")
    return Line(edge.child, edge.parent, style, edge.probability, links.edge(edge), about)
