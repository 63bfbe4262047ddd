"""Models and edges that a command printed, as a figure for other programs: Graphviz DOT, Mermaid, or a page that draws them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

from lineage.graphdb.schema import counted
from lineage.pages.drawing import Line, Node, draw
from lineage.pages.members import EdgeFacts
from lineage.pages.provenance import program_version
from lineage.pages.render import render, style_hash, stylesheet
from lineage.pages.words import percent, relation_phrase, relation_word, visible

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Figure:
    """
    Attributes:
        names: id -> what the model is called, in the order of drawing. edges: from child to parent.
        notes: id -> a second line. marked: the model that the figure is about.
    """

    title: str
    names: Mapping[str, str]
    edges: tuple[EdgeFacts, ...]
    notes: Mapping[str, str]
    marked: str | None = None


def as_text(figure: Figure, form: str) -> str:
    """The figure as `dot`, `mermaid` or `html`."""
    if form == "html":
        return _html(figure)
    from lineage.graphdb.export import write_dot, write_mermaid

    out = io.StringIO()
    (write_dot if form == "dot" else write_mermaid)(_networkx(figure), out)
    return out.getvalue()


def _networkx(figure: Figure) -> nx.MultiDiGraph[str]:
    import networkx as nx

    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for model, name in figure.names.items():
        graph.add_node(model, repo_id=visible(name))
    for edge in figure.edges:
        graph.add_edge(edge.child, edge.parent, edge=edge.relation, probability=edge.probability)
    return graph


def _html(figure: Figure) -> str:
    drawing = draw(list(_nodes(figure)), list(_lines(figure)))
    about = f"{counted(len(figure.names), 'model')}, {counted(len(figure.edges), 'edge')}"
    family = Markup(render("_family.html", drawing=drawing, about=visible(figure.title), hint=""))
    page = render(
        "report.html",
        title=visible(figure.title),
        lead=f"{about}, found in the weights.",
        summary=[],
        contents=[],
        parts=[{"anchor": "figure", "title": figure.title, "body": family}],
        edges=[],
        provenance=[
            ("made at", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
            ("made by", f"lineage {program_version()}"),
        ],
        made_at=datetime.now(UTC),
        version=program_version(),
        style=stylesheet(),
        style_hash=style_hash(),
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def _nodes(figure: Figure) -> Iterable[Node]:
    arrived = {edge.child: edge for edge in reversed(figure.edges)}
    for model, name in figure.names.items():
        edge = arrived.get(model)
        note = figure.notes.get(model) or (
            f"{relation_word(edge.relation)} {percent(edge.probability)}" if edge else ""
        )
        yield Node(model, name, note, "plain", model == figure.marked, None, f"{visible(name)}, {note}".rstrip(", "))


def _lines(figure: Figure) -> Iterable[Line]:
    for edge in figure.edges:
        child, parent = (visible(figure.names.get(i, i)) for i in (edge.child, edge.parent))
        about = f"{child} {relation_phrase(edge.relation)} {parent}, probability {percent(edge.probability)}"
        yield Line(edge.child, edge.parent, edge.relation.lower().replace("_", "-"), edge.probability, None, about)
