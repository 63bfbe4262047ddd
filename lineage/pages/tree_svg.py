"""The drawing of a family as an SVG element.

Written here and not by a template: a page has a hundred boxes, and this takes a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup, escape

from lineage.pages.drawing import Box, Curve, Drawing


def tree_svg(drawing: Drawing, about: str) -> Markup:
    """The element; names and labels are escaped. about: its label for a screen reader."""
    size = f'width="{pixels(drawing.width)}" height="{pixels(drawing.height)}"'
    view = f'viewBox="0 0 {pixels(drawing.width)} {pixels(drawing.height)}"'
    head = (
        f'<svg class="tree" role="group" aria-label="{escape(about)}" xmlns="http://www.w3.org/2000/svg" {size} {view}>'
    )
    parts = (*map(_curve, drawing.curves), *map(_box, drawing.boxes))
    return Markup("\n".join((head, *parts, "</svg>\n")))


def pixels(value: float) -> str:
    """A length, to a tenth of a pixel."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _curve(curve: Curve) -> str:
    line = curve.line
    about = escape(line.about)
    inside = f'<title>{about}</title><path class="hit" d="{curve.d}"/><path class="curve" d="{curve.d}"/>'
    if line.href:
        return f'<a class="e {escape(line.relation)}" href="{escape(line.href)}" aria-label="{about}" data-edge="">{inside}</a>'
    return f'<g class="e {"fold-line" if line.relation == "fold" else escape(line.relation)}">{inside}</g>'


def _box(box: Box) -> str:
    node = box.node
    about = escape(node.about)
    kind = f'class="n {node.tone}{" marked" if node.marked else ""}"'
    inside = "".join(_inside(box, about))
    if not node.href:
        return f"<g {kind}>{inside}</g>"
    current = ' aria-current="true"' if node.marked else ""
    role = 'data-unfold=""' if node.tone == "fold" else 'data-node=""'
    return f'<a {kind} href="{escape(node.href)}" aria-label="{about}"{current} {role}>{inside}</a>'


def _inside(box: Box, about: str) -> Iterator[str]:
    x = pixels(box.x + 12)
    yield f"<title>{about}</title>"
    yield f'<rect class="box" x="{pixels(box.x)}" y="{pixels(box.y)}" width="{pixels(box.width)}" height="{pixels(box.height)}" rx="8"/>'
    yield f'<text x="{x}" y="{pixels(box.y + 17)}">'
    if box.head:
        yield f'<tspan class="n-org">{escape(box.head)}</tspan>'
    yield f'<tspan class="n-name">{escape(box.tail)}</tspan></text>'
    yield f'<text class="n-note" x="{x}" y="{pixels(box.y + 32)}">{escape(box.node.note)}</text>'
