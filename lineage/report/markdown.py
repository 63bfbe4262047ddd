"""A report as Markdown, for pull requests and model cards; and the lines of a model card's YAML that the weights support."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lineage.graphdb.schema import LOCAL, Relation
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.provenance import model_provenance
from lineage.pages.scan_source import ScannedFamilies
from lineage.pages.sheet import Sheet
from lineage.pages.words import outcome_word, percent, relation_word, visible
from lineage.report.contents import Report
from lineage.report.html import lead, summary

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
CARD_RELATIONS = {  # what the Hub calls them in `base_model_relation`
    Relation.FINE_TUNED_FROM: "finetune",
    Relation.QUANTIZED_FROM: "quantized",
    Relation.ADAPTER_OF: "adapter",
    Relation.MERGED_FROM: "merge",
}


def plain(text: object) -> str:
    """A text in which nothing is markup: names may hold anything."""
    return SPECIAL.sub(r"\\\1", visible(text)).replace("://", ":\u200b//")


def markdown(report: Report) -> str:
    """The whole report."""
    lines = [f"# {plain(report.title)}", "", lead(report), ""]
    counts = [f"{item['value']} {item['label']}" for item in summary(report) if item["value"] != "0"]
    if counts:
        lines += [", ".join(counts) + ".", ""]
    for sheet in report.sheets:
        lines += _model(sheet, len(report.sheets) > 1)
    if report.folder is not None:
        lines += _folder(report.folder)
    if report.edges:
        lines += ["## Evidence", "", *_edges(report.edges, report.facts), ""]
    lines += ["## How this report was made", ""]
    lines += [f"- {name}: `{visible(value).replace('`', chr(39))}`" for name, value in report.provenance()]
    lines += ["", "A probability is the method's estimate of its own evidence; an edge is a reason to ask, no verdict."]
    return "\n".join(lines) + "\n"


def _model(sheet: Sheet, titled: bool) -> list[str]:
    member = sheet.member
    lines = [f"## {plain(member.name)}", ""] if titled else []
    p = sheet.parents[0].probability if sheet.parents else member.probability
    lines += [f"**{plain(sheet.sentence)}**" + (f" (probability {percent(p)})" if p is not None else ""), ""]
    if member.reason:
        lines += [f"Why: {plain(member.reason)}", ""]
    if member.outcome:
        lines += [f"Card: **{outcome_word(member.outcome)}** – {plain(member.outcome_reason or '')}", ""]
    lines += ["### Family", "", "```", *_tree(sheet), "```", ""]
    lines += ["### Licences along the chain", "", "| model | licence | |", "| --- | --- | --- |"]
    lines += [
        f"| {plain(sheet.facts[link.id].name)} | {plain(link.license or 'not stated')} | {'' if link.outcome == 'own' else link.outcome} |"
        for link in sheet.licences
    ]
    if sheet.doubts:
        lines += ["", "### Open questions", "", *(f"- {plain(line)}" for line in sheet.doubts)]
    lines += ["", "### Provenance", ""]
    lines += [f"- {name}: `{visible(value).replace('`', chr(39))}`" for name, value in model_provenance(sheet)]
    return [*lines, ""]


def _tree(sheet: Sheet) -> list[str]:
    """The family as it is drawn, in text."""
    below: dict[str, list[EdgeFacts]] = {}
    for edge in sheet.folded.edges:
        below.setdefault(edge.parent, []).append(edge)
    lines: list[str] = []
    shown: set[str] = set()

    def walk(model: str, note: str, indent: str, branch: str) -> None:
        member = sheet.facts.get(model)
        mark = "  <-- this model" if model == sheet.id else ""
        lines.append(f"{indent}{branch}{visible(member.name if member else model)}{note}{mark}".replace("`", "'"))
        if model in shown:
            return
        shown.add(model)
        deeper = indent + ("    " if branch == "└── " else "│   " if branch else "")
        children = below.get(model, [])
        rest = sheet.folded.hidden.get(model, 0) + sheet.folded.closed.get(model, 0)
        for place, edge in enumerate(children):
            last = place == len(children) - 1 and not rest
            walk(
                edge.child,
                f"  ({relation_word(edge.relation)} {percent(edge.probability)})",
                deeper,
                "└── " if last else "├── ",
            )
        if rest:
            lines.append(f"{deeper}└── … {rest:,} more")

    for top in sheet.folded.tops:
        walk(top, "", "", "")
    return lines


def _folder(found: ScannedFamilies) -> list[str]:
    lines = ["## Models", "", "| model | answer | parent | probability | card |", "| --- | --- | --- | ---: | --- |"]
    for name, member in sorted(found.members.items()):
        parents = [edge for edge in found.edges if edge.child == name]
        text = ", ".join(f"{plain(edge.parent)} ({relation_word(edge.relation)}{_of_part(edge)})" for edge in parents)
        outcome = outcome_word(member.outcome) if member.outcome else ""
        lines.append(f"| {plain(name)} | {member.answer} | {text} | {percent(member.probability)} | {outcome} |")
    lines += ["", *(f"- not readable: {plain(name)}: {plain(reason)}" for name, reason in found.unreadable)]
    return [*lines, ""]


def _of_part(edge: EdgeFacts) -> str:
    return f", its {plain(edge.part)}" if edge.part else ""


def _edges(edges: Sequence[EdgeFacts], facts: Mapping[str, Member]) -> list[str]:
    lines = ["| child | relation | parent | probability | decided by |", "| --- | --- | --- | ---: | --- |"]
    for edge in edges:
        child, parent = (plain(facts[i].name if i in facts else i) for i in (edge.child, edge.parent))
        why = plain(", ".join(edge.decided_by))
        lines.append(
            f"| {child} | {relation_word(edge.relation)}{_of_part(edge)} | {parent} | {percent(edge.probability)} | {why} |"
        )
    return lines


def card_patch(sheet: Sheet) -> str:
    """What the metadata of the model's card should say of its base, as YAML; comments say what it says now and why.

    Only what is asserted is written: without an accepted parent the lines are comments.
    """
    import yaml

    member = sheet.member
    notes = [f"# {visible(member.name)}: by its weights, lineage finds", f"#   {visible(sheet.sentence)}"]
    declared = list(dict.fromkeys(claim.base for claim in member.claims))
    if declared:
        notes.append(
            f"# the card says now: {', '.join(visible(base) for base in declared)}"
            + (f" ({outcome_word(member.outcome)})" if member.outcome else "")
        )
    named = [edge for edge in sheet.parents if not edge.parent.startswith(LOCAL)]
    if not named:
        return "\n".join([*notes, "# nothing to be written: no parent on the Hub is asserted", ""])
    bases = [sheet.facts[edge.parent].name for edge in named]
    body: dict[str, Any] = {"base_model": bases if len(bases) > 1 else bases[0]}
    relation = CARD_RELATIONS.get(Relation(named[0].relation))
    if relation is not None:
        body["base_model_relation"] = relation
    elif named[0].relation == Relation.COPY_OF:
        notes.append("# the weights are a copy: the Hub has no relation of its own for that")
    return "\n".join([*notes, yaml.safe_dump(body, allow_unicode=True, sort_keys=False)])
