"""Reports gathered: of models, from the graph or worked out now; of a folder, by scanning it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import Model, share_key
from lineage.pages.folding import FoldedFamily, fold
from lineage.pages.graph_relatives import GraphRelatives
from lineage.pages.graph_source import edges_above, members
from lineage.pages.layers import LayerRow, layers_of
from lineage.pages.members import Brood, EdgeFacts, Member, Relatives
from lineage.pages.sheet import FamilyView, Licence, Sheet, compared, doubts_about, licence_rows, sheet_of
from lineage.queries.licences import judge
from lineage.report.contents import Report, command_line

if TYPE_CHECKING:
    from lineage.answer import Answer
    from lineage.answering import Question
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.graphdb.store import Store

FITTING, SHOWN = 120, 40  # as in report/html.py: models drawn, children of one model
DIGEST = re.compile(r"[0-9a-f]{64}")
PICTURED = 80  # edges whose layers are computed


@dataclass(frozen=True, slots=True)
class RelativesAndOne(Relatives):
    """The relatives of a graph and one model that is not in it."""

    source: Relatives
    member: Member
    edges: tuple[EdgeFacts, ...]

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        return {**self.source.facts(ids), **({self.member.id: self.member} if self.member.id in ids else {})}

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        own = list(self.edges) if self.member.id in ids else []
        return own + list(self.source.parents([i for i in ids if i != self.member.id]))

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        return self.source.children({i: n for i, n in shown.items() if i != self.member.id})


class NoRelatives(Relatives):
    """Where there is no graph yet."""

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        return {}

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        return []

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        return {}


def report_of_models(questions: Sequence[Question], graph: Store | None, source: str) -> Report:
    """
    Args:
        questions: one a model, as `who-is-parent` asks. source: the store, for the provenance.
    Raises:
        Failure: a model does not exist, or cannot be read.
    """
    from lineage.detect.sketch_store import SketchStore

    sheets = tuple(sheet_of_question(question, graph) for question in questions)
    facts: dict[str, Member] = {}
    for sheet in sheets:
        facts |= sheet.facts
    shown = {i for sheet in sheets for i in sheet.folded.ids}
    edges = {(e.child, e.parent, e.relation): e for e in (edges_above(graph, shown) if graph else [])}
    edges |= {(e.child, e.parent, e.relation): e for sheet in sheets for e in (*sheet.parents, *sheet.possible)}
    asked = {sheet.id for sheet in sheets}
    drawn = [
        e for e in edges.values() if (e.accepted and {e.child, e.parent} <= shown) or (e.possible and e.child in asked)
    ]
    ordered = sorted(drawn, key=lambda e: (e.child not in asked, -(e.probability or 0.0), facts[e.child].name))
    layers = layers_between(ordered[:PICTURED], facts, SketchStore(questions[0].sketches))
    title = f"Lineage of {sheets[0].member.name}" if len(sheets) == 1 else f"Lineage of {len(sheets)} models"
    return Report(title, datetime.now(UTC), command_line(), source, sheets, None, tuple(ordered), layers)


def sheet_of_question(question: Question, graph: Store | None) -> Sheet:
    """The page of one model, from the graph, or worked out now.

    Raises:
        Failure: it does not exist, or cannot be read.
    """
    from lineage.answering import answer_now, answer_stored

    found = answer_stored(question, graph) or answer_now(question, graph)
    if found.failure:
        raise found.failure
    if graph is not None and found.stored:
        return sheet_of(graph, found.answer.model.hub_id, FamilyView(fitting=FITTING, shown=SHOWN))
    return sheet_of_answer(found.answer, graph)


def sheet_of_answer(answer: Answer, graph: Store | None) -> Sheet:
    """The page of a model that is not in the graph, from the answer that was just worked out."""
    model = answer.model
    parents, possible = edges_of_answer(answer)
    agreement = answer.agreement
    member = Member(
        id=model.hub_id,
        name=model.repo_id,
        answer=answer.answer,
        probability=answer.probability,
        reason=answer.reason,
        claims=answer.declared,
        outcome=str(agreement.agreement) if agreement and agreement.agreement else None,
        outcome_reason=agreement.reason if agreement else None,
        answered_at=answer.as_of,
        **_known(model),
    )
    source: Relatives = (
        RelativesAndOne(GraphRelatives(graph), member, parents) if graph else RelativesAndOne(NoRelatives(), member, ())
    )
    folded: FoldedFamily = fold(source, member.id, fitting=FITTING, shown=SHOWN)
    wanted = {*folded.ids, *(edge.parent for edge in (*parents, *possible))} - {member.id}
    facts = compared(graph, members(graph, wanted)) if graph else {}
    for other in (*answer.parents, *answer.runners_up):  # such as a base that an adapter names by its path
        facts.setdefault(other.hub_id, Member(other.hub_id, other.repo_id))
    facts[member.id] = member
    licences = [Licence(member.id, 0, member.license, "own", "the model's own")]
    if graph and parents and graph.model(parents[0].parent) is not None:
        licences += [
            replace(link, depth=link.depth + 1, outcome=outcome, reason=reason)
            for link in licence_rows(graph, parents[0].parent)
            for outcome, reason in [judge(member.license, link.license)]
        ]
        facts |= compared(graph, members(graph, {link.id for link in licences} - set(facts)))
    doubts = [
        "It is not in the graph: the answer was worked out when this report was made.",
        *doubts_about(member, parents, possible, facts),
    ]
    return Sheet(member.id, facts, parents, possible, folded, tuple(licences), (), (), tuple(doubts))


def edges_of_answer(answer: Answer) -> tuple[tuple[EdgeFacts, ...], tuple[EdgeFacts, ...]]:
    """The accepted and the possible parents of an answer."""
    child = answer.model.hub_id
    parents = [
        EdgeFacts(
            child,
            parent.hub_id,
            parent.relation,
            parent.probability,
            tuple(answer.decided_by),
            answer.method,
            answer.method_version,
            share=parent.share,
            evidence=answer.evidence,
            last_verified_at=answer.as_of,
        )
        for parent in answer.parents
    ]
    possible = [EdgeFacts(child, c.hub_id, c.relation, c.probability) for c in answer.runners_up]
    return tuple(parents), tuple(possible)


def _known(model: Model) -> dict[str, Any]:
    return {
        "status": str(model.status),
        "status_reason": model.reason,
        "revision": model.revision,
        "digest": model.weights_digest,
        "license": model.license,
        "library": model.library,
        "architecture": model.signature,
        "created_at": model.created_at,
        "downloads": model.downloads,
    }


def layers_between(
    edges: Iterable[EdgeFacts], facts: Mapping[str, Member], sketches: SketchStore
) -> dict[tuple[str, str], tuple[LayerRow, ...]]:
    """The change of each edge layer by layer, as far as the samples of both ends are at hand."""
    chosen = list(edges)
    up = {edge.child: edge.parent for edge in reversed(chosen) if edge.accepted}
    digests = {facts[i].digest for edge in chosen for i in (edge.child, edge.parent) if i in facts}
    wanted = sorted(digest for digest in digests if digest and DIGEST.fullmatch(digest))
    by_digest = {sketch.digest: sketch for sketch in sketches.many(wanted)}
    held = {i: by_digest[member.digest] for i, member in facts.items() if member.digest in by_digest}
    return layers_of_sketches(chosen, held, up)


def layers_of_sketches(
    edges: Iterable[EdgeFacts], sketches: Mapping[str, Sketch], up: Mapping[str, str]
) -> dict[tuple[str, str], tuple[LayerRow, ...]]:
    """
    Args:
        sketches: id -> sample. up: child -> parent, to find the parent's own parent.
    """
    from lineage.detect.align import NotComparable
    from lineage.detect.explain import pair_layers

    found = {}
    for edge in edges:
        child, parent = sketches.get(edge.child), sketches.get(edge.parent)
        if child is None or parent is None or not share_key(child.signature, parent.signature):
            continue
        before = sketches.get(up.get(edge.parent, ""))
        since = before if before is not None and share_key(before.signature, parent.signature) else None
        try:
            found[edge.child, edge.parent] = layers_of(pair_layers(child, parent, since))
        except NotComparable:
            continue
    return found


def report_of_folder(folder: Path, options: Any, device: str | None, track: Any) -> Report:
    """
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from lineage.detect.report import as_json, ties
    from lineage.pages.scan_source import scanned
    from lineage.report.folder import cards_under
    from lineage.scanning import scan_with_samples
    from lineage.verify.claim_samples import SampledClaims

    scan, sketches = scan_with_samples(folder, options, device, track)
    found = scanned(as_json(scan), cards_under(folder), ties(scan), SampledClaims(sketches))
    up = {edge.child: edge.parent for edge in reversed(found.edges)}
    edges = [edge for edge in (*found.edges, *found.possible) if edge.parent in found.members]
    layers = layers_of_sketches(edges[:PICTURED], sketches, up)
    title = f"Lineage of the models in {folder.name or folder}"
    return Report(title, datetime.now(UTC), command_line(), str(folder), (), found, tuple(edges), layers)
