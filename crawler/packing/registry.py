"""The list of packings, and a header with the matrices of all of them unpacked."""

from __future__ import annotations

from collections.abc import Mapping

from lineage.crawler.packing import affine, aqlm, bitsandbytes, exl2, gptq, hqq, quanto, scaled, words
from lineage.crawler.packing.conv1d import turned
from lineage.crawler.packing.interface import FileContext, Find, PackedMatrix, Tensors

PACKINGS: tuple[Find, ...] = (
    affine.find,
    gptq.find,
    bitsandbytes.find,
    words.find,
    quanto.find,
    hqq.find,
    exl2.find,
    aqlm.find,
    scaled.find,
)


def packed_matrices(tensors: Tensors, context: FileContext) -> Mapping[str, PackedMatrix]:
    """Packed matrices by their names in the original. No tensor belongs to two of them, none has the name of another tensor."""
    found: dict[str, PackedMatrix] = {}
    taken: set[str] = set()
    for find in PACKINGS:
        for matrix in find({name: t for name, t in tensors.items() if name not in taken}, context):
            free = matrix.name not in found and (matrix.name not in tensors or matrix.name in matrix.parts)
            if free and taken.isdisjoint(matrix.parts):
                found[matrix.name] = matrix
                taken.update(matrix.parts)
    return {matrix.name: matrix for matrix in turned(list(found.values()), tensors)}
