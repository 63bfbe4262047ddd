"""What the commands that ask the graph share: options, what they become, and how answers are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.colours import COLOURS
from lineage.commands.messages import note
from lineage.commands.options import store_option
from lineage.graphdb.schema import ACCEPTED, SAME_FILES, SAME_FILES_WORD, Relation, chance

if TYPE_CHECKING:
    from lineage.graphdb.schema import Model
    from lineage.queries.blast import Heir
    from lineage.queries.graph_reader import GraphReader
    from lineage.queries.walk import Limits, Relative

FOLLOWED = [str(relation) for relation in Relation if relation is not Relation.SUPERSEDED]
SENTENCES = frozenset({"why", "reason"})  # columns
PEOPLE = {  # what columns are called in tables
    "repo_id": "model",
    "repo_ids": "models",
    "kind": "relation",
    "run_id": "run",
    "weights_digest": "digest",
    "changed_at": "changed",
    "verified_at": "verified",
    "superseded_at": "superseded",
}
SHORT = {"run_id": 8, "weights_digest": 12}  # characters of what people tell apart by its beginning; last in a table
COMMON = {"repo_id": "model", "kind": "relation"}  # in every output of JSON
RELATIVE = ("repo_id", "depth", "kind", "probability")
NAMED_IN_LINE = 3  # models
WAY = " > "  # between the models of a way, for people
Rows = Sequence[Mapping[str, Any]]


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json` and `--csv`; the command gets `form`: `json`, `csv` or None for a table."""

    @wraps(command)
    def with_form(*args: Any, as_json: bool, as_csv: bool, **options: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError("--json or --csv, not both")
        return command(*args, form="json" if as_json else "csv" if as_csv else None, **options)

    with_form = click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a line of column names.")(with_form)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(with_form)


def walk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--depth`, `--kind`, `--min-probability`, `--json`, `--csv`: the same on every question about relatives."""
    depth = click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Generations to go [default: all].")
    return store_option(depth(edge_options(command)))


def edge_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which edges count, and how the answer is printed: `--kind`, `--min-probability`, `--json`, `--csv`."""
    for option in (
        format_options,
        click.option(
            "--min-probability",
            type=click.FloatRange(0.0, 1.0),
            default=0.0,
            metavar="P",
            help="Minimum probability of an edge to follow.",
        ),
        click.option(
            "--kind",
            "kinds",
            multiple=True,
            type=click.Choice(FOLLOWED, case_sensitive=False),
            metavar="RELATION",
            help=f"Follow only this relation; can be repeated: {', '.join(FOLLOWED)} [default: the accepted ones].",
        ),
    ):
        command = option(command)
    return command


def limit_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--limit N`."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        metavar="N",
        help="Maximum number of rows.",
    )


def limits(depth: int | None, kinds: Iterable[str], min_probability: float) -> Limits:
    """The options of a walk as the lookups take them."""
    from lineage.queries.walk import Limits

    return Limits(tuple(Relation(kind) for kind in kinds) or ACCEPTED, min_probability, depth)


def as_row(relative: Relative) -> dict[str, Any]:
    """A relative as programs get it."""
    return {
        "repo_id": relative.repo_id,
        "depth": relative.depth,
        "kind": relative.kind,
        "probability": relative.probability,
    }


def show(found: Iterable[Relative], form: str | None, none: str) -> None:
    """Relatives as a table, JSON or CSV."""
    rows = [as_row(relative) for relative in found]
    if form is None:  # people read the generation first
        rows = [{"depth": row.pop("depth"), **row} for row in rows]
    show_rows(rows, form, none, RELATIVE)


def show_rows(
    rows: Rows, form: str | None, none: str, columns: Sequence[str] = (), *, names: Mapping[str, str] = PEOPLE
) -> None:
    """Rows with equal keys as a table, JSON or CSV; for people, a sentence on stderr without rows.

    Args:
        columns: the keys, for CSV without a row.
        names: what columns are called in a table, where that is not their key; empty for columns that a question names itself.
    """
    if form == "json":
        rows = [with_common_names(row) for row in rows] if names else rows
        click.echo(json.dumps(finite(rows), default=lambda moment: moment.isoformat(), ensure_ascii=False))
        return
    from lineage.queries.display import print_csv, print_table, text_of

    if form == "csv":
        print_csv(rows, columns)
    elif not rows:
        note(none)
    else:
        shown = sorted(rows[0], key=SHORT.__contains__)
        short = short_names(_names_in(rows)) if names else str
        cells = [[short(_cell(name, row[name], text_of)) for name in shown] for row in rows]
        print_table([_heading(name, rows, names) for name in shown], cells, COLOURS)


def some_of(names: Sequence[str]) -> str:
    """The first of some models, and the number of the others."""
    more = f" and {len(names) - NAMED_IN_LINE:,} more" if len(names) > NAMED_IN_LINE else ""
    return ", ".join(names[:NAMED_IN_LINE]) + more


def note_gone(graph: GraphReader, start: Model, found: Iterable[Relative | Heir]) -> None:
    """A line that names the models of an answer that the Hub has no more."""
    from lineage.queries.gone import gone_among

    gone = gone_among(graph, dict.fromkeys([start.hub_id, *(other.hub_id for other in found)]))
    if gone:
        note(f"gone from the Hub: {some_of(gone)}")


def finite(value: Any) -> Any:
    """A value as JSON can hold it: without NaN and infinity, which are null there."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def short_names(names: Iterable[str]) -> Callable[[str], str]:
    """Models on disk by their path under the folder that they share, which a line on stderr names."""
    from lineage.queries.local_paths import shortened

    short = shortened(names)
    if short.folder:
        note(f"models on disk are named by their path under {short.folder}")
    return short


def _names_in(rows: Rows) -> Iterator[str]:
    """Every text in rows that may be the name of a model: whole cells, items of lists, and the stations of a way; no sentences."""
    for row in rows:
        for value in (value for name, value in row.items() if name not in SENTENCES):
            for text in value if isinstance(value, list) else (value,):
                if isinstance(text, str):
                    yield from text.split(WAY)


def with_common_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of JSON, with `model` and `relation` beside the names that its command had for them first."""
    added = {name: row[former] for former, name in COMMON.items() if former in row and name not in row}
    return {**row, **added}


def _heading(name: str, rows: Rows, names: Mapping[str, str]) -> str:
    zone = " (UTC)" if any(isinstance(row[name], datetime) for row in rows) else ""
    return names.get(name, name) + zone


def _cell(name: str, value: Any, text_of: Callable[[Any], str]) -> str:
    """What people read: words for relations, no certainty, short identities."""
    if name in ("probability", "weakest") and isinstance(value, float):
        return chance(value)
    if name == "kind" and value in set(Relation):
        return Relation(value).word
    if name == "kind" and value == SAME_FILES:
        return SAME_FILES_WORD
    if name in SHORT and isinstance(value, str):
        return value[: SHORT[name]]
    if isinstance(value, list) and name in ("repo_ids", "declared"):
        return ", ".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, int):
        return text_of(value)
    return f"{value:,}"
