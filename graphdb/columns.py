"""The columns of a statement in Cypher, for an answer without a row: the embedded engine names columns only in rows."""

from __future__ import annotations

import re
from itertools import pairwise

# what has no keyword and no comma of the statement itself in it; a comment is left out, everything else keeps its length
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:``|[^`])*`|/\*.*?\*/|//[^\n]*", re.DOTALL)
RETURN = re.compile(r"(?<![\w.$:])RETURN\s+(?:DISTINCT\s+)?", re.IGNORECASE)
AFTER = re.compile(r"(?<![\w.$:])(?:ORDER\s+BY|SKIP|OFFSET|LIMIT|UNION)(?!\w)|;", re.IGNORECASE)
ALIAS = re.compile(r"\sAS\s+(\w+|`(?:``|[^`])*`)\s*$", re.IGNORECASE)


def columns_of(cypher: str) -> tuple[str, ...]:
    """
    Args:
        cypher: a statement that the engine accepted.
    Returns:
        What its last RETURN names, in order; an expression without AS as it is written. Empty for `RETURN *` and without a RETURN.
    """
    text = QUOTED.sub(lambda found: " " if COMMENT.fullmatch(found[0]) else found[0], cypher)
    outer = _outer(text)
    start = next((found.end() for found in reversed(list(RETURN.finditer(outer)))), None)
    if start is None:
        return ()
    end = AFTER.search(outer, start)
    stop = end.start() if end else len(text)
    commas = [start - 1, *(at for at in range(start, stop) if outer[at] == ","), stop]
    items = [text[left + 1 : right].strip() for left, right in pairwise(commas)]
    if any(item in ("*", "") for item in items):
        return ()
    return tuple(_named(item) for item in items)


def _outer(text: str) -> str:
    """The text with blanks for all that is quoted or inside brackets of any kind: of the same length."""
    plain = QUOTED.sub(lambda found: "_" * len(found[0]), text)
    depth, kept = 0, []
    for letter in plain:
        depth -= letter in ")]}"
        kept.append(letter if depth <= 0 else "_")
        depth += letter in "([{"
    return "".join(kept)


def _named(item: str) -> str:
    alias = ALIAS.search(item)
    name = alias[1] if alias else item
    return name[1:-1].replace("``", "`") if name[:1] == "`" == name[-1:] and len(name) > 1 else name
