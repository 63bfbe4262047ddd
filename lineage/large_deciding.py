"""One group with too many models for all pairs, decided family by family (detect/large_groups.py). Samples are read as they are needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lineage.architecture import ArchitectureModels, subjects_of
from lineage.deciding import DecisionSubject, GroupAnswer, decide_subjects

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_file import Sketch
    from lineage.detect.sketch_store import SketchStore

logger = logging.getLogger(__name__)


def decide_large(
    known: ArchitectureModels,
    key: str,
    only: str | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    folder: Path | None = None,
) -> GroupAnswer:
    """
    Args:
        only: the key of the backbone that counts alone; None: all backbones of the models together.
        folder: where vectors and neighbours of large groups are kept for the next time; None: not kept.
    Returns:
        Decisions about the models of those families that had to be decided.
    """
    from lineage.detect.computing import computing, use_threads
    from lineage.detect.groups import groups_of
    from lineage.detect.large_groups import grouped
    from lineage.detect.neighbours import WIDTH

    models = known.models
    ids = [f"{model.hub_id} {model.weights_digest}" for model in models]

    def subjects_at(places: Sequence[int]) -> list[Subject | None]:
        return [subject for _, subject in subjects_of([models[i] for i in places], known.declared, sketches)]

    def read(places: Sequence[int]) -> list[Sketch | None]:
        found = subjects_at(places)
        groups = groups_of([subject for subject in found if subject is not None], only)
        inside = {m.subject.id.partition("\n")[0]: m.subject.sketch for g in groups if key in g.keys for m in g.members}
        return [inside.get(subject.id) if subject is not None else None for subject in found]

    said: list[tuple[DecisionSubject, Decision]] = []
    place_of = {name: place for place, name in enumerate(ids)}
    with TemporaryDirectory() if folder is None else nullcontext(folder / key) as kept:
        with computing((), options, device, one_of_many=True) as on:
            use_threads(len(models) ** 2 * WIDTH)
            group, touched = grouped(ids, read, Path(kept), on)
        at = [place_of[name] for name in group.ids]
        tasks = list(group.tasks(touched))
        count = len(set(group.family))
        logger.info("%d models of one backbone: %d of %d families are decided", len(at), len(tasks), count)
        for task in tasks:
            members = {models[at[place]].hub_id for place in task.members}
            wanted = [at[place] for place in (*task.members, *task.guests)]
            family = [subject for subject in subjects_at(wanted) if subject is not None]
            decided = decide_subjects(family, known, only, sketches, options, device)
            said += [pair for pair in decided if pair[0].model in members]
    return GroupAnswer(frozenset(models[place].hub_id for place in at), said)
