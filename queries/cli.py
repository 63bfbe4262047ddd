"""The commands that ask the graph: `lineage ancestors`, `descendants`, `siblings`, `tree`, `path`, `common-ancestor`, `roots`,
`declared`, `ask` and `cypher`. Tables and trees for people, `--json` for programs: a list of {"repo_id", "depth", "kind", "probability"}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from graphdb.cli import store_option
from graphdb.schema import ACCEPTED, Relation

if TYPE_CHECKING:
    from graphdb.store import Store
    from queries.walk import Limits, Relative

FOLLOWED = [str(relation) for relation in Relation if relation is not Relation.SUPERSEDED]


def walk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--depth`, `--kind`, `--min-probability`, `--json`: the same on every question about relatives."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--min-probability",
            type=click.FloatRange(0.0, 1.0),
            default=0.0,
            metavar="P",
            help="Follow no edge that is less probable.",
        ),
        click.option(
            "--kind",
            "kinds",
            multiple=True,
            type=click.Choice(FOLLOWED, case_sensitive=False),
            metavar="RELATION",
            help=f"Follow only this relation; can be repeated: {', '.join(FOLLOWED)} [default: the accepted ones].",
        ),
        click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Generations to go [default: all]."),
        store_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model")
@walk_options
def ancestors(
    model: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, as_json: bool
) -> None:
    """What a model comes from, nearest first. MODEL is a repository, its id, or a path.

    Example: lineage ancestors acme/digits-mlp-rotated
    """
    from graphdb.store import open_store
    from queries.resolve import resolve
    from queries.walk import ancestors as ask

    with open_store(store, create=False) as opened:
        start = resolve(opened, model)
        found = ask(opened, start.hub_id, limits(depth, kinds, min_probability))
    show(found, as_json, f"{start.repo_id} has no known ancestor")


@click.command()
@click.argument("model")
@walk_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Print only the first N.")
def descendants(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    as_json: bool,
    limit: int | None,
) -> None:
    """What comes from a model, nearest first. MODEL is a repository, its id, or a path.

    Example: lineage descendants acme/digits-mlp --depth 2
    """
    from graphdb.store import open_store
    from queries.resolve import resolve
    from queries.walk import descendants as ask

    with open_store(store, create=False) as opened:
        start = resolve(opened, model)
        found = ask(opened, start.hub_id, limits(depth, kinds, min_probability), limit)
    show(found, as_json, f"nothing is known to come from {start.repo_id}")


@click.command()
@click.argument("model")
@walk_options
def siblings(
    model: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, as_json: bool
) -> None:
    """Models with the same parent; with --depth 2 also with the same grandparent, and so on.

    Example: lineage siblings acme/digits-mlp-rotated
    """
    from graphdb.store import open_store
    from queries.family import siblings as ask
    from queries.resolve import resolve

    with open_store(store, create=False) as opened:
        start = resolve(opened, model)
        found = ask(opened, start, limits(depth, kinds, min_probability))
    show(found, as_json, f"{start.repo_id} has no known sibling")


@click.command()
@click.argument("model")
@walk_options
@click.option("--all", "everything", is_flag=True, help="Print every model, also of very large families.")
def tree(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    as_json: bool,
    everything: bool,
) -> None:
    """The whole family of a model, from its oldest known ancestor down.

    Example: lineage tree acme/digits-mlp
    """
    from graphdb.store import open_store
    from queries.family import tree as ask
    from queries.resolve import resolve

    with open_store(store, create=False) as opened:
        start = resolve(opened, model)
        found = ask(opened, start, limits(depth, kinds, min_probability))
    if as_json:
        print_json(found)
        return
    from queries.display import print_trees

    print_trees(found, marked=start.hub_id, everything=everything)


@click.command()
@click.argument("a", metavar="MODEL_A")
@click.argument("b", metavar="MODEL_B")
@walk_options
def path(
    a: str, b: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, as_json: bool
) -> None:
    """How two models are related, edge by edge: up to the nearest model both come from, then down.

    Example: lineage path acme/digits-mlp-rotated acme/digits-mlp
    """
    from graphdb.store import open_store
    from queries.family import path as ask
    from queries.resolve import resolve

    with open_store(store, create=False) as opened:
        steps = ask(opened, resolve(opened, a), resolve(opened, b), limits(depth, kinds, min_probability))
    if as_json:
        click.echo(json.dumps([{**as_row(step.relative), "direction": step.direction} for step in steps]))
        return
    if not steps:
        click.echo(f"{a} and {b} share no known ancestor", err=True)
        return
    from queries.display import print_path

    print_path(steps)


@click.command("common-ancestor")
@click.argument("a", metavar="MODEL_A")
@click.argument("b", metavar="MODEL_B")
@walk_options
def common_ancestor(
    a: str, b: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, as_json: bool
) -> None:
    """The models that two models both come from, nearest first. Depth counts from MODEL_A.

    Example: lineage common-ancestor acme/digits-mlp-rotated acme/digits-mlp-noisy
    """
    from graphdb.store import open_store
    from queries.family import common_ancestors as ask
    from queries.resolve import resolve

    with open_store(store, create=False) as opened:
        shared = ask(opened, resolve(opened, a), resolve(opened, b), limits(depth, kinds, min_probability))
    if as_json:
        click.echo(
            json.dumps([{**as_row(item.ancestor), "depth_a": item.depth_a, "depth_b": item.depth_b} for item in shared])
        )
        return
    if not shared:
        click.echo(f"{a} and {b} share no known ancestor", err=True)
        return
    from queries.display import print_table

    print_table(
        ["model", f"above {a}", f"above {b}"],
        [[item.ancestor.repo_id, str(item.depth_a), str(item.depth_b)] for item in shared],
    )


@click.command()
@walk_options
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="How many.")
def roots(
    store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, as_json: bool, limit: int
) -> None:
    """Models that others come from and that come from none, those with most children first. --depth plays no part.

    Example: lineage roots --limit 10
    """
    from graphdb.store import open_store
    from queries.family import roots as ask

    with open_store(store, create=False) as opened:
        found = ask(opened, limits(depth, kinds, min_probability), limit)
    if as_json:
        rows = [
            {"repo_id": root.repo_id, "depth": 0, "kind": None, "probability": None, "children": root.children}
            for root in found
        ]
        click.echo(json.dumps(rows))
        return
    if not found:
        click.echo("there is no edge in the graph yet", err=True)
        return
    from queries.display import print_table

    print_table(["model", "children"], [[root.repo_id, f"{root.children:,}"] for root in found])


@click.command()
@click.argument("model", required=False)
@store_option
@click.option(
    "--only", type=click.Choice(["agree", "contradicts", "missing", "cannot tell"]), help="Only this outcome."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def declared(model: str | None, store: str, only: str | None, as_json: bool) -> None:
    """What cards claim beside what the weights say: of one model, or of all.

    Example: lineage declared --only contradicts
    """
    from graphdb.store import open_store
    from queries.agreement import compare, compare_all
    from queries.resolve import resolve

    with open_store(store, create=False) as opened:
        found = list(compare(opened, [resolve(opened, model).hub_id]) if model else compare_all(opened))
    chosen = sorted((c for c in found if not only or c.agreement == only), key=lambda c: (c.repo_id, c.hub_id))
    if as_json:
        rows = [
            {
                "repo_id": comparison.repo_id,
                "agreement": comparison.agreement,
                "reason": comparison.reason,
                "declared": [claim.base for claim in comparison.declared],
                "detected": list(comparison.detected),
            }
            for comparison in chosen
        ]
        click.echo(json.dumps(rows))
        return
    from queries.display import print_table

    print_table(["model", "outcome", "why"], [[c.repo_id, str(c.agreement or "-"), c.reason] for c in chosen])


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
    "--limit", type=click.IntRange(min=0), default=10_000, show_default=True, metavar="N", help="Rows to fetch at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a line of column names.")
def cypher(
    statement: str, store: str, pairs: tuple[str, ...], timeout: float, limit: int, as_json: bool, as_csv: bool
) -> None:
    """Ask the graph anything in Cypher. It is only read: a statement that writes is refused.

    Example: lineage cypher 'MATCH (m:Model) WHERE m.license = $l RETURN m.repo_id' --param l=mit
    """
    from graphdb.failures import CypherError
    from graphdb.store import open_store

    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    params = parse_params(pairs)
    with open_store(store, create=False) as opened:
        try:
            rows = opened.read(statement, params, timeout_seconds=timeout, limit=limit + 1)
        except CypherError as error:
            if error.detail:
                click.echo(error.detail, err=True)
            raise
    if len(rows) > limit:
        click.echo(f"there are more than {limit} rows; --limit fetches more", err=True)
        rows = rows[:limit]
    print_rows(rows, as_json, as_csv)


@click.command()
@click.argument("question", required=False)
@store_option
@click.option("--param", "pairs", multiple=True, metavar="K=V", help="Value of a parameter; V is JSON, or else text.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.001), default=60.0, show_default=True, metavar="S", help="Seconds to wait."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a line of column names.")
def ask(question: str | None, store: str, pairs: tuple[str, ...], timeout: float, as_json: bool, as_csv: bool) -> None:
    """Ask one of the questions that come with lineage; without one, list them. Models are given by name.

    Example: lineage ask as_of --param model=acme/digits-mlp-rotated --param at=2026-11-01
    """
    from queries import load, names

    if question is None:
        queries = [load(name) for name in names()]
        if as_json:
            listed = [
                {"name": q.name, "question": q.question, "params": q.params, "columns": q.columns} for q in queries
            ]
            click.echo(json.dumps(listed))
            return
        from queries.display import print_table

        print_table(["name", "params", "question"], [[q.name, ", ".join(q.params), q.question] for q in queries])
        return
    if question not in names():
        raise click.UsageError(f"there is no question {question!r}; `lineage ask` lists them")
    from graphdb.store import open_store

    query = load(question)
    given = parse_params(pairs)
    if given.keys() - set(query.params):
        raise click.UsageError(f"{question} takes {', '.join(query.params) or 'no parameters'}")
    with open_store(store, create=False) as opened:
        rows = opened.read(query.text, complete(opened, query.params, given), timeout_seconds=timeout)
    print_rows(rows, as_json, as_csv)


def complete(store: Store, names: Iterable[str], given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a question: names of models become identities, what is not given gets its usual value."""
    from queries.resolve import resolve

    usual = {"kinds": [str(kind) for kind in ACCEPTED], "min_probability": 0.0, "limit": 100}
    params = {}
    for name in names:
        if name not in given and name not in usual:
            raise click.UsageError(f"it also needs --param {name}=…")
        value = given.get(name, usual.get(name))
        if name == "model":
            value = resolve(store, str(value)).hub_id
        elif name == "models":
            value = [resolve(store, str(text)).hub_id for text in (value if isinstance(value, list) else [value])]
        params[name] = value
    return params


def print_rows(rows: list[dict[str, Any]], as_json: bool, as_csv: bool) -> None:
    """Rows of Cypher as JSON, CSV or a table."""
    from queries.display import print_csv, print_table, text_of

    if as_json:
        click.echo(json.dumps(rows, default=lambda moment: moment.isoformat(), ensure_ascii=False))
    elif as_csv:
        print_csv(rows)
    elif rows:
        print_table(list(rows[0]), [[text_of(value) for value in row.values()] for row in rows])
    else:
        click.echo("no rows", err=True)


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


def limits(depth: int | None, kinds: Iterable[str], min_probability: float) -> Limits:
    """The options of a walk as the lookups take them."""
    from queries.walk import Limits

    return Limits(tuple(Relation(kind) for kind in kinds) or ACCEPTED, min_probability, depth)


def as_row(relative: Relative) -> dict[str, Any]:
    """A relative as programs get it."""
    return {
        "repo_id": relative.repo_id,
        "depth": relative.depth,
        "kind": relative.kind,
        "probability": relative.probability,
    }


def print_json(found: Iterable[Relative]) -> None:
    click.echo(json.dumps([as_row(relative) for relative in found]))


def show(found: list[Relative], as_json: bool, none: str) -> None:
    """Relatives as a table or as JSON; for people, a sentence on stderr where there is none."""
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(none, err=True)
        return
    from graphdb.schema import chance
    from queries.display import print_table

    print_table(
        ["depth", "model", "relation", "probability"],
        [
            [str(r.depth), r.repo_id, r.kind or "", "" if r.probability is None else chance(r.probability)]
            for r in found
        ],
    )
