"""One task of detection: the models of one group, decided here or on another machine, and never written here.

A task is what the graph knows of the group and where the samples are; its answer is decisions without samples. So tasks go anywhere that
reaches the samples, and who asked for them stays the only writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lineage.architecture import ArchitectureModels, Original, subjects_of
from lineage.detect.methods.registry import PLAIN

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.packed_claims import ClaimedOriginal
    from lineage.detect.sketch_store import Sketch, SketchStore


LARGE_GROUP = (
    4000  # models from which on a group is decided family by family: all pairs of more would not fit into memory
)


@dataclass(frozen=True, slots=True)
class GroupTask:
    """
    Attributes:
        place: its number in the order in which tasks were made.
        key: of the backbone; keys: of all backbones that are decided together.
        known: what the graph knows of its models.
        digest: of everything that the decision depends on; None for a group in which nothing changed.
    """

    place: int
    key: str
    keys: tuple[str, ...]
    known: ArchitectureModels
    digest: str | None

    @property
    def name(self) -> str:
        """What the group is called in messages: its first models."""
        names = [model.repo_id for model in self.known.models[:2]]
        return f"{' and '.join(names) or 'no models'}{', …' if len(self.known.models) > 2 else ''} ({self.key})"


@dataclass(frozen=True, slots=True)
class DecisionSubject:
    """The subject of a decision. parts: paths of parts of the model, "" for all of it; values: their number; keys: of its backbones."""

    model: str
    parts: tuple[str, ...]
    values: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """readable: hub_ids of the models whose sample could be read; sizes: of matrices, by which models of other names are looked for."""

    readable: frozenset[str]
    said: Sequence[tuple[DecisionSubject, Decision]]
    sizes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotDecided:
    """A group that was given up, in one line; nothing about it is stored, and the next run tries it again."""

    message: str


class Engine(Protocol):
    """Decides about groups, in whatever order."""

    def decide(self, tasks: Iterable[GroupTask]) -> Iterator[tuple[GroupTask, GroupAnswer | NotDecided]]: ...


@dataclass(frozen=True, slots=True)
class OneByOne:
    """In this process, one group after the other. folder: see `decide_models`."""

    sketches: SketchStore
    options: Options
    device: str | None = None
    folder: Path | None = None

    def decide(self, tasks: Iterable[GroupTask]) -> Iterator[tuple[GroupTask, GroupAnswer | NotDecided]]:
        for task in tasks:
            answer = decide_models(
                task.known, task.key, task.keys, self.sketches, self.options, self.device, self.folder
            )
            yield task, answer


def decide_models(
    known: ArchitectureModels,
    key: str,
    keys: Sequence[str],
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    folder: Path | None = None,
) -> GroupAnswer:
    """About the models of one backbone; of all backbones that they have, where `keys` are several.

    Args:
        folder: where neighbours in large groups are kept for the next time; None: not kept.
    """
    only = key if len(keys) == 1 else None
    if options.method == PLAIN and len(known.models) >= LARGE_GROUP:
        from lineage.large_deciding import decide_large

        return decide_large(known, key, only, sketches, options, device, folder)
    read = subjects_of(known.models, known.declared, sketches)
    subjects = [subject for _, subject in read if subject is not None]
    said = decide_subjects(subjects, known, only, sketches, options, device)
    return GroupAnswer(frozenset(subject.id for subject in subjects), said, sizes_of(subjects))


def sizes_of(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """Sizes that the models of a group have in common, see detect/renamed.py."""
    from lineage.detect.renamed import size_words

    return size_words(subjects[0].sketch) if subjects else ()


def decide_subjects(
    subjects: Sequence[Subject],
    known: ArchitectureModels,
    only: str | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
) -> list[tuple[DecisionSubject, Decision]]:
    """What the groups of some models say of each.

    Args:
        only: the key of the backbone that counts alone; None: all that they have.
    """
    from lineage.detect.computing import computing
    from lineage.detect.group_decisions import decide_group
    from lineage.detect.groups import groups_of
    from lineage.detect.methods.to_decisions import decide_or_say

    method = options.method
    threshold = options.threshold if method == PLAIN else None
    with computing([subject.sketch for subject in subjects], options, device, one_of_many=True) as on:
        said = [
            pair
            for group in groups_of(subjects, only)
            for pair in decide_group(group, lambda some: decide_or_say(method, some, options, on), threshold)
        ]
    if method == PLAIN:
        copies = {subject.id: subject for subject in subjects if subject.quantized}
        claims = known if options.declared else None
        said = [(member, _packed(decision, copies, claims, sketches)) for member, decision in said]
    return [(DecisionSubject(m.model, m.parts, m.values, m.keys), decision) for m, decision in said]


def _packed(
    decision: Decision, copies: Mapping[str, Subject], known: ArchitectureModels | None, sketches: SketchStore
) -> Decision:
    """A decision, with what a quantized copy claims where nothing else is known of it. known: None where claims do not count."""
    if decision.model not in copies:
        return decision
    originals = known.originals.get(decision.model, ()) if known is not None else ()
    return with_claims(decision, copies[decision.model], originals, sketches)


def with_claims(decision: Decision, copy: Subject, originals: Sequence[Original], sketches: SketchStore) -> Decision:
    """The decision about a quantized copy, see detect/packed_claims.py.

    Args:
        originals: models that it claims and that it was not compared with, see lineage/architecture.py.
    """
    from lineage.detect.packed_claims import ClaimedOriginal

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
    from lineage.detect.packed_claims import decided_by_values, settle

    return decision if decided_by_values(decision) else settle(decision, copy, claimed())
