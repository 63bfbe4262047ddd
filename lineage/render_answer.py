"""The answer of `lineage who-is-parent` for people and for programs, whether it comes from the graph or was just worked out."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from lineage.answer import Answer, Parent
from lineage.graphdb.schema import Model, Relation, Status, chance, chance_beside, printable
from lineage.graphdb.schema.rows import name_key
from lineage.queries.claim_check import Agreement
from lineage.queries.several_bases import OTHER_RELATION

WIDTH = 100  # of lines that go somewhere else than to a terminal
RUNNERS_UP_SHOWN = 3
_WEIGHTS_SAY = {
    Agreement.AGREE: "the weights agree",
    Agreement.CONTRADICTS: "the weights say otherwise",
    Agreement.CANNOT_TELL: "cannot tell",
}


def as_json(answer: Answer, stored: bool) -> dict[str, Any]:
    """The contract of `who-is-parent --json`; keys are only ever added."""
    agreement = answer.agreement
    return {
        "model": answer.model.repo_id,
        "answer": answer.answer,
        "parent": answer.parent,
        "relation": answer.relation,
        "probability": None if answer.probability is None else round(answer.probability, 4),
        "decided_by": list(answer.decided_by),
        "runners_up": [_candidate(c) for c in answer.runners_up],
        "declared": [{"base": d.base, "relation": d.relation, "source": d.source} for d in answer.declared],
        "as_of": answer.as_of.isoformat() if answer.as_of else None,
        "revision": answer.model.revision,
        "status": str(answer.model.status),
        "status_reason": answer.model.reason,
        "reason": answer.reason,
        "evidence": dict(answer.evidence),
        "parents": [
            {**_candidate(p), "share": p.share, "part": p.part, "parts": list(p.parts)} for p in answer.parents
        ],
        "other_parents": [_candidate(c) for c in answer.other_parents],
        "declared_agrees": None if agreement is None or agreement.agreement is None else str(agreement.agreement),
        "agreement": None if agreement is None or agreement.agreement is None else str(agreement.agreement),
        "declared_reason": agreement.reason if agreement else None,
        "method": answer.method,
        "method_version": answer.method_version,
        "stored": stored,
    }


def as_text(answer: Answer, stored: bool, short: Callable[[str], str] = str) -> str:
    """The answer in a sentence, then why, then what the card says: a few lines, broken at the width of the terminal.

    Args:
        short: how names are shown, see `short_names`.
    """
    rows = [("why", answer.reason or ""), ("decided by", ", ".join(answer.decided_by))]
    perhaps = ", ".join(f"{c.repo_id} ({_chance(answer, c)})" for c in answer.runners_up[:RUNNERS_UP_SHOWN])
    rows.append(("perhaps" if answer.parent is None else "if not that", perhaps))
    rows.append(("parts", ", ".join(f"{p.part} from {p.repo_id} ({chance(p.probability)})" for p in answer.of_parts)))
    rows.append(("card says", _card(answer)))
    rows.append(("status", _gone(answer.model)))
    rows.append(("as of", _as_of(answer, stored)))
    rows = [(name, printable(short(text))) for name, text in rows if text]
    column = max(len(name) for name, _ in rows) + 4
    width = min(shutil.get_terminal_size().columns, WIDTH) if sys.stdout.isatty() else WIDTH
    lines = [
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in rows
    ]
    return "\n".join([printable(short(sentence(answer))), *lines])


def names_in(answer: Answer) -> Iterator[str]:
    """The models that an answer is about."""
    yield answer.model.repo_id
    yield from (parent.repo_id for parent in (*answer.parents, *answer.other_parents, *answer.runners_up))


def sentence(answer: Answer) -> str:
    """The answer itself."""
    name = answer.model.repo_id
    if answer.answer == "parent":
        how = Relation(answer.relation or Relation.FINE_TUNED_FROM).phrase
        if any(parent.part for parent in answer.parents):
            return f"{name} {how} " + " and ".join(
                f"{p.repo_id} ({chance(p.probability)}{f', its {p.part}' if p.part else ''})" for p in answer.parents
            )
        parents = [(parent.repo_id, parent.probability) for parent in answer.parents]
        if len(parents) == 1:
            return f"{name} {how} {answer.parent} (probability {chance(parents[0][1])})"
        return f"{name} {how} " + " and ".join(f"{parent} ({chance(p)})" for parent, p in parents)
    if answer.answer == "root":
        return f"{name} is a root: no known model is its parent (probability {chance(answer.probability or 0.0)})"
    if answer.answer == "no_relatives" and answer.model.status is Status.ADAPTER:
        return f"{name} is an adapter of no model that is known"
    if answer.answer == "no_relatives":
        return f"{name}: no relatives known"
    if answer.answer == "undecided":
        return f"{name}: cannot tell its parent"
    return f"{name}: its parent is not known"


def _chance(answer: Answer, other: Parent) -> str:
    """The probability of a model that is not the answer."""
    found = None if answer.parent is None else answer.probability
    return chance_beside(other.probability, found, other.hub_id in answer.evidence.get("nearly_equal", ()))


def _card(answer: Answer) -> str:
    found = answer.agreement
    worth = answer.declared if found is None else found.declared
    named = dict.fromkeys(d.base for d in worth if name_key(d.base) != name_key(answer.model.repo_id))
    if not named:
        return "nothing" + (" but its own name" if answer.declared else "")
    claims = ", ".join(named)
    if found is None or found.agreement is None:
        return f"{claims}; {_beside_claims(answer)}"
    note = _WEIGHTS_SAY.get(found.agreement, "")
    said_above = answer.parent and (
        found.agreement is Agreement.CONTRADICTS or name_key(answer.parent) in map(name_key, named)
    )
    only_in_part = found.agreement is Agreement.AGREE and (
        OTHER_RELATION in found.reason or (", " in claims and "; " in found.reason)
    )
    if said_above and not only_in_part:
        return f"{claims}; {note}"
    return f"{claims}; {note}: {found.reason}"


def _beside_claims(answer: Answer) -> str:
    """What was found, where no graph compares it with the claims: models in folders are named by their path."""
    claimed = {declaration.base.lower().rpartition("/")[2] for declaration in answer.declared}

    def named(model: str) -> bool:
        return model.lower().rpartition("/")[2] in claimed

    if answer.parent and named(answer.parent):
        return "the parent that was found"
    if any(named(candidate.repo_id) for candidate in (*answer.other_parents, *answer.runners_up)):
        return "one of the candidates"
    return "not checked"


def _gone(model: Model) -> str:
    if model.status is not Status.GONE:
        return ""
    return "gone from the Hub" + (f": {model.reason}" if model.reason else "")


def _as_of(answer: Answer, stored: bool) -> str:
    parts = [f"{answer.as_of:%Y-%m-%d %H:%M} UTC"] if answer.as_of else []
    parts += [f"revision {answer.model.revision[:12]}"] if answer.model.revision else []
    parts += [] if stored else ["not stored"]
    return ", ".join(parts)


def _candidate(candidate: Parent) -> dict[str, Any]:
    return {
        "parent": candidate.repo_id,
        "relation": candidate.relation,
        "probability": round(candidate.probability, 4),
    }
