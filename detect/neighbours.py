"""Sketches of many models of one backbone -> the nearest others of each, exactly, by products of blocks of models.

20,000 models are 200 million pairs: too many for every measure, not for one product of matrices. So each model becomes one vector, its
sampled units centred and of length one as in signals/relatedness.py; vectors lie in a file, and blocks of them are multiplied. Squared
distances of such vectors order relatives as cosines do. A fixed point is subtracted from all vectors first, so that small distances keep
their digits in float32. New models are compared with the group, not the group with itself.

Dimension letters: m models, v values of a vector, k neighbours, b models of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lineage.detect.align import NotComparable, describe
from lineage.detect.signature import FLOAT_DTYPES, Role
from lineage.detect.sketch_file import Sketch

NEIGHBOURS = 32
WIDTH = 65_536  # values of a vector at most
BLOCK = 1024  # models on each side of a product
REFERENCE = 64  # models that say which values are looked at, and around which point
MINIMUM_UNITS = 4
DIGITS = 2.0**-6  # of two squared lengths: a distance below that has lost six bits of the eleven of tf32


@dataclass(frozen=True, slots=True)
class Place:
    """Rows of one tensor that a vector holds, at `first` of it. row: values of a row; share: squared length of the tensor's part."""

    tensor: str
    shape: tuple[int, ...]
    start: int
    stop: int
    row: int
    first: int
    share: float


def places_in(sketches: Sequence[Sketch], width: int = WIDTH) -> tuple[Place, ...]:
    """What vectors are made of: of each weight that most of some models have, the rows that all of these have, evenly over the tensors.

    Args:
        sketches: of one backbone, under the names within it.
    Raises:
        NotComparable: there are no such weights.
    """
    tensors = {t.source: t for sketch in sketches for t in describe(sketch) if t.role is Role.WEIGHT}
    found: list[tuple[str, tuple[int, ...], int, int, int, int]] = []
    for name, tensor in tensors.items():
        samples = [s.samples[name] for s in sketches if name in s.samples and s.samples[name].dtype in FLOAT_DTYPES]
        samples = [s for s in samples if s.shape == samples[0].shape]
        row = tensor.row_values
        if 2 * len(samples) < len(sketches) or row < MINIMUM_UNITS:
            continue
        start, stop = max(-(-s.start // row) * row for s in samples), min(s.stop // row * row for s in samples)
        if stop - start >= MINIMUM_UNITS * row:
            found.append((name, samples[0].shape, start, stop, row, tensor.values))
    if not found:
        raise NotComparable("these models share no weights that could be compared value by value")
    total, whole = sum(f[3] - f[2] for f in found), sum(f[5] for f in found)
    kept, first = [], 0
    for name, shape, start, stop, row, size in found:
        rows = max(MINIMUM_UNITS, int((stop - start) * min(1.0, width / total)) // row)
        stop = min(stop, start + rows * row)
        kept.append(Place(name, shape, start, stop, row, first, size / whole))
        first += stop - start
    return tuple(kept)


def vector_of(sketch: Sketch, places: Sequence[Place]) -> np.ndarray:
    """(v,) float32 of length one, zeros where the model lacks a tensor or has it in another shape."""
    found = np.zeros(places[-1].first + places[-1].stop - places[-1].start, np.float32)
    for place in places:
        sample = sketch.samples.get(place.tensor)
        if sample is None or sample.shape != place.shape or sample.start > place.start or sample.stop < place.stop:
            continue
        rows = sample.values()[place.start - sample.start : place.stop - sample.start].reshape(-1, place.row)
        rows = rows - rows.mean(1, keepdims=True, dtype=np.float64)
        length = np.sqrt(np.square(rows).sum(1, keepdims=True))
        rows = rows / np.maximum(length, 1e-30) * np.sqrt(place.share / len(rows))
        found[place.first : place.first + rows.size] = rows.reshape(-1)
    length = float(np.linalg.norm(found))
    return found / np.float32(length) if length > 0 else found


class VectorFile:
    """Vectors of models in a file, (m, v) float32 in rows, read and appended in blocks; no more than two blocks are in memory.

    Args:
        path: of the file, made if it is not there. around: (v,) what is subtracted from every vector.
    """

    def __init__(self, path: Path, around: np.ndarray):
        self.path, self.around = path, around
        self.path.touch()

    def __len__(self) -> int:
        return self.path.stat().st_size // (4 * len(self.around))

    def append(self, vectors: Iterable[np.ndarray]) -> None:
        with self.path.open("ab") as file:
            for vector in vectors:
                file.write((vector - self.around).astype(np.float32).tobytes())

    def rows(self, start: int, stop: int, device: torch.device) -> Tensor:
        """(b, v) float32."""
        wide = len(self.around)
        with self.path.open("rb") as file:
            file.seek(4 * wide * start)
            found = np.fromfile(file, np.float32, wide * (min(stop, len(self)) - start)).reshape(-1, wide)
        return torch.from_numpy(found).to(device)

    def in_turn(self, ranges: Sequence[tuple[int, int]], device: torch.device) -> Iterator[Tensor]:
        """Blocks of rows one after the other; the next one is read, and copied to the device, while one is used."""
        copies = torch.cuda.Stream(device) if device.type == "cuda" else None

        def read(start: int, stop: int) -> Tensor:
            found = self.rows(start, stop, torch.device("cpu"))
            if copies is None:
                return found
            with torch.cuda.stream(copies):
                return found.pin_memory().to(device, non_blocking=True)

        with ThreadPoolExecutor(1) as reader:
            waiting = [reader.submit(read, *ranges[0])] if ranges else []
            for place in range(len(ranges)):
                block = waiting.pop().result()
                if place + 1 < len(ranges):
                    waiting.append(reader.submit(read, *ranges[place + 1]))
                if copies is not None:
                    torch.cuda.current_stream(device).wait_stream(copies)
                    block.record_stream(torch.cuda.current_stream(device))
                yield block


def squared_distances(first: Tensor, second: Tensor, same: bool) -> Tensor:
    """(b, v), (c, v) float32 -> (b, c) float32, infinite between a model and itself where both are the `same` rows.

    On a GPU the products are made of tf32 numbers and added up in float32; a tile in which a distance is so small that this
    leaves it too few digits is made again in float32.
    """
    own = first.square().sum(1)[:, None] + second.square().sum(1)[None, :]

    def made() -> Tensor:
        apart = torch.addmm(own, first, second.T, alpha=-2).clamp_(min=0)
        return apart.fill_diagonal_(torch.inf) if same else apart

    if first.device.type != "cuda":
        return made()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        apart = made()
    finally:
        torch.set_float32_matmul_precision(before)
    return made() if bool((apart < DIGITS * own).any()) else apart


@dataclass(slots=True)
class Neighbours:
    """
    Attributes:
        index: (m, k) int64, the nearest others of each model, nearest first; -1 where there are fewer.
        distance: (m, k) float32, squared; infinite where there are fewer. 2 - distance is twice the cosine.
    """

    index: Tensor
    distance: Tensor

    @classmethod
    def none(cls, models: int, count: int) -> Neighbours:
        return cls(torch.full((models, count), -1, dtype=torch.int64), torch.full((models, count), torch.inf))

    def without(self, models: Sequence[int]) -> Neighbours:
        """The same where some models have no neighbours and are not among those of others."""
        gone = torch.zeros(len(self.index) + 1, dtype=torch.bool)  # the last one is -1
        gone[list(models)] = True
        distance = self.distance.masked_fill(gone[self.index] | gone[:-1, None], torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        return Neighbours(self.index.gather(1, order).masked_fill(distance.isinf(), -1), distance)


def nearest_of_all(
    vectors: VectorFile, device: torch.device, count: int = NEIGHBOURS, block: int = BLOCK
) -> Neighbours:
    """Every pair is computed once, and offered to both of its models."""
    return extended(Neighbours.none(0, count), vectors, device, block)


def extended(known: Neighbours, vectors: VectorFile, device: torch.device, block: int = BLOCK) -> Neighbours:
    """The neighbours after vectors were appended: the new ones are compared with all, and known models with the new ones.

    Args:
        known: of the first vectors of the file.
    """
    before, models, count = len(known.index), len(vectors), known.index.shape[1]
    added = Neighbours.none(models - before, count)
    found = Neighbours(torch.cat([known.index, added.index]), torch.cat([known.distance, added.distance]))
    for start in range(before, models, block):
        first = vectors.rows(start, start + block, device)  # (b, v)
        others = vectors.in_turn([(other, min(other + block, start)) for other in range(0, start, block)], device)
        mine = slice(start, start + len(first))
        for other in (*range(0, start, block), start):
            second = first if other == start else next(others)
            theirs = slice(other, other + len(second))
            apart = squared_distances(first, second, same=other == start)
            if other != start:
                _offer(found, theirs, apart.T, start)
            _offer(found, mine, apart, other)
    return found


def _offer(found: Neighbours, models: slice, apart: Tensor, start: int) -> None:
    """Candidates for the models of a slice: (models, b) squared distances of the models from `start` on."""
    count = found.index.shape[1]
    best = apart.topk(min(count, apart.shape[1]), largest=False)
    distance = torch.cat([found.distance[models], best.values.cpu()], 1)
    index = torch.cat([found.index[models], best.indices.cpu() + start], 1)
    index[distance.isinf()] = -1
    kept = distance.topk(count, largest=False)
    found.distance[models] = kept.values
    found.index[models] = index.gather(1, kept.indices)
