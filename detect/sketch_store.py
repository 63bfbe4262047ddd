"""Sketches on disk: one safetensors file per distinct set of weights, named by its digest.

Files are written whole and renamed into place, never changed, so a crash leaves none half written, any number of processes may
read while one writes, and a folder can be copied or merged with another by copying files. Raw dtypes are kept: equality of bits is
evidence. Layout: `FOLDER/<first two digits>/<weights digest>.v<sketch version>.safetensors`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from detect.decode import DTYPE_BYTES, decode
from detect.signature import TensorSpec, signature_of, tensors_of
from detect.sketch import BUDGET_VALUES, SKETCH_VERSION, Block, plan
from graphdb.schema import Failure


class NotFinite(Failure):
    """A model whose values hold NaN or infinity cannot be compared."""

    exit_code = 4

    def __init__(self, tensor: str):
        super().__init__(
            f"tensor {tensor!r} holds NaN or infinite values",
            "such a model cannot be compared; check that its training or conversion went well",
        )
        self.tensor = tensor


class BadSketch(Failure):
    """A sketch file that is damaged or of another version."""


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


@dataclass(frozen=True, slots=True)
class Sketch:
    """Everything detection knows of one model's numbers.

    Attributes:
        digest: of the weight files; two models of one digest are the same bytes.
        total_values: of the whole model, so that a sketch that holds all of it is recognised.
        layout: canonical name -> shape of every tensor of the model, sampled or not.
    """

    digest: str
    signature: str
    total_values: int
    layout: dict[str, tuple[int, ...]]
    samples: dict[str, Sample]

    @property
    def sampled_values(self) -> int:
        return sum(sample.stop - sample.start for sample in self.samples.values())


def make_sketch(digest: str, header: Sequence[TensorSpec], blocks: Iterable[tuple[Block, bytes]]) -> Sketch:
    """Sketch of one model from the bytes read at its planned positions.

    Raises:
        NotFinite: a sampled value is NaN or infinite.
        BadSketch: a block's bytes are not as many as its values need.
    """
    tensors = {tensor.source: tensor for tensor in tensors_of(header)}
    samples = {}
    for block, raw in blocks:
        tensor = tensors[block.tensor]
        if len(raw) != (block.stop - block.start) * DTYPE_BYTES[tensor.dtype]:
            raise BadSketch(
                f"{block.tensor}: {len(raw)} bytes read where {block.stop - block.start} {tensor.dtype} values were planned"
            )
        sample = Sample(tensor.name, tensor.dtype, tensor.shape, block.start, block.stop, bytes(raw))
        if not np.isfinite(sample.values()).all():
            raise NotFinite(block.tensor)
        samples[tensor.name] = sample
    layout = {tensor.name: tensor.shape for tensor in tensors.values()}
    return Sketch(digest, signature_of(header), sum(t.values for t in tensors.values()), layout, samples)


class SketchStore:
    """A folder of sketches. Cheap to make: nothing is opened before it is asked for."""

    def __init__(self, folder: Path, budget_values: int = BUDGET_VALUES):
        self.folder = folder
        self.budget_values = budget_values

    def signature_of(self, header: Sequence[TensorSpec]) -> str:
        return signature_of(header)

    def plan(self, header: Sequence[TensorSpec]) -> list[Block]:
        return plan(header, self.budget_values)

    def signature_if_known(self, weights_digest: str) -> str | None:
        """Signature of the stored sketch with this digest; None if there is none that can be read."""
        path = self._path(weights_digest)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="np") as file:
                return (file.metadata() or {}).get("signature")
        except (SafetensorError, OSError):
            return None  # damaged: it is simply read and written again

    def put(self, weights_digest: str, header: Sequence[TensorSpec], blocks: Iterable[tuple[Block, bytes]]) -> str:
        """Make a sketch and keep it, on disk when this returns.

        Returns:
            The model's signature.
        Raises:
            NotFinite, BadSketch: see `make_sketch`; nothing is kept then.
        """
        sketch = make_sketch(weights_digest, header, blocks)
        self.keep(sketch)
        return sketch.signature

    def keep(self, sketch: Sketch) -> None:
        path = self._path(sketch.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.frombuffer(sample.raw, np.uint8) for name, sample in sketch.samples.items()}
        samples = {n: [s.dtype, list(s.shape), s.start, s.stop] for n, s in sketch.samples.items()}
        metadata = {
            "version": str(SKETCH_VERSION),
            "signature": sketch.signature,
            "total_values": str(sketch.total_values),
            "layout": json.dumps({name: list(shape) for name, shape in sketch.layout.items()}),
            "samples": json.dumps(samples),
        }
        content = save(tensors, metadata)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def get(self, weights_digest: str) -> Sketch:
        """
        Raises:
            BadSketch: there is none with this digest, or its file is damaged.
        """
        path = self._path(weights_digest)
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                samples = {
                    name: Sample(name, dtype, tuple(shape), start, stop, file.get_tensor(name).tobytes())
                    for name, (dtype, shape, start, stop) in json.loads(metadata["samples"]).items()
                }
                layout = {name: tuple(shape) for name, shape in json.loads(metadata["layout"]).items()}
                return Sketch(weights_digest, metadata["signature"], int(metadata["total_values"]), layout, samples)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise BadSketch(
                f"no readable sketch {weights_digest[:12]}… under {self.folder}: {error}",
                "crawl the model again: `lineage crawl --repos FILE`",
            ) from error

    def _path(self, digest: str) -> Path:
        if not digest or not all(c in "0123456789abcdef" for c in digest):
            raise BadSketch(f"not a digest: {digest!r}")
        return self.folder / digest[:2] / f"{digest}.v{SKETCH_VERSION}.safetensors"
