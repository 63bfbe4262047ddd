"""A report as one HTML file: no script, no address outside, style within; it opens from a disk and prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lineage.graphdb.schema import counted
from lineage.pages.folding import fold
from lineage.pages.layers import LayerRow
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.picture import Links, picture
from lineage.pages.provenance import model_provenance, program_version
from lineage.pages.render import render, style_hash, stylesheet
from lineage.pages.scan_source import ScannedFamilies, ScanRelatives
from lineage.pages.sheet import Sheet
from lineage.pages.words import percent, relation_phrase, visible
from lineage.report.contents import Report

FITTING, SHOWN = 120, 40  # models drawn in one family, children of one model
ROWS = 900  # of all pictures of layers together, so that the file stays small
FEWEST_ROWS = 12
OPEN = 3  # as many edges at most are unfolded from the start


@dataclass(frozen=True, slots=True)
class Anchors(Links):
    """Where clicks lead within the file. numbers: id -> number, of the models that have a part or a row of their own."""

    numbers: Mapping[str, int]
    edges: Mapping[tuple[str, str, str], int]

    def model(self, member: Member) -> str | None:
        return f"#model-{self.numbers[member.id]}" if member.id in self.numbers else None

    def edge(self, edge: EdgeFacts) -> str | None:
        number = self.edges.get((edge.child, edge.parent, edge.relation))
        return None if number is None else f"#edge-{number}"

    def unfold(self, member: Member, hidden: int) -> str | None:
        return None

    def open(self, member: Member) -> str | None:
        return None


def html(report: Report) -> str:
    """The whole file."""
    facts = report.facts
    owned = [sheet.id for sheet in report.sheets] if report.folder is None else list(report.folder.members)
    links = Anchors(
        {model: place for place, model in enumerate(owned)},
        {(e.child, e.parent, e.relation): place for place, e in enumerate(report.edges)},
    )
    asked = {sheet.id for sheet in report.sheets}
    parts = [_model_part(sheet, links) for sheet in report.sheets]
    if report.folder is not None:
        parts.append(_folder_part(report.folder, links))
    most = max(FEWEST_ROWS, ROWS // max(1, len(report.layers)))
    edges = [
        {
            "anchor": f"edge-{place}",
            "title": edge_title(edge, facts),
            "open": len(report.edges) <= OPEN or (edge.accepted and edge.child in asked),
            "body": Markup(_edge_body(report, edge, facts, links, most)),
        }
        for place, edge in enumerate(report.edges)
    ]
    contents = [(part["anchor"], part["title"]) for part in parts]
    contents += [("edges", "evidence")] if edges else []
    page = render(
        "report.html",
        title=report.title,
        lead=lead(report),
        summary=summary(report),
        contents=contents,
        parts=parts,
        edges=edges,
        provenance=report.provenance(),
        made_at=report.made_at,
        version=program_version(),
        style=stylesheet(),
        style_hash=style_hash(),
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def edge_title(edge: EdgeFacts, facts: Mapping[str, Member]) -> str:
    """As in "child was fine-tuned from parent, probability 0.93"."""
    child, parent = (visible(facts[i].name if i in facts else i) for i in (edge.child, edge.parent))
    return f"{child} {relation_phrase(edge.relation)} {parent}, probability {percent(edge.probability)}"


def _model_part(sheet: Sheet, links: Anchors) -> dict[str, Any]:
    drawn = picture(sheet.folded, sheet.facts, links, sheet.id)
    about = f"Family of {visible(sheet.member.name)}"
    family = Markup(render("_family.html", drawing=drawn, about=about, hint=_hint(sheet)))
    body = render("_model.html", sheet=sheet, links=links, family=family, provenance=model_provenance(sheet))
    return {"anchor": f"model-{links.numbers[sheet.id]}", "title": sheet.member.name, "body": Markup(body)}


def _hint(sheet: Sheet) -> str:
    hidden = sum(sheet.folded.hidden.values()) + sum(sheet.folded.closed.values())
    return f"{counted(hidden, 'model')} of the family are folded." if hidden else ""


def _folder_part(found: ScannedFamilies, links: Anchors) -> dict[str, Any]:
    source = ScanRelatives(found)
    families = []
    for root in found.roots():
        folded = fold(source, root, fitting=FITTING, shown=SHOWN)
        drawn = picture(folded, found.members, links)
        size = len(found.family(root))
        hidden = size - len(folded.ids)
        hint = f"{counted(hidden, 'model')} of the family are folded; the table below lists all." if hidden else ""
        about = f"Family of {visible(root)}"
        family = Markup(render("_family.html", drawing=drawn, about=about, hint=hint))
        families.append({"title": root, "size": size, "family": family})
    rows = [
        {
            "id": name,
            "anchor": f"model-{links.numbers[name]}",
            "parents": [edge for edge in found.edges if edge.child == name],
            "possible": [edge for edge in found.possible if edge.child == name],
        }
        for name in sorted(found.members)
    ]
    body = render(
        "_scan.html",
        families=families,
        rows=rows,
        groups=found.groups,
        unreadable=found.unreadable,
        facts=found.members,
        links=links,
    )
    return {"anchor": "folder", "title": "Families", "body": Markup(body)}


def _edge_body(report: Report, edge: EdgeFacts, facts: Mapping[str, Member], links: Anchors, most: int) -> str:
    layers: tuple[LayerRow, ...] = tuple(report.layers.get((edge.child, edge.parent), ()))
    return render(
        "_edge.html",
        edge=edge,
        facts=facts,
        links=links,
        layers=layers,
        most=most,
        picture=None,
        why_no_layers=report.why_no_layers,
    )


def lead(report: Report) -> str:
    """One sentence under the title."""
    if report.folder is not None:
        return f"Which of the models in {visible(report.source)} was trained from which, by their weights."
    if len(report.sheets) == 1:
        return (
            f"What {visible(report.sheets[0].member.name)} was trained from, by its weights, beside what its card says."
        )
    return (
        f"What {counted(len(report.sheets), 'model')} were trained from, by their weights, beside what their cards say."
    )


def summary(report: Report) -> list[dict[str, str]]:
    """Counts for the head of the report."""
    facts = report.facts
    if report.folder is not None:
        answers = [member.answer for member in facts.values()]
        rows = [
            (len(facts), "models", ""),
            (len(report.folder.roots()), "families", ""),
            (answers.count("parent"), "with a parent", ""),
            (answers.count("undecided"), "undecided", "warn"),
            (len(report.folder.unreadable), "not readable", "warn"),
        ]
        contradicted = sum(member.outcome == "contradicts" for member in facts.values())
    else:
        contradicted = sum(sheet.member.outcome == "contradicts" for sheet in report.sheets)
        if len(report.sheets) < 2:
            return []
        rows = [(len(report.sheets), "models", ""), (sum(bool(s.parents) for s in report.sheets), "with a parent", "")]
        rows.append((sum(bool(s.conflicts) for s in report.sheets), "with a licence conflict", "warn"))
    rows.append((contradicted, "cards contradicted", "bad"))
    one = {"models": "model", "families": "family", "cards contradicted": "card contradicted"}
    return [
        {"value": f"{value:,}", "label": one.get(label, label) if value == 1 else label, "tone": tone if value else ""}
        for value, label, tone in rows
    ]
