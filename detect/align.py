"""Sketches of one signature -> aligned values: the same output units of the same tensors of every model, stacked.

Only what training made and every model has is kept: weights of two or more dimensions. Heads and embeddings are left out (their
rows depend on vocabulary and classes), constants and running statistics too. Dimension letters: m models, u units, w values a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from detect.signature import Role, tensors_of
from detect.signature import Tensor as TensorInfo
from detect.sketch_store import Sketch
from graphdb.schema import Failure


class NotComparable(Failure):
    """Models of which no trained tensor can be compared value by value."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The sampled units of one tensor in all models.

    Attributes:
        name: canonical name of the tensor; depth: its place in natural order, 0 to 1.
        values: (m, u, w) float32.
    """

    name: str
    depth: float
    values: Tensor


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    dtype: str
    shape: tuple[int, ...]


def pick_device(wanted: str | None = None) -> torch.device:
    """The device asked for, else CUDA where there is one, else the CPU."""
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def align(sketches: Sequence[Sketch], device: torch.device) -> list[Layer]:
    """
    Args:
        sketches: of models that have one signature; sampled ranges may differ, their overlap is used.
    Returns:
        Layers in order of depth, at least one.
    Raises:
        NotComparable: the sketches share no trained values.
    """
    layers = []
    tensors = [t for t in describe(sketches[0]) if t.role is Role.WEIGHT]
    for index, tensor in enumerate(tensors):
        samples = [sketch.samples.get(tensor.name) for sketch in sketches]
        present = [s for s in samples if s is not None and s.shape == tensor.shape and s.dtype != "I8"]
        if len(present) < len(sketches):
            continue
        start, stop = max(s.start for s in present), min(s.stop for s in present)
        step = tensor.row_values
        start, stop = -(-start // step) * step, stop // step * step  # whole rows only
        if stop <= start:
            continue
        stacked = torch.stack([torch.from_numpy(s.values()[start - s.start : stop - s.start]) for s in present])
        units = _units(stacked.to(device=device, dtype=torch.float32), tensor, (stop - start) // step)
        if units.shape[2] > 1:
            layers.append(Layer(tensor.name, index / max(1, len(tensors) - 1), units))
    if not layers:
        raise NotComparable(
            "these models share no trained weights that can be compared value by value",
            "compare models of one architecture, stored as floats",
        )
    return layers


def describe(sketch: Sketch) -> list[TensorInfo]:
    """The tensors that a sketch has samples of, with roles, in order of depth."""
    dtypes = {name: sample.dtype for name, sample in sketch.samples.items()}
    return [
        t for t in tensors_of([_Spec(n, dtypes.get(n, "F32"), s) for n, s in sketch.layout.items()]) if t.name in dtypes
    ]


def _units(flat: Tensor, tensor: TensorInfo, rows: int) -> Tensor:
    """(m, values) -> (m, u, w): one unit is what one neuron or filter owns, wherever its axis lies."""
    if tensor.output_first:
        return flat.reshape(flat.shape[0], rows, tensor.row_values)  # (m, u, w)
    outputs = tensor.shape[-1] * (tensor.shape[-2] if tensor.name.endswith("depthwise_kernel") else 1)
    return flat.reshape(flat.shape[0], -1, outputs).transpose(1, 2).contiguous()  # (m, u, w)


def blocks_of_units(layer: Layer, at_least_values: int = 512, at_most: int = 4) -> list[Tensor]:
    """The layer's values cut into a few groups of whole units: (m, values of the group) each."""
    models, units, width = layer.values.shape
    count = max(1, min(at_most, units * width // at_least_values, units))
    parts = torch.tensor_split(layer.values, count, dim=1)
    return [part.reshape(models, -1) for part in islice(parts, count)]
