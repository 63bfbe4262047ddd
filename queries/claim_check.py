"""Declared against detected: does a model's card say what its weights say?

    agree        a claimed base is the parent that was found or one of its ancestors, or holds the same weights as one of these
    contradicts  the weights name another parent, and the claimed base is a stranger or surely on another branch; or they name none, and
                 it is a stranger
    missing      a parent was found and the card claims none
    cannot tell  nothing was decided, or the claimed base is not in the graph or cannot be compared value by value

A false accusation is the worst answer, so "contradicts" needs all claimed bases to be comparable, and none of them to be perhaps on the
line of descent; see kinship.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from lineage.graphdb.schema import ACCEPTED, CONTRADICTED_ADAPTER, Declaration, Model, Relation, Status, share_key
from lineage.graphdb.schema.rows import claims_of, name_key
from lineage.queries import load
from lineage.queries.claim_words import (
    below_words,
    contradicted_words,
    is_part,
    other_values_words,
    related_words,
    start_words,
)
from lineage.queries.graph_reader import GraphReader
from lineage.queries.kinship import ClaimedKin, ParentEdge, kinship, originals
from lineage.queries.pipelines import main_parts, whole_of, with_claims_of
from lineage.queries.same_values import one_model, rows_of, surely_below
from lineage.queries.same_weights import same_weights
from lineage.queries.several_bases import (
    JudgedBase,
    claims_by_base,
    is_merge,
    joined,
    other_relation,
    says_quantized,
    stated,
    with_strangers,
)
from lineage.queries.walk import EVERYTHING, AncestorEdges, Limits, Relative, ancestors

COMPARED = "declared_vs_detected"
COMMON_START = "common_start"  # in a reason, see detect/reasons.py
_OF_ADAPTER = ("card", "adapter_config")  # sources of claims
BATCH = 1_000  # models a statement
SAMPLED = (Status.SKETCHED, Status.GONE)  # of one that left the Hub, signature, sample and edges stay as they were
POSSIBLE_PARENTS = Limits(kinds=(*ACCEPTED, Relation.POSSIBLE_PARENT), depth=1)


class Agreement(StrEnum):
    """See the module's first lines."""

    AGREE = "agree"
    CONTRADICTS = "contradicts"
    MISSING = "missing"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model's claims beside what was found.

    Attributes:
        agreement: None where there is nothing to compare: no claim, and no parent found.
        reason: one sentence.
        declared: its claims, without those that only name the model itself.
        detected: repo_ids of the parents found, the most probable first.
        answer: of detection, as the graph keeps it; None where the model was never compared.
    """

    hub_id: str
    repo_id: str
    agreement: Agreement | None
    reason: str
    declared: tuple[Declaration, ...]
    detected: tuple[str, ...]
    answer: str | None = None


def compare(store: GraphReader, models: Iterable[str]) -> Iterator[Comparison]:
    """Comparisons of some models (hub_ids), those without anything to compare too."""
    yield from (found for found, _ in _compared(store, models))


def compare_parts(store: GraphReader, whole: Model, parts: Sequence[Model]) -> list[Comparison]:
    """Comparisons of the models of one repository; what its card claims, it claims of those that claim nothing of their own."""
    kin = Kin(store, AncestorEdges(store))
    (card,) = store.read(load(COMPARED).text, {"models": [whole.hub_id]})
    rows = store.read(load(COMPARED).text, {"models": [part.hub_id for part in parts]})
    return [compare_row(kin, with_claims_of(row, card)) for row in rows]


def compare_all(store: GraphReader) -> Iterator[Comparison]:
    """Comparisons of every model that claims a base or has a parent that was found; of a pipeline and its main part under its own name."""
    models = (row["hub_id"] for row in store.stream(load("claimed_or_found").text))
    yield from (found for found, of_whole in _compared(store, models) if not of_whole)


def _compared(store: GraphReader, models: Iterable[str]) -> Iterator[tuple[Comparison, bool]]:
    """Comparisons, and whether each is the one of a pipeline, told of its main part. The weights of a pipeline are those of this part."""
    source = iter(models)
    while batch := list(islice(source, BATCH)):
        kin = Kin(store, AncestorEdges(store))  # of a batch: models of one family have their ancestors in common
        rows = store.read(load(COMPARED).text, {"models": batch})
        parts = main_parts(store, rows, COMPARED)
        silent = {above for row in rows if not row["bases"] and (above := whole_of(row["hub_id"])) is not None}
        wholes = {row["hub_id"]: row for row in store.read(load(COMPARED).text, {"models": sorted(silent)})}
        for row in rows:
            part, whole = parts.get(row["hub_id"]), wholes.get(whole_of(row["hub_id"]) or "")
            if part is not None:
                found = compare_row(kin, with_claims_of(part, row))
                yield replace(found, hub_id=row["hub_id"], repo_id=row["repo_id"]), False
            elif whole is not None and whole["bases"]:
                yield compare_row(kin, with_claims_of(row, whole)), True
            else:
                yield compare_row(kin, row), False


def compare_found(
    store: GraphReader,
    model: Model,
    claims: Iterable[Declaration],
    answer: str,
    parents: Sequence[tuple[str, str]],
    edge: ParentEdge | None,
    because: Mapping[str, Any],
) -> Comparison:
    """The same for a model that is not in the graph: its claims beside what was found just now.

    Args:
        answer: `parent`, `root` or `undecided`; because: why, as its template's `key` and `values`.
        parents: (hub_id, repo_id) of the parents that were found, the most probable first; models of the graph.
        edge: to the first of them.
    """
    row: dict[str, Any] = {"hub_id": model.hub_id, "repo_id": model.repo_id, "answer": answer, "outside": True}
    row |= {"status": str(model.status), "signature": model.signature, "answer_reason": because.get("key")}
    row |= {"answer_reason_values": json.dumps(dict(because))}
    same = store.models_of_weights(model.weights_digest) if model.weights_digest else ()
    row["equal"] = [other.hub_id for other in same]
    worth = _without_itself(claims, model.repo_id)
    known = [
        {"base": claim.base, **{name: getattr(base, name) for name in ("hub_id", "repo_id", "status", "signature")}}
        for claim in worth
        if (base := store.model(claim.base)) is not None
    ]
    how = {"kind": edge.relation, "probability": edge.probability} if edge else {}
    above_it = [{"hub_id": hub_id, "repo_id": repo_id, **how} for hub_id, repo_id in parents]

    kin = Kin(store, AncestorEdges(store))

    def above() -> set[str]:
        return {relative.hub_id for hub_id, _ in parents for relative in kin.ancestors(hub_id)}

    agreement, reason = _judge_each(row, worth, kin.by_weights(known), above_it, above, kin)
    detected = tuple(name for _, name in parents)
    return Comparison(model.hub_id, model.repo_id, agreement, reason, tuple(worth), detected, answer)


def compare_adapter(
    model: Model,
    claims: Iterable[Declaration],
    answer: str,
    parents: Sequence[tuple[str, str]],
    because: Mapping[str, Any],
) -> Comparison:
    """The same for an adapter where there is no graph: its base is one that it claims, or none is found.

    Args:
        answer, parents, because: as for `compare_found`.
    """
    worth = _without_itself(claims, model.repo_id)
    named = sorted({claim.base for claim in worth})
    agreement: Agreement | None = None
    reason = "nothing is declared"
    if worth and parents:
        other = other_relation(worth, {Relation.ADAPTER_OF})
        agreement, reason = Agreement.AGREE, f"{parents[0][1]} is declared and fits{other}"
    elif worth and because.get("key") == CONTRADICTED_ADAPTER:
        misfit = because.get("values", {}).get("misfit", "")
        agreement, reason = Agreement.CONTRADICTS, f"{named[0]} is declared and cannot be its base: {misfit}"
    elif worth:
        agreement, reason = Agreement.CANNOT_TELL, f"{named[0]} is declared and not known here"
    detected = tuple(name for _, name in parents)
    return Comparison(model.hub_id, model.repo_id, agreement, reason, tuple(worth), detected, answer)


def compare_row(kin: Kin, row: Mapping[str, Any]) -> Comparison:
    """The comparison of one row of declared_vs_detected.cypher."""
    claims = claims_of(row["hub_id"], row["bases"], row["relations"], row["sources"])
    claims = _without_itself(claims, row["repo_id"])
    parents = sorted(
        (p for p in row["parents"] if p["hub_id"] is not None), key=lambda p: (-p["probability"], p["repo_id"])
    )
    places = {p["hub_id"]: place for place, p in reversed(list(enumerate(parents)))}
    known = kin.by_weights([base for base in row["known"] if base["hub_id"] is not None])
    known.sort(key=lambda base: (places.get(base["hub_id"], len(parents)), base["repo_id"], base["hub_id"]))

    def above() -> set[str]:
        return {relative.hub_id for relative in kin.ancestors(row["hub_id"])}

    agreement, reason = _judge_each(row, claims, known, parents, above, kin)
    return Comparison(
        row["hub_id"],
        row["repo_id"],
        agreement,
        reason,
        tuple(claims),
        tuple(dict.fromkeys(p["repo_id"] for p in parents)),
        row["answer"],
    )


@dataclass(frozen=True, slots=True)
class Kin:
    """What else the graph knows of models, asked only where a claim would be contradicted.

    Attributes:
        above: edges to parents that were read already.
        parts: identity of a model without weights -> its main part, where it has one; of those that were asked for.
        equal: identity of a model -> those with the same weights; of those that were asked for.
    """

    store: GraphReader
    above: AncestorEdges
    parts: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    equal: dict[str, frozenset[str]] = field(default_factory=dict)

    def by_weights(self, bases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Claimed bases, a pipeline under its own name with the weights of its main part."""
        new = [base for base in bases if base["hub_id"] not in self.parts]
        found = main_parts(self.store, new, COMPARED)
        self.parts.update({base["hub_id"]: found.get(base["hub_id"]) for base in new})
        weights = ("hub_id", "status", "signature")
        parts = [self.parts[base["hub_id"]] for base in bases]
        return [
            base if part is None else {**base, **{name: part[name] for name in weights}}
            for base, part in zip(bases, parts, strict=True)
        ]

    def ancestors(self, model: str, limits: Limits = EVERYTHING) -> list[Relative]:
        """What a model was derived from, nearest first."""
        return ancestors(self.store, model, limits, self.above)

    def equal_to(self, model: str) -> frozenset[str]:
        """Identities of a model and of those with the same weights."""
        if model not in self.equal:
            self.equal[model] = same_weights(self.store, model)
        return self.equal[model]

    def equal_among(self, base: str, models: Set[str]) -> bool:
        """Whether a base has the same weights as one of some models: both may be said to equal a third one."""
        own = self.equal_to(base)
        return not own.isdisjoint(models) or any(not own.isdisjoint(self.equal_to(model)) for model in sorted(models))

    def came_from_until(self, model: str, base: str) -> datetime | None:
        """When an edge to a base ended that has been given other weights since; None without such an edge, or with the same weights."""
        for row in self.store.read(load("superseded_edge").text, {"model": model, "base": base}):
            if row["kind"] in ACCEPTED and None is not row["digest"] != row["digest_now"]:
                ended: datetime = row["superseded_at"]
                return ended
        return None

    def possible_parents(self, model: str) -> list[ParentEdge]:
        """Edges of the graph to the parents of a model, possible ones included."""
        near = ancestors(self.store, model, POSSIBLE_PARENTS)
        return [ParentEdge(r.hub_id, r.kind or "", r.probability or 0.0) for r in near]

    def beside(self, model: str, base: str, found: Sequence[ParentEdge]) -> ClaimedKin:
        """How a claimed base lies to a model; found: edges to the model's parents, which the graph may not know."""

        return kinship(model, base, self.equal_to(base), self.parents_of(model, found))

    def parents_of(self, model: str, found: Sequence[ParentEdge]) -> Callable[[str], Sequence[ParentEdge]]:
        """Edges above each model. found: those of one model, which the graph may not know."""
        return lambda at: found if at == model and found else self.possible_parents(at)

    def declares(self, model: str, base: str) -> bool:
        """Whether a model's own claims name another one."""
        return any(known["hub_id"] == base for row in rows_of(self.store, [model]) for known in row["known"])


def _without_itself(claims: Iterable[Declaration], repo_id: str) -> list[Declaration]:
    return [c for c in claims if name_key(c.base) != name_key(repo_id) and not is_part(repo_id, c.base)]


def _judge(
    row: Mapping[str, Any],
    claims: Sequence[Declaration],
    known: Sequence[Mapping[str, Any]],
    parents: Sequence[Mapping[str, Any]],
    ancestors_of_it: Callable[[], set[str]],
    kin: Kin,
) -> tuple[Agreement | None, str]:
    found = {parent["hub_id"] for parent in parents}
    if not claims:
        if parents:
            return Agreement.MISSING, f"nothing is declared; the weights come from {parents[0]['repo_id']}"
        return None, "nothing is declared, and no parent was found"
    adapter = row["status"] == Status.ADAPTER
    for base in known:
        if base["hub_id"] in found:
            where = "and fits" if adapter else "and found in the weights"
            of_base = [claim for claim in claims if name_key(claim.base) == name_key(base["base"])]
            how = {parent["kind"] for parent in parents if parent["hub_id"] == base["hub_id"]}
            return Agreement.AGREE, f"{base['repo_id']} is declared {where}{other_relation(of_base, how)}"
    for claim in claims:
        part = next((p["repo_id"] for p in parents if is_part(p["repo_id"], claim.base)), None)
        if part is not None:
            return Agreement.AGREE, f"{claim.base} is declared, and {part} is a part of it"
    edges = [ParentEdge(p["hub_id"], p["kind"], p["probability"]) for p in parents]
    if parents and known:
        above = ancestors_of_it()
        for base in known:
            if base["hub_id"] in above:
                if _quantized_from_another(row, base, claims, edges, kin):
                    lone = len(claims_by_base(claims)) == 1
                    outcome = Agreement.CONTRADICTS if lone else Agreement.CANNOT_TELL
                    return outcome, other_values_words(base["repo_id"], parents[0]["repo_id"])
                return (
                    Agreement.AGREE,
                    f"{base['repo_id']} is declared and an ancestor; the parent is {parents[0]['repo_id']}",
                )
        for base in known:
            if kin.equal_among(base["hub_id"], found | above):
                what = "the parent" if kin.equal_among(base["hub_id"], found) else "an ancestor; the parent is"
                return (
                    Agreement.AGREE,
                    f"{base['repo_id']} is declared and has the same weights as {what} {parents[0]['repo_id']}",
                )
    mine = {row["hub_id"], *row.get("equal", ())}
    for base in known if not adapter else ():
        if not mine.isdisjoint(kin.equal_to(base["hub_id"])):
            return Agreement.AGREE, f"{base['repo_id']} is declared and has the same weights as it"
    named = sorted({claim.base for claim in claims})
    if adapter and row.get("answer_reason") == CONTRADICTED_ADAPTER:
        misfit = json.loads(row.get("answer_reason_values") or "{}").get("values", {}).get("misfit", "")
        return Agreement.CONTRADICTS, f"{named[0]} is declared and cannot be its base: {misfit}"
    resolved = {name_key(base["base"]) for base in known}
    unknown = [base for base in named if name_key(base) not in resolved]
    if unknown:
        return Agreement.CANNOT_TELL, f"{unknown[0]} is declared and not in the graph"
    if adapter:
        if parents:
            return Agreement.CONTRADICTS, f"{named[0]} is declared; it is an adapter of {parents[0]['repo_id']}"
        return Agreement.CANNOT_TELL, f"{named[0]} is declared; whether it fits there is not known"
    apart = [
        b["repo_id"] for b in known if b["status"] not in SAMPLED or not share_key(b["signature"], row["signature"])
    ]
    if apart or row["signature"] is None:
        return Agreement.CANNOT_TELL, f"{(apart or named)[0]} is declared and cannot be compared value by value"
    if not parents and row["answer"] not in ("root", "no_relatives"):
        return Agreement.CANNOT_TELL, "no parent was decided"
    if row["answer"] == "root" and row.get("outside"):
        return Agreement.CANNOT_TELL, f"{named[0]} is declared; the weights show no parent, and it may be related"
    for base in known:
        if (until := kin.came_from_until(row["hub_id"], base["hub_id"])) is not None:
            former = f"the weights came from those that it had until {until:%Y-%m-%d}, and it has others now"
            return Agreement.CANNOT_TELL, f"{base['repo_id']} is declared; {former}"
    for ancestor, start in _common_starts(row, edges, kin):
        for base in known:
            if any(kin.beside(other, base["hub_id"], ()) is not ClaimedKin.STRANGER for other in start):
                return Agreement.CANNOT_TELL, start_words(base["repo_id"], *_on_the_way(row, ancestor, parents, kin))
    for base in known:
        lies = kin.beside(row["hub_id"], base["hub_id"], edges)
        if lies is ClaimedKin.RELATED and _copies_its_ancestor(row, base, edges, kin):
            continue
        if lies is ClaimedKin.RELATED or (lies is ClaimedKin.OTHER_BRANCH and not parents):
            if any(relative.hub_id == row["hub_id"] for relative in kin.ancestors(base["hub_id"])):
                return Agreement.CANNOT_TELL, below_words(base["repo_id"])
            return Agreement.CANNOT_TELL, related_words(base["repo_id"], parents[0]["repo_id"] if parents else None)
    return Agreement.CONTRADICTS, contradicted_words(" and ".join(named), parents[0]["repo_id"] if parents else None)


def _judge_each(
    row: Mapping[str, Any],
    claims: Sequence[Declaration],
    known: Sequence[Mapping[str, Any]],
    parents: Sequence[Mapping[str, Any]],
    ancestors_of_it: Callable[[], set[str]],
    kin: Kin,
) -> tuple[Agreement | None, str]:
    """As `_judge`, and where several bases are declared, with what is known of each; see several_bases.py."""
    agreement, reason = _judge(row, claims, known, parents, ancestors_of_it, kin)
    named = claims_by_base(claims)
    if len(named) < 2 or agreement not in (Agreement.AGREE, Agreement.CANNOT_TELL):
        return agreement, reason
    if row["status"] == Status.ADAPTER:
        return agreement, reason + (_card_and_configuration(claims, known, kin) if agreement is Agreement.AGREE else "")
    edges = [ParentEdge(p["hub_id"], p["kind"], p["probability"]) for p in parents]
    others = []
    for key, of_base in named.items():
        bases = [base for base in known if name_key(base["base"]) == key]
        one, why = _judge(row, of_base, bases, parents, ancestors_of_it, kin)
        against = one is Agreement.CONTRADICTS
        if one is not Agreement.AGREE and stated(of_base):
            apart = (kin.beside(row["hub_id"], base["hub_id"], edges) is ClaimedKin.STRANGER for base in bases)
            name = bases[0]["repo_id"] if bases else of_base[0].base
            others.append(JudgedBase(name, against, against and all(apart), why))
    if agreement is Agreement.CANNOT_TELL:
        return agreement, with_strangers(reason, others)
    holds, reason = joined(reason, others, _no_merge(row, claims, known, edges, kin))
    return (Agreement.AGREE if holds else Agreement.CANNOT_TELL), reason


def _no_merge(
    row: Mapping[str, Any],
    claims: Sequence[Declaration],
    known: Sequence[Mapping[str, Any]],
    edges: Sequence[ParentEdge],
    kin: Kin,
) -> str | None:
    """Name of the one model whose values a model has that is declared a merge, where it surely is none."""
    if not is_merge(claims):
        return None
    equal = sorted(kin.equal_to(row["hub_id"]) - {row["hub_id"]})
    values = list(dict.fromkeys([*originals(row["hub_id"], kin.parents_of(row["hub_id"], edges)), *equal]))
    return one_model(rows_of(kin.store, values), (base["hub_id"] for base in known)) if values else None


def _card_and_configuration(claims: Sequence[Declaration], known: Sequence[Mapping[str, Any]], kin: Kin) -> str:
    """A clause about an adapter whose card and configuration name different models."""
    names = {name_key(base["base"]): base for base in known}
    said = {source: [names.get(name_key(c.base)) for c in claims if c.source == source] for source in _OF_ADAPTER}
    card, configuration = (([base for base in said[source] if base is not None]) for source in _OF_ADAPTER)
    if not card or not configuration or kin.equal_among(configuration[0]["hub_id"], {b["hub_id"] for b in card}):
        return ""
    return f"; its card names {card[0]['repo_id']}, and its configuration {configuration[0]['repo_id']}"


def _quantized_from_another(
    row: Mapping[str, Any],
    base: Mapping[str, Any],
    claims: Sequence[Declaration],
    edges: Sequence[ParentEdge],
    kin: Kin,
) -> bool:
    """Whether a base is declared whose values were quantized, and the values are surely those of a model that has others."""
    if not says_quantized(claim for claim in claims if name_key(claim.base) == name_key(base["base"])):
        return False
    mine = originals(row["hub_id"], kin.parents_of(row["hub_id"], edges))
    own = {base["hub_id"], *originals(base["hub_id"], kin.possible_parents, least=0.0)}
    return bool(mine) and not any(kin.equal_among(model, own) for model in mine)


def _copies_its_ancestor(
    row: Mapping[str, Any], base: Mapping[str, Any], edges: Sequence[ParentEdge], kin: Kin
) -> bool:
    """Whether a model has the very weights from which a declared base surely comes."""
    copied = originals(row["hub_id"], kin.parents_of(row["hub_id"], edges), (Relation.COPY_OF,))
    return bool(copied) and surely_below(base["hub_id"], copied, kin.possible_parents, kin.declares)


def _on_the_way(
    row: Mapping[str, Any], ancestor: str, parents: Sequence[Mapping[str, Any]], kin: Kin
) -> tuple[str, str] | tuple[()]:
    """Names of the parent that was found and of an ancestor; nothing where no parent was."""
    if not parents or ancestor == row["hub_id"]:
        return ()
    (named,) = kin.store.read(load("names_of").text, {"models": [ancestor]})
    return parents[0]["repo_id"], named["repo_id"]


def _common_starts(row: Mapping[str, Any], found: Sequence[ParentEdge], kin: Kin) -> Iterator[tuple[str, list[str]]]:
    """The model and what it may come from, each with the models of other families that it had a start in common with.

    Args:
        found: edges to the model's parents, which the graph may not know.
    """
    yield row["hub_id"], common_start(row.get("answer_reason_values"))
    line = dict.fromkeys(edge.parent for edge in found)
    waiting = [row["hub_id"], *line]
    while waiting:
        new = [edge.parent for edge in kin.possible_parents(waiting.pop()) if edge.parent not in line]
        line |= dict.fromkeys(new)
        waiting += new
    for ancestor in line:
        for above in kin.store.read(load("answer").text, {"model": ancestor}):
            yield ancestor, common_start(above["reason_values"])


def common_start(reason_values: str | None) -> list[str]:
    """Models of other families that a reason names because its model had a start in common with them, or is a long training of one.

    reason_values: what fills its template, as the graph keeps it.
    """
    clauses = json.loads(reason_values or "{}").get("then", ())
    return [
        model
        for clause in clauses
        if clause.get("key") == COMMON_START
        for named in clause.get("models", {}).values()
        for model in ([named] if isinstance(named, str) else named)
    ]
