"""Decisions -> what people and programs read: the JSON of `lineage scan`, and a tree for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detect.decision import Answer, Decision


@dataclass(frozen=True, slots=True)
class Scanned:
    """One readable model of a scan. digest: of its weight files."""

    id: str
    signature: str
    digest: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole scan. unreadable: id -> reason."""

    models: Sequence[Scanned]
    decisions: Sequence[Decision]
    unreadable: Mapping[str, str]


def as_json(scan: Scan) -> dict[str, Any]:
    """The contract of `lineage scan --json`; keys are only ever added."""
    return {
        "models": [{"id": m.id, "signature": m.signature, "digest": m.digest} for m in scan.models],
        "edges": [
            {
                "child": d.model,
                "parent": d.parent,
                "relation": d.relation,
                "probability": round(d.probability, 4),
                "decided_by": list(d.decided_by),
                "evidence": {**d.evidence, "reason": d.reason},
            }
            for d in scan.decisions
            if d.answer is Answer.PARENT
        ],
        "undecided": [
            {
                "child": d.model,
                "candidates": [{"parent": c.parent, "probability": c.probability} for c in d.candidates],
                "reason": d.reason,
            }
            for d in scan.decisions
            if d.answer is Answer.UNDECIDED
        ],
        "roots": [
            {"model": d.model, "probability": round(d.probability, 4), "reason": d.reason}
            for d in scan.decisions
            if d.answer is Answer.ROOT
        ],
        "unreadable": [{"id": name, "reason": reason} for name, reason in scan.unreadable.items()],
    }


def as_tree(scan: Scan) -> list[str]:
    """Lines of text: each family under its root, then those that are alone, undecided, or unreadable."""
    by_model = {d.model: d for d in scan.decisions}
    children: dict[str, list[str]] = {}
    for decision in scan.decisions:
        if decision.parent is not None:
            children.setdefault(decision.parent, []).append(decision.model)
    lines: list[str] = []
    tops = [d for d in scan.decisions if d.parent is None]
    for top in sorted(tops, key=lambda d: (d.answer is Answer.UNDECIDED, d.model not in children)):
        note = "" if top.answer is Answer.ROOT else "cannot tell: "
        lines.append(f"{top.model}   ({note}{top.reason})")
        lines += _branches(top.model, children, by_model, "")
    lines += [f"{name}   (not read: {reason})" for name, reason in scan.unreadable.items()]
    return lines


def _branches(
    model: str, children: Mapping[str, Sequence[str]], by_model: Mapping[str, Decision], indent: str
) -> list[str]:
    lines = []
    below = children.get(model, ())
    for place, child in enumerate(below):
        last = place == len(below) - 1
        decision = by_model[child]
        how = str(decision.relation).replace("_", " ").lower()
        lines.append(f"{indent}{'└── ' if last else '├── '}{child}   {how}, {decision.probability:.2f}")
        lines += _branches(child, children, by_model, indent + ("    " if last else "│   "))
    return lines
