"""One sketch <-> the bytes of a safetensors file that holds it.

Equal sketches give equal bytes. The metadata say what was sampled (`samples`: name -> dtype, shape, start, stop), of which model
(`signature`, `total_values`, `layout`: name -> shape), and `sha256` of the values, which is checked when they are read. Sketches of
one architecture have equal headers but for that checksum, so a header is parsed once for all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from lineage.detect.decode import decode
from lineage.detect.signature import Role, dotted, role_of
from lineage.detect.sketch import SKETCH_VERSION
from lineage.graphdb.schema import WeightFacts

CHECKSUM = b'"sha256":"'
_HEX_DIGITS = 64
_QUANTIZATION = "quantisation"  # the key in a file, as the first version spelt it


@dataclass(frozen=True, slots=True)
class Sample:
    """The sampled values of one tensor.

    Attributes:
        name: canonical name of the tensor; shape: of the whole tensor.
        start, stop: element offsets of the sample, row-major.
        raw: the sampled values as they lie in the file, little-endian.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    raw: bytes = field(repr=False)

    def values(self) -> np.ndarray:
        """(stop - start,) float32, or float64 for dtypes that float32 cannot hold exactly."""
        return decode(self.raw, self.dtype)

    def first(self, count: int) -> Sample:
        """The same of its first values alone."""
        size = len(self.raw) // max(1, self.stop - self.start)
        return replace(self, stop=min(self.stop, self.start + count), raw=self.raw[: count * size])

    def common(self, other: Sample) -> tuple[int, int]:
        """Start and end of what both samples hold of one tensor, in its elements; the end is the start or less where that is nothing."""
        return max(self.start, other.start), min(self.stop, other.stop)


@dataclass(frozen=True, slots=True)
class Sketch:
    """Everything detection knows of one model's numbers.

    Attributes:
        digest: of the weight files; two models of one digest are the same bytes.
        total_values: of the whole model, so that a sketch that holds all of it is recognised.
        layout: canonical name -> shape of every tensor of the model, sampled or not. Shared between sketches: not to be changed.
        facts: what the weight files say beside their numbers; None in sketches that earlier versions wrote.
        packed: those of them that are no floats; not known of sketches of version 1.
    """

    digest: str
    signature: str
    total_values: int
    layout: Mapping[str, tuple[int, ...]]
    samples: Mapping[str, Sample]
    facts: WeightFacts | None = None
    packed: frozenset[str] = frozenset()

    @property
    def sampled_values(self) -> int:
        return sum(sample.stop - sample.start for sample in self.samples.values())

    @property
    def packs_weights(self) -> bool:
        """Whether matrices of it are no floats: quantized ones, and not counters, masks or tables of positions."""
        shapes = ((name, self.layout[name]) for name in self.packed if name in self.layout)
        return any(
            len(shape) > 1 and shape[0] > 1 and role_of(dotted(name), "U8", shape) is Role.PACKED
            for name, shape in shapes
        )


class DamagedSketch(ValueError):
    """Bytes that are not a sketch, or not the one that was written."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says but the checksum; `places`: (name, dtype, shape, start, stop, first byte, last byte)."""

    signature: str
    total_values: int
    layout: dict[str, tuple[int, ...]]
    facts: WeightFacts | None
    packed: frozenset[str]
    places: tuple[tuple[str, str, tuple[int, ...], int, int, int, int], ...]


def pack(sketch: Sketch) -> bytes:
    """The file."""
    header: dict[str, Any] = {}
    at = 0
    for name, sample in sketch.samples.items():
        header[name] = {"dtype": "U8", "shape": [len(sample.raw)], "data_offsets": [at, at + len(sample.raw)]}
        at += len(sample.raw)
    values = b"".join(sample.raw for sample in sketch.samples.values())
    samples = {n: [s.dtype, list(s.shape), s.start, s.stop] for n, s in sketch.samples.items()}
    header["__metadata__"] = {
        "version": str(SKETCH_VERSION),
        "signature": sketch.signature,
        "total_values": str(sketch.total_values),
        "layout": json.dumps({name: list(shape) for name, shape in sketch.layout.items()}),
        "samples": json.dumps(samples),
        **({} if sketch.facts is None else {"facts": _facts_text(sketch.facts)}),
        "packed": json.dumps(sorted(sketch.packed)),
        "sha256": hashlib.sha256(values).hexdigest(),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, values))


def unpack(digest: str, content: bytes | memoryview, checked: bool = False) -> Sketch:
    """
    Args:
        digest: of the model; the file itself does not say it.
        checked: the values need no check, they were checked as a part of something larger.
    Raises:
        Damaged: not a sketch, or not as it was written.
    """
    text, values = _split(content)
    header, checksum = _parsed(text)
    if checksum and not checked and hashlib.sha256(values).hexdigest() != checksum:
        raise DamagedSketch("its values are not those that were written")
    if max((last for *_, last in header.places), default=0) > len(values):
        raise DamagedSketch("it ends early")
    samples = {
        name: Sample(name, dtype, shape, start, stop, bytes(values[first:last]))
        for name, dtype, shape, start, stop, first, last in header.places
    }
    return Sketch(digest, header.signature, header.total_values, header.layout, samples, header.facts, header.packed)


def signature_in(content: bytes | memoryview) -> str:
    """The signature alone.

    Args:
        content: the file, or its beginning with the whole header.
    Raises:
        Damaged: not a sketch.
    """
    return _parsed(_split(content)[0])[0].signature


def header_bytes(beginning: bytes) -> int:
    """How many bytes of the file come before the values, from its first eight."""
    return 8 + int.from_bytes(beginning[:8], "little")


def _split(content: bytes | memoryview) -> tuple[bytes, memoryview]:
    view = memoryview(content)
    stop = header_bytes(bytes(view[:8]))
    if len(view) < 8 or stop > len(view):
        raise DamagedSketch("it ends early")
    return bytes(view[8:stop]), view[stop:]


def _parsed(text: bytes) -> tuple[_Header, str | None]:
    at = text.rfind(CHECKSUM)
    if at < 0:
        return _header(text), None
    at += len(CHECKSUM)
    return _header(text[:at] + text[at + _HEX_DIGITS :]), text[at : at + _HEX_DIGITS].decode("ascii", "replace")


@lru_cache(maxsize=128)
def _header(text: bytes) -> _Header:
    """
    Args:
        text: JSON, with an empty checksum.
    """
    try:
        found = json.loads(text)
        metadata = found.pop("__metadata__")
        places = []
        for name, (dtype, shape, start, stop) in json.loads(metadata["samples"]).items():
            first, last = found[name]["data_offsets"]
            places.append((name, str(dtype), tuple(shape), int(start), int(stop), int(first), int(last)))
        layout = {name: tuple(shape) for name, shape in json.loads(metadata["layout"]).items()}
        facts = _facts_of(metadata["signature"], metadata.get("facts"))
        packed = frozenset(map(str, json.loads(metadata.get("packed", "[]"))))
        return _Header(metadata["signature"], int(metadata["total_values"]), layout, facts, packed, tuple(places))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedSketch(f"no header of a sketch ({type(error).__name__})") from None


def _facts_text(facts: WeightFacts) -> str:
    return json.dumps({_QUANTIZATION: facts.quantization, "low_rank": facts.low_rank, "claims": facts.claims})


def _facts_of(signature: str, text: str | None) -> WeightFacts | None:
    if text is None:
        return None
    found = json.loads(text)
    claims = tuple(
        (
            str(base),
            None if relation is None else str(relation),
            str(source[0]) if source else "gguf",
        )  # as earlier versions did
        for base, relation, *source in found["claims"]
    )
    how = found[_QUANTIZATION]
    return WeightFacts(signature, None if how is None else str(how), bool(found["low_rank"]), claims)
