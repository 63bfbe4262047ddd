"""ONNX files written by hand: a graph with initialisers and nodes, as exporters lay them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KINDS = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7, "float16": 10}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(field(1, size) for size in values.shape)
    kind = field(2, KINDS[values.dtype.name])
    return dims + kind + field(8, name) + field(9, np.ascontiguousarray(values).tobytes())


def four_bits(name: str, numbers: np.ndarray, signed: bool) -> bytes:
    """A tensor of numbers of four bits, two to a byte."""
    flat = numbers.reshape(-1) & 15
    dims = b"".join(field(1, size) for size in numbers.shape)
    packed = (flat[0::2] | flat[1::2] << 4).astype(np.uint8).tobytes()
    return dims + field(2, 22 if signed else 21) + field(8, name) + field(9, packed)


def node(
    name: str,
    operator: str,
    inputs: Sequence[str],
    settings: Mapping[str, int] | None = None,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    given = b"".join(field(1, one) for one in inputs) + field(2, name + "_out") + field(3, name) + field(4, operator)
    pairs = (field(1, key) + field(3, value) + field(20, 2) for key, value in (settings or {}).items())
    said = (field(1, key) + field(2, value) for key, value in (notes or {}).items())
    return given + b"".join(field(5, pair) for pair in pairs) + b"".join(field(9, note) for note in said)


def model(
    tensors: Mapping[str, np.ndarray], nodes: Sequence[tuple[Any, ...]] = (), more_tensors: Sequence[bytes] = ()
) -> bytes:
    """
    Args:
        nodes: what `node` takes, of each; more_tensors: of kinds that numpy does not have.
    """
    graph = b"".join(field(1, node(*one)) for one in nodes) + field(2, "main_graph")
    graph += b"".join(field(5, tensor(name, values)) for name, values in tensors.items())
    graph += b"".join(field(5, one) for one in more_tensors)
    return field(1, 8) + field(2, "pytorch") + field(7, graph) + field(8, field(2, 17))
