"""The blocks of two models in one backbone of both, each with its samples, to be compared one by one."""

from __future__ import annotations

from lineage.detect.backbone_names import NamedBackbone
from lineage.detect.parts import parts_of
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_file import Sample, Sketch

Blocks = list[dict[str, Sample]]  # of each block the samples by their names within it


def all_in_both(child: Sketch, parent: Sketch) -> list[tuple[NamedBackbone, NamedBackbone]]:
    """The backbones with blocks that two models have in common: first those whose numbers of blocks differ, such as a decoder that
    lost some beside an encoder that lost none; the larger ones of the first model first."""
    its = {part.backbone.key: part for part in reversed(parts_of(parent))}
    pairs = [(own, its[own.backbone.key]) for own in parts_of(child) if own.depth and own.backbone.key in its]
    return sorted(pairs, key=lambda pair: pair[0].depth == pair[1].depth)


def paired_blocks(child: Sketch, parent: Sketch) -> tuple[Blocks, Blocks]:
    """The blocks of both in the first backbone of `all_in_both`; none where they have none in common."""
    pairs = all_in_both(child, parent)
    return (blocks_in(child, pairs[0][0]), blocks_in(parent, pairs[0][1])) if pairs else ([], [])


def blocks_of(sketch: Sketch) -> Blocks:
    """The blocks of the largest backbone."""
    named = next(iter(parts_of(sketch)), None)
    return blocks_in(sketch, named) if named is not None else []


def blocks_in(sketch: Sketch, part: NamedBackbone) -> Blocks:
    """The blocks of one backbone of a sketch; none of a backbone without blocks."""
    blocks: Blocks = [{} for _ in range(sum(part.depth))]
    for name, place in part.places.items():
        sample = sketch.samples.get(name)
        if sample is not None and sample.dtype in FLOAT_DTYPES:
            blocks[place.block][place.name] = sample
    return blocks
