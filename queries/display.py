"""Answers for people: tables, trees and ways, on stdout."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from lineage.graphdb.schema import Relation, chance, printable

if TYPE_CHECKING:
    from lineage.queries.family import Step
    from lineage.queries.walk import Relative

SHOWN_CHILDREN = 12  # of one model, where not everything is asked for
UNBROKEN_COLUMNS = 10_000  # width of what goes into a pipe or a file
LAST_COLUMN_LEAST = 24  # columns of the terminal that the last cell of a row must have, or rows become cards
BETWEEN = "  "
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what begins a cell that a spreadsheet computes


def to_terminal() -> bool:
    return sys.stdout.isatty()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # as every other way of printing does


def console() -> Console:
    """A console that breaks no line and cuts no name when its output is not a terminal."""
    if to_terminal():
        return _Console(highlight=False)
    return _Console(soft_wrap=True, highlight=False, width=UNBROKEN_COLUMNS)


def text_of(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=lambda moment: moment.isoformat())
    return str(value)


def moment_text(moment: datetime) -> str:
    """A moment as people read it everywhere: to the minute, in UTC."""
    return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%Y-%m-%d %H:%M}"


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], colours: Mapping[str, str] | None = None
) -> None:
    """A table; names from the Hub are data: never markup, and nothing that a terminal would obey.

    Into a pipe or a file every row is one line, however long. On a terminal that is too narrow only the last column is folded, and
    where even that leaves too little, each row becomes a card of its own. No name is ever broken but at the edge of the terminal.

    Args:
        colours: text of a whole cell -> its colour on a terminal (rich heeds NO_COLOR).
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    names = [printable(column) for column in columns]
    widths = [max(cell_len(row[i]) for row in (names, *cells)) for i in range(len(names))]
    left = sum(widths[:-1]) + len(BETWEEN) * (len(names) - 1)
    width = shutil.get_terminal_size().columns if to_terminal() else UNBROKEN_COLUMNS
    if left + widths[-1] > width and width - left < LAST_COLUMN_LEAST:
        _print_cards(names, cells)
        return
    write = _Console(highlight=False, width=width, soft_wrap=True).print
    for number, row in enumerate((names, *cells)):
        start = "".join(cell + " " * (widths[i] - cell_len(cell)) + BETWEEN for i, cell in enumerate(row[:-1]))
        for part, last in enumerate(_folded(row[-1], width - left)):
            line = ((start if part == 0 else " " * left) + last).rstrip()
            if not to_terminal():
                print(line)
                continue
            text = Text(line, style="bold" if number == 0 else "")
            at = 0
            for cell, width_of in zip(row[:-1], widths[:-1], strict=True):
                if number and part == 0 and cell in (colours or {}):
                    text.stylize((colours or {})[cell], at, at + len(cell))
                at += len(cell) + width_of - cell_len(cell) + len(BETWEEN)
            write(text)


def _print_cards(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """One value a line, a blank line after each row."""
    out, widest = console(), max(map(cell_len, names))
    for place, row in enumerate(cells):
        if place:
            out.print()
        for name, cell in zip(names, row, strict=True):
            if cell:
                out.print(
                    Text(name.ljust(widest), style="bold").append(f"{BETWEEN}{cell}", style="not bold"), soft_wrap=True
                )


def _folded(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken between words; inside one only where it is longer than a line."""
    if cell_len(text) <= width:
        return [text]
    return [line.plain.rstrip() for line in Text(text).wrap(Console(width=width), width, overflow="fold")]


def folded(text: str) -> str:
    """A sentence broken between words at the width of the terminal; as it is where it goes elsewhere."""
    return "\n".join(_folded(text, shutil.get_terminal_size().columns)) if to_terminal() else text


def print_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Rows as CSV, below a line of column names; lists and maps as JSON text. Text that a spreadsheet would take for a formula begins with
    an apostrophe (https://owasp.org/www-community/attacks/CSV_Injection).

    Args:
        columns: the names, for where there is no row.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if rows or columns:
        writer.writerow(rows[0] if rows else columns)
    for row in rows:
        writer.writerow(
            [
                text_of(value)
                if isinstance(value, (list, dict))
                else value.isoformat()
                if isinstance(value, datetime)
                else no_formula(value)
                if isinstance(value, str)
                else value
                for value in row.values()
            ]
        )


def no_formula(text: str) -> str:
    """Text for a cell, which no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def print_trees(
    found: Sequence[Relative],
    marked: str,
    everything: bool,
    named: Callable[[str], str] = str,
    others: Mapping[str, Sequence[Relative]] | None = None,
) -> None:
    """The trees of a family; the children of each model by name, of very many only some and always the marked one's line.

    Args:
        named: a model's name -> what people call it. others: hub_id -> parents beside the one below which a model is printed.
    """
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
        text = Text(printable(named(relative.repo_id)), style="bold reverse" if relative.hub_id == marked else "")
        if relative.kind is not None:
            text.append(f"  {relation_text(relative)}", style="dim")
        if also := (others or {}).get(relative.hub_id):
            text.append(f"  also from {', '.join(printable(named(other.repo_id)) for other in also)}", style="dim")
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


def relation_text(relative: Relative) -> str:
    """The edge that leads to a relative: its relation and its probability."""
    return f"{relation_word(relative.kind)} {'' if relative.probability is None else chance(relative.probability)}".rstrip()


def relation_word(kind: str | None) -> str:
    """A relation as people read it."""
    return Relation(kind).word if kind in set(Relation) else printable(kind or "")


def print_path(steps: Sequence[Step], decided_by: Sequence[Sequence[str]], named: Callable[[str], str] = str) -> None:
    """The way between two models, one line a model; and what decided each edge. `named` as of `print_trees`."""
    out = console()
    for step, why in zip(steps, decided_by, strict=True):
        if step.direction is None:
            out.print(Text(printable(named(step.relative.repo_id))))
            continue
        arrow = "is from" if step.direction == "up" else "is parent of"
        text = Text(f"  {arrow} ", style="dim")
        text.append(printable(named(step.relative.repo_id)), style="not dim")
        text.append(f"  {relation_text(step.relative)}", style="dim")
        if why:
            text.append(f"  by {', '.join(why)}", style="dim")
        out.print(text)
