"""The front matter of a model card -> the few fields that we read of it, whatever else a stranger wrote there.

Nothing is constructed but short texts: a node of the YAML tree that is named ten thousand times, a number of sixty
thousand digits or a date before the calendar costs nothing. Cards with long tables of results are cut down to the fields that
are read before they are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

FIELDS = ("base_model", "base_model_relation", "license", "license_name", "license_link")
PARSED_CHARACTERS = 64 * 1024  # more than a second of PyYAML at worst
KEPT_NODES = 512  # of one field; claims beyond 64 are dropped anyway
LONGEST_TEXT = 2_000
MAX_DEPTH = 4
_FRONT_MATTER = re.compile(r"\A\ufeff?(?:[ \t]*\r?\n){0,20}---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FIELD = re.compile(rf"(?:{'|'.join(FIELDS)})[ \t]*:", re.ASCII)
_CONTINUED = re.compile(r"[ \t\-#\]}]|$")


def front_matter(text: str) -> Mapping[str, Any]:
    """Fields of a README's front matter: texts, lists and mappings of texts, never more than KEPT_NODES of them each.

    Args:
        text: the whole README, or its beginning.
    Returns:
        An empty mapping where there is no front matter, or none that is YAML.
    """
    found = _FRONT_MATTER.match(text)
    if not found:
        return {}
    matter = found[1]
    if len(matter) > PARSED_CHARACTERS:
        matter = "\n".join(_lines_of_fields(matter))[:PARSED_CHARACTERS]
    return plain_fields(matter, FIELDS, MAX_DEPTH)


def plain_fields(text: str, wanted: Collection[str], depth: int) -> Mapping[str, Any]:
    """Fields of a YAML mapping: texts, lists and mappings of texts; empty where it is none, or longer than any real one."""
    import yaml

    if len(text) > PARSED_CHARACTERS:
        return {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(root, yaml.MappingNode):
        return {}
    fields = {}
    for key, node in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value in wanted:
            fields[key.value] = _Reader().value(node, depth)
    return fields


def _lines_of_fields(matter: str) -> Iterator[str]:
    """The lines of those top-level fields that are read."""
    inside = False
    for line in matter.splitlines():
        if not _CONTINUED.match(line):
            inside = _FIELD.match(line) is not None
        if inside:
            yield line


class _Reader:
    """Turns the nodes of one field into plain values, and gives up counting after KEPT_NODES."""

    def __init__(self) -> None:
        self._left = KEPT_NODES

    def value(self, node: Any, depth: int) -> Any:
        """A text, list or mapping; None for everything else, such as a number, and beyond `depth`."""
        import yaml

        self._left -= 1
        if self._left < 0 or depth == 0:
            return None
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag.endswith(":str") and len(node.value) <= LONGEST_TEXT else None
        if isinstance(node, yaml.SequenceNode):
            return list(self._items(node.value, depth))
        pairs = ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
        return dict(zip(*self._pairs(pairs, depth), strict=True)) if node.value else {}

    def _items(self, nodes: list[Any], depth: int) -> Iterator[Any]:
        for node in nodes:
            if self._left <= 0:
                return
            yield self.value(node, depth - 1)

    def _pairs(self, pairs: Iterator[tuple[str, Any]], depth: int) -> tuple[list[str], list[Any]]:
        names, values = [], []
        for name, node in pairs:
            if self._left <= 0:
                break
            names.append(name)
            values.append(self.value(node, depth - 1))
        return names, values
