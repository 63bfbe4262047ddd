"""Names of a model's tensors -> names within its backbones, the same whatever surrounds the blocks.

`layers.3.attention.query.weight` whatever the container of the blocks is called; and what surrounds the blocks relative to the path
that both share, so that `bert.embeddings.LayerNorm.weight` of one model and `embeddings.LayerNorm.weight` of another are the same tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from lineage.detect.backbone import Backbone, backbones_of, beside, clean_name, common_path, wrapper_of
from lineage.detect.signature import is_number, natural_key

BLOCKS = "layers"  # what every container is called within a backbone


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a tensor lies in a backbone: which block, counted over all lists in their order, and its name within the block."""

    block: int
    name: str


@dataclass(frozen=True, slots=True)
class NamedBackbone:
    """A backbone with its tensors.

    Attributes:
        names: name in the model -> name within the backbone; each of the latter once.
        places: name in the model -> place, of those that lie in a block.
        depth: how many blocks each of its lists has, in order of their paths; empty for a network without blocks.
    """

    backbone: Backbone
    names: Mapping[str, str]
    places: Mapping[str, BlockPlace]
    depth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _TensorShape:
    name: str
    dtype: str
    shape: tuple[int, ...]


@lru_cache(maxsize=256)
def named_parts(header: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[NamedBackbone, ...]:
    """
    Args:
        header: (name, dtype, shape) of each tensor.
    """
    backbones = backbones_of([_TensorShape(*entry) for entry in header])
    clean = {name: clean_name(name) for name, _, _ in header}
    if len(backbones) == 1 and not backbones[0].containers:
        prefix = wrapper_of([clean[name] for name in backbones[0].matrices])
        names = {name: beside(path, prefix) for name, path in clean.items()}
        return (NamedBackbone(backbones[0], _once(names, clean, {}), {}, ()),)
    roots = [[_root(c) for c in b.containers] for b in backbones]
    found = []
    for place, backbone in enumerate(backbones):
        mine: dict[str, str] = {}
        shared: dict[str, int] = {}
        inside: dict[str, tuple[str, str, str]] = {}
        for name, path in clean.items():
            near = [max(_shared(path, root) for root in own) for own in roots]
            if near[place] < max(near):
                continue
            shared[name] = near[place]
            mine[name], block = _within(path, backbone, roots[place])
            if block is not None:
                inside[name] = block
        once = _once(mine, clean, shared)
        order = sorted({block[:2] for block in inside.values()}, key=lambda b: (natural_key(b[0]), int(b[1])))
        number = {block: i for i, block in enumerate(order)}
        places = {name: BlockPlace(number[block[:2]], block[2]) for name, block in inside.items() if name in once}
        depth = Counter(container for container, _ in order)
        found.append(NamedBackbone(backbone, once, places, tuple(depth.values())))
    return tuple(found)


def _root(container: str) -> str:
    """The path up to its first number."""
    return container.split(".*")[0] if not container.startswith("*") else ""


def _shared(path: str, root: str) -> int:
    """How many components two paths begin with alike."""
    same = 0
    for one, other in zip(path.split("."), root.split(".") if root else (), strict=False):
        if one != other:
            break
        same += 1
    return same


def _within(path: str, backbone: Backbone, roots: list[str]) -> tuple[str, tuple[str, str, str] | None]:
    """Name within a backbone; and of a tensor in a block its container, the block's number, and its name within the block."""
    pieces = path.split(".")
    inside = next((c for c in backbone.containers if _in(pieces, c)), None)
    block = None
    if inside is not None:
        stars = inside.split(".") if inside else []
        block = (".".join(pieces[: len(stars)]), pieces[len(stars)], ".".join(pieces[len(stars) + 1 :]))
    root = roots[0]
    if len(backbone.containers) > 1:
        root = common_path(roots)
        return ".".join(pieces[_shared(path, root) :]), block
    if inside is not None or (root and path.startswith(root + ".")):
        return f"{BLOCKS}.{path[len(root) :].lstrip('.')}", block
    deep = _shared(path, root)
    return ".".join(pieces[deep:]), block


def _in(pieces: list[str], container: str) -> bool:
    """Whether a path lies in a block of a container."""
    stars = container.split(".") if container else []
    if len(pieces) <= len(stars) + 1 or not is_number(pieces[len(stars)]):
        return False
    return all(star == piece or (star == "*" and is_number(piece)) for star, piece in zip(stars, pieces, strict=False))


def _once(names: Mapping[str, str], clean: Mapping[str, str], depth: Mapping[str, int]) -> dict[str, str]:
    """No name twice: the tensor that lies nearer to the blocks keeps it, the other one its whole path, if that is free."""
    order = sorted(names, key=lambda name: -depth.get(name, 0))
    taken: dict[str, str] = {}
    for name in order:
        for inside in (names[name], clean[name]):
            if inside not in taken:
                taken[inside] = name
                break
    back = {name: inside for inside, name in taken.items()}
    return {name: back[name] for name in names if name in back}
