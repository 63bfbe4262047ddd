"""Between the graph and detection: the models of one architecture out of it, decisions about them into it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lineage.architecture import Known, Original, children_of, declared_in, known_of, subjects_of
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Declaration, Edge, Model, Relation, Verdict

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.packed import Claimed
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.detect.subject import Options, Subject
    from lineage.graphdb.store import Store

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
    "possible_parents",
    "architectures_unchanged",
    "models_unchanged",
)


def detect_into(
    graph: Store,
    sketches: SketchStore,
    options: Options,
    run_id: str,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    everything: bool = False,
) -> dict[str, Any]:
    """Decides about the architectures in the graph and stores what was found. One architecture is in memory at a time.

    Args:
        should_stop: asked before every architecture; those not reached keep what is known of them.
        everything: also those of which nothing has changed since they were decided.
    Returns:
        Counts, named as in COUNTS; and seconds.
    """
    began = time.monotonic()
    count = dict.fromkeys(COUNTS, 0)
    decided = {} if everything else graph.decided()
    for signature, _ in list(graph.signatures()):
        if should_stop():
            break
        known = known_of(graph, sketches, signature)
        count["without_sketch"] += len(known.without_sketch)
        digest = known.digest(options)
        if decided.get(signature) == digest:
            count["architectures_unchanged"] += 1
            count["models_unchanged"] += len(known.models)
            continue
        read = subjects_of(known.models, known.declared, sketches)
        subjects = {model: subject for model, subject in read if subject is not None}
        if subjects:
            for name, value in _detect_group(graph, sketches, subjects, known, options, run_id, device).items():
                count[name] += value
        if len(subjects) == len(known.models):  # what cannot be read now is no reason not to look again
            graph.set_decided(signature, digest)
        count["without_sketch"] += len(known.models) - len(subjects)
    return {**count, "seconds": round(time.monotonic() - began, 2)}


def _detect_group(
    graph: Store,
    sketches: SketchStore,
    subjects: Mapping[Model, Subject],
    known: Known,
    options: Options,
    run_id: str,
    device: str | None,
) -> dict[str, int]:
    from lineage.detect.align import pick_device
    from lineage.detect.decision import Answer
    from lineage.detect.methods.answers import decide_or_say

    unread = [model.hub_id for model in known.models if model not in subjects]
    bound = known.bound | children_of(graph, unread)
    decisions = decide_or_say(options.method, list(subjects.values()), options, pick_device(device))
    if options.method == PLAIN:
        decisions = _packed(decisions, subjects.values(), known if options.declared else None, sketches)
    decisions = [decision for decision in decisions if decision.model not in bound]
    edges, verdicts = as_edges(decisions, {model.hub_id: model.revision for model in subjects}, options.method)
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
        "possible_parents": found.possible,
    }


def _packed(
    decisions: Sequence[Decision], subjects: Iterable[Subject], known: Known | None, sketches: SketchStore
) -> list[Decision]:
    """The decisions, with what quantised copies claim where nothing else is known of them. known: None where claims do not count."""
    copies = {subject.id: subject for subject in subjects if subject.quantised}
    originals = known.originals if known is not None else {}
    return [
        with_claims(decision, copies[decision.model], originals.get(decision.model, ()), sketches)
        if decision.model in copies
        else decision
        for decision in decisions
    ]


def with_claims(decision: Decision, copy: Subject, originals: Sequence[Original], sketches: SketchStore) -> Decision:
    """The decision about a quantised copy, see detect/packed.py.

    Args:
        originals: models that it claims and that it was not compared with, see lineage/architecture.py.
    """
    from lineage.detect.packed import Claimed

    def claimed() -> list[Claimed]:
        samples = {sketch.digest: sketch for sketch in sketches.many(digest for *_, digest in originals if digest)}
        return [Claimed(hub_id, name, said, samples.get(digest or "")) for hub_id, name, said, digest in originals]

    return settle_packed(decision, copy.sketch, claimed)


def settle_packed(decision: Decision, copy: Sketch, claimed: Callable[[], list[Claimed]]) -> Decision:
    """The decision about a quantised copy once its claims are weighed; every road ends here.

    Args:
        claimed: makes the models that it claims, with their samples; called only where values of weights have not decided.
    """
    from lineage.detect.packed import settle, told

    return decision if told(decision) else settle(decision, copy, claimed())


def originals_claimed(graph: Store | None, copy: Subject, claims: Iterable[Declaration]) -> list[Original]:
    """Models of other architectures that a quantised copy names and that the graph knows, for a copy that it does not know."""
    said: dict[str, list[str]] = {}
    found: dict[str, Model] = {}
    for claim in claims:
        model = graph.model(claim.base) if graph is not None else None
        if model is not None and not model.quantised and model.signature != copy.sketch.signature:
            found[model.hub_id] = model
            said.setdefault(model.hub_id, []).append(claim.source)
    return [(model.hub_id, model.repo_id, tuple(said[model.hub_id]), model.weights_digest) for model in found.values()]


def found_text(summary: Mapping[str, Any]) -> str:
    """What `detect_into` did, in a line for people."""
    models, architectures = _count(summary["models"], "model"), _count(summary["architectures"], "architecture")
    roots = _count(summary["roots"], "root")
    text = (
        f"{models} of {architectures} compared: {summary['parents']} with a parent, {roots}, "
        f"{summary['undecided']} undecided\n"
        f"{summary['edges_added']} edges new, {summary['edges_verified']} as before, "
        f"{summary['edges_superseded']} superseded; {_count(summary['possible_parents'], 'possible parent')}"
    )
    if summary["architectures_unchanged"]:
        text += (
            f"\nnothing changed in {_count(summary['architectures_unchanged'], 'other architecture')} with "
            f"{_count(summary['models_unchanged'], 'model')}: what was found there stays"
        )
    if summary["without_sketch"]:
        text += f"\n{_count(summary['without_sketch'], 'model')} left out, their samples are not at this --sketches"
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def relatives_in(
    graph: Store | None, sketches: SketchStore, subject: Subject, without: Collection[str], device: Any
) -> list[Subject]:
    """Those models of the graph that are nearest to one model, of its architecture; never more than a few hundred in memory.

    Args:
        without: hub_ids of models that do not count.
    """
    from lineage.detect.pipeline import relatives_of

    best: list[Subject] = []
    waiting: list[Subject] = []
    signature = subject.sketch.signature
    if graph is not None:
        models = (model for model in graph.models(signature) if model.hub_id not in without)
        for _, other in subjects_of(models, declared_in(graph, signature), sketches, AT_ONCE):
            if other is not None:
                waiting.append(other)
            if len(waiting) == AT_ONCE:
                best, waiting = relatives_of(subject, [*best, *waiting], device), []
    return relatives_of(subject, [*best, *waiting], device)


def declared_bases(graph: Store | None, claims: Iterable[Declaration]) -> frozenset[str]:
    """hub_ids of the models that claims name, as far as the graph knows them."""
    if graph is None:
        return frozenset()
    found = (graph.model(base) for base in {claim.base for claim in claims})
    return frozenset(model.hub_id for model in found if model)


def as_edges(
    decisions: Iterable[Decision], revisions: Mapping[str, str | None] | None = None, method: str = PLAIN
) -> tuple[list[Edge], list[Verdict]]:
    """What the graph keeps of decisions: accepted edges, ties as POSSIBLE_PARENT, and a verdict on every model."""
    from lineage.detect.decision import Answer
    from lineage.detect.pipeline import METHOD_VERSION

    revisions = revisions or {}
    edges, verdicts = [], []
    for decision in decisions:
        child = decision.model
        verdicts.append(Verdict(child, decision.answer, decision.reason, decision.probability))
        if decision.answer is Answer.PARENT and decision.parent and decision.relation:
            edges += [
                Edge(
                    child,
                    parent,
                    decision.relation,
                    decision.probability,
                    method,
                    METHOD_VERSION,
                    decision.decided_by,
                    decision.evidence,
                    revisions.get(child),
                    revisions.get(parent),
                    share,
                )
                for parent, share in decision.parents
            ]
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
            if candidate.parent not in dict(decision.parents) and candidate.probability >= WORTH_STORING
        ]
    return edges, verdicts
