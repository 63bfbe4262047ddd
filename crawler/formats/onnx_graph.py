"""The weights of an ONNX file as if they lay in the safetensors files that it was exported from: names, layout and numbers.

The file is one protocol buffer, walked field by field with short ranged reads: initialisers are listed, their numbers skipped. Nothing
of the graph is run. Exporters that fold constants lose names: a linear layer's matrix is called `onnx::MatMul_123` and lies
transposed. The node that uses it still has the module's path (`/encoder/layer.0/attention/self/query/MatMul`), so the name comes back.
Eight-bit matrices with their scale and zero point are given as the numbers that they represent.

Format: onnx.proto of onnx/onnx (ModelProto.graph = 7; GraphProto.node = 1, initializer = 5; TensorProto dims, data_type, name, raw_data).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.headers import LONGEST_POINTER_BYTES, TensorHeader, refuse_pointer
from lineage.crawler.weights import SAMPLE_LIMIT_BYTES, SpanT, UnreadableWeights, WeightFile
from lineage.graphdb.schema import Failure

WINDOW_BYTES = 64 * 1024
MAX_FIELDS = 4_000_000
MAX_READS = 20_000
MAX_NAME_BYTES = 4096
MAX_RANK = 64
MAX_VARINTS = 65_536  # of a tensor whose numbers are read with the graph
DTYPES = {
    1: "F32",
    2: "U8",
    3: "I8",
    4: "U16",
    5: "I16",
    6: "I32",
    7: "I64",
    9: "BOOL",
    10: "F16",
    11: "F64",
    16: "BF16",
}
BYTES = {"F32": 4, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "I32": 4, "I64": 8, "BOOL": 1, "F16": 2, "F64": 8, "BF16": 2}
_LOST = re.compile(r"(onnx::(MatMul|Gemm)_\d+|\d+|[\w.]*MatMul_\d+)(_quantized)?")
_INTEGER: dict[str, np.dtype[Any]] = {"I8": np.dtype("i1"), "U8": np.dtype("u1"), "I32": np.dtype("<i4")}


class BadOnnx(Failure):
    """A file that is no ONNX model, or lies about what it holds."""

    exit_code = 4

    def __init__(self, file: str, why: str):
        super().__init__(f"{file}: damaged or not an ONNX file: {why}", "export the model again; nothing in it was run")
        self.file = file


@dataclass(frozen=True, slots=True)
class Initialiser:
    """One tensor of a graph. start, stop: of its bytes in `file`, which is another one where its numbers lie beside the graph; of
    `written` where they are varints, as zero points are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    start: int
    stop: int
    written: bytes | None = None


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """What an operator uses: enough to name what lost its name."""

    name: str
    operator: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Weight:
    """A tensor under the name that the exporter took it from. turned: it lies transposed; scale: of eight-bit numbers."""

    stored: Initialiser
    turned: bool
    scale: Initialiser | None = None
    zero: Initialiser | None = None


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
        """`onnx int8` where some matrices are eight-bit numbers with a scale."""
        return "onnx int8" if any(weight.scale is not None for weight in self._weights.values()) else None

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """All tensors.

        Raises:
            BadOnnx: not an ONNX file. UnreadableWeights: numbers lie in a file that is not there.
        """
        found = []
        for name, weight in self._weights.items():
            stored = weight.stored
            shape = stored.shape[::-1] if weight.turned else stored.shape
            dtype = "F32" if weight.scale is not None else stored.dtype
            found.append(TensorHeader(name, dtype, shape, stored.file, stored.start, stored.stop))
        return tuple(found)

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values; raises like `header`, and UnreadableWeights where they are too large for a sample."""
        total = 0
        for block in blocks:
            weight = self._weights[block.tensor]
            stored, size = weight.stored, BYTES[weight.stored.dtype]
            if not weight.turned and weight.scale is None:
                total += (block.stop - block.start) * size
                self._check(total)
                data = self._bytes(stored, stored.start + block.start * size, stored.start + block.stop * size)
            else:
                total += stored.stop - stored.start
                self._check(total)
                values = self._values(weight)
                data = np.ascontiguousarray(values).reshape(-1)[block.start : block.stop].tobytes()
            yield block, data

    def _check(self, total: int) -> None:
        if total > SAMPLE_LIMIT_BYTES:
            raise UnreadableWeights(
                f"a sample of it would be more than {SAMPLE_LIMIT_BYTES >> 20} MiB", "such a model cannot be compared"
            )

    def _values(self, weight: _Weight) -> np.ndarray:
        """The numbers of a matrix in the layout of its model, as the file has them or unpacked to float32."""
        stored = weight.stored
        raw = self._bytes(stored, stored.start, stored.stop)
        if weight.scale is None:
            return np.frombuffer(raw, np.dtype(f"<u{BYTES[stored.dtype]}")).reshape(stored.shape).T
        numbers = np.frombuffer(raw, _INTEGER[stored.dtype]).reshape(stored.shape).astype(np.float32)
        scale = self._column(weight.scale, numbers.shape)
        zero = self._column(weight.zero, numbers.shape) if weight.zero else np.float32(0)
        values = ((numbers - zero) * scale).astype(np.float32)
        return values.T if weight.turned else values

    def _column(self, tensor: Initialiser, shape: tuple[int, ...]) -> np.ndarray:
        """A scale or zero point, shaped so that it fits a matrix: one number, or one for each row or column."""
        raw = self._bytes(tensor, tensor.start, tensor.stop)
        kinds: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), **_INTEGER}
        if tensor.dtype not in kinds:
            raise BadOnnx(tensor.file, f"the scale {tensor.name[:80]!r} is of an odd type")
        numbers = np.frombuffer(raw, kinds[tensor.dtype]).astype(np.float32).reshape(-1)
        if len(numbers) in (1, shape[-1]):
            return numbers
        if len(numbers) == shape[0]:
            return numbers.reshape(-1, *(1,) * (len(shape) - 1))
        raise BadOnnx(tensor.file, f"the scale {tensor.name[:80]!r} fits no matrix")

    def _bytes(self, tensor: Initialiser, start: int, stop: int) -> bytes:
        if tensor.written is not None:
            return tensor.written[start:stop]
        file = self._by_name.get(PurePosixPath(tensor.file).name)
        if file is None:
            raise UnreadableWeights(f"the numbers of {tensor.name[:80]!r} lie in {tensor.file}, which is not there")
        if stop > file.size_bytes:
            raise BadOnnx(tensor.file, f"the numbers of {tensor.name[:80]!r} go beyond its end")
        return file.read(start, stop) if stop > start else b""


class Onnx(Format):
    kind = "onnx"
    suffixes = (".onnx",)
    beside = ("_data", ".data")
    folders = ("", "onnx")

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return OnnxWeights(files)


def named_weights(initialisers: Sequence[Initialiser], nodes: Sequence[OnnxNode]) -> dict[str, _Weight]:
    """Initialisers under the names of the model that was exported, each once; scales and zero points go to their matrices."""
    by_name = {tensor.name: tensor for tensor in initialisers}
    used: dict[str, OnnxNode] = {}
    for node in nodes:
        for name in node.inputs:
            used.setdefault(name, node)
    found: dict[str, _Weight] = {}
    for tensor in initialisers:
        stem = tensor.name.removesuffix("_quantized")
        scale, zero = by_name.get(stem + "_scale"), by_name.get(stem + "_zero_point")
        ends = [end for end in ("_scale", "_zero_point") if tensor.name.endswith(end)]
        if ends and tensor.name.removesuffix(ends[0]) + "_quantized" in by_name:
            continue
        packed = tensor.dtype in ("I8", "U8") and scale is not None and tensor.name != stem
        name, turned = stem if packed else tensor.name, False
        consumer = used.get(tensor.name)
        if _LOST.fullmatch(tensor.name) and consumer is not None and len(tensor.shape) == 2:
            path = consumer.name.strip("/").removesuffix("_quant")
            module, _, operator = path.rpartition("/")
            if module and operator.startswith(("MatMul", "Gemm")):
                name, turned = module.replace("/", ".") + ".weight", True
        found.setdefault(name, _Weight(tensor, turned, scale if packed else None, zero if packed else None))
    return found


def read_onnx_graph(file: WeightFile) -> tuple[list[Initialiser], list[OnnxNode]]:
    """Initialisers and nodes of the graph of a model.

    Raises:
        BadOnnx: anything that is no such file, or says something impossible. LfsPointer: a text of Git in its place.
    """
    if file.size_bytes < LONGEST_POINTER_BYTES:
        refuse_pointer(file.read(0, file.size_bytes), file.name)
    walk = _Walk(file)
    initialisers: list[Initialiser] = []
    nodes: list[OnnxNode] = []
    graphs = 0
    for number, start, stop in walk.fields(0, file.size_bytes):
        if number != 7 or start < 0:
            continue
        graphs += 1
        for inner, first, last in walk.fields(start, stop):
            if inner == 5 and first >= 0:
                tensor = _initialiser(walk, first, last)
                if tensor is not None:
                    initialisers.append(tensor)
            elif inner == 1 and first >= 0:
                nodes.append(_node(walk, first, last))
    if graphs != 1:
        raise BadOnnx(file.name, "it holds no graph" if not graphs else "it holds several graphs")
    if len({tensor.name for tensor in initialisers}) != len(initialisers):
        raise BadOnnx(file.name, "two of its tensors have one name")
    return initialisers, nodes


def _initialiser(walk: _Walk, start: int, stop: int) -> Initialiser | None:
    shape: list[int] = []
    kind, name, place, beside = 0, "", (0, 0), False
    external: dict[str, str] = {}
    varints: list[tuple[int, int]] = []
    for number, first, last in walk.fields(start, stop):
        if number == 1:
            shape += [last] if first < 0 else walk.packed(first, last)
        elif number == 2:
            kind = last
        elif number == 8 and first >= 0:
            name = walk.text(first, last)
        elif number in (4, 9) and first >= 0 and last > first:
            place = (first, last)
        elif number == 13 and first >= 0:
            pair = {n: walk.text(a, b) for n, a, b in walk.fields(first, last) if n in (1, 2) and a >= 0}
            external[pair.get(1, "")] = pair.get(2, "")
        elif number == 5:
            varints.append((first, last))
        elif number == 14:
            beside = last == 1
    if len(shape) > MAX_RANK or any(not 0 <= size < 1 << 40 for size in shape):
        raise BadOnnx(walk.file.name, f"the tensor {name[:80]!r} has an impossible shape")
    dtype = DTYPES.get(kind, f"ONNX_{kind}")
    file = walk.file.name
    if beside:
        location = external.get("location", "")
        offset, length = external.get("offset", "0"), external.get("length", "")
        if not location or "/" in location or "\\" in location or not offset.isdecimal() or not length.isdecimal():
            raise BadOnnx(walk.file.name, f"the numbers of {name[:80]!r} lie in an impossible place")
        if len(offset) > 18 or len(length) > 18:
            raise BadOnnx(walk.file.name, f"the numbers of {name[:80]!r} lie in an impossible place")
        file, place = location, (int(offset), int(offset) + int(length))
    values = 1
    for size in shape:
        values *= size
    if dtype in ("I8", "U8") and varints and values <= MAX_VARINTS and place == (0, 0):
        numbers = [n for first, last in varints for n in (walk.packed(first, last, values) if first >= 0 else [last])]
        if len(numbers) == values:
            return Initialiser(name, dtype, tuple(shape), file, 0, values, bytes(number & 0xFF for number in numbers))
    if dtype not in BYTES or place[1] - place[0] != values * BYTES[dtype]:
        return None  # strings, numbers as varints, nothing at all: no weights
    return Initialiser(name, dtype, tuple(shape), file, *place)


def _node(walk: _Walk, start: int, stop: int) -> OnnxNode:
    inputs: list[str] = []
    name = operator = ""
    for number, first, last in walk.fields(start, stop):
        if first >= 0 and number == 1:
            inputs.append(walk.text(first, last))
        elif first >= 0 and number == 3:
            name = walk.text(first, last)
        elif first >= 0 and number == 4:
            operator = walk.text(first, last)
    return OnnxNode(name, operator, tuple(inputs))


class _Walk:
    """Fields of a protocol buffer that lies in a file, by windows."""

    def __init__(self, file: WeightFile):
        self.file = file
        self._at, self._window = 0, b""
        self._reads = self._fields = 0

    def fields(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(number, first, last): the bytes of a field with a length; for a plain number first is -1 and last the number."""
        at = start
        while at < stop:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise BadOnnx(self.file.name, f"it has more than {MAX_FIELDS} fields")
            key, at = self._varint(at, stop)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise BadOnnx(self.file.name, "a field without a number")
            if kind == 0:
                value, at = self._varint(at, stop)
                yield number, -1, value
                continue
            if kind == 2:
                length, at = self._varint(at, stop)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise BadOnnx(self.file.name, f"a field of the unknown kind {kind}")
            if length > stop - at:
                raise BadOnnx(self.file.name, "a field goes beyond what holds it")
            if kind == 2:
                yield number, at, at + length
            at += length

    def packed(self, start: int, stop: int, at_most: int = MAX_RANK) -> list[int]:
        if stop - start > 10 * at_most:
            raise BadOnnx(self.file.name, "a tensor has an impossible shape")
        numbers, at = [], start
        while at < stop:
            number, at = self._varint(at, stop)
            numbers.append(number)
        return numbers

    def text(self, start: int, stop: int) -> str:
        if stop - start > MAX_NAME_BYTES:
            raise BadOnnx(self.file.name, f"a name of {stop - start} bytes")
        return self._bytes(start, stop).decode("utf-8", "replace")

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        raw = self._bytes(at, min(at + 10, stop))
        value = 0
        for i, byte in enumerate(raw):
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value, at + i + 1
        raise BadOnnx(self.file.name, "a number in it does not end")

    def _bytes(self, start: int, stop: int) -> bytes:
        if not self._at <= start <= stop <= self._at + len(self._window):
            self._reads += 1
            if self._reads > MAX_READS:
                raise BadOnnx(self.file.name, f"its description takes more than {MAX_READS} reads")
            end = min(self.file.size_bytes, max(stop, start + WINDOW_BYTES))
            self._at, self._window = start, self.file.read(start, end) if end > start else b""
        return self._window[start - self._at : stop - self._at]
