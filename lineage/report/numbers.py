"""A report as JSON: the numbers that its pages show."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lineage.pages.documents import edge_json, member_json, sheet_json
from lineage.pages.render import dumps
from lineage.report.contents import Report


def as_json(report: Report) -> str:
    """The whole report; keys are only ever added."""
    facts = report.facts
    document: dict[str, Any] = {
        "title": report.title,
        "made_at": report.made_at,
        "command": report.command,
        "source": report.source,
        "models": [sheet_json(sheet) for sheet in report.sheets],
        "edges": [edge_json(edge, facts.get(edge.child), facts.get(edge.parent)) for edge in report.edges],
        "layers": [
            {"child": child, "parent": parent, "layers": [asdict(layer) for layer in layers]}
            for (child, parent), layers in report.layers.items()
        ],
    }
    if report.folder is not None:
        document["members"] = [member_json(member) for _, member in sorted(report.folder.members.items())]
        document["families"] = [
            {"root": root, "members": sorted(report.folder.family(root))} for root in report.folder.roots()
        ]
        document["unreadable"] = [{"id": name, "reason": reason} for name, reason in report.folder.unreadable]
    return dumps(document)
