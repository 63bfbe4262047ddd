"""A sketch -> the sketch of one part of the model, such as the encoder or the language model, as detection compares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lineage.detect.align import NotComparable
from lineage.detect.backbone import Backbone, signature_from
from lineage.detect.backbone_names import NamedBackbone, named_parts
from lineage.detect.sketch_file import Sketch


def parts_of(sketch: Sketch) -> tuple[NamedBackbone, ...]:
    """The backbones of a sketched model, the largest first."""
    layout = tuple((name, "I32" if name in sketch.packed else "F32", shape) for name, shape in sketch.layout.items())
    return named_parts(layout)


def in_common(sketches: Sequence[Sketch]) -> list[Sketch]:
    """Sketches of the largest backbone that all of some models have, with as many blocks in each.

    Raises:
        NotComparable: no such part.
    """
    named = [{part.backbone.key: part for part in reversed(parts_of(sketch))} for sketch in sketches]
    for part in parts_of(sketches[0]):
        own = [parts.get(part.backbone.key) for parts in named]
        if all(one is not None and one.depth == part.depth for one in own):
            return [part_of(s, {one.backbone: ""}) for s, one in zip(sketches, own, strict=True) if one is not None]
    if not any(named) and len({sketch.signature for sketch in sketches}) == 1:
        return list(sketches)
    raise NotComparable(
        "these models have no backbone of equal depth in common", "`lineage origins` compares models layer by layer"
    )


def part_of(sketch: Sketch, wanted: Mapping[Backbone, str]) -> Sketch:
    """The sketch of some backbones of a model alone, under the names within them.

    Args:
        wanted: backbones of this model -> what to put before their names, such as `text.`; empty for one alone.
    """
    names: dict[str, str] = {}
    for named in parts_of(sketch):
        if named.backbone in wanted:
            for name, inside in named.names.items():
                names.setdefault(name, wanted[named.backbone] + inside)
    return Sketch(
        digest=sketch.digest,
        signature=signature_from(wanted),
        total_values=sketch.total_values,
        layout={names[n]: shape for n, shape in sketch.layout.items() if n in names},
        samples={names[n]: replace(s, name=names[n]) for n, s in sketch.samples.items() if n in names},
        packed=frozenset(names[n] for n in sketch.packed if n in names),
    )
