"""One model, what is expected of it, and whether its weights agree: the checks of `lineage verify`.

    declared         the card's base is the parent that was found, or one of its ancestors
    parent           the parent is the model that was named (or a copy of it)
    quantized-from   the parent is the model that was named, and the weights are its weights, quantized
    licence          the licences along the chain meet a policy
    origin           an answer was found at all

A false accusation is the worst failure, so "contradicted" needs an answer that contradicts; without one the check is undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lineage.graphdb.schema import Relation, share_key
from lineage.graphdb.schema.rows import name_key
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.words import percent, relation_phrase, visible


class Outcome(StrEnum):
    """Of one check, and of all: contradicted counts over cannot tell, and that over holds."""

    HOLDS = "holds"
    CANNOT_TELL = "cannot tell"
    CONTRADICTED = "contradicted"

    @property
    def exit_code(self) -> int:
        return {Outcome.HOLDS: 0, Outcome.CANNOT_TELL: 3, Outcome.CONTRADICTED: 5}[self]


ORDER = (Outcome.HOLDS, Outcome.CANNOT_TELL, Outcome.CONTRADICTED)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about one model.

    Attributes:
        rule: one of the names above. message: one sentence. details: JSON-serialisable facts behind it.
    """

    rule: str
    model: str
    outcome: Outcome
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelChecked:
    """
    Attributes:
        member: what is known of the model, its card compared with the weights.
        parents: accepted ones, the most probable first; above: ids of all ancestors; facts: id -> member, of all of them.
        same_as: id of a model -> ids of models with the same weights.
        of_copied: edges to the parents of the models that it is a copy of.
        place: file or folder that a report points to; None for a repository.
    """

    member: Member
    parents: tuple[EdgeFacts, ...] = ()
    possible: tuple[EdgeFacts, ...] = ()
    above: tuple[str, ...] = ()
    facts: Mapping[str, Member] = field(default_factory=dict)
    same_as: Mapping[str, frozenset[str]] = field(default_factory=dict)
    of_copied: tuple[EdgeFacts, ...] = ()
    place: str | None = None

    @property
    def name(self) -> str:
        return self.member.name

    def called(self, model: str) -> str:
        known = self.facts.get(model)
        return visible(known.name if known else model)

    def is_one_of(self, model: str, expected: str) -> bool:
        """Whether two ids are one model, or two with the same weights."""
        return model == expected or expected in self.same_as.get(model, frozenset())


def overall(checks: Iterable[Check]) -> Outcome:
    """The outcome of all checks."""
    return max((check.outcome for check in checks), key=ORDER.index, default=Outcome.HOLDS)


def best_of_parts(checks: Iterable[Check]) -> Outcome:
    """The outcome for a repository of several models: of each rule that of the best model, but of licences that of the worst."""
    of_rules: dict[str, list[Outcome]] = {}
    for check in checks:
        of_rules.setdefault(check.rule, []).append(check.outcome)
    found = [(max if rule == "licence" else min)(outcomes, key=ORDER.index) for rule, outcomes in of_rules.items()]
    return max(found, key=ORDER.index, default=Outcome.HOLDS)


def strict(check: Check) -> Check:
    """A check in which undecided counts as contradicted (`--no-unknown`)."""
    if check.outcome is not Outcome.CANNOT_TELL:
        return check
    details = {**check.details, "unknown": True}
    return Check(check.rule, check.model, Outcome.CONTRADICTED, f"{check.message} (--no-unknown)", details)


def check_declared(subject: ModelChecked) -> Check:
    """The card beside the weights."""
    member = subject.member
    outcome = {
        "agree": Outcome.HOLDS,
        "contradicts": Outcome.CONTRADICTED,
        "missing": Outcome.HOLDS,
        None: Outcome.HOLDS,
    }.get(member.outcome, Outcome.CANNOT_TELL)
    claims = list(dict.fromkeys(c.base for c in member.claims if name_key(c.base) != name_key(member.name)))
    message = member.outcome_reason or "nothing is declared"
    if member.outcome is None and claims:
        outcome = Outcome.CANNOT_TELL
        why = member.reason or member.status_reason
        message = f"{' and '.join(claims)} is declared and was not compared{f': {why}' if why else ''}"
    if member.outcome == "missing":
        message += "; the card could say so"
    details = {
        "declared": list(dict.fromkeys(claim.base for claim in member.claims)),
        "detected": [subject.called(e.parent) for e in subject.parents],
    }
    return Check("declared", subject.name, outcome, visible(message), details)


def check_origin(subject: ModelChecked) -> Check:
    """Whether the weights gave any answer."""
    member = subject.member
    decided = bool(subject.parents) or member.answer == "root"
    message = (
        _answer(subject)
        if decided
        else f"its origin is undecided: {visible(member.reason or member.status_reason or 'no answer')}"
    )
    return Check(
        "origin", subject.name, Outcome.HOLDS if decided else Outcome.CANNOT_TELL, message, {"answer": member.answer}
    )


def check_parent(subject: ModelChecked, expected: str, wanted: str) -> Check:
    """
    Args:
        expected: id of the model that is to be the parent; wanted: as it was named.
    """
    return _check_parent("parent", subject, expected, wanted)


def check_quantized(subject: ModelChecked, expected: str, wanted: str) -> Check:
    """As `check_parent`, and the weights must be a quantized copy."""
    found = _check_parent("quantized-from", subject, expected, wanted)
    if found.outcome is not Outcome.HOLDS:
        return found
    edges = (*subject.parents, *subject.of_copied)
    edge = next(edge for edge in edges if subject.is_one_of(edge.parent, expected))
    if edge.relation == Relation.QUANTIZED_FROM:
        return found
    how = relation_phrase(edge.relation)
    message = f"it {how} {visible(wanted)}, which is more or less than quantizing it"
    return Check("quantized-from", subject.name, Outcome.CONTRADICTED, message, found.details)


def _check_parent(rule: str, subject: ModelChecked, expected: str, wanted: str) -> Check:
    details: dict[str, Any] = {"expected": wanted, "parents": [subject.called(e.parent) for e in subject.parents]}
    for edge in subject.parents:
        if subject.is_one_of(edge.parent, expected):
            details |= {"relation": edge.relation, "probability": edge.probability}
            name = subject.called(edge.parent)
            of_copy = "" if edge.parent == expected else f", which has the same weights as {visible(wanted)}"
            message = f"it {relation_phrase(edge.relation)} {name}{of_copy} (probability {percent(edge.probability)})"
            return Check(rule, subject.name, Outcome.HOLDS, message, details)
    for edge in subject.of_copied:
        if subject.is_one_of(edge.parent, expected):
            details |= {"relation": edge.relation, "probability": edge.probability}
            found = f"{relation_phrase(edge.relation)} {subject.called(edge.parent)} (probability {percent(edge.probability)})"
            message = f"it has the weights of {subject.called(edge.child)}, which {found}"
            return Check(rule, subject.name, Outcome.HOLDS, message, details)
    if subject.is_one_of(subject.member.id, expected):
        return Check(rule, subject.name, Outcome.CONTRADICTED, f"it has the same weights as {visible(wanted)}", details)
    between = next((i for i in subject.above if subject.is_one_of(i, expected)), None)
    if between is not None and subject.parents:
        message = f"{visible(wanted)} is an ancestor, and not the parent: {_answer(subject)}"
        return Check(rule, subject.name, Outcome.CONTRADICTED, message, details)
    candidate = next((e for e in subject.possible if subject.is_one_of(e.parent, expected)), None)
    if candidate is not None and not subject.parents:
        message = f"{visible(wanted)} is a possible parent (probability {percent(candidate.probability)}), too uncertain to say"
        message += f": {visible(subject.member.reason)}" if subject.member.reason else ""
        return Check(rule, subject.name, Outcome.CANNOT_TELL, message, details)
    if not subject.parents and _apart(subject.member, subject.facts.get(expected)):
        message = f"cannot tell whether {visible(wanted)} is the parent: they have no backbone in common and were not compared"
        return Check(rule, subject.name, Outcome.CANNOT_TELL, message, details)
    if not subject.parents and any(subject.is_one_of(model, expected) for model in subject.member.started_with):
        message = f"cannot tell whether {visible(wanted)} is the parent: {visible(subject.member.reason)}"
        return Check(rule, subject.name, Outcome.CANNOT_TELL, message, details)
    if subject.parents or subject.member.answer in ("root", "no_relatives"):
        return Check(
            rule,
            subject.name,
            Outcome.CONTRADICTED,
            f"{visible(wanted)} is not the parent: {_answer(subject)}",
            details,
        )
    reason = visible(subject.member.reason or subject.member.status_reason or "there is no answer")
    return Check(
        rule,
        subject.name,
        Outcome.CANNOT_TELL,
        f"cannot tell whether {visible(wanted)} is the parent: {reason}",
        details,
    )


def _apart(one: Member, other: Member | None) -> bool:
    """Whether two models are known to have no backbone in common, so that nothing was compared."""
    if other is None or None in (one.architecture, other.architecture):
        return False
    return not share_key(one.architecture, other.architecture)


def _answer(subject: ModelChecked) -> str:
    """What was found, in a clause."""
    if subject.parents:
        edge = subject.parents[0]
        named = " and ".join(subject.called(e.parent) for e in subject.parents)
        return f"it {relation_phrase(edge.relation)} {named} (probability {percent(edge.probability)})"
    return f"it is a root: {visible(subject.member.reason or 'no known model is its parent')}"
