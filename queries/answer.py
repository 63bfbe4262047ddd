"""The answer of `lineage who-is-parent` for people and for programs, whether it comes from the graph or was just worked out."""

from __future__ import annotations

from typing import Any

from queries.parent import ParentAnswer


def as_json(answer: ParentAnswer, stored: bool) -> dict[str, Any]:
    """The contract of `who-is-parent --json`; keys are only ever added."""
    agreement = answer.agreement
    return {
        "model": answer.model.repo_id,
        "answer": answer.answer,
        "parent": answer.parent,
        "relation": answer.relation,
        "probability": None if answer.probability is None else round(answer.probability, 4),
        "decided_by": list(answer.decided_by),
        "runners_up": [{"parent": c.repo_id, "probability": round(c.probability, 4)} for c in answer.runners_up],
        "declared": [{"base": d.base, "relation": d.relation, "source": d.source} for d in answer.declared],
        "as_of": answer.as_of.isoformat() if answer.as_of else None,
        "revision": answer.model.revision,
        "reason": answer.reason,
        "evidence": dict(answer.evidence),
        "other_parents": [
            {"parent": c.repo_id, "relation": c.relation, "probability": round(c.probability, 4)}
            for c in answer.other_parents
        ],
        "declared_agrees": None if agreement is None or agreement.agreement is None else str(agreement.agreement),
        "stored": stored,
    }


def as_text(answer: ParentAnswer, stored: bool) -> str:
    """A few lines: the answer first, then why, then what the card says."""
    model = answer.model
    rows: list[tuple[str, str]] = []
    if answer.answer == "parent":
        how = str(answer.relation).replace("_", " ").lower()
        rows.append(("parent", f"{answer.parent}   ({how}, probability {answer.probability:.2f})"))
        rows += [("also", f"{c.repo_id}   ({c.probability:.2f})") for c in answer.other_parents]
    elif answer.answer == "root":
        rows.append(("parent", f"none that is known: a root (probability {answer.probability or 0:.2f})"))
    elif answer.answer == "undecided":
        rows.append(("parent", "cannot tell"))
    else:
        rows.append(("parent", "not known: its weights were not compared"))
    if answer.reason:
        rows.append(("because", answer.reason))
    if answer.decided_by:
        rows.append(("decided by", ", ".join(answer.decided_by)))
    if answer.runners_up:
        rows.append(("or perhaps", ", ".join(f"{c.repo_id} ({c.probability:.2f})" for c in answer.runners_up[:3])))
    claims = ", ".join(dict.fromkeys(d.base for d in answer.declared)) or "nothing"
    verdict = answer.agreement.agreement if answer.agreement else None
    notes = {
        "agree": " — the weights agree",
        "contradicts": " — the weights say otherwise",
        "cannot tell": " — not checked",
    }
    rows.append(("card says", claims + (notes.get(str(verdict), "") if answer.declared else "")))
    when = f"{answer.as_of:%Y-%m-%d %H:%M} UTC" if answer.as_of else "now"
    rows.append(
        (
            "as of",
            when + (f", revision {model.revision[:12]}" if model.revision else "") + ("" if stored else ", not stored"),
        )
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join([model.repo_id, *(f"  {name:<{width}}  {text}" for name, text in rows)])
