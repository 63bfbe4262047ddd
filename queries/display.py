"""Answers for people: tables, trees and ways, on stdout."""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lineage.graphdb.schema import chance

if TYPE_CHECKING:
    from lineage.queries.family import Step
    from lineage.queries.walk import Relative

SHOWN_CHILDREN = 12  # of one model, where not everything is asked for


def console() -> Console:
    """A console that breaks no line and cuts no name when its output is not a terminal."""
    return Console(soft_wrap=True, highlight=False) if not sys.stdout.isatty() else Console(highlight=False)


def text_of(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=lambda moment: moment.isoformat())
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; names from the Hub are data and never read as markup."""
    wide = not sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(escape(column), overflow="fold", no_wrap=wide)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if not wide:
        console().print(table)
        return
    out = Console(width=10_000, highlight=False)
    with out.capture() as lines:
        out.print(table)
    for line in lines.get().splitlines():
        print(line.rstrip())


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV; lists and maps as JSON text."""
    if not rows:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            [
                text_of(value)
                if isinstance(value, (list, dict))
                else value.isoformat()
                if isinstance(value, datetime)
                else value
                for value in row.values()
            ]
        )


def print_trees(found: Sequence[Relative], marked: str, everything: bool) -> None:
    """The trees of a family; the children of each model by name, of very many only some and always the marked one's line."""
    children: dict[str, list[Relative]] = defaultdict(list)
    by_id = {relative.hub_id: relative for relative in found}
    for relative in found:
        if relative.via is not None:
            children[relative.via].append(relative)
    line = set()
    at: str | None = marked
    while at is not None and at in by_id and at not in line:
        line.add(at)
        at = by_id[at].via

    def label(relative: Relative) -> Text:
        text = Text(relative.repo_id, style="bold reverse" if relative.hub_id == marked else "")
        if relative.kind is not None:
            text.append(f"  {told(relative)}", style="dim")
        return text

    for root in (relative for relative in found if relative.via is None):
        top = Tree(label(root))
        open_nodes = [(top, root.hub_id)]
        while open_nodes:
            node, hub_id = open_nodes.pop()
            below = children[hub_id]
            shown = below if everything else [r for i, r in enumerate(below) if i < SHOWN_CHILDREN or r.hub_id in line]
            open_nodes.extend((node.add(label(child)), child.hub_id) for child in shown)
            if len(shown) < len(below):
                node.add(Text(f"… and {len(below) - len(shown):,} more (--all)", style="dim"))
        console().print(top)


def told(relative: Relative) -> str:
    """The edge that leads to a relative: its type and its probability."""
    return f"{relative.kind} {'' if relative.probability is None else chance(relative.probability)}".rstrip()


def print_path(steps: Sequence[Step], decided_by: Sequence[Sequence[str]]) -> None:
    """The way between two models, one line a model; and what decided each edge."""
    out = console()
    for step, why in zip(steps, decided_by, strict=True):
        if step.direction is None:
            out.print(Text(step.relative.repo_id))
            continue
        arrow = "is from" if step.direction == "up" else "is parent of"
        text = Text(f"  {arrow} ", style="dim")
        text.append(step.relative.repo_id, style="not dim")
        text.append(f"  {told(step.relative)}", style="dim")
        if why:
            text.append(f"  by {', '.join(why)}", style="dim")
        out.print(text)
