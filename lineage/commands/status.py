"""`lineage status`: which store, Hub and device are used, what the store holds, when it was filled, and what waits."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.options import endpoint_option, sketches_option, store_option
from lineage.graphdb.schema import ACCEPTED

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

HUB = "https://huggingface.co"


@click.command()
@store_option
@sketches_option
@endpoint_option
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def status(store: str, sketches: str | None, endpoint: str | None, json_wanted: bool) -> None:
    """What the store holds, when it was filled, and what waits. Reads nothing but the store.

    Example: lineage status
    """
    from lineage.locations import sketches_folder
    from lineage.reading import graph_if_there

    found: dict[str, Any] = {
        "store": store,
        "sketches": str(sketches_folder(store, sketches)),
        "endpoint": endpoint or os.environ.get("HF_ENDPOINT") or HUB,
        "token": _has_token(),
        "offline": os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"),
    }
    with graph_if_there(store) as graph:
        found |= _of_graph(graph) if graph is not None else {"state": "empty"}
    if json_wanted:
        click.echo(json.dumps(found, indent=1, default=lambda moment: moment.isoformat()))
        return
    for name, text in _lines(found):
        click.echo(f"{name:<12} {text}")
    if sys.stdout.isatty():
        from lineage.commands.hints import hint_after_status

        hint_after_status(found)


def _has_token() -> bool:
    """Whether requests to the Hub carry a token: of the environment, or of the `hf` command's login."""
    if os.environ.get("HF_TOKEN"):
        return True
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_TOKEN_PATH", str(home / "token"))).expanduser().is_file()


def _of_graph(graph: Store) -> dict[str, Any]:
    """Counts, the latest runs, and what waits to be compared."""
    from lineage.queries import load

    counts = graph.counts()
    runs = graph.runs(limit=5)
    ended = next((run for run in runs if run.finished_at is not None), None)
    waiting = {row["status"]: row["models"] for row in graph.read(load("waiting").text, {})}
    return {
        "state": "filled" if counts["models"] else "empty",
        "counts": counts,
        "edges": sum(counts[str(relation)] for relation in ACCEPTED),
        "last_run": {
            "run_id": runs[0].run_id,
            "command": runs[0].command,
            "started_at": runs[0].started_at,
            "finished_at": runs[0].finished_at,
        }
        if runs
        else None,
        "filled_at": ended.finished_at if ended else None,
        "waiting": waiting,
    }


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    from lineage.graphdb.schema import counted
    from lineage.pages.words import when

    token = "with a token" if found["token"] else "without a token"
    lines = [
        ("store", found["store"]),
        ("samples", found["sketches"]),
        ("hub", f"{found['endpoint']}, {token}" + (", offline" if found["offline"] else "")),
    ]
    if found["state"] == "empty":
        return [*lines, ("holds", "nothing yet: `lineage sync --author NAME --limit 50` fills it")]
    counts = found["counts"]
    kinds = ", ".join(f"{counts[str(kind)]:,} {kind.word}" for kind in ACCEPTED if counts[str(kind)])
    gone = f", {counts['status.gone']:,} of them gone from the Hub" if counts.get("status.gone") else ""
    lines += [
        ("holds", f"{counted(counts['models'], 'model')} of {counted(counts['architectures'], 'architecture')}{gone}"),
        ("edges", f"{found['edges']:,} found in weights ({kinds})" if kinds else "none found yet"),
        ("declared", f"{counted(counts['DECLARES_BASE'], 'claim')} of cards about known models"),
    ]
    last = found["last_run"]
    if last:
        state = f"ended {when(last['finished_at'])} UTC" if last["finished_at"] else "not ended: running, or cut off"
        lines.append(("last run", f"{last['command']}, started {when(last['started_at'])} UTC, {state}"))
    if found["waiting"]:
        words = {"never compared": "to be compared", "stale": "with weights newer than their edges"}
        waits = ", ".join(
            f"{counted(number, 'model')} {words.get(name, name)}" for name, number in found["waiting"].items()
        )
        lines.append(("waiting", f"{waits}: `lineage detect`"))
    else:
        lines.append(("waiting", "nothing"))
    return lines
