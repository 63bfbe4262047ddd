"""What a statement of a person's own returned, in full: which nodes a relationship lies between, and a path as its nodes and
relationships. Both engines leave something of it out: a relationship alone does not know its ends, and the embedded engine gives a
path as the text of its records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lineage.graphdb.records import Element, Row

Read = Callable[[str, Mapping[str, Any]], list[Row]]

# properties that name a node: the first that it has does
NAMES = ("repo_id", "signature", "key", "run_id", "name", "hub_id")
NAME = f"coalesce({', '.join('{0}.' + name for name in NAMES)})"
ENDS = f"""MATCH (a)-[e]->(b) WHERE elementId(e) IN $keys
RETURN elementId(e) AS key, e AS element, {NAME.format("a")} AS start, {NAME.format("b")} AS end"""
NODES = "MATCH (n) WHERE elementId(n) IN $keys RETURN elementId(n) AS key, n AS element"

_RECORD = r"#\d+:\d+"
_STEP = rf"(?:-\[{_RECORD}\]->|<-\[{_RECORD}\]-|-\[{_RECORD}\]-)"
_PATH = re.compile(rf"\({_RECORD}\)(?:{_STEP}\({_RECORD}\))*")


class Path(list[Element]):
    """A node, and after it relationships and nodes in turn."""

    def __str__(self) -> str:
        """As names and relations: `org/a -[FINE_TUNED_FROM]-> org/b`."""
        parts = [_name(self[0])]
        for before, edge, node in zip(self[::2], self[1::2], self[2::2], strict=False):
            forwards = edge.start == _name(before) or edge.end == _name(node)
            parts.append(f"-[{edge.type}]-> {_name(node)}" if forwards else f"<-[{edge.type}]- {_name(node)}")
        return " ".join(parts)


def in_full(rows: Iterable[Row], read: Read) -> list[Row]:
    """Rows with the ends of their relationships, and with paths.

    Args:
        read: runs a statement that only reads. It is asked only where a row holds a relationship or a path.
    """
    found = list(rows)
    edges, nodes = set[str](), set[str]()
    for value in _values(found):
        if isinstance(value, str):
            records = re.findall(_RECORD, value)
            nodes.update(records[::2])
            edges.update(records[1::2])
        elif value.type and value.key:
            edges.add(value.key)
    if not edges and not nodes:
        return found
    known = {row["key"]: row["element"] for row in read(NODES, {"keys": sorted(nodes)})} if nodes else {}
    for row in read(ENDS, {"keys": sorted(edges)}):
        row["element"].start, row["element"].end = row["start"], row["end"]
        known[row["key"]] = row["element"]
    return [{name: _filled(value, known) for name, value in row.items()} for row in found]


def _filled(value: Any, known: Mapping[str, Element]) -> Any:
    if isinstance(value, Element):
        if value.type and value.key and value.key in known:
            value.start, value.end = known[value.key].start, known[value.key].end
        return value
    if isinstance(value, str) and _PATH.fullmatch(value):
        elements = [known.get(record) for record in re.findall(_RECORD, value)]
        return Path(element for element in elements if element is not None) if None not in elements else value
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return type(value)(_filled(item, known) for item in value)
    return value


def _values(value: Any) -> Iterator[Any]:
    """Every node, relationship, and text of a path in a value."""
    if isinstance(value, Element) or (isinstance(value, str) and _PATH.fullmatch(value)):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)


def _name(node: Element) -> str:
    return str(next((node[key] for key in NAMES if node.get(key)), "?"))
