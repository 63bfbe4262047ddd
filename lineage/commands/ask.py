"""The commands that ask anything: `lineage cypher` a statement, `lineage ask` one of the questions of `queries/*.cypher`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.messages import note
from lineage.commands.options import store_option
from lineage.commands.tables import format_options, show_rows
from lineage.graphdb.schema import ACCEPTED

if TYPE_CHECKING:
    from lineage.graphdb.store import Store
    from lineage.queries import Query

# parameters that a person has at hand; the questions that take others are what commands and pages are made of
BY_HAND = frozenset(("model", "a", "b", "at", "since", "until", "generation", "kinds", "min_probability", "limit"))
FIRST_SENTENCE = re.compile(r"(?<=[.;:])\s")


@click.command()
@click.argument("statement")
@store_option
@click.option(
    "--param", "pairs", multiple=True, metavar="K=V", help="Value of $K; V is JSON, or else text. Can be repeated."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.001), default=60.0, show_default=True, metavar="S", help="Seconds to wait."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Maximum number of rows.",
)
@format_options
def cypher(statement: str, store: str, pairs: tuple[str, ...], timeout: float, limit: int, form: str | None) -> None:
    """Ask the graph anything in Cypher. It is only read: a statement that writes is refused.

    JSON says of nodes their labels and of relationships their type, start and end; a path is its nodes and relationships in turn.

    Example: lineage cypher 'MATCH (m:Model) WHERE m.license = $l RETURN m.repo_id' --param l=mit
    """
    from lineage.graphdb.columns import columns_of
    from lineage.graphdb.elements import Path, in_full
    from lineage.graphdb.errors import CypherError
    from lineage.graphdb.records import described
    from lineage.graphdb.store import open_store

    params = parse_params(pairs)
    with open_store(store, create=False) as opened:
        try:
            rows = opened.read(statement, params, timeout_seconds=timeout, limit=limit + 1)
            more = len(rows) > limit
            rows = in_full(rows[:limit], partial(opened.read, timeout_seconds=timeout))
        except CypherError as error:
            for line in (error.detail or "").splitlines()[1:]:  # the first line is the failure's own
                note(line)
            raise
    if more:
        click.echo(f"there are more than {limit} rows; --limit fetches more", err=True)
    rows = [
        {name: str(v) if isinstance(v, Path) and form is None else described(v) for name, v in row.items()}
        for row in rows
    ]
    show_rows(rows, form, "no rows", columns_of(statement), names={})


@click.command()
@click.argument("question", required=False)
@store_option
@click.option("--param", "pairs", multiple=True, metavar="K=V", help="Value of a parameter; V is JSON, or else text.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.001), default=60.0, show_default=True, metavar="S", help="Seconds to wait."
)
@click.option("--all", "everything", is_flag=True, help="List also those that other commands are made of.")
@format_options
def ask(
    question: str | None, store: str, pairs: tuple[str, ...], timeout: float, everything: bool, form: str | None
) -> None:
    """Ask one of the questions that come with lineage; without one, list them. Models are given by name.

    Example: lineage ask as-of --param model=acme/digits-mlp-rotated --param at=2026-11-01
    """
    from lineage.queries import load, names

    if question is None:
        show_rows(_listed([load(name) for name in names()], form, everything), form, "")
        return
    name = question.replace("-", "_")
    if name not in names():
        raise click.UsageError(f"there is no question {question!r}; `lineage ask` lists them")
    from lineage.graphdb.store import open_store

    query = load(name)
    given = parse_params(pairs)
    if given.keys() - set(query.params):
        raise click.UsageError(f"{question} takes {', '.join(query.params) or 'no parameters'}")
    with open_store(store, create=False) as opened:
        rows = opened.read(query.text, complete(opened, query.params, given), timeout_seconds=timeout)
    show_rows(rows, form, "no rows", query.columns, names={})


def _listed(queries: Sequence[Query], form: str | None, everything: bool) -> list[dict[str, Any]]:
    """The questions for programs, which get all of them; or for people: in short, and those that a person has what it takes for."""
    if form == "json":
        return [
            {"name": q.name, "params": list(q.params), "question": q.question, "columns": list(q.columns)}
            for q in queries
        ]
    chosen = [query for query in queries if form or everything or BY_HAND.issuperset(query.params)]
    if len(chosen) < len(queries):
        note(f"{len(queries) - len(chosen)} more take lists of identities, for programs: `lineage ask --all`")
    return [
        {
            "name": q.name if form else q.name.replace("_", "-"),
            "params": ", ".join(q.params),
            "question": q.question if form else FIRST_SENTENCE.split(q.question)[0].rstrip(":;."),
        }
        for q in chosen
    ]


def complete(store: Store, names: Iterable[str], given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a question: names of models become identities, what is not given gets its usual value."""
    from lineage.queries.resolve import resolve

    usual = {"kinds": [str(kind) for kind in ACCEPTED], "min_probability": 0.0, "limit": 100, "ways": 1_000}
    params = {}
    for name in names:
        if name not in given and name not in usual:
            raise click.UsageError(f"it also needs --param {name}=…")
        value = given.get(name, usual.get(name))
        if name in ("model", "a", "b"):
            value = resolve(store, str(value)).hub_id
        elif name == "models":
            value = [resolve(store, str(text)).hub_id for text in (value if isinstance(value, list) else [value])]
        params[name] = value
    return params


def parse_params(pairs: Iterable[str]) -> dict[str, Any]:
    """`k=v` pairs as Cypher parameters: v is JSON where it can be read as JSON, else text."""
    params: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier():
            raise click.UsageError(f"--param takes name=value, not {pair!r}")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params
