"""What pages show, as JSON: the twin of every page, and the numbers of a report. Keys are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lineage.pages.folding import FoldedFamily
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.provenance import model_provenance
from lineage.pages.sheet import Sheet


def sheet_json(sheet: Sheet) -> dict[str, Any]:
    """All that the page of one model says."""
    facts = sheet.facts

    def named(model: str) -> str:
        return facts[model].name if model in facts else model

    return {
        **member_json(sheet.member),
        "sentence": sheet.sentence,
        "parents": [edge_json(edge, sheet.member, facts.get(edge.parent)) for edge in sheet.parents],
        "possible": [edge_json(edge, sheet.member, facts.get(edge.parent)) for edge in sheet.possible],
        "family": family_json(sheet.folded, facts),
        "licences": [
            {
                "model": named(link.id),
                "depth": link.depth,
                "license": link.license,
                "outcome": link.outcome,
                "reason": link.reason,
            }
            for link in sheet.licences
        ],
        "derived": [
            {"relation": group.relation, "total": group.total, "first": [named(i) for i in group.first]}
            for group in sheet.derived
        ],
        "history": [edge_json(edge, sheet.member, facts.get(edge.parent)) for edge in sheet.history],
        "doubts": list(sheet.doubts),
        "provenance": dict(model_provenance(sheet)),
    }


def family_json(folded: FoldedFamily, facts: Mapping[str, Member]) -> dict[str, Any]:
    """A family as far as it is shown."""

    def named(model: str) -> str:
        return facts[model].name if model in facts else model

    return {
        "models": [
            {
                "hub_id": i,
                "model": named(i),
                "children_hidden": folded.hidden.get(i, 0),
                "children_closed": folded.closed.get(i, 0),
            }
            for i in folded.ids
        ],
        "edges": [
            {
                "child": named(e.child),
                "parent": named(e.parent),
                "relation": e.relation,
                "probability": e.probability,
            }
            for e in folded.edges
        ],
    }


def member_json(member: Member) -> dict[str, Any]:
    """One model."""
    document = asdict(member)
    document["hub_id"], document["model"] = document.pop("id"), document.pop("name")
    document["declared"] = [{"base": c.base, "relation": c.relation, "source": c.source} for c in member.claims]
    document["agreement"], document["agreement_reason"] = document.pop("outcome"), document.pop("outcome_reason")
    del document["claims"]
    return document


def edge_json(edge: EdgeFacts, child: Member | None, parent: Member | None) -> dict[str, Any]:
    """One edge with its evidence, ends by name and by identity."""
    document = asdict(edge)
    document["child_id"], document["parent_id"] = edge.child, edge.parent
    document["child"] = child.name if child else edge.child
    document["parent"] = parent.name if parent else edge.parent
    return document
