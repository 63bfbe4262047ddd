"""The questions: one `.cypher` file each, beside this one, and the lookups of the command line that ask them.

Each file opens with comment lines: the question, then `params:` and `columns:`, each with a list of names and remarks in
parentheses. The same file runs on both stores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Query:
    """A question: what it asks, its Cypher, the parameters it takes and the columns it answers with, in order."""

    name: str
    question: str
    text: str
    params: tuple[str, ...]
    columns: tuple[str, ...]


@cache
def load(name: str) -> Query:
    """The question of `queries/<name>.cypher`."""
    source = (files("lineage.queries") / f"{name}.cypher").read_text(encoding="utf-8")
    head = [line[2:].strip() for line in source.splitlines() if line.startswith("//")]
    body = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("//"))
    comment = " ".join(head)
    question, _, rest = comment.partition("params:")
    params, _, columns = rest.partition("columns:")
    return Query(name, question.strip(), body.strip().removesuffix(";"), _names(params), _names(columns))


def names() -> list[str]:
    """Every question there is."""
    return sorted(
        entry.name.removesuffix(".cypher")
        for entry in files("lineage.queries").iterdir()
        if entry.name.endswith(".cypher")
    )


def _names(text: str) -> tuple[str, ...]:
    listed = [name.strip() for name in re.sub(r"\([^)]*\)", "", text).split(",")]
    return tuple(name for name in listed if name and name != "none")
