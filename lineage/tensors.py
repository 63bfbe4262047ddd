"""Models whose tensors are in memory, read like files: numpy arrays or torch tensors by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from lineage.crawler.headers import TensorHeader
from lineage.crawler.open_model import OpenModel
from lineage.crawler.weights import SpanT
from lineage.graphdb.schema import Failure, Model, Status

_NUMPY = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "BOOL": 1, "U8": 1}
_BYTES |= {"U64": 8, "U32": 4, "U16": 2}


class NotATensor(Failure):
    """A value in a dictionary of tensors that is not a tensor, or of a type that cannot be compared."""


class TensorWeights:
    """Tensors by name. Read as weight files are."""

    bases: Sequence[tuple[str, str | None, str]] = ()
    quantization: str | None = None

    def __init__(self, name: str, tensors: Mapping[str, Any]):
        self.name = name
        strangers = [key for key in tensors if not isinstance(key, str)]
        if strangers:
            raise NotATensor(f"{name}: the name of a tensor is a text, not {strangers[0]!r}", "give a state dict")
        self._raw = {key: _raw(f"{name}: {key}", value) for key, value in tensors.items()}

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """Names, types and shapes; the offsets are those within each tensor."""
        return tuple(
            TensorHeader(key, dtype, shape, key, 0, len(raw)) for key, (dtype, shape, raw) in self._raw.items()
        )

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values."""
        for block in blocks:
            dtype, _, raw = self._raw[block.tensor]
            yield block, bytes(raw[block.start * _BYTES[dtype] : block.stop * _BYTES[dtype]])

    def digest(self) -> str:
        """Of names, types, shapes and values: equal digests mean equal models."""
        found = hashlib.sha256()
        for key, (dtype, shape, raw) in sorted(self._raw.items()):
            found.update(f"{key}\0{dtype}\0{shape}\0".encode())
            found.update(raw)
        return found.hexdigest()


def open_tensors(name: str, tensors: Mapping[str, Any]) -> OpenModel:
    """
    Args:
        tensors: numpy arrays or torch tensors, on any device, by name: a state dict.
    Raises:
        NotATensor: a value is neither, or of a type that is not compared.
    """
    weights = TensorWeights(name, tensors)
    return OpenModel(Model(f"memory:{name}", name, Status.SKETCHED, weights_digest=weights.digest()), (), weights)


def _raw(name: str, value: Any) -> tuple[str, tuple[int, ...], memoryview]:
    """(dtype as safetensors spells it, shape, the bytes in row-major order, little-endian)."""
    shape = tuple(int(size) for size in getattr(value, "shape", (-1,)))
    dtype = _NUMPY.get(str(getattr(value, "dtype", "")).removeprefix("torch."))
    if dtype is None or -1 in shape:
        what = getattr(value, "dtype", type(value).__name__)
        raise NotATensor(f"{name} is {what}, not a tensor that can be compared", "give numpy arrays or torch tensors")
    if hasattr(value, "detach"):  # a torch tensor
        import torch

        if value.device.type == "meta" or value.layout is not torch.strided:
            what = "has no values (it is on the device meta)" if value.device.type == "meta" else f"is {value.layout}"
            raise NotATensor(f"{name} {what}", "give dense tensors with their values")
        flat = value.detach().cpu().contiguous().reshape(-1)
        return dtype, shape, memoryview(flat.view(torch.uint8).numpy() if flat.numel() else b"").cast("B")
    import numpy as np

    array = np.ascontiguousarray(value)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    raw: Any = array.reshape(-1).view(np.uint8) if array.size else b""
    return dtype, shape, memoryview(raw).cast("B")
