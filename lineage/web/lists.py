"""The pages that are lists: declared against detected, licence conflicts, blast radius, runs, changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from lineage.pages.members import Member
from lineage.pages.words import visible
from lineage.queries import load
from lineage.queries.blast import blast_radius
from lineage.web.addresses import edge_address, model_address, query
from lineage.web.explorer import LONGEST_QUERY, BadAddress, Explorer, Page, moment

PAGE = 100  # rows of a table
CHANGES = 500
RUNS = 50
OUTCOMES = ("contradicts", "missing", "cannot tell", "agree")


def declared(explorer: Explorer, outcome: str, text: str, number: int) -> Page:
    if outcome not in OUTCOMES:
        raise BadAddress(f"outcome is one of {', '.join(OUTCOMES)}")
    latest = explorer.survey.latest
    wanted = text.strip().lower()[:LONGEST_QUERY]
    rows = [
        row
        for row in latest.compared.get(outcome, ())
        if not wanted or any(wanted in name.lower() for name in (row.name, *row.declared, *row.detected))
    ]
    shown, last = _page(rows, number)
    values = {
        "survey": latest,
        "outcome": outcome,
        "outcomes": OUTCOMES,
        "text": text,
        "rows": shown,
        "found": len(rows),
        "number": number,
        "last": last,
        "query": query,
    }
    document = {
        "outcome": outcome,
        "counts": latest.outcomes,
        "complete": latest.complete,
        "found": len(rows),
        "page": number,
        "models": [asdict(row) for row in shown],
    }
    return Page("declared.html", "Declared against detected", values, document, "declared")


def licences(explorer: Explorer, text: str, number: int) -> Page:
    latest = explorer.survey.latest
    wanted = text.strip().lower()[:LONGEST_QUERY]
    rows = [
        row
        for row in latest.conflicts
        if not wanted
        or any(wanted in str(part).lower() for part in (row.name, row.ancestor_name, row.license, row.above))
    ]
    shown, last = _page(rows, number)
    values = {
        "survey": latest,
        "text": text,
        "rows": shown,
        "found": len(rows),
        "number": number,
        "last": last,
        "query": query,
    }
    document = {
        "complete": latest.complete,
        "count": latest.conflict_count,
        "found": len(rows),
        "page": number,
        "conflicts": [asdict(row) for row in shown],
    }
    return Page("licences.html", "Licence conflicts", values, document, "licences")


def blast(explorer: Explorer, name: str, number: int) -> Page:
    found = explorer.model_named(name)
    heirs = blast_radius(explorer.store, found)
    shown, last = _page(heirs, number)
    member = Member(found.hub_id, found.repo_id)
    values = {
        "name": found.repo_id,
        "member": member,
        "heirs": shown,
        "total": len(heirs),
        "number": number,
        "last": last,
        "address": model_address(member, "blast"),
        "query": query,
        "links": explorer.links,
        "members": {heir.hub_id: Member(heir.hub_id, heir.repo_id) for heir in shown},
    }
    document = {
        "model": found.repo_id,
        "total": len(heirs),
        "page": number,
        "models": [asdict(heir) for heir in shown],
    }
    return Page("blast.html", f"Blast radius of {visible(found.repo_id)}", values, document)


def runs(explorer: Explorer) -> Page:
    found = explorer.store.runs(limit=RUNS)
    return Page("runs.html", "Runs", {"runs": found, "query": query}, [asdict(run) for run in found], "runs")


def changes(explorer: Explorer, since: str | None, until: str | None) -> Page:
    """Edges that are new, and edges that no longer hold."""
    """The latest passes."""
    """What inherits a flaw of a model."""
    """Licences on one chain that contradict each other."""
    """Cards beside weights, of one outcome."""
    now = datetime.now(UTC)
    start = moment(since, ends=False) or (now - timedelta(days=7)).isoformat()
    end = moment(until) or now.isoformat()
    rows = explorer.store.read(load("changes_between").text, {"since": start, "until": end, "limit": CHANGES})
    rows.sort(key=lambda row: (row["changed_at"], row["child"], row["parent"]), reverse=True)
    values = {
        "rows": rows,
        "since": since or start[:10],
        "until": until or end[:10],
        "most": CHANGES,
        "edge_address": edge_address,
        "members": {
            i: Member(i, name)
            for row in rows
            for i, name in ((row["child_id"], row["child"]), (row["parent_id"], row["parent"]))
        },
        "links": explorer.links,
    }
    return Page("changes.html", "What changed", values, {"since": start, "until": end, "changes": rows}, "runs")


def _page(rows: Sequence[Any], number: int) -> tuple[Sequence[Any], int]:
    """The rows of one page, and the number of the last page."""
    last = max(1, -(-len(rows) // PAGE))
    return rows[(number - 1) * PAGE : number * PAGE], last
