"""The models under a folder that one model is compared with, so that the answer about it is the one that a scan of the folder gives.

What a scan says of a model depends on those that share a backbone with it, on those of other names that have matrices of its sizes, and on
what these have in common with others in turn. Everything else under the folder is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.graphdb.schema import keys_in

if TYPE_CHECKING:
    from lineage.detect.model_input import Subject
    from lineage.reading import Reading


@dataclass(frozen=True, slots=True)
class Among:
    """
    Attributes:
        before, after: models that a scan has before and behind this one; all are behind a model that lies elsewhere.
        declared: what it claims as its base: ids of those, and names of models that lie elsewhere.
        name: what a scan calls it; None where it lies elsewhere.
    """

    before: Sequence[Subject] = ()
    after: Sequence[Subject] = ()
    declared: frozenset[str] = frozenset()
    name: str | None = None

    @property
    def others(self) -> list[Subject]:
        return [*self.before, *self.after]


def among(folder: Path, looked: Reading) -> Among:
    """What lies under a folder beside a model that was read.

    Raises:
        NoSuchModel: see scanning.read_folder.
    """
    from lineage.scanning import read_folder

    found = read_folder(folder)
    ids = {name: reading.model.hub_id for name, reading in found.readings.items()}
    order = list(ids)
    own = next((name for name, hub_id in ids.items() if hub_id == looked.model.hub_id), None)
    subjects = found.by_identity()
    near = connected(looked.subject(), [s for name, s in subjects.items() if name != own])
    place = order.index(own) if own is not None else 0
    wanted = {s.id for s in near}
    before, after = (
        [subjects[name] for name in some if name != own and ids[name] in wanted]
        for some in (order[:place], order[place:])
    )
    return Among(before, after, found.claimed_identities(looked), own)


def connected(model: Subject, others: Sequence[Subject]) -> list[Subject]:
    """Those of the others that what is said of a model may depend on, in the order given."""
    from lineage.detect.parts import part_of, parts_of
    from lineage.detect.renamed import size_words

    def marks(subject: Subject) -> set[str]:
        parts = parts_of(subject.sketch)
        sketches = [subject.sketch, *(part_of(subject.sketch, {p.backbone: ""}) for p in parts if len(parts) > 1)]
        return {*keys_in(subject.sketch.signature), *(word for sketch in sketches for word in size_words(sketch))}

    left = {place: marks(other) for place, other in enumerate(others)}
    known, chosen = marks(model), set()
    while near := {place for place, own in left.items() if own & known}:
        known = known.union(*(left.pop(place) for place in near))
        chosen |= near
    return [other for place, other in enumerate(others) if place in chosen]
