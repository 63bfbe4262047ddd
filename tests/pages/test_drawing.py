"""Drawings: every model has a place of its own, children are right of their parents, merges and cycles are drawn as well."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import pytest

from lineage.pages.drawing import Drawing, Line, Node, draw
from lineage.pages.tree_svg import tree_svg


def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    found = []
    for place, one in enumerate(drawing.boxes):
        for other in drawing.boxes[place + 1 :]:
            apart = one.x + one.width <= other.x or other.x + other.width <= one.x
            if not apart and abs(one.y - other.y) < one.height:
                found.append((one.node.id, other.node.id))
    return found


def test_nothing_is_an_empty_drawing() -> None:
    assert draw([], []).boxes == ()


@pytest.mark.parametrize("seed", range(12))
def test_a_random_tree_has_no_overlaps_and_grows_to_the_right(seed: int) -> None:
    rng = random.Random(seed)
    nodes = [Node(str(i), f"org{i}/" + "n" * rng.randrange(1, 60)) for i in range(rng.randrange(2, 60))]
    lines = [Line(str(i), str(rng.randrange(i)), "fine-tuned-from") for i in range(1, len(nodes)) if rng.random() < 0.9]
    drawing = draw(nodes, lines)
    assert overlapping(drawing) == []
    at = {box.node.id: box for box in drawing.boxes}
    assert all(at[line.child].x > at[line.parent].x for line in lines)
    assert len(drawing.curves) == len(lines)
    assert all(box.x >= 0 and box.y >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)
    assert all(box.y + box.height <= drawing.height for box in drawing.boxes)


@pytest.mark.parametrize("seed", range(12))
def test_merges_and_cycles_are_drawn_without_overlaps(seed: int) -> None:
    rng = random.Random(seed)
    nodes = [Node(str(i), f"org/{i}") for i in range(rng.randrange(3, 25))]
    pairs = {(rng.randrange(len(nodes)), rng.randrange(len(nodes))) for _ in range(2 * len(nodes))}
    lines = [Line(str(a), str(b), "merged-from") for a, b in pairs]
    drawing = draw(nodes, lines)
    assert overlapping(drawing) == []
    assert len(drawing.curves) == sum(a != b for a, b in pairs)


def test_a_merge_is_right_of_both_parents() -> None:
    lines = [Line("b", "a", "x"), Line("m", "a", "x"), Line("m", "b", "x")]
    at = {box.node.id: box for box in draw([Node(i, i) for i in "abm"], lines).boxes}
    assert at["a"].x < at["b"].x < at["m"].x


def test_a_long_name_is_cut_in_the_middle() -> None:
    (box,) = draw([Node("1", "organisation/" + "a" * 100 + "-the-end")], []).boxes
    assert box.tail.endswith("-the-end") and "…" in box.tail and len(box.head + box.tail) <= 34


def test_lines_to_models_that_are_not_shown_are_left_out() -> None:
    assert draw([Node("a", "a")], [Line("a", "b", "x"), Line("a", "a", "x")]).curves == ()


def test_a_drawing_is_written_as_svg_that_a_parser_reads_whatever_names_hold() -> None:
    hostile = "<b>&\"'/</svg><script>alert(1)</script>"
    nodes = [
        Node("a", hostile, hostile, "root", href="/model/a?b=1&c=2", about=hostile),
        Node("b", "org/b", "fine-tuned 0.9", marked=True, href="/b", about="b"),
        Node("f", "3 more", "folded", "fold"),
        Node("g", "4 below", "show", "fold", href="/more"),
    ]
    lines = [Line("b", "a", "merged-from", 0.9, "/edge?child=b&parent=a", hostile), Line("f", "a", "fold")]
    drawing = draw(nodes, lines)
    tree = ElementTree.fromstring(str(tree_svg(drawing, hostile)))
    name = "{http://www.w3.org/2000/svg}"
    assert tree.attrib["aria-label"] == hostile and not list(tree.iter(f"{name}script"))
    links = {link.attrib["href"]: link for link in tree.iter(f"{name}a")}
    assert set(links) == {"/model/a?b=1&c=2", "/b", "/more", "/edge?child=b&parent=a"}
    assert links["/b"].attrib["aria-current"] == "true" and "data-node" in links["/b"].attrib
    assert "data-unfold" in links["/more"].attrib and "data-edge" in links["/edge?child=b&parent=a"].attrib
    assert [title.text for title in tree.iter(f"{name}title")].count(hostile) == 2
    assert {group.attrib["class"] for group in tree.findall(f"{name}g")} == {"e fold-line", "n fold"}
