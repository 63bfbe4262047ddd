"""Between the graph and detection: the models of one architecture out of it, decisions about them into it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.architecture import (
    ArchitectureModels,
    Original,
    absent_base,
    children_of,
    declared_in,
    known_of,
    replaced_by,
    replaced_verdicts,
    subjects_of,
)
from lineage.deciding import DecisionSubject, Engine, GroupAnswer, GroupTask, NotDecided, OneByOne
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Declaration, Edge, Model, Relation, Verdict, counted, keys_in, share_key

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store
    from lineage.other_names import OtherNames

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
    engine: Engine | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Decides about the architectures in the graph and stores what was found. One architecture is in memory at a time.

    Args:
        should_stop: asked before every architecture; those not reached keep what is known of them.
        everything: also those of which nothing has changed since they were decided.
        engine: decides about the groups, here one after the other or elsewhere (on_ray.py); whatever does, this process alone writes.
        folder: where neighbours in large groups are kept for the next run; None: not kept.
    Returns:
        Counts, named as in COUNTS; seconds; and `not_decided`: a line for each group that the engine gave up, if any.
    """
    began = time.monotonic()
    count: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    work = _Work(graph, sketches, options, run_id, count, dict(graph.signatures()))
    decided = {} if everything else graph.decided()
    engine = engine or OneByOne(sketches, options, device, folder)
    failed: list[str] = []
    for tasks in (work.changed(decided), work.others()):
        for task, answer in engine.decide(_until(should_stop, tasks)):
            if isinstance(answer, NotDecided):
                logger.warning("%s", answer.message)
                failed.append(answer.message)
            else:
                work.accept(task, answer)
    work.finish()
    if options.method == PLAIN and not should_stop():
        _adapters(work, should_stop, everything)
    if failed:
        count["not_decided"] = failed
    return {**count, "seconds": round(time.monotonic() - began, 2)}


def _until(should_stop: Callable[[], bool], tasks: Iterable[GroupTask]) -> Iterator[GroupTask]:
    """Tasks until it is time to stop, which is asked before each of them is made."""
    source = iter(tasks)
    while not should_stop() and (task := next(source, None)) is not None:
        yield task


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
        said: what the groups say of models of several backbones, with the place of their task, until it is stored.
        digests: of groups whose decisions wait for other groups. made: number of tasks so far.
        held: models that wait for others, see `_hold`.
    """

    graph: Store
    sketches: SketchStore
    options: Options
    run_id: str
    count: dict[str, Any]
    sizes: Mapping[str, int]
    done: set[str] = field(default_factory=set)
    said: dict[str, list[tuple[int, DecisionSubject, Decision]]] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    heard: dict[str, set[str]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    names: OtherNames = field(init=False)
    made: int = 0
    held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        from lineage.other_names import OtherNames

        self.names = OtherNames(self.graph, self.sketches, self.options)

    def changed(self, decided: Mapping[str, str]) -> Iterator[GroupTask]:
        """Groups in which something changed since they were decided."""
        for key in list(self.sizes):
            if key in self.done:
                continue
            known = known_of(self.graph, self.sketches, key)
            digest = known.digest(self.options)
            if decided.get(key) == digest:
                self.count["without_sketch"] += len(known.without_sketch)
                self.count["architectures_unchanged"] += 1
                self.count["models_unchanged"] += len(known.models)
                continue
            yield self._task(key, known, digest)

    def others(self) -> Iterator[GroupTask]:
        """Other backbones of models that were decided about in one of theirs: only what they say of models that wait counts."""
        wanted = {
            key for hub_id in self.said for key in keys_in(str(self.models[hub_id].signature))
        } & self.sizes.keys()
        for key in sorted(wanted - self.done):
            yield self._task(key, known_of(self.graph, self.sketches, key), None)

    def _task(self, key: str, known: ArchitectureModels, digest: str | None) -> GroupTask:
        """Of one backbone; of all backbones that its models have, where all of them have the same."""
        keys = self._joint(key, known.models)
        self.done |= {*keys}
        self.made += 1
        return GroupTask(self.made, key, keys, known, digest)

    def accept(self, task: GroupTask, answer: GroupAnswer) -> None:
        """Stores what is said of models of which all groups have been heard; the rest waits."""
        known, keys, digest = task.known, task.keys, task.digest
        subjects = [model for model in known.models if model.hub_id in answer.readable]
        self.count["without_sketch"] += len(known.without_sketch) + len(known.models) - len(subjects)
        unread = [model.hub_id for model in known.models if model.hub_id not in answer.readable]
        self.bound |= known.bound | children_of(self.graph, unread)
        self.names.learn(keys, answer.sizes)
        if digest is not None:
            self.count["architectures"] += 1
            if len(subjects) == len(known.models):  # what cannot be read now is no reason not to look again
                self.digests |= dict.fromkeys(keys, digest)
        by_model: dict[str, list[tuple[int, DecisionSubject, Decision]]] = {}
        for source, decision in answer.said:
            by_model.setdefault(source.model, []).append((task.place, source, decision))
        ready = {}
        for model in subjects:
            if digest is None and model.hub_id not in self.said:
                continue
            self.models[model.hub_id] = model
            self.said.setdefault(model.hub_id, []).extend(by_model.get(model.hub_id, []))
            self.heard.setdefault(model.hub_id, set()).update(keys)
            if self._heard_all(model.hub_id):
                ready[model.hub_id] = self.said.pop(model.hub_id)
        self._hold(ready)
        self._store(ready)
        if known.replaced:
            gone = self.graph.replace_edges(known.replaced, [], replaced_verdicts(known.replaced), self.run_id)
            self.count["edges_superseded"] += gone.superseded
        self.finish()

    def _heard_all(self, hub_id: str) -> bool:
        return self.heard[hub_id] >= set(keys_in(str(self.models[hub_id].signature))) & self.sizes.keys()

    def _hold(self, ready: dict[str, list[tuple[int, DecisionSubject, Decision]]]) -> None:
        """Models with a parent that is equal to others in one part wait until the other parts of these tell which came first."""
        from lineage.detect.equal_parts import has_equals
        from lineage.detect.groups import model_of

        equal: dict[str, set[str]] = {}
        for hub_id, said in (*self.said.items(), *ready.items()):
            for _, _, decision in said:
                if has_equals(decision):
                    alike = {hub_id, model_of(str(decision.evidence["equal_to"]))}
                    for one in alike:
                        equal.setdefault(one, set()).update(alike)
        waiting = {name for name, alike in equal.items() if any(other in self.said for other in alike)}
        for hub_id in list(ready):
            if waiting.intersection(name for _, _, decision in ready[hub_id] for name in decision.named):
                self.held.add(hub_id)
                self.said[hub_id] = ready.pop(hub_id)
        if self.held and all(self._heard_all(hub_id) for hub_id in self.said):
            ready |= {hub_id: self.said.pop(hub_id) for hub_id in self.held & self.said.keys()}
            self.held.clear()

    def finish(self) -> None:
        """Keeps which groups were decided about, of those that said nothing which is not stored yet."""
        waiting = {key for hub_id in self.said for key in self.heard[hub_id]}
        for key in self.digests.keys() - waiting:
            self.graph.set_decided(key, self.digests.pop(key), self.names.sizes.get(key, ()))

    def _joint(self, key: str, models: Sequence[Model]) -> tuple[str, ...]:
        signatures = {str(model.signature) for model in models}
        keys = keys_in(signatures.pop()) if len(signatures) == 1 else (key,)
        same = key in keys and all(self.sizes.get(other) == self.sizes.get(key) for other in keys)
        return keys if same else (key,)

    def _store(self, ready: Mapping[str, list[tuple[int, DecisionSubject, Decision]]]) -> None:
        from lineage.detect.combine_decisions import combined
        from lineage.detect.decision import AnswerKind
        from lineage.detect.groups_together import together

        of_group: dict[int, list[tuple[DecisionSubject, Decision]]] = {}
        for said in ready.values():
            for place, part, decision in said:
                of_group.setdefault(place, []).append((part, decision))
        about = together([of_group[place] for place in sorted(of_group)])
        decisions = [
            combined(hub_id, about[hub_id]) for hub_id in ready if hub_id in about and hub_id not in self.bound
        ]
        decisions, others = self.names.weighed(decisions, self.models, about)
        edges, verdicts = as_edges(
            decisions,
            self.options,
            {hub_id: model.revision for hub_id, model in (self.models | others).items()},
        )
        found = self.graph.replace_edges([d.model for d in decisions], edges, verdicts, self.run_id)
        answers = [d.answer for d in decisions if d.model in ready]  # others were counted in their own groups
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
    if summary.get("not_decided"):
        text += "\n" + "\n".join(summary["not_decided"])
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
        models = (m for m in graph.models(key) if m.hub_id not in without and not replaced_by(graph, m))
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


def declared_bases(graph: Store | None, claims: Iterable[Declaration], own: str) -> frozenset[str]:
    """hub_ids of the models that claims name, and `absent_base` of those unknown to the graph. own: repo_id of who claims."""
    if graph is None:
        return frozenset()
    named = {base: graph.model(base) for base in {claim.base for claim in claims}}
    found = (model.hub_id if model is not None else absent_base(base, own) for base, model in named.items())
    return frozenset(base for base in found if base is not None)


def as_edges(
    decisions: Iterable[Decision],
    options: Options,
    revisions: Mapping[str, str | None] | None = None,
) -> tuple[list[Edge], list[Verdict]]:
    """What the graph keeps of decisions: accepted edges, ties as POSSIBLE_PARENT, and a verdict on every model, by identities alone."""
    from lineage.detect.decision import AnswerKind, parts_in
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
                    parts_in(decision.evidence),
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
