"""A group too large for all of its pairs -> families by neighbours, decided one after the other; new models touch only some of them.

The nearest others of each model (neighbours.py) connect relatives. Connected parts are families; a part with more members than can be
decided together is divided where its members are farthest apart, and each piece is decided beside guests: the nearest outsiders of its
members, and the models that most of the whole part are nearest to, which may be its root. A guest is decided in its own family.

Vectors, neighbours and families are kept in a folder. New models are compared with the group and join the family of their nearest
relative. Only they are decided then, and the models that have another nearest neighbour since, a new one or because theirs is gone: beside
their own neighbours as guests, or with their whole family where that is no more work. All others keep their answers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from lineage.detect.neighbours import (
    NEIGHBOURS,
    REFERENCE,
    Neighbours,
    Place,
    VectorFile,
    extended,
    places_in,
    vector_of,
)
from lineage.detect.sketch_file import Sketch

FAMILY = 600  # members that are decided together at most, guests not counted
GUESTS = 48
HUBS, FEWER_HUBS = 8, 4  # of them; of few models of a family
NEAREST = 12  # others that a changed model is decided beside: near children of its own may be nearer than its parent
RELATED_DISTANCE = 2 * (1 - 0.1)  # squared distance of vectors whose cosine is that of distant relatives
GONE = -1
# share of a group's models that may be new, or gone, for what is kept of it to be of use
MOST_NEW, MOST_GONE = 0.2, 0.1
VERSION = 1

Read = Callable[[Sequence[int]], Sequence[Sketch | None]]


@dataclass(frozen=True, slots=True)
class FamilyTask:
    """members: places of models in the group, to be decided; guests: models weighed beside them."""

    members: tuple[int, ...]
    guests: tuple[int, ...]


@dataclass(slots=True)
class LargeGroup:
    """
    Attributes:
        ids: of the models, in the order of their vectors: what names a model and its weights; "" for one that is gone since.
        places: what the vectors are made of; neighbours, family: of each model; family is the number of its family, GONE of none.
    """

    ids: list[str]
    places: tuple[Place, ...]
    vectors: VectorFile
    neighbours: Neighbours
    family: list[int]

    def tasks(self, changed: frozenset[int] | None = None) -> Iterator[FamilyTask]:
        """Families to be decided. changed: places of the models that are to be decided again; None: all."""
        members: dict[int, list[int]] = {}
        for place, number in enumerate(self.family):
            if number != GONE:
                members.setdefault(number, []).append(place)
        hubs = self._hubs(members)
        for number, own in members.items():
            some = own if changed is None else [model for model in own if model in changed]
            if not some:
                continue
            chosen = hubs.get(number, ())
            guests = self._guests(some, chosen[:FEWER_HUBS], NEAREST) if len(some) < len(own) else ()
            if guests and len(some) + len(guests) < len(own):
                yield FamilyTask(tuple(some), guests)
            else:
                yield FamilyTask(tuple(own), self._guests(own, chosen, NEIGHBOURS)[:GUESTS])

    def _guests(self, own: Sequence[int], hubs: Sequence[int], count: int) -> tuple[int, ...]:
        """Hubs, and of each model's `count` nearest others first those that are the nearest of one, then the second nearest, and so on."""
        inside = {*own, -1}
        near = self.neighbours.distance[list(own), :count] < RELATED_DISTANCE
        by_rank = self.neighbours.index[list(own), :count].where(near, -1).T.tolist()
        named = (other for rank in by_rank for other, _ in Counter(rank).most_common())
        return tuple(dict.fromkeys(other for other in (*hubs, *named) if other not in inside))

    def _hubs(self, members: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
        """Family -> the models that most models of the families connected with it are nearest to."""
        nearest, distance = self.neighbours.index[:, 0].tolist(), self.neighbours.distance[:, 0].tolist()
        above = {number: number for number in members}

        def first(number: int) -> int:
            while above[number] != number:
                above[number] = above[above[number]]
                number = above[number]
            return number

        for row, (near, apart) in enumerate(zip(nearest, distance, strict=True)):
            if near >= 0 and apart < RELATED_DISTANCE:
                above[first(self.family[row])] = first(self.family[near])
        named: dict[int, Counter[int]] = {}
        for near, apart in zip(nearest, distance, strict=True):
            if near >= 0 and apart < RELATED_DISTANCE:
                named.setdefault(first(self.family[near]), Counter())[near] += 1
        return {
            number: [model for model, count in named.get(first(number), Counter()).most_common(HUBS) if count > 2]
            for number in members
        }

    def save(self, folder: Path) -> None:
        """Everything but the vectors, which are in their file already; the last file names the state that is whole."""
        np.savez(
            folder / "neighbours.npz",
            index=self.neighbours.index.numpy(),
            distance=self.neighbours.distance.numpy(),
            around=self.vectors.around,
        )
        places = [[p.tensor, p.shape, p.start, p.stop, p.row, p.first, p.share] for p in self.places]
        state = {"version": VERSION, "ids": self.ids, "family": self.family, "places": places}
        temporary = folder / "state.json.new"
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(folder / "state.json")


def load(folder: Path) -> LargeGroup | None:
    """What `save` kept; None where there is nothing, or nothing whole, or of another version."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if state["version"] != VERSION:
            return None
        with np.load(folder / "neighbours.npz") as kept:
            neighbours = Neighbours(torch.from_numpy(kept["index"]), torch.from_numpy(kept["distance"]))
            vectors = VectorFile(folder / "vectors.f32", kept["around"])
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
    places = tuple(Place(name, tuple(shape), *rest) for name, shape, *rest in state["places"])
    whole = len(state["ids"]) == len(state["family"]) == len(neighbours.index) == len(vectors)
    return LargeGroup(state["ids"], places, vectors, neighbours, state["family"]) if whole else None


def grouped(
    ids: Sequence[str], read: Read, folder: Path, device: torch.device, at_most: int = FAMILY, at_once: int = 256
) -> tuple[LargeGroup, frozenset[int] | None]:
    """The group with its families, from what the folder keeps where most of the group is in it, else anew.

    Args:
        ids: names of models and their weights; a model with other weights has another one.
        read: sketches of the models at some places of `ids`, under the names within their backbone; None where one cannot be read.
    Returns:
        The group, in the order in which models came into it; and the places of those that are to be decided again, None for all.
    """
    known = load(folder)
    if known is not None and _of_use(known, ids):
        return _increment(known, ids, read, folder, device, at_most, at_once)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    (folder / "vectors.f32").unlink(missing_ok=True)
    some = [s for s in read(range(0, len(ids), max(1, len(ids) // REFERENCE))) if s is not None]
    places = places_in(some)
    around = np.mean([vector_of(sketch, places) for sketch in some], 0).astype(np.float32)
    group = LargeGroup([], places, VectorFile(folder / "vectors.f32", around), Neighbours.none(0, NEIGHBOURS), [])
    _append(group, range(len(ids)), ids, read, at_once)
    group.neighbours = extended(group.neighbours, group.vectors, device)
    group.family = families(group.neighbours, at_most)
    group.save(folder)
    return group, None


def families(neighbours: Neighbours, at_most: int) -> list[int]:
    """The number of each model's family: nearest relatives first, families are joined as long as no more than `at_most` come together."""
    models = len(neighbours.index)
    rows = torch.arange(models)[:, None].expand_as(neighbours.index)
    related = (neighbours.distance < RELATED_DISTANCE) & (neighbours.index >= 0)
    distance, first, second = neighbours.distance[related], rows[related], neighbours.index[related]
    order = distance.argsort(stable=True)
    above, size = list(range(models)), [1] * models

    def head(model: int) -> int:
        while above[model] != model:
            above[model] = above[above[model]]
            model = above[model]
        return model

    for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True):
        a, b = sorted((head(a), head(b)))
        if a != b and size[a] + size[b] <= at_most:
            above[b], size[a] = a, size[a] + size[b]
    return [head(model) for model in range(models)]


def _of_use(known: LargeGroup, ids: Sequence[str]) -> bool:
    """Whether the kept group is most of this one, and most of it is still there."""
    stayed = len(set(known.ids) & set(ids))
    return len(ids) <= (1 + MOST_NEW) * stayed and len(known.ids) <= (1 + MOST_GONE) * stayed


def _append(group: LargeGroup, places: Sequence[int], ids: Sequence[str], read: Read, at_once: int) -> None:
    for start in range(0, len(places), at_once):
        some = places[start : start + at_once]
        found = [(place, sketch) for place, sketch in zip(some, read(some), strict=True) if sketch is not None]
        group.vectors.append(vector_of(sketch, group.places) for _, sketch in found)
        group.ids += [ids[place] for place, _ in found]


def _increment(
    group: LargeGroup, ids: Sequence[str], read: Read, folder: Path, device: torch.device, at_most: int, at_once: int
) -> tuple[LargeGroup, frozenset[int]]:
    before, known, now = len(group.ids), set(group.ids), set(ids)
    new = [place for place, name in enumerate(ids) if name not in known]
    leaving = [place for place, name in enumerate(group.ids) if name and name not in now]
    if not new and not leaving:
        return group, frozenset()
    old = group.neighbours.index
    (folder / "state.json").unlink(missing_ok=True)  # until all of it is written, nothing is whole
    for place in leaving:
        group.ids[place], group.family[place] = "", GONE
    _append(group, new, ids, read, at_once)
    gone = [place for place, number in enumerate(group.family) if number == GONE]
    group.neighbours = extended(group.neighbours, group.vectors, device).without(gone)
    size = Counter(group.family)
    for model in range(before, len(group.ids)):
        nearest, apart = group.neighbours.index[model].tolist(), group.neighbours.distance[model].tolist()
        joined = next(
            (
                group.family[other]
                for other, d in zip(nearest, apart, strict=True)
                if 0 <= other < model and d < RELATED_DISTANCE
            ),
            model,
        )
        joined = joined if size[joined] < 1.2 * at_most else model
        group.family.append(joined)
        size[joined] += 1
    group.save(folder)
    near_change = group.neighbours.index[:before, 0] != old[:, 0]
    changed = {*near_change.nonzero()[:, 0].tolist(), *range(before, len(group.ids))}
    return group, frozenset(changed.difference(gone))
