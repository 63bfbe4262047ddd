"""`lineage runs`: what each pass did and cost. And how passes are recorded in the graph."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.options import store_option
from lineage.graphdb.schema import Run

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)


@click.command()
@store_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The latest N.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def runs(store: str, limit: int, json_wanted: bool) -> None:
    """What the latest passes of sync, crawl and detect did and cost, newest first.

    Example: lineage runs --limit 5
    """
    from lineage.graphdb.store import open_store
    from lineage.queries.display import print_table

    with open_store(store, create=False) as graph:
        found = [as_row(run) for run in graph.runs(limit)]
    if json_wanted:
        click.echo(json.dumps(found, indent=1))
        return
    columns = (
        "started",
        "command",
        "ended",
        "seen",
        "new",
        "changed",
        "read",
        "requests",
        "MB",
        "edges",
        "superseded",
        "errors",
    )
    print_table(columns, [_cells(row) for row in found])


def as_row(run: Run) -> dict[str, Any]:
    """A run as `--json` prints it; numbers that a command does not count are None.

    `edges_added` are asserted edges; ties are `possible_parents`. `errors` counts repositories by kind of failure.
    """
    summary = run.summary
    crawled = summary.get("crawl", summary if run.command == "crawl" else {})
    detected = summary.get("detect", summary if run.command != "crawl" else {})
    models, stopped = crawled.get("models") or {}, summary.get("stopped") or crawled.get("stopped")
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return {
        "run_id": run.run_id,
        "command": run.command,
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "seconds": seconds,
        "outcome": _outcome(run, stopped),
        "why": (summary.get("failed") or {}).get("message") or stopped,
        "models_seen": models.get("seen", 0) if models else None,
        "new": models.get("new", 0) if models else None,
        "changed": models.get("changed", 0) if models else None,
        "read": models.get("read", 0) if models else None,
        "requests": _total(crawled.get("requests")),
        "bytes": _total(crawled.get("bytes")),
        "edges_added": detected.get("edges_added"),
        "edges_superseded": detected.get("edges_superseded"),
        "possible_parents": detected.get("possible_parents"),
        "errors": {**crawled.get("failures", {}), **_failed(summary)},
    }


def _outcome(run: Run, stopped: str | None) -> str:
    if run.finished_at is None:
        return "not ended"
    return "failed" if "failed" in run.summary else "stopped" if stopped else "ended"


def _failed(summary: Mapping[str, Any]) -> dict[str, int]:
    return {summary["failed"]["kind"]: 1} if "failed" in summary else {}


def _total(counts: Mapping[str, int] | None) -> int | None:
    return None if counts is None else sum(counts.values())


def _cells(row: Mapping[str, Any]) -> list[str]:
    def text(value: object) -> str:
        return "" if value is None else str(value)

    took = "" if row["seconds"] is None else f"{row['seconds']:.0f} s"
    ended = took if row["outcome"] == "ended" else f"{row['outcome']} {took}".rstrip()
    errors = ", ".join(f"{number} {kind}" for kind, number in row["errors"].items())
    numbers = [text(row[name]) for name in ("models_seen", "new", "changed", "read", "requests")]
    megabytes = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
    edges = [text(row[name]) for name in ("edges_added", "edges_superseded")]
    started = datetime.fromisoformat(row["started_at"]).astimezone(UTC)
    return [f"{started:%Y-%m-%d %H:%M}", row["command"], ended, *numbers, megabytes, *edges, errors]
