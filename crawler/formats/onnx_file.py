"""An ONNX file -> its initialisers and operators: one protocol buffer, walked field by field with short ranged reads.

Initialisers are listed, their numbers skipped. Nothing of the graph is run. Some exporters write the weights as constants, or into the
branches of a condition; these count where they hold more than the graph's own initialisers do.

Format: onnx.proto of onnx/onnx (ModelProto.graph = 7; GraphProto.node = 1, initializer = 5; TensorProto dims, data_type, name, raw_data;
AttributeProto name = 1, i = 3, t = 5, g = 6; NodeProto.metadata_props = 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from lineage.crawler.headers import LONGEST_POINTER_BYTES, refuse_pointer
from lineage.crawler.weights import WeightFile
from lineage.graphdb.schema import Failure

WINDOW_BYTES = 64 * 1024
MAX_FIELDS = 4_000_000
MAX_READS = 20_000
MAX_NAME_BYTES = 4096
MAX_RANK = 64
MAX_NESTED = 8  # graphs in branches of graphs
FEWEST_IN_CONSTANT = 16  # values of a constant that may be a weight
SCOPES = "pkg.torch.onnx.name_scopes"
_SCOPE = re.compile(r"'([^']*)'")
MAX_VARINTS = 65_536  # of a tensor whose numbers are read with the graph
DTYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 16: "BF16",
    21: "U4", 22: "I4",
}  # fmt: skip
BITS = {
    "F32": 32, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "I32": 32, "I64": 64, "BOOL": 8, "F16": 16, "F64": 64, "BF16": 16,
    "U4": 4, "I4": 4,
}  # fmt: skip


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
    """What an operator uses and makes.

    Attributes:
        settings: those of its attributes that are whole numbers.
        module: path of the module that it was exported from, "" where only its name may tell.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, int]
    module: str = ""


def read_onnx_graph(file: WeightFile) -> tuple[list[Initialiser], list[OnnxNode]]:
    """Initialisers and nodes of the graph of a model.

    Raises:
        BadOnnx: anything that is no such file, or says something impossible. LfsPointer: a text of Git in its place.
    """
    if file.size_bytes < LONGEST_POINTER_BYTES:
        refuse_pointer(file.read(0, file.size_bytes), file.name)
    walk = _Walk(file)
    top, inside = _Graph([], []), _Graph([], [])
    graphs = 0
    for number, start, stop in walk.fields(0, file.size_bytes):
        if number == 7 and start >= 0:
            graphs += 1
            _read_graph(walk, start, stop, top, inside, 0)
    if graphs != 1:
        raise BadOnnx(file.name, "it holds no graph" if not graphs else "it holds several graphs")
    initialisers = top.tensors
    if _bytes_of(inside.tensors) > _bytes_of(top.tensors):
        initialisers += {tensor.name: tensor for tensor in reversed(inside.tensors)}.values()
    nodes = [*top.nodes, *inside.nodes]
    if len({tensor.name for tensor in initialisers}) != len(initialisers):
        raise BadOnnx(file.name, "two of its tensors have one name")
    return initialisers, nodes


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is found in a graph."""

    tensors: list[Initialiser]
    nodes: list[OnnxNode]


def _read_graph(walk: _Walk, start: int, stop: int, into: _Graph, inside: _Graph, depth: int) -> None:
    """Adds what a graph holds to `into`, and to `inside` what its nodes hold: constants, and graphs of their own."""
    if depth > MAX_NESTED:
        raise BadOnnx(walk.file.name, "its graphs lie too deep in each other")
    for number, first, last in walk.fields(start, stop):
        if number == 5 and first >= 0:
            tensor = _initialiser(walk, first, last)
            if tensor is not None:
                into.tensors.append(tensor)
        elif number == 1 and first >= 0:
            into.nodes.append(_node(walk, first, last, inside, depth))


def _bytes_of(tensors: Sequence[Initialiser]) -> int:
    return sum(tensor.stop - tensor.start for tensor in tensors)


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
    if dtype not in BITS or place[1] - place[0] != -(-values * BITS[dtype] // 8):
        return None  # strings, numbers as varints, nothing at all: no weights
    return Initialiser(name, dtype, tuple(shape), file, *place)


def _node(walk: _Walk, start: int, stop: int, inside: _Graph, depth: int) -> OnnxNode:
    """A node; what it holds itself goes to `inside`."""
    inputs: list[str] = []
    outputs: list[str] = []
    settings: dict[str, int] = {}
    constants: list[Initialiser] = []
    name = operator = module = ""
    for number, first, last in walk.fields(start, stop):
        if first < 0:
            continue
        if number == 1:
            inputs.append(walk.text(first, last))
        elif number == 2:
            outputs.append(walk.text(first, last))
        elif number == 3:
            name = walk.text(first, last)
        elif number == 4:
            operator = walk.text(first, last)
        elif number == 5:
            settings |= _setting(walk, first, last, constants, inside, depth)
        elif number == 9 and not module:
            module = _module(walk, first, last)
    if operator == "Constant" and len(outputs) == 1:
        inside.tensors.extend(replace(tensor, name=outputs[0]) for tensor in constants)
    return OnnxNode(name, operator, tuple(inputs), tuple(outputs), settings, module)


def _module(walk: _Walk, start: int, stop: int) -> str:
    """The path of a module from one of an operator's notes: torch lists there the scopes that it lies in, and the operation last."""
    note = ""
    for number, first, last in walk.fields(start, stop):
        if number == 1 and first >= 0 and last - first == len(SCOPES):
            note = walk.text(first, last)
        elif number == 2 and note == SCOPES and first >= 0 and last - first <= MAX_NAME_BYTES:
            scopes = _SCOPE.findall(walk.text(first, last))
            return scopes[-2] if len(scopes) > 1 else ""
    return ""


def _setting(
    walk: _Walk, start: int, stop: int, constants: list[Initialiser], inside: _Graph, depth: int
) -> dict[str, int]:
    """An attribute that is a whole number, by its name. One that is a tensor of some size goes to `constants`, a graph to `inside`."""
    name, value = "", None
    for number, first, last in walk.fields(start, stop):
        if number == 1 and first >= 0:
            name = walk.text(first, last)
        elif number == 3 and first < 0:
            value = last
        elif number == 5 and first >= 0 and last - first >= FEWEST_IN_CONSTANT:
            tensor = _initialiser(walk, first, last)
            if tensor is not None and tensor.shape and prod(tensor.shape) >= FEWEST_IN_CONSTANT:
                constants.append(tensor)
        elif number == 6 and first >= 0:
            _read_graph(walk, first, last, inside, inside, depth + 1)
    return {} if value is None else {name: value}


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
