"""Between the graph and detection: the models of one architecture out of it, decisions about them into it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lineage.architecture import ArchitectureModels, Original, children_of, declared_in, known_of, replaced, subjects_of
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Declaration, Edge, Model, Relation, Verdict, counted, keys_in, share_key

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.quantized_copies import ClaimedOriginal
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)

WORTH_STORING = 0.05  # possible parents less probable than this are not kept
AT_ONCE = 256  # known models that a lookup has in memory
NEAREST = 64  # of them are weighed
COUNTS = (
    "architectures",
    "models",
    "parents",
    "roots",
    "undecided",
    "no_relatives",
    "without_sketch",
    "edges_added",
    "edges_verified",
    "edges_superseded",
    "possible_parents",
    "architectures_unchanged",
    "models_unchanged",
    "adapters",
    "adapters_with_base",
    "adapters_undecided",
    "adapters_contradicted",
    "adapters_unchanged",
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
    work = _Work(graph, sketches, options, run_id, device, count, dict(graph.signatures()))
    decided = {} if everything else graph.decided()
    for key in list(work.sizes):
        if should_stop():
            break
        if key in work.done:
            continue
        known = known_of(graph, sketches, key)
        digest = known.digest(options)
        if decided.get(key) == digest:
            count["without_sketch"] += len(known.without_sketch)
            count["architectures_unchanged"] += 1
            count["models_unchanged"] += len(known.models)
            continue
        work.decide(key, known, digest)
    for key in sorted(work.wanted() - work.done):  # other backbones of models that were decided about in one of theirs
        if should_stop():
            break
        work.decide(key, known_of(graph, sketches, key), None)
    work.finish()
    if options.method == PLAIN and not should_stop():
        _adapters(work, should_stop, everything)
    return {**count, "seconds": round(time.monotonic() - began, 2)}


def _adapters(work: _Work, should_stop: Callable[[], bool], everything: bool) -> None:
    """Decides about adapters, after the models that they may belong to."""
    from lineage.adapter_detection import decide_adapters

    found, changed = decide_adapters(work.graph, work.sketches, work.options, work.run_id, should_stop, everything)
    work.count |= found
    for name, value in {
        "edges_added": changed.added,
        "edges_verified": changed.verified,
        "edges_superseded": changed.superseded,
        "possible_parents": changed.possible,
    }.items():
        work.count[name] += value


@dataclass(slots=True)
class _Work:
    """One pass over the groups. A model of several backbones is stored when all of their groups have said something about it.

    Attributes:
        sizes: key of a backbone -> number of its models; done: keys that were decided about; count: see COUNTS.
        said: what the groups say of models of several backbones, until it is stored.
        digests: of groups whose decisions wait for other groups.
    """

    graph: Store
    sketches: SketchStore
    options: Options
    run_id: str
    device: str | None
    count: dict[str, int]
    sizes: Mapping[str, int]
    done: set[str] = field(default_factory=set)
    said: dict[str, list[tuple[Any, Decision]]] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    heard: dict[str, set[str]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def wanted(self) -> set[str]:
        """Keys of the other groups of models that wait."""
        return {key for hub_id in self.said for key in keys_in(str(self.models[hub_id].signature))} & self.sizes.keys()

    def decide(self, key: str, known: ArchitectureModels, digest: str | None) -> None:
        """About the models of one backbone; of all backbones that they have, where all of them have the same.

        Args:
            digest: None for a group in which nothing changed: only what it says of models that wait counts.
        """
        from lineage.detect.computing import computing
        from lineage.detect.groups import decide_group, groups_of
        from lineage.detect.methods.to_decisions import decide_or_say

        read = subjects_of(known.models, known.declared, self.sketches)
        subjects = {model: subject for model, subject in read if subject is not None}
        keys = self._joint(key, known.models)
        self.done |= {*keys}
        self.count["without_sketch"] += len(known.without_sketch) + len(known.models) - len(subjects)
        method = self.options.method
        threshold = self.options.threshold if method == PLAIN else None
        with computing([subject.sketch for subject in subjects.values()], self.options, self.device) as on:
            said = [
                pair
                for group in groups_of(list(subjects.values()), key if len(keys) == 1 else None)
                for pair in decide_group(group, lambda some: decide_or_say(method, some, self.options, on), threshold)
            ]
        if method == PLAIN:
            copies = {subject.id: subject for subject in subjects.values() if subject.quantized}
            claims = known if self.options.declared else None
            said = [(member, _packed(decision, copies, claims, self.sketches)) for member, decision in said]
        unread = [model.hub_id for model in known.models if model not in subjects]
        self.bound |= known.bound | children_of(self.graph, unread)
        if digest is not None:
            self.count["architectures"] += 1
            if len(subjects) == len(known.models):  # what cannot be read now is no reason not to look again
                self.digests |= dict.fromkeys(keys, digest)
        by_model: dict[str, list[tuple[Any, Decision]]] = {}
        for member, decision in said:
            by_model.setdefault(member.subject.id.partition("\n")[0], []).append((member, decision))
        ready = {}
        for model in subjects:
            if digest is None and model.hub_id not in self.said:
                continue
            self.models[model.hub_id] = model
            self.said.setdefault(model.hub_id, []).extend(by_model.get(model.hub_id, []))
            self.heard.setdefault(model.hub_id, set()).update(keys)
            if self.heard[model.hub_id] >= set(keys_in(str(model.signature))) & self.sizes.keys():
                ready[model.hub_id] = self.said.pop(model.hub_id)
        self._store(ready)
        if not self.said:
            self.finish()

    def finish(self) -> None:
        """Keeps which groups were decided about, once everything that they said is stored."""
        if not self.said:
            for key, digest in self.digests.items():
                self.graph.set_decided(key, digest)
            self.digests.clear()

    def _joint(self, key: str, models: Sequence[Model]) -> tuple[str, ...]:
        signatures = {str(model.signature) for model in models}
        keys = keys_in(signatures.pop()) if len(signatures) == 1 else (key,)
        same = key in keys and all(self.sizes.get(other) == self.sizes.get(key) for other in keys)
        return keys if same else (key,)

    def _store(self, ready: Mapping[str, list[tuple[Any, Decision]]]) -> None:
        from lineage.detect.decision import AnswerKind
        from lineage.detect.groups import put_together

        decisions = [put_together(hub_id, said) for hub_id, said in ready.items() if said and hub_id not in self.bound]
        edges, verdicts = as_edges(
            decisions,
            self.options,
            {hub_id: model.revision for hub_id, model in self.models.items()},
        )
        found = self.graph.replace_edges([d.model for d in decisions], edges, verdicts, self.run_id)
        answers = [decision.answer for decision in decisions]
        logger.info("%d models of one backbone: %d with a parent", len(answers), answers.count(AnswerKind.PARENT))
        for name, value in {
            "models": len(answers),
            "parents": answers.count(AnswerKind.PARENT),
            "roots": answers.count(AnswerKind.ROOT),
            "undecided": answers.count(AnswerKind.UNDECIDED),
            "no_relatives": answers.count(AnswerKind.NO_RELATIVES),
            "edges_added": found.added,
            "edges_verified": found.verified,
            "edges_superseded": found.superseded,
            "possible_parents": found.possible,
        }.items():
            self.count[name] += value


def _packed(
    decision: Decision, copies: Mapping[str, Subject], known: ArchitectureModels | None, sketches: SketchStore
) -> Decision:
    """A decision, with what a quantized copy claims where nothing else is known of it. known: None where claims do not count."""
    if decision.model not in copies:
        return decision
    originals = known.originals.get(decision.model, ()) if known is not None else ()
    return with_claims(decision, copies[decision.model], originals, sketches)


def with_claims(decision: Decision, copy: Subject, originals: Sequence[Original], sketches: SketchStore) -> Decision:
    """The decision about a quantized copy, see detect/quantized_copies.py.

    Args:
        originals: models that it claims and that it was not compared with, see lineage/architecture.py.
    """
    from lineage.detect.quantized_copies import ClaimedOriginal

    def claimed() -> list[ClaimedOriginal]:
        samples = {sketch.digest: sketch for sketch in sketches.many(digest for *_, digest in originals if digest)}
        return [
            ClaimedOriginal(hub_id, name, said, samples.get(digest or "")) for hub_id, name, said, digest in originals
        ]

    return settle_packed(decision, copy.sketch, claimed)


def settle_packed(decision: Decision, copy: Sketch, claimed: Callable[[], list[ClaimedOriginal]]) -> Decision:
    """The decision about a quantized copy once its claims are weighed; every road ends here.

    Args:
        claimed: makes the models that it claims, with their samples; called only where values of weights have not decided.
    """
    from lineage.detect.quantized_copies import decided_by_values, settle

    return decision if decided_by_values(decision) else settle(decision, copy, claimed())


def originals_claimed(graph: Store | None, copy: Subject, claims: Iterable[Declaration]) -> list[Original]:
    """Models of other architectures that a quantized copy names and that the graph knows, for a copy that it does not know."""
    said: dict[str, list[str]] = {}
    found: dict[str, Model] = {}
    for claim in claims:
        model = graph.model(claim.base) if graph is not None else None
        if model is not None and not model.quantized and not share_key(model.signature, copy.sketch.signature):
            found[model.hub_id] = model
            said.setdefault(model.hub_id, []).append(claim.source)
    return [(model.hub_id, model.repo_id, tuple(said[model.hub_id]), model.weights_digest) for model in found.values()]


def found_text(summary: Mapping[str, Any]) -> str:
    """What `detect_into` did, in a line for people."""
    models, architectures = counted(summary["models"], "model"), counted(summary["architectures"], "architecture")
    roots = counted(summary["roots"], "root")
    text = (
        f"{models} of {architectures} compared: {summary['parents']} with a parent, {roots}, "
        f"{summary['undecided']} undecided, {summary['no_relatives']} without known relatives\n"
        f"{summary['edges_added']} new edges, {summary['edges_verified']} confirmed, "
        f"{summary['edges_superseded']} superseded; {counted(summary['possible_parents'], 'possible parent')}"
    )
    if summary["architectures_unchanged"]:
        text += (
            f"\nnothing changed in {counted(summary['architectures_unchanged'], 'other architecture')} with "
            f"{counted(summary['models_unchanged'], 'model')}: what was found there stays"
        )
    if summary["adapters"]:
        text += (
            f"\n{counted(summary['adapters'], 'adapter')} checked: {summary['adapters_with_base']} with a base, "
            f"{summary['adapters_undecided']} undecided, {summary['adapters_contradicted']} whose declared base does not fit"
        )
    if summary["without_sketch"]:
        text += f"\n{counted(summary['without_sketch'], 'model')} left out, their samples are not at this --sketches"
    return text


def relatives_in(
    graph: Store | None, sketches: SketchStore, subject: Subject, without: Collection[str], device: str | None
) -> list[Subject]:
    """Those models of the graph that are nearest to one model, of its architecture; never more than a few hundred in memory.

    Args:
        without: hub_ids of models that do not count.
    """
    found: dict[str, Subject] = {}
    without_sample = 0
    if graph is None:
        return []
    for key in keys_in(subject.sketch.signature):
        best: list[Subject] = []
        waiting: list[Subject] = []
        models = (m for m in graph.models(key) if m.hub_id not in without and not replaced(graph, m))
        for _, other in subjects_of(models, declared_in(graph, key), sketches, AT_ONCE):
            if other is None:
                without_sample += 1
            else:
                waiting.append(other)
            if len(waiting) == AT_ONCE:
                best, waiting = nearest(subject, [*best, *waiting], key, device), []
        found |= {other.id: other for other in nearest(subject, [*best, *waiting], key, device)}
    if without_sample:
        logger.warning(
            "%s of the graph not weighed: the samples are not at this --sketches (`lineage sketches copy` brings them)",
            counted(without_sample, "model"),
        )
    return list(found.values())


def nearest(subject: Subject, others: Sequence[Subject], key: str, device: str | None) -> list[Subject]:
    """Those of the others that are nearest to a model in one of its backbones, in their order; all of them if they are few."""
    if len(others) <= NEAREST:
        return list(others)
    from lineage.detect.align import pick_device
    from lineage.detect.groups import comparable
    from lineage.detect.pipeline import relatives_of

    here, there = comparable(subject, others, key)
    chosen = {s.id.partition("\n")[0] for s in relatives_of(here, there, pick_device(device), NEAREST)}
    same = {s.id.partition("\n")[0] for s in there}
    chosen |= set([other.id for other in others if other.id not in same][:NEAREST])  # of other depths
    return [other for other in others if other.id in chosen]


def declared_bases(graph: Store | None, claims: Iterable[Declaration]) -> frozenset[str]:
    """hub_ids of the models that claims name, as far as the graph knows them."""
    if graph is None:
        return frozenset()
    found = (graph.model(base) for base in {claim.base for claim in claims})
    return frozenset(model.hub_id for model in found if model)


def as_edges(
    decisions: Iterable[Decision],
    options: Options,
    revisions: Mapping[str, str | None] | None = None,
) -> tuple[list[Edge], list[Verdict]]:
    """What the graph keeps of decisions: accepted edges, ties as POSSIBLE_PARENT, and a verdict on every model, by identities alone."""
    from lineage.detect.decision import AnswerKind
    from lineage.detect.method_version import method_version

    revisions = revisions or {}
    method, made_by = options.method, method_version(options.method, options.settings)
    edges, verdicts = [], []
    everything = [(decision, part) for decision in decisions for part in (decision, *decision.other_parts)]
    for whole, decision in everything:
        child = decision.model
        if decision is whole:
            kept = decision.reason.as_json()
            key = str(kept.pop("key"))
            verdicts.append(Verdict(child, decision.answer, key, decision.probability, kept))
        if decision.answer is AnswerKind.PARENT and decision.parent and decision.relation:
            edges += [
                Edge(
                    child,
                    parent,
                    decision.relation,
                    decision.probability,
                    method,
                    made_by,
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
                made_by,
                child_revision=revisions.get(child),
                parent_revision=revisions.get(candidate.parent),
            )
            for candidate in decision.candidates
            if candidate.parent not in dict(decision.parents)
            and candidate.probability >= WORTH_STORING
            and (decision is whole or candidate.parent not in dict(whole.parents))
        ]
    return edges, verdicts
