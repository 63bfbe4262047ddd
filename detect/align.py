"""Sketches of one signature -> aligned values: the same output units of the same tensors of every model, stacked.

Only what training made and every model has is kept; constants and running statistics are left out.
Dimension letters: m models, u units, w values a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from lineage.detect.arrays import Tensor, numpy_computes, torch
from lineage.detect.signature import FLOAT_DTYPES, Role, TensorInfo, is_depthwise, tensors_of
from lineage.detect.sketch_store import Sample, Sketch
from lineage.graphdb.schema import Failure


class NotComparable(Failure):
    """Models of which no trained tensor can be compared value by value."""


class Part(StrEnum):
    """Which questions a layer can answer."""

    BODY = "body"  # weights of two or more dimensions: all of them
    EMBEDDING = "embedding"  # rows that never occur in the data do not move: not for growth
    REST = "rest"  # heads and vectors: replaced or tuned alone; only where the body does not differ


@dataclass(frozen=True, slots=True)
class Layer:
    """The sampled units of one tensor in all models.

    Attributes:
        name: canonical name of the tensor; depth: its place in natural order, 0 to 1.
        size: values of the whole tensor, sampled or not.
        values: (m, u, w) float32; a vector is one value a unit.
    """

    name: str
    depth: float
    part: Part
    size: int
    values: Tensor

    def of(self, models: Tensor) -> Layer:
        """The same layer of some of the models; itself where it is all of them, so that large families are not copied."""
        everyone = torch.arange(len(self.values))
        if len(models) == len(everyone) and torch.equal(models.cpu(), everyone):
            return self
        return Layer(self.name, self.depth, self.part, self.size, self.values[models.to(self.values.device)])


_PARTS = {
    Role.WEIGHT: Part.BODY,
    Role.EMBEDDING: Part.EMBEDDING,
    Role.HEAD: Part.REST,
    Role.VECTOR: Part.REST,
}


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    dtype: str
    shape: tuple[int, ...]


def pick_device(wanted: str | None = None) -> torch.device:
    """The device asked for, else CUDA where there is one, else the CPU."""
    if numpy_computes():
        return torch.device("cpu")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def align(sketches: Sequence[Sketch], device: torch.device) -> list[Layer]:
    """
    Args:
        sketches: of models of one backbone, under the names within it. Of each tensor that all have, the sampled ranges that
            all share are used, and where numbers of rows differ (vocabularies, classes) the rows that all have.
    Returns:
        Layers in order of depth, at least one.
    Raises:
        NotComparable: the sketches share no trained values.
    """
    layers = []
    tensors = [t for t in describe(sketches[0]) if t.role in _PARTS]
    for index, tensor in enumerate(tensors):
        samples = [sketch.samples.get(tensor.source) for sketch in sketches]
        found = _stack(tensor, samples, device)
        if found is not None:
            depth = index / max(1, len(tensors) - 1)
            part = _PARTS[tensor.role]
            if part is Part.BODY and len({sample.shape for sample in samples if sample}) > 1:
                part = Part.REST  # a head, whatever it is called: the rows of other classes
            if part is Part.BODY and _constant(found):
                continue
            layers.append(Layer(tensor.name, depth, part, tensor.values, found))
    if not any(layer.part is Part.BODY for layer in layers):
        raise NotComparable(
            "these models share no trained weights that can be compared value by value",
            "compare models of one architecture, stored as floats",
        )
    return layers


def _constant(values: Tensor) -> bool:
    """Whether all values of all models are one number, such as the zeros of a table that is filled later."""
    first = values[0]
    return bool(first.min() == first.max()) and bool(values.min() == values.max())


def _stack(tensor: TensorInfo, samples: Sequence[Sample | None], device: torch.device) -> Tensor | None:
    """(m, u, w) float32, or None where a model lacks the tensor, has it in another shape, or no sample is shared."""
    present = [s for s in samples if s is not None and s.dtype in FLOAT_DTYPES]
    if len(present) < len(samples) or any(
        s.shape[1:] != tensor.shape[1:] or len(s.shape) != len(tensor.shape) for s in present
    ):
        return None  # what differs in rows alone is a vocabulary or classes: their shared rows count
    step = tensor.row_values
    start, stop = max(s.start for s in present), min(s.stop for s in present)
    start, stop = -(-start // step) * step, stop // step * step  # whole rows only
    if stop <= start:
        return None
    stacked = torch.stack([torch.from_numpy(s.values()[start - s.start : stop - s.start]) for s in present])
    return _units(stacked.to(device=device, dtype=torch.float32), tensor, (stop - start) // step)


def describe(sketch: Sketch) -> list[TensorInfo]:
    """The tensors that a sketch has samples of, with roles, in order of depth."""
    dtypes = {name: sample.dtype for name, sample in sketch.samples.items()}
    return [
        t
        for t in tensors_of([_Spec(n, dtypes.get(n, "F32"), s) for n, s in sketch.layout.items()])
        if t.source in dtypes
    ]


def _units(flat: Tensor, tensor: TensorInfo, rows: int) -> Tensor:
    """(m, values) -> (m, u, w): one unit is what one neuron or filter owns, wherever its axis lies."""
    if tensor.output_first:
        return flat.reshape(flat.shape[0], rows, tensor.row_values)  # (m, u, w)
    outputs = tensor.shape[-1] * (tensor.shape[-2] if is_depthwise(tensor.name, tensor.shape) else 1)
    return flat.reshape(flat.shape[0], -1, outputs).transpose(1, 2).contiguous()  # (m, u, w)


def blocks_of_units(layer: Layer, at_least_values: int = 512, at_most: int = 4) -> list[Tensor]:
    """The layer's values cut into a few groups of whole units: (m, values of the group) each."""
    models, units, width = layer.values.shape
    count = max(1, min(at_most, units * width // at_least_values, units))
    parts = torch.tensor_split(layer.values, count, dim=1)
    return [part.reshape(models, -1) for part in islice(parts, count)]
