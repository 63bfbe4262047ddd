"""A family as a drawing: places of boxes and curves, computed here, painted by a template.

Parents are on the left, children on the right, a generation a column. A tree is laid out by Reingold and Tilford 1981, "Tidier
drawings of trees"; a family with merges by Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of hierarchical system
structures". Both are igraph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage.pages.words import shortened, split_name

ROW = 52.0  # pixels from one box to the next below it
BOX_HEIGHT = 40.0
GAP = 64.0  # between columns
MARGIN = 12.0
BOLD, CHARACTER = 8.3, 7.4  # width of a character of the name and of the organisation before it, about
SMALL = 6.3  # of the second line
LONGEST_LABEL = 34  # characters in a box
NARROWEST, PADDING = 120.0, 26.0


@dataclass(frozen=True, slots=True)
class Node:
    """A model to be drawn, or a place holder for several.

    Attributes:
        note: the second line, like "fine-tuned 0.93".
        tone: how it is painted: `plain`, `root`, `undecided`, `contradicts`, `fold`; marked: the one the page is about.
        href: where a click leads; None for nowhere.
        about: the whole text for a screen reader and for the pointer that rests on it.
    """

    id: str
    name: str
    note: str = ""
    tone: str = "plain"
    marked: bool = False
    href: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """An edge to be drawn, from child to parent; relation is the graph's name of it, in lower case for a style."""

    child: str
    parent: str
    relation: str
    probability: float | None = None
    href: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A node in its place; head and tail are its name in two parts, cut to fit."""

    node: Node
    x: float
    y: float
    width: float
    head: str
    tail: str

    @property
    def height(self) -> float:
        return BOX_HEIGHT


@dataclass(frozen=True, slots=True)
class Curve:
    """A line in its place; `d` is the path of an SVG element."""

    line: Line
    d: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that is painted, in pixels from the upper left corner."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]


def draw(nodes: Sequence[Node], lines: Sequence[Line]) -> Drawing:
    """Places nodes and lines. Lines whose ends are not both among the nodes are left out; cycles do no harm."""
    index = {node.id: place for place, node in enumerate(nodes)}
    kept = [line for line in lines if line.child in index and line.parent in index and line.child != line.parent]
    pairs = list(dict.fromkeys((index[line.parent], index[line.child]) for line in kept))
    depth = _depths(len(nodes), pairs)
    forward = [(above, below) for above, below in pairs if depth[above] < depth[below]]
    rows = _rows(len(nodes), forward, depth)
    labels = [_label(node) for node in nodes]
    widths = [_width(node, *label) for node, label in zip(nodes, labels, strict=True)]
    columns = _columns(depth, widths)
    boxes = tuple(
        Box(node, columns[depth[i]][0], MARGIN + rows[i] * ROW, columns[depth[i]][1], *labels[i])
        for i, node in enumerate(nodes)
    )
    curves = tuple(Curve(line, _path(boxes[index[line.parent]], boxes[index[line.child]])) for line in kept)
    width = max((box.x + box.width for box in boxes), default=0.0) + MARGIN
    height = max((box.y + BOX_HEIGHT for box in boxes), default=0.0) + MARGIN
    return Drawing(width, height, boxes, curves)


def _depths(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Generation of each node: the longest way from a node without parents, cycles cut where they close."""
    children: dict[int, list[int]] = {}
    parents = [0] * count
    for above, below in pairs:
        children.setdefault(above, []).append(below)
        parents[below] += 1
    depth = [0] * count
    waiting = parents[:]
    done = [False] * count
    ready = [i for i in range(count) if not parents[i]]
    for _ in range(count):
        if not ready:  # only cycles are left: cut at the first node of them
            ready = [next(i for i in range(count) if not done[i])]
        node = ready.pop()
        done[node] = True
        for below in children.get(node, ()):
            if done[below]:
                continue
            depth[below] = max(depth[below], depth[node] + 1)
            waiting[below] -= 1
            if waiting[below] == 0:
                ready.append(below)
        ready = [i for i in ready if not done[i]]
        if all(done):
            break
    return depth


def _rows(count: int, pairs: Sequence[tuple[int, int]], depth: Sequence[int]) -> list[float]:
    """The row of each node, 0 and up."""
    import igraph

    if not count:
        return []
    graph = igraph.Graph(n=count, edges=list(pairs), directed=True)
    if max(graph.indegree(), default=0) <= 1:
        roots = [i for i in range(count) if graph.degree(i, mode="in") == 0]
        coordinates = graph.layout_reingold_tilford(mode="out", root=roots).coords
    else:
        layout = graph.layout_sugiyama(layers=list(depth), hgap=1, vgap=1)
        coordinates = layout.coords[:count]
    lowest = min(x for x, _ in coordinates)
    return _apart([x - lowest for x, _ in coordinates], depth)


def _apart(rows: list[float], depth: Sequence[int]) -> list[float]:
    """The rows, those of one column at least one apart: the layouts keep separate parts of a graph apart, but not always so far."""
    last: dict[int, float] = {}
    for node in sorted(range(len(rows)), key=lambda i: (rows[i], i)):
        rows[node] = max(rows[node], last.get(depth[node], -1.0) + 1.0)
        last[depth[node]] = rows[node]
    return rows


def _columns(depth: Sequence[int], widths: Sequence[float]) -> list[tuple[float, float]]:
    """(x, width) of each column."""
    columns: list[tuple[float, float]] = []
    x = MARGIN
    for level in range(max(depth, default=-1) + 1):
        width = max((w for d, w in zip(depth, widths, strict=True) if d == level), default=NARROWEST)
        columns.append((x, width))
        x += width + GAP
    return columns


def _label(node: Node) -> tuple[str, str]:
    """The name in two parts, together no longer than a box takes."""
    head, tail = split_name(node.name)
    head = shortened(head, LONGEST_LABEL // 2)
    return head, shortened(tail, LONGEST_LABEL - len(head))


def _width(node: Node, head: str, tail: str) -> float:
    return max(NARROWEST, PADDING + CHARACTER * len(head) + BOLD * len(tail), PADDING + SMALL * len(node.note))


def _path(parent: Box, child: Box) -> str:
    """A curve from the parent's right side to the child's left one; round the outside where the child is not further right."""
    y1, y2 = parent.y + BOX_HEIGHT / 2, child.y + BOX_HEIGHT / 2
    x1, x2 = parent.x + parent.width, child.x
    if x2 > x1:
        bend = GAP / 2
        start = x2 - GAP  # straight through columns in between, the bend just before the child
        return (
            f"M{x1:.1f} {y1:.1f}H{start:.1f}C{start + bend:.1f} {y1:.1f} {start + bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        )
    out = max(x1, child.x + child.width) + GAP / 2
    return f"M{x1:.1f} {y1:.1f}C{out:.1f} {y1:.1f} {out:.1f} {y2:.1f} {child.x + child.width:.1f} {y2:.1f}"
