"""A model's sketch under another one's names: fused projections taken apart, transposed layers turned, of copied experts one taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lineage.detect.backbone import is_adapter
from lineage.detect.decode import DTYPE_BYTES
from lineage.detect.row_match import Correspondence, RowPlaces, tables_of
from lineage.detect.sketch_file import Sample, Sketch


def translated(sketch: Sketch, names: Sketch, found: Correspondence) -> Sketch:
    """A model's sketch under another one's names.

    Args:
        names: the other model; found: where its tensors lie in the first.
    """
    samples: dict[str, Sample] = {}
    for name, there in found.places.items():
        sample = _taken(names.samples[name], sketch, there)
        if sample is not None:
            samples[name] = sample
    for name, other in found.vectors.items():
        own, its = names.samples[name], sketch.samples[other]
        samples[name] = replace(own, dtype=its.dtype, raw=its.raw)
    adapters = {name: shape for name, shape in sketch.layout.items() if is_adapter(name)}
    layout = {**names.layout, **adapters}
    return replace(sketch, signature=names.signature, layout=layout, samples=samples, packed=frozenset())


def _taken(own: Sample, sketch: Sketch, there: RowPlaces) -> Sample | None:
    """The rows of one tensor out of another model: the longest run of those that have a place."""
    table = tables_of(sketch).by_width[there.table]
    start, stop = _longest(there.known)
    rows = there.place[start:stop]
    sources = [table.names[int(t)] for t in table.tensor[rows]]
    dtype = sketch.samples[sources[0]].dtype
    kept = next((i for i, s in enumerate(sources) if sketch.samples[s].dtype != dtype), len(sources))
    unsigned = np.dtype(f"<u{DTYPE_BYTES[dtype]}")
    raw = {s: np.frombuffer(sketch.samples[s].raw, unsigned) for s in set(sources[:kept])}
    steps = np.arange(table.width)
    pieces = [raw[s][at + step * steps] for s, (at, step) in zip(sources[:kept], table.at[rows[:kept]], strict=True)]
    if not pieces:
        return None
    first = own.start + start * table.width
    return replace(own, dtype=dtype, start=first, stop=first + kept * table.width, raw=np.concatenate(pieces).tobytes())


def _longest(known: np.ndarray) -> tuple[int, int]:
    """Start and end of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    start, stop = runs[int((runs[:, 1] - runs[:, 0]).argmax())]
    return int(start), int(stop)


def equal_values(one: Sketch, other: Sketch) -> int:
    """How many values of two models were compared, if all are equal bit for bit; else 0."""
    count = 0
    for own, its in ((sample, other.samples[name]) for name, sample in one.samples.items() if name in other.samples):
        (start, stop), size = own.common(its), DTYPE_BYTES[own.dtype]
        first, second = (s.raw[(start - s.start) * size : (stop - s.start) * size] for s in (own, its))
        if own.dtype != its.dtype or first != second:
            return 0
        count += max(0, stop - start)
    return count
