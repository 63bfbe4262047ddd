"""Which models of a group are compared together, and which on their own, so that they do not shrink what the others have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_file import Sketch

LITTLE = 0.2  # of the smaller sample: models with less in common are not compared in one piece
MUCH = 0.7  # of the sampled values that most members have: a member with less is compared on its own


def classes(sketches: Sequence[Sketch]) -> list[list[int]]:
    """Places of models that have tensors in common, such as the encoders, and apart from them the decoders that mirror these, with blocks
    of the same sizes in another order. Most groups are one class."""
    found: list[tuple[dict[tuple[str, tuple[int, ...]], int], int, list[int]]] = []
    for place, sketch in enumerate(sketches):
        own = {
            tensor: sketch.samples[tensor[0]].stop - sketch.samples[tensor[0]].start for tensor in _comparable(sketch)
        }
        total = sum(own.values())
        for first, size, members in found:
            common = sum(min(values, first[tensor]) for tensor, values in own.items() if tensor in first)
            if common >= LITTLE * min(size, total):
                members.append(place)
                break
        else:
            found.append((own, total, [place]))
    return [members for *_, members in found]


def cohorts(sketches: Sequence[Sketch]) -> tuple[list[int], list[int]]:
    """(places of those that share most of what most of them have, places of those that would shrink it)."""
    having: dict[tuple[str, tuple[int, ...]], int] = defaultdict(int)
    size: dict[tuple[str, tuple[int, ...]], int] = {}
    for sketch in sketches:
        for tensor in _comparable(sketch):
            having[tensor] += 1
            sample = sketch.samples[tensor[0]]
            size[tensor] = max(size.get(tensor, 0), sample.stop - sample.start)
    usual = {tensor for tensor, count in having.items() if 2 * count > len(sketches)}
    wanted = sum(size[tensor] for tensor in usual)
    main: list[int] = []
    odd: list[int] = []
    for place, sketch in enumerate(sketches):
        own = sum(size[tensor] for tensor in _comparable(sketch) & usual)
        (odd if own < MUCH * wanted else main).append(place)
    return (main, odd) if main else (odd, [])


def _comparable(sketch: Sketch) -> set[tuple[str, tuple[int, ...]]]:
    """Sampled float tensors with all of their shape but the rows, which may be a vocabulary's."""
    return {(name, s.shape[1:]) for name, s in sketch.samples.items() if s.dtype in FLOAT_DTYPES}
