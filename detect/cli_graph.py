"""Between the graph and detection: the models of one architecture out of it, decisions about them into it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detect.methods.registry import PLAIN
from graphdb.schema import ACCEPTED, Declaration, Edge, Model, Relation, Verdict

if TYPE_CHECKING:
    from detect.decision import Decision
    from detect.pipeline import Options, Subject
    from detect.sketch_store import Sketch, SketchStore
    from graphdb.store import Store

logger = logging.getLogger(__name__)

WORTH_STORING = 0.05  # possible parents less probable than this are not kept
AT_ONCE = 256  # known models that a lookup has in memory
COUNTS = (
    "architectures",
    "models",
    "parents",
    "roots",
    "undecided",
    "without_sketch",
    "edges_added",
    "edges_verified",
    "edges_superseded",
)


@dataclass(frozen=True, slots=True)
class Group:
    """The models of one architecture.

    Attributes:
        subjects: those that can be compared.
        revisions: hub_id -> commit of each subject.
        without_sketch: hub_ids of those whose sketch is not here.
        bound: hub_ids of those that were found to come, or possibly to come, from a model that lacks now. What was found of
            them stays.
    """

    subjects: list[Subject]
    revisions: Mapping[str, str | None]
    without_sketch: tuple[str, ...]
    bound: frozenset[str]


def detect_into(
    graph: Store,
    sketches: SketchStore,
    options: Options,
    run_id: str,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Decides about every architecture in the graph and stores what was found. One architecture is in memory at a time.

    Args:
        should_stop: asked before every architecture; those not reached keep what is known of them.
    Returns:
        Counts, named as in COUNTS; and seconds.
    """
    began = time.monotonic()
    count = dict.fromkeys(COUNTS, 0)
    for signature, _ in list(graph.signatures()):
        if should_stop():
            break
        group = group_of(graph, sketches, signature)
        count["without_sketch"] += len(group.without_sketch)
        if group.subjects:
            for name, value in _detect_group(graph, group, options, run_id, device).items():
                count[name] += value
    return {**count, "seconds": round(time.monotonic() - began, 2)}


def _detect_group(graph: Store, group: Group, options: Options, run_id: str, device: str | None) -> dict[str, int]:
    from detect.align import pick_device
    from detect.decision import Answer
    from detect.methods.answers import decide_or_say

    decisions = decide_or_say(options.method, group.subjects, options, pick_device(device))
    decisions = [decision for decision in decisions if decision.model not in group.bound]
    edges, verdicts = as_edges(decisions, group.revisions, options.method)
    found = graph.replace_edges([decision.model for decision in decisions], edges, verdicts, run_id)
    answers = [decision.answer for decision in decisions]
    logger.info("%d models of one architecture: %d with a parent", len(answers), answers.count(Answer.PARENT))
    return {
        "architectures": 1,
        "models": len(answers),
        "parents": answers.count(Answer.PARENT),
        "roots": answers.count(Answer.ROOT),
        "undecided": answers.count(Answer.UNDECIDED),
        "edges_added": found.added,
        "edges_verified": found.verified,
        "edges_superseded": found.superseded,
    }


def found_text(summary: Mapping[str, Any]) -> str:
    """What `detect_into` did, in a line for people."""
    models, architectures = _count(summary["models"], "model"), _count(summary["architectures"], "architecture")
    roots = _count(summary["roots"], "root")
    text = (
        f"{models} of {architectures} compared: {summary['parents']} with a parent, {roots}, "
        f"{summary['undecided']} undecided\n"
        f"{summary['edges_added']} edges new, {summary['edges_verified']} as before, {summary['edges_superseded']} superseded"
    )
    if summary["without_sketch"]:
        text += (
            f"\n{_count(summary['without_sketch'], 'model')} left out, their samples are not in this --sketches folder"
        )
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def group_of(graph: Store, sketches: SketchStore, signature: str) -> Group:
    """All models of one architecture that the graph knows, also those that are gone from where they were."""
    from queries import load

    subjects, revisions, missing = [], {}, []
    shared: dict[str, Sketch] = {}  # copies are read once
    for model, subject in _known(graph, sketches, signature, shared):
        if subject is None:
            missing.append(model.hub_id)
            continue
        shared[subject.sketch.digest] = subject.sketch
        revisions[model.hub_id] = model.revision
        subjects.append(subject)
    absent = {row["child"] for row in graph.stream(load("absent_parents").text, {"signature": signature})}
    return Group(subjects, revisions, tuple(missing), children_of(graph, missing) | absent)


def relatives_in(
    graph: Store | None, sketches: SketchStore, subject: Subject, without: Collection[str], device: Any
) -> list[Subject]:
    """Those models of the graph that are nearest to one model, of its architecture; never more than a few hundred in memory.

    Args:
        without: hub_ids of models that do not count.
    """
    from detect.pipeline import relatives_of

    best: list[Subject] = []
    waiting: list[Subject] = []
    for model, other in _known(graph, sketches, subject.sketch.signature) if graph else ():
        if other is not None and model.hub_id not in without:
            waiting.append(other)
        if len(waiting) == AT_ONCE:
            best, waiting = relatives_of(subject, [*best, *waiting], device), []
    return relatives_of(subject, [*best, *waiting], device)


def _known(
    graph: Store, sketches: SketchStore, signature: str, at_hand: Mapping[str, Sketch] | None = None
) -> Iterator[tuple[Model, Subject | None]]:
    """Models of one architecture, in order of identity; without a subject where the sketch is not here."""
    from detect.pipeline import Subject
    from detect.sketch_store import BadSketch
    from queries import load

    declared: dict[str, set[str]] = {}
    for row in graph.stream(load("declared_pairs").text, {"signature": signature}):
        declared.setdefault(row["child"], set()).add(row["parent"])
    for model in graph.models(signature):
        digest = model.weights_digest
        if digest is None:
            continue
        try:
            sketch = (at_hand or {}).get(digest) or sketches.get(digest)
        except BadSketch as error:
            logger.info("%s: %s", model.repo_id, error.message)
            yield model, None
            continue
        claims = frozenset(declared.get(model.hub_id, ()))
        yield model, Subject(model.hub_id, sketch, model.created_at, claims, model.repo_id, model.quantised)


def declared_bases(graph: Store | None, claims: Iterable[Declaration]) -> frozenset[str]:
    """hub_ids of the models that claims name, as far as the graph knows them."""
    if graph is None:
        return frozenset()
    found = (graph.model(base) for base in {claim.base for claim in claims})
    return frozenset(model.hub_id for model in found if model)


def children_of(graph: Store, parents: Iterable[str]) -> frozenset[str]:
    """hub_ids of the models whose parent, or possible parent, is one of these."""
    from queries import load

    models = list(parents)
    if not models:
        return frozenset()
    kinds = [str(kind) for kind in (*ACCEPTED, Relation.POSSIBLE_PARENT)]
    params = {"models": models, "kinds": kinds, "min_probability": 0.0}
    return frozenset(row["hub_id"] for row in graph.read(load("children").text, params))


def as_edges(
    decisions: Iterable[Decision], revisions: Mapping[str, str | None] | None = None, method: str = PLAIN
) -> tuple[list[Edge], list[Verdict]]:
    """What the graph keeps of decisions: accepted edges, ties as POSSIBLE_PARENT, and a verdict on every model."""
    from detect.decision import Answer
    from detect.pipeline import METHOD_VERSION

    revisions = revisions or {}
    edges, verdicts = [], []
    for decision in decisions:
        child = decision.model
        verdicts.append(Verdict(child, decision.answer, decision.reason, decision.probability))
        if decision.answer is Answer.PARENT and decision.parent and decision.relation:
            edges.append(
                Edge(
                    child,
                    decision.parent,
                    decision.relation,
                    decision.probability,
                    method,
                    METHOD_VERSION,
                    decision.decided_by,
                    decision.evidence,
                    revisions.get(child),
                    revisions.get(decision.parent),
                )
            )
        edges += [
            Edge(
                child,
                candidate.parent,
                Relation.POSSIBLE_PARENT,
                candidate.probability,
                method,
                METHOD_VERSION,
                child_revision=revisions.get(child),
                parent_revision=revisions.get(candidate.parent),
            )
            for candidate in decision.candidates
            if candidate.parent != decision.parent and candidate.probability >= WORTH_STORING
        ]
    return edges, verdicts
