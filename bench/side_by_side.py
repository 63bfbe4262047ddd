"""The lineage that was found beside the one that is true: which edges were found, missed or wrong, and both drawn as trees.

Comes in: what is true and what was found, each model -> `Origin`. Comes out: `Verdict`s, and lines for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: parent and relation, both None for a root; `decided` is False where nothing is asserted."""

    parent: str | None
    relation: str | None
    probability: float | None = None
    decided: bool = True


class Verdict(StrEnum):
    """What is to be said of the answer about one model."""

    RIGHT = "right"
    MISSED = "missed"  # it has a parent, and none is asserted
    WRONG = "wrong"  # an edge is asserted that is not there: another parent, the other direction, another relation


TICKS = {Verdict.RIGHT: "✓", Verdict.MISSED: "?", Verdict.WRONG: "✗"}


def judge(true: Mapping[str, Origin], found: Mapping[str, Origin]) -> dict[str, Verdict]:
    """A verdict on each model of `true`; a model that was not found at all is missed."""
    verdicts = {}
    for model, origin in true.items():
        answer = found.get(model, Origin(None, None, decided=False))
        if answer.parent is not None:
            same = (answer.parent, answer.relation) == (origin.parent, origin.relation)
            verdicts[model] = Verdict.RIGHT if same else Verdict.WRONG
        else:
            right = answer.decided and origin.parent is None
            verdicts[model] = Verdict.RIGHT if right else Verdict.MISSED
    return verdicts


def draw(origins: Mapping[str, Origin], narrow: bool = False) -> list[tuple[str, str]]:
    """The trees as (model, line), each model once and below its parent; large families first, then by name.

    Args:
        narrow: indent by two columns in place of four.
    """
    children: dict[str, list[str]] = {}
    for model in sorted(origins):
        parent = origins[model].parent
        if parent is not None:
            children.setdefault(parent, []).append(model)
    tops = [model for model in origins if origins[model].parent is None]
    lines: list[tuple[str, str]] = []
    for top in sorted(tops, key=lambda model: (-_size(model, children), model)):
        lines.append((top, top))
        lines += _below(top, children, "", narrow)
    return lines


def _below(model: str, children: Mapping[str, list[str]], indent: str, narrow: bool) -> Iterator[tuple[str, str]]:
    fork, corner, bar, gap = ("├ ", "└ ", "│ ", "  ") if narrow else ("├── ", "└── ", "│   ", "    ")
    below = children.get(model, [])
    for place, child in enumerate(below, start=1):
        last = place == len(below)
        yield child, indent + (corner if last else fork) + child
        yield from _below(child, children, indent + (gap if last else bar), narrow)


def _size(model: str, children: Mapping[str, list[str]]) -> int:
    return 1 + sum(_size(child, children) for child in children.get(model, []))
