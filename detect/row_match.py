"""Two models whose tensors are called otherwise -> which rows of one are which rows of the other, by their values alone.

In: sketches of any two models. Out: for every sampled tensor of the one where its rows lie in the other: in one tensor or in several (fused
against separate projections), as rows or as columns (a transposed layer), in another order block by block (heads interleaved in
groups), in one of several experts. Names play no part.

A run of RUN consecutive rows is laid along all rows of the other model that are as wide, at every offset: the mean cosine along a true
place is near 1 where there is descent, and by chance it is below 5 / sqrt(RUN * width) above that of all other offsets. Runs of a tensor
are placed one by one, so nothing has to be known of how tensors were put together. Of equally good places (the experts of an upcycled
model are copies) the one that goes on where the run before ended is taken, else the first.

Dimension letters: k rows of a tensor, n rows of the other model, w values of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np

from lineage.detect.signature import FLOAT_DTYPES, Role, dotted, natural_key, output_last, role_of
from lineage.detect.sketch_file import Sample, Sketch

RUN, SHORT_RUN = 16, 8  # rows; where a table has tensors of which fewer are sampled
MOST_ROWS, MOST_TENSORS = 2048, 512  # that are looked for: of a tensor, and of a model
SHORTEST_RUN = 4
LEAST_WIDTH = 8  # values of a row that says anything
RELATED = 0.3  # mean cosine of a run above all other places
DEVIATIONS = 6.0  # of chance
EQUALLY_GOOD = 0.03  # of the mean cosine
CLEAR, DISTINCT = 0.85, 0.15  # mean cosine that is enough by itself; less has to stand out from other places by as much
STRONGEST = 4  # directions of a tensor that are left out
BACKGROUND = 8  # places from which on their median is what chance gives
MOST_COPIES = 64  # equally good places
LEAST_TENSORS, LEAST_SHARE = 3, 0.05
VECTOR_COSINE = 0.8  # of vectors, their mean taken off
KERNEL = 8  # length of an axis from which on it is none of a filter's: the tensor is a stack of matrices


@dataclass(frozen=True, slots=True)
class RowTable:
    """All sampled rows of one width of a model, in the order of its tensors.

    Attributes:
        unit: (n, w) float32, each row its mean off and of length 1; of rows without variation zeros.
        tensor: (n,) int64, place of each row's tensor in `names`.
        at: (n, 2) int64: offset of a row's first value in its sample, and the step from one of its values to the next.
    """

    names: tuple[str, ...]
    unit: np.ndarray
    tensor: np.ndarray
    at: np.ndarray

    @property
    def width(self) -> int:
        return int(self.unit.shape[1])

    @property
    def shortest(self) -> int:
        """Rows of the tensor with the fewest sampled ones."""
        return int(np.bincount(self.tensor).min(initial=RUN))


@dataclass(frozen=True, slots=True)
class RowPlaces:
    """Where the sampled rows of one tensor lie in another model.

    Attributes:
        table: width of the other model's table; place: (k,) int64, number of the row there, -1 where none is known.
        alike: (k,) mean cosine of the run that a row lies in, above that of other places; copies: the most equally good places of a run.
    """

    table: int
    place: np.ndarray
    alike: np.ndarray
    copies: int

    @property
    def known(self) -> np.ndarray:
        return np.asarray(self.place >= 0)


@dataclass(frozen=True, slots=True)
class Correspondence:
    """Tensors of one model in another. places: tensor -> where its rows lie; vectors: vector -> its name there."""

    places: Mapping[str, RowPlaces]
    vectors: Mapping[str, str] = field(default_factory=dict)
    asked_values: int = 0
    found_values: int = 0

    @property
    def share(self) -> float:
        """Of the values asked about, those that have a place."""
        return self.found_values / max(1, self.asked_values)

    @property
    def kin(self) -> bool:
        """Whether enough was found for the two models to be relatives: one tensor alone is a table that many have."""
        tensors = len(self.places) + len(self.vectors) // 2
        return bool(self.places) and tensors >= LEAST_TENSORS and self.share >= LEAST_SHARE

    @property
    def doubled(self) -> float:
        """Share of the placed tensors that are in the other model several times."""
        return sum(there.copies > 1 for there in self.places.values()) / max(1, len(self.places))


def stacked(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """(number of matrices, rows, width) of a tensor of two or more dimensions.

    Matrices may lie on one another, such as those of experts, or of experts in layers; the rows of a convolution are its filters, and
    of a `kernel` of Keras and Flax, whose filters lie last, one value of each filter.
    """
    if output_last(name, shape):
        return 1, int(np.prod(shape[:-1])), shape[-1]
    if len(shape) > 2 and min(shape[1:]) >= KERNEL:
        return int(np.prod(shape[:-2])), shape[-2], shape[-1]
    return 1, shape[0], int(np.prod(shape[1:]))


def rows_of(name: str, sample: Sample) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """((k, w) values, (k, 2) offset and step of each row) of a sampled tensor: its rows, and where the sample is whole its columns."""
    values = sample.values().astype(np.float32)
    matrices, height, width = stacked(name, sample.shape)
    if not width or sample.start % width or len(values) < width:
        return
    count = len(values) // width
    rows = values[: count * width].reshape(count, width)
    yield rows, np.stack([np.arange(count) * width, np.ones(count, int)], 1)
    if (len(sample.shape) == 2 or matrices > 1) and count == matrices * height:
        for number in range(matrices):
            part = rows[number * height : (number + 1) * height]
            yield part.T, np.stack([number * height * width + np.arange(width), np.full(width, width)], 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return _length_one(rows - rows.mean(1, keepdims=True))


def _length_one(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(
        length > 1e-6 * max(1e-6, float(length.max(initial=0))), rows / np.maximum(length, 1e-30), 0
    ).astype(np.float32)


def _strongest(unit: np.ndarray) -> np.ndarray:
    """(r, w): the strongest directions of a tensor's rows, which many of its rows share and which so do not tell them apart."""
    count = min(STRONGEST, min(unit.shape) // 8)
    if not count:
        return np.zeros((0, unit.shape[1]), np.float32)
    if unit.shape[0] <= unit.shape[1]:
        _, left = np.linalg.eigh(unit @ unit.T)
        found = left[:, -count:].T @ unit
        return _length_one(found)
    return np.linalg.eigh(unit.T @ unit)[1][:, -count:].T.astype(np.float32)


def comparable(name: str, sample: Sample) -> bool:
    """Whether a tensor's values can be kinship: no buffer, no position table, nothing that is the same in strangers."""
    role = role_of(dotted(name), sample.dtype, sample.shape)
    return (
        sample.dtype in FLOAT_DTYPES
        and role in (Role.WEIGHT, Role.EMBEDDING, Role.HEAD)
        and "position" not in name
        and len(sample.shape) > 1
    )


class RowTables:
    """The tables of a model, by width."""

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch
        found: dict[int, list[tuple[str, np.ndarray, np.ndarray]]] = {}
        for name in sorted(sketch.samples, key=natural_key):
            sample = sketch.samples[name]
            if comparable(name, sample):
                for rows, at in rows_of(name, sample):
                    if rows.shape[1] >= LEAST_WIDTH:
                        found.setdefault(rows.shape[1], []).append((name, rows, at))
        self.by_width = {
            width: RowTable(
                tuple(name for name, _, _ in parts),
                _unit(np.concatenate([rows for _, rows, _ in parts])),
                np.repeat(np.arange(len(parts)), [len(rows) for _, rows, _ in parts]),
                np.concatenate([at for _, _, at in parts]),
            )
            for width, parts in found.items()
        }


@lru_cache(maxsize=256)
def _tables_of(key: int, sketch: _BySame) -> RowTables:
    return RowTables(sketch.sketch)


class _BySame:
    """A sketch that is equal to itself alone, so that what is made of it can be remembered."""

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch

    def __hash__(self) -> int:
        return id(self.sketch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BySame) and other.sketch is self.sketch


def tables_of(sketch: Sketch) -> RowTables:
    """Tables of a model; those of the last models are remembered."""
    return _tables_of(id(sketch), _BySame(sketch))


def place_rows(rows: np.ndarray, table: RowTable, runs: Sequence[int] | None = None) -> RowPlaces:
    """
    Args:
        rows: (k, w), as they are.
        runs: numbers of the runs to be placed; None: all.
    """
    unit = _unit(rows)
    k, w = unit.shape
    place, alike = np.full(k, -1), np.zeros(k, np.float32)
    strongest = _strongest(unit)  # (r, w)
    unit = _length_one(unit - unit @ strongest.T @ strongest)
    others = _length_one(table.unit - table.unit @ strongest.T @ strongest).T  # (w, n)
    copies, after = 0, -1
    run = RUN if table.shortest >= RUN else SHORT_RUN
    for number, start in enumerate(range(0, k, run)):
        size = min(run, k - start)
        if size < SHORTEST_RUN or size > len(table.unit) or (runs is not None and number not in runs):
            after = -1
            continue
        ends = len(table.unit) - size + 1
        cosines = unit[start : start + size] @ others  # (size, n)
        sums = np.zeros(ends, np.float32)
        for i in range(size):
            sums += cosines[i, i : i + ends]
        inside = table.tensor[:ends] == table.tensor[size - 1 : size - 1 + ends]
        sums = np.where(inside, sums / size, -1)
        if not inside.any():
            continue
        excess = sums - (np.median(sums[inside]) if inside.sum() >= BACKGROUND else 0)
        best = int(excess.argmax())
        if excess[best] < max(RELATED, DEVIATIONS / (size * w) ** 0.5):
            after = -1
            continue
        good = np.flatnonzero(excess >= excess[best] - EQUALLY_GOOD)
        near = np.abs(np.arange(ends)[:, None] - good[None]).min(1) < size if len(good) <= MOST_COPIES else None
        if near is None or (excess[best] < CLEAR and excess[best] - excess[~near].max(initial=-1) < DISTINCT):
            after = -1
            continue
        chosen = after if after in good else int(good[0])
        if (place[:start] == chosen).any():  # rows of one tensor lie at places of their own
            after = -1
            continue
        copies = max(copies, len({int(table.tensor[j]) for j in np.flatnonzero(excess >= 0.6 * excess[best])}))
        place[start : start + size] = np.arange(chosen, chosen + size)
        alike[start : start + size] = excess[chosen]
        after = chosen + size
    return RowPlaces(w, place, alike, copies)


def _asked(sketch: Sketch) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (k, w) rows) of what a model's tensors can be found by."""
    step = -(-len(sketch.samples) // MOST_TENSORS)
    for name, sample in islice(sketch.samples.items(), 0, None, step):
        if comparable(name, sample):
            rows = next((rows for rows, _ in rows_of(name, sample)), None)
            if rows is not None and rows.shape[1] >= LEAST_WIDTH and len(rows) >= SHORTEST_RUN:
                yield name, rows[:MOST_ROWS]


def corresponding(sketch: Sketch, other: Sketch) -> Correspondence:
    """Where the tensors of a model lie in another one."""
    tables = tables_of(other).by_width
    places: dict[str, RowPlaces] = {}
    asked = found = 0
    for name, rows in _asked(sketch):
        asked += rows.size
        if rows.shape[1] in tables:
            there = place_rows(rows, tables[rows.shape[1]])
            if there.known.any():
                places[name] = there
                found += int(there.known.sum()) * rows.shape[1]
    return Correspondence(places, _vectors(sketch, other) if places else {}, asked, found)


def look_alike(sketch: Sketch, other: Sketch, tensors: int = 16) -> bool:
    """Whether to look for all tensors of a model in another one: whether one run of a few of them is there."""
    tables = tables_of(other).by_width
    asked = [(name, rows) for name, rows in _asked(sketch) if rows.shape[1] in tables]
    asked.sort(key=lambda item: natural_key(item[0]))
    step = max(1, len(asked) // tensors)
    for _, rows in asked[step // 2 :: step][:tensors]:
        middle = max(0, len(rows) // 2 - RUN // 2)
        if place_rows(rows[middle : middle + RUN], tables[rows.shape[1]]).known.any():
            return True
    return False


def _vectors(sketch: Sketch, other: Sketch) -> dict[str, str]:
    """Vectors -> those of the other model that are most alike, each the other's best."""
    own, its = _vectors_by_length(sketch), _vectors_by_length(other)
    found: dict[str, str] = {}
    for length in own.keys() & its.keys():
        (names, mine), (called, theirs) = own[length], its[length]
        alike = mine @ theirs.T
        best, back = alike.argmax(1), alike.argmax(0)
        for i, j in enumerate(best):
            if back[j] == i and alike[i, j] >= max(VECTOR_COSINE, DEVIATIONS / length**0.5):
                found[names[i]] = called[j]
    return found


def _vectors_by_length(sketch: Sketch) -> dict[int, tuple[list[str], np.ndarray]]:
    some: dict[int, list[tuple[str, np.ndarray]]] = {}
    for name in sorted(sketch.samples, key=natural_key):
        sample = sketch.samples[name]
        size = sample.stop - sample.start
        if (
            sample.dtype in FLOAT_DTYPES
            and role_of(name, sample.dtype, sample.shape) is Role.VECTOR
            and size >= 2 * LEAST_WIDTH
        ):
            some.setdefault(size, []).append((name, sample.values().astype(np.float32)))
    return {n: ([name for name, _ in each], _unit(np.stack([v for _, v in each]))) for n, each in some.items()}
