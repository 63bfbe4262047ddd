"""The commands about the whole graph: `lineage roots`, `leaves`, `families`, `copies`, `orphans`, `stale`, `changes`, `as-of`,
`declared`. Tables for people, `--json` and `--csv` for programs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import click

from lineage.commands.completion import complete_model
from lineage.commands.messages import note
from lineage.commands.moments import Moment
from lineage.commands.options import store_option
from lineage.commands.outputs import fail_if, fail_on_option
from lineage.commands.tables import (
    RELATIVE,
    Rows,
    edge_options,
    format_options,
    limit_option,
    limits,
    show_rows,
    some_of,
)


@click.command()
@store_option
@edge_options
@limit_option(100)
def roots(store: str, kinds: tuple[str, ...], min_probability: float, form: str | None, limit: int) -> None:
    """Models with children and without a known parent, those with most children first.

    Example: lineage roots --limit 10
    """
    from lineage.graphdb.store import open_store
    from lineage.queries.family import roots as ask

    with open_store(store, create=False) as opened:
        found = ask(opened, limits(None, kinds, min_probability), limit)
    none = "no model has a child over such edges" if kinds or min_probability else "there is no edge in the graph yet"
    if form:
        about = {"depth": 0, "kind": None, "probability": None}
        rows = [{"repo_id": root.repo_id, **about, "children": root.children} for root in found]
        show_rows(rows, form, none, (*RELATIVE, "children"))
    else:
        show_rows([{"model": root.repo_id, "children": root.children} for root in found], None, none)


def _listing(name: str, about: str, none: str, limit: int = 100, gate: bool = False) -> click.Command:
    """A command that prints the rows of one question file, which takes a `limit` and nothing else.

    Args:
        about: its help. none: what people read where there is no row. gate: whether it takes `--fail-on any`.
    """

    @store_option
    @limit_option(limit)
    @format_options
    def listing(store: str, limit: int, form: str | None, fail_on: str | None = None) -> None:
        rows = _asked(store, name, limit=limit)
        show_rows(rows, form, none, _columns(name))
        fail_if(fail_on, (name for _ in rows))

    return click.command(name, help=about)(fail_on_option()(listing) if gate else listing)


leaves = _listing(
    "leaves",
    """Models that come from another and that nothing comes from, with their parents.

    Example: lineage leaves --limit 10
    """,
    "there is no edge in the graph yet",
)
families = _listing(
    "families",
    """The largest families: models without a known parent, and all that comes from them.

    Example: lineage families --limit 5
    """,
    "there is no edge in the graph yet",
    limit=20,
)
copies = _listing(
    "copies",
    """Models with equal weight files under several names, those with most copies first.

    Example: lineage copies
    """,
    "no two models have equal weight files",
)
orphans = _listing(
    "orphans",
    """Models that claim a base which is not in the graph, and that have no parent that was found.

    Example: lineage orphans
    """,
    "every base that is claimed is in the graph",
    gate=True,
)
stale = _listing(
    "stale",
    """Edges whose evidence is older than the weights that the models have now: they wait for the next detection.

    Example: lineage stale
    """,
    "all evidence is about the weights that the models have now",
    gate=True,
)


@click.command()
@click.argument("since", type=Moment(), required=False)
@store_option
@limit_option(1_000)
@format_options
def changes(since: datetime | None, store: str, limit: int, form: str | None) -> None:
    """What changed since a moment (UTC): edges that are new, and edges that no longer hold. Without a moment: since the last
    pass began.

    \b
    lineage changes
    lineage changes 7d
    lineage changes 2026-11-01
    """
    from lineage.graphdb.store import open_store
    from lineage.queries import load
    from lineage.queries.gone import gone_since

    with open_store(store, create=False) as opened:
        latest = opened.runs(1) if since is None else []
        since = since or (latest[0].started_at if latest else datetime.fromtimestamp(0, UTC))
        rows = opened.read(load("changes").text, {"since": _utc(since), "limit": limit})
        gone = gone_since(opened, since.astimezone(UTC).date())
    none = f"nothing changed since {since:%Y-%m-%d %H:%M} UTC"
    show_rows(sorted(rows, key=lambda row: row["changed_at"]), form, none, _columns("changes"))
    if gone:
        note(f"found to be gone from the Hub since {since:%Y-%m-%d}: {some_of(gone)}")


@click.command("as-of")
@click.argument("model", shell_complete=complete_model)
@click.argument("moment", type=Moment())
@store_option
@format_options
def as_of(model: str, moment: datetime, store: str, form: str | None) -> None:
    """The parents that a model had in the graph at a moment (UTC), whatever became of them since.

    Example: lineage as-of acme/digits-mlp-rotated 2026-11-01
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries import load

    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        rows = opened.read(load("as_of").text, {"model": start.hub_id, "at": _utc(moment)})
    show_rows(rows, form, f"no parent of {start.repo_id} was known then", _columns("as_of"))


class AgreementName(click.Choice[str]):
    """The agreements, which may also be written as `cannot-tell`, `agrees`, `contradict`, `undeclared` and `unknown`."""

    ALSO: ClassVar = {"cannot-tell": "cannot tell", "unknown": "cannot tell", "agrees": "agree"}
    ALSO |= {"contradict": "contradicts", "undeclared": "missing"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(self.ALSO.get(value, value), param, ctx)


@click.command()
@click.argument("model", shell_complete=complete_model, required=False)
@store_option
@click.option(
    "--only", type=AgreementName(["agree", "contradicts", "missing", "cannot tell"]), help="Only this agreement."
)
@fail_on_option("contradicts")
@format_options
def declared(model: str | None, store: str, only: str | None, fail_on: str | None, form: str | None) -> None:
    """What cards claim beside what the weights say: of one model, or of all.

    \b
    lineage declared --only contradicts
    lineage declared --only contradicts --fail-on any
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.claim_check import compare, compare_all, compare_parts
    from lineage.queries.pipelines import parts_of

    with open_store(store, create=False) as opened:
        if model is None:
            found = list(compare_all(opened))
        else:
            meant = resolved(opened, model)
            parts = parts_of(opened, meant)
            found = compare_parts(opened, meant, parts) if parts else list(compare(opened, [meant.hub_id]))
    chosen = sorted((c for c in found if not only or c.agreement == only), key=lambda c: (c.repo_id, c.hub_id))
    none = "no model claims a base or has a parent that was found" if not only else f"none: {only}"
    if form is None:
        rows: list[dict[str, Any]] = [
            {"model": c.repo_id, "agreement": str(c.agreement or "-"), "why": c.reason} for c in chosen
        ]
        show_rows(rows, None, none)
        fail_if(fail_on, (str(c.agreement) for c in chosen))
        return
    rows = [
        {
            "repo_id": comparison.repo_id,
            "agreement": comparison.agreement,
            "reason": comparison.reason,
            "declared": list(dict.fromkeys(claim.base for claim in comparison.declared)),
            "detected": list(comparison.detected),
        }
        for comparison in chosen
    ]
    show_rows(rows, form, none, ("repo_id", "agreement", "reason", "declared", "detected"))
    fail_if(fail_on, (str(c.agreement) for c in chosen))


def _columns(question: str) -> tuple[str, ...]:
    from lineage.queries import load

    return load(question).columns


def _asked(store: str, question: str, **params: Any) -> Rows:
    """The answer of one question file."""
    from lineage.graphdb.store import open_store
    from lineage.queries import load

    with open_store(store, create=False) as opened:
        return opened.read(load(question).text, params)


def _utc(moment: datetime) -> str:
    return moment.isoformat() + ("" if moment.tzinfo else "Z")
