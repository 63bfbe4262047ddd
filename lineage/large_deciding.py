"""One group with too many models for all pairs, decided family by family (detect/large_groups.py). Samples are read as they are needed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lineage.architecture import ArchitectureModels, subjects_of
from lineage.deciding import DecisionSubject, GroupAnswer, decide_subjects, sizes_of

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_file import Sketch
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.schema import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LargeFamily:
    """members: hub_ids of the models to be decided; known: what the graph knows of them and of their guests."""

    members: frozenset[str]
    known: ArchitectureModels


@dataclass(frozen=True, slots=True)
class DividedGroup:
    """readable: hub_ids of the models whose sample could be read; families: those that are to be decided; sizes: see `GroupAnswer`."""

    readable: frozenset[str]
    families: Sequence[LargeFamily]
    sizes: tuple[str, ...] = ()


def decide_large(
    known: ArchitectureModels,
    key: str,
    only: str | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    folder: Path | None = None,
) -> GroupAnswer:
    """Decisions about the models of those families that have to be decided; see `divided`. Families are decided side by side, one thread
    each: most of them are short work."""
    from lineage.detect.align import pick_device
    from lineage.detect.side_by_side import side_by_side

    found = divided(known, key, only, sketches, options, device, folder)
    on = pick_device(device).type  # an accelerator has one family at a time
    said = side_by_side(lambda family: decide_family(family, only, sketches, options, device), found.families, on)
    return GroupAnswer(found.readable, [pair for pairs in said for pair in pairs], found.sizes)


def divided(
    known: ArchitectureModels,
    key: str,
    only: str | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    folder: Path | None = None,
) -> DividedGroup:
    """
    Args:
        only: the key of the backbone that counts alone; None: all backbones of the models together.
        folder: where vectors and neighbours of large groups are kept for the next time; None: not kept.
    """
    from lineage.detect.computing import computing, use_threads
    from lineage.detect.groups import groups_of
    from lineage.detect.large_groups import grouped
    from lineage.detect.neighbours import WIDTH

    models = known.models
    ids = [f"{model.hub_id} {model.weights_digest}" for model in models]

    def read(places: Sequence[int]) -> list[Sketch | None]:
        found = _subjects([models[place] for place in places], known.declared, sketches)
        groups = groups_of([subject for subject in found if subject is not None], only)
        inside = {m.subject.id.partition("\n")[0]: m.subject.sketch for g in groups if key in g.keys for m in g.members}
        return [inside.get(subject.id) if subject is not None else None for subject in found]

    with (
        TemporaryDirectory() if folder is None else nullcontext(folder / key) as kept,
        computing((), options, device, one_of_many=True) as on,
    ):
        use_threads(len(models) ** 2 * WIDTH)
        group, changed = grouped(ids, read, Path(kept), on)
    place_of = {name: place for place, name in enumerate(ids)}
    at = {place: place_of[name] for place, name in enumerate(group.ids) if name}
    families = []
    for task in group.tasks(changed):
        some = [models[at[place]] for place in (*task.members, *task.guests)]
        families.append(LargeFamily(frozenset(models[at[place]].hub_id for place in task.members), _only(known, some)))
    decided, count = sum(len(family.members) for family in families), len({group.family[place] for place in at})
    logger.info(
        "%d models of one backbone: %d are decided, in %d of %d families", len(at), decided, len(families), count
    )
    first = [subject for subject in _subjects(models[:1], known.declared, sketches) if subject is not None]
    return DividedGroup(frozenset(models[place].hub_id for place in at.values()), families, sizes_of(first))


def decide_family(
    family: LargeFamily, only: str | None, sketches: SketchStore, options: Options, device: str | None = None
) -> list[tuple[DecisionSubject, Decision]]:
    """What is decided about its members, beside its guests."""
    found = _subjects(family.known.models, family.known.declared, sketches)
    subjects = [replace(subject, guest=subject.id not in family.members) for subject in found if subject is not None]
    said = decide_subjects(subjects, family.known, only, sketches, options, device)
    return [pair for pair in said if pair[0].model in family.members]


def _subjects(
    models: Sequence[Model], declared: Mapping[str, frozenset[str]], sketches: SketchStore
) -> list[Subject | None]:
    return [subject for _, subject in subjects_of(models, declared, sketches)]


def _only(known: ArchitectureModels, models: Sequence[Model]) -> ArchitectureModels:
    """What is known of some of the models."""
    names = [model.hub_id for model in models]
    declared = {name: known.declared[name] for name in names if name in known.declared}
    originals = {name: known.originals[name] for name in names if name in known.originals}
    return ArchitectureModels(models, declared, (), frozenset(), originals)
