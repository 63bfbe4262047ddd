"""The Cypher that the stores run, read from `graphdb/cypher/*.cypher`. The same text on every store."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from lineage.graphdb.schema import Relation

PLACEHOLDER = re.compile(
    r"(?<=:)RELATION\b"
)  # relationship types are no parameters; only members of `Relation` ever stand here


@cache
def statement(name: str, relation: Relation | None = None) -> str:
    """One statement of `graphdb/cypher/<name>.cypher`, for one relationship type where the file asks for it."""
    text = clean((files("lineage.graphdb.cypher") / f"{name}.cypher").read_text(encoding="utf-8"))
    if (relation is None) == (PLACEHOLDER.search(text) is not None):
        raise ValueError(f"{name}.cypher and relation={relation} do not go together")
    return PLACEHOLDER.sub(str(relation), text) if relation else text


@cache
def constraints() -> tuple[str, ...]:
    """The statements that create constraints and indexes, in order."""
    text = (files("lineage.graphdb.cypher") / "constraints.cypher").read_text(encoding="utf-8")
    return tuple(part.strip() for part in clean(text).split(";"))


def clean(text: str) -> str:
    """A statement without its comment lines and its closing semicolon."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    return "\n".join(lines).strip().removesuffix(";").strip()
