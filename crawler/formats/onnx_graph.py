"""The weights of an ONNX file as if they lay in the safetensors files that it was exported from: names, layout and numbers.

Exporters that fold constants lose names: a linear layer's matrix is called `onnx::MatMul_123` or `val_123` and lies transposed. The node
that uses it still has the module's path in its name (`/encoder/layer.0/attention/self/query/MatMul`) or notes, so the name comes back.
Matrices of few bits are given as the numbers that they represent (formats/onnx_packing.py). The file is read by formats/onnx_file.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.formats.onnx_builder import BuilderNames
from lineage.crawler.formats.onnx_file import BITS, BadOnnx, Initialiser, OnnxNode, read_onnx_graph
from lineage.crawler.formats.onnx_packing import LINEAR, Linear, OnnxPacked, Part, by_names, packed_by
from lineage.crawler.headers import SpanT, TensorHeader, bad_name
from lineage.crawler.weights import SAMPLE_LIMIT_BYTES, UnreadableWeights, WeightFile

_LOST = re.compile(r"onnx::(MatMul|Gemm)_\d+|(val_)?\d+|[\w.]*MatMul_\d+")
_PACKED_END = re.compile(r"(_DQ)?_(Q\d|Bnb4|quantized|quant)$")


@dataclass(frozen=True, slots=True)
class _Weight:
    """A tensor as it was before it was exported.

    Attributes:
        turned: it lies transposed; packed: how it becomes numbers.
        skipped: values of the whole tensor that come before those of this one, which may be some rows of it.
    """

    stored: Initialiser
    shape: tuple[int, ...]
    turned: bool
    packed: OnnxPacked | None = None
    skipped: int = 0


class OnnxWeights:
    """Header and ranges of one model, as crawler.weights.Weights has them.

    Args:
        files: the graph first, then files beside it that hold numbers.
    """

    def __init__(self, files: Sequence[WeightFile]):
        self.files = tuple(files)
        self._by_name = {PurePosixPath(file.name).name: file for file in files}

    @cached_property
    def _weights(self) -> dict[str, _Weight]:
        graph = self.files[0]
        initialisers, nodes = read_onnx_graph(graph)
        return named_weights(initialisers, nodes)

    @property
    def bases(self) -> tuple[tuple[str, str | None, str], ...]:
        """None: the format has no place for them."""
        return ()

    @property
    def quantization(self) -> str | None:
        """How most of the packed matrices are packed, as `onnx int8`."""
        counted = Counter(w.packed.how for w in self._weights.values() if w.packed is not None)
        return counted.most_common(1)[0][0] if counted else None

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """All tensors.

        Raises:
            BadOnnx: not an ONNX file. UnreadableWeights: numbers lie in a file that is not there.
        """
        found = []
        for name, weight in self._weights.items():
            stored = weight.stored
            if (why := bad_name(name)) is not None:
                raise BadOnnx(self.files[0].name, f"tensor {name[:80]!r} {why}")
            dtype = "F32" if weight.packed is not None else stored.dtype
            found.append(TensorHeader(name, dtype, weight.shape, stored.file, stored.start, stored.stop))
        return tuple(found)

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values; raises like `header`, and UnreadableWeights where they are too large for a sample."""
        left = SAMPLE_LIMIT_BYTES
        for block in blocks:
            weight = self._weights[block.tensor]
            start, stop = weight.skipped + block.start, weight.skipped + block.stop
            needs = self._needs(weight, start, stop)
            left -= sum(last - first for _, first, last in needs)
            if left < 0:
                raise UnreadableWeights(
                    f"a sample of it would be more than {SAMPLE_LIMIT_BYTES >> 20} MiB",
                    "such a model cannot be compared",
                )
            raw = [self._bytes(tensor, tensor.start + first, tensor.start + last) for tensor, first, last in needs]
            yield block, _values(weight, start, stop, raw)

    def _needs(self, weight: _Weight, start: int, stop: int) -> list[Part]:
        """What has to be read for values [start, stop)."""
        if weight.packed is not None:
            return weight.packed.needs(*_rows(weight, start, stop))
        size = BITS[weight.stored.dtype] // 8
        return (
            [(weight.stored, 0, weight.stored.stop - weight.stored.start)]
            if weight.turned
            else [(weight.stored, start * size, stop * size)]
        )

    def _bytes(self, tensor: Initialiser, start: int, stop: int) -> bytes:
        if tensor.written is not None:
            return tensor.written[start:stop]
        file = self._by_name.get(PurePosixPath(tensor.file).name)
        if file is None:
            raise UnreadableWeights(f"the numbers of {tensor.name[:80]!r} lie in {tensor.file}, which is not there")
        if stop > file.size_bytes:
            raise BadOnnx(tensor.file, f"the numbers of {tensor.name[:80]!r} go beyond its end")
        return file.read(start, stop) if stop > start else b""


def _rows(weight: _Weight, start: int, stop: int) -> tuple[int, int]:
    """Rows of a packed matrix that hold values [start, stop) of the model's; all of them where it lies transposed."""
    assert weight.packed is not None
    if weight.turned:
        return 0, weight.packed.shape[0]
    width = max(1, weight.packed.width)
    return start // width, -(-stop // width)


def _values(weight: _Weight, start: int, stop: int, raw: Sequence[bytes]) -> bytes:
    """Values [start, stop) in the layout of the model, as the file has them or unpacked to float32.

    Args:
        raw: what `_needs` named.
    """
    if weight.packed is not None:
        first, last = _rows(weight, start, stop)
        with np.errstate(all="ignore"):  # scales of a damaged file may be anything; NaN is refused by the sketch
            rows = weight.packed.unpack(first, last, raw)
        if not weight.turned:
            return rows.reshape(-1)[start - first * weight.packed.width :][: stop - start].astype("<f4").tobytes()
        return np.ascontiguousarray(rows.T, "<f4").reshape(-1)[start:stop].tobytes()
    if not weight.turned:
        return raw[0]
    kind = f"<u{BITS[weight.stored.dtype] // 8}"
    numbers = np.frombuffer(raw[0], kind).reshape(weight.stored.shape)
    return np.ascontiguousarray(numbers.T).reshape(-1)[start:stop].tobytes()


class Onnx(Format):
    kind = "onnx"
    suffixes = (".onnx",)
    beside = ("_data", ".data")
    folders = ("", "onnx")
    # the descriptions lie between the numbers, and most matrices have the inputs first, so that sampled units are spread over them;
    # of twelve encoders of 23 to 133 MB, one took 33 MB in 116 requests
    header_bytes = 33_000_000
    header_requests = 116

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return OnnxWeights(files)


def named_weights(initialisers: Sequence[Initialiser], nodes: Sequence[OnnxNode]) -> dict[str, _Weight]:
    """Initialisers under the names of the model that was exported, each once; scales and zero points go to their matrices."""
    by_name = {tensor.name: tensor for tensor in initialisers}
    packed, parts = _packed(by_name, nodes)
    consumers: dict[str, OnnxNode] = {}
    made_of = {
        node.outputs[0]: node.inputs[0] for node in nodes if node.operator == LINEAR and node.inputs and node.outputs
    }
    for node in nodes:
        for name in node.inputs:
            if node.operator != LINEAR:
                consumers.setdefault(made_of.get(name, name), node)
    builder = BuilderNames(initialisers, nodes)
    found: dict[str, _Weight] = {}
    for tensor in initialisers:
        if tensor.name in parts or (tensor.dtype in ("U4", "I4") and tensor.name not in packed):
            continue
        how = packed.get(tensor.name)
        name, turned = _original_name(tensor, how, consumers.get(tensor.name), builder)
        shape = how.shape if how is not None else tensor.shape
        whole = _Weight(tensor, shape[::-1] if turned else shape, turned, how)
        for part, first, last in builder.divided(name, whole.shape):
            width = int(np.prod(whole.shape[1:], dtype=object))
            rows = (last - first, *whole.shape[1:]) if whole.shape else ()
            found.setdefault(part, replace(whole, shape=rows, skipped=first * width))
    return found


def _packed(
    by_name: Mapping[str, Initialiser], nodes: Sequence[OnnxNode]
) -> tuple[dict[str, OnnxPacked], frozenset[str]]:
    """(name of the numbers -> how they become a matrix; names of scales and zero points)."""
    found: dict[str, OnnxPacked] = {}
    for node in nodes:
        matrix = packed_by(node, by_name)
        if matrix is not None:
            found.setdefault(matrix.numbers.name, matrix)
    for name, tensor in by_name.items():
        stem = name.removesuffix("_quantized")
        scale = by_name.get(stem + "_scale")
        if name not in found and stem != name and scale is not None and tensor.dtype in ("I8", "U8"):
            matrix = by_names(tensor, scale, by_name.get(stem + "_zero_point"))
            if matrix is not None:
                found[name] = matrix
    parts = {part.name for m in found.values() for part in (m.scales, m.zeros) if part is not None}
    return found, frozenset(parts - found.keys())


def _original_name(
    tensor: Initialiser, packed: OnnxPacked | None, consumer: OnnxNode | None, builder: BuilderNames
) -> tuple[str, bool]:
    """A tensor's name in the model that was exported, and whether it lies transposed."""
    name = _PACKED_END.sub("", tensor.name) if packed is not None else tensor.name
    shape = packed.shape if packed is not None else tensor.shape
    turned = len(shape) == 2 and (packed is None or isinstance(packed, Linear))
    if builder.is_linear(name):
        return builder.original(name), turned
    if consumer is not None and len(shape) == 2 and _LOST.fullmatch(name):
        module, _, operator = consumer.name.strip("/").rpartition("/")
        if consumer.module and consumer.operator in ("MatMul", "Gemm"):
            return consumer.module + ".weight", turned
        if module and operator.startswith(("MatMul", "Gemm")):
            return module.replace("/", ".") + ".weight", turned
    return builder.original(name), False
