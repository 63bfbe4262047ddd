"""Header -> backbones: the stacks of repeated blocks by which models find each other, whatever surrounds them.

Comes in: names, dtypes and shapes of one model. Goes out: one backbone, or several (encoder and decoder, text and vision, the language
model within a multimodal one), each with a key. Two models of one key have blocks of one template: the same names within the block
and the same shapes of its matrices. The key knows nothing of the number of blocks, of what the container is called, of wrappers before it,
heads, poolers, vocabularies, position tables, class counts, input channels, biases or adapters.

A list of blocks is a path with numbers behind it (`bert.encoder.layer.0`, `.1`, …) under which tensors of one relative name and one shape
occur at two or more numbers. Lists of one part of the model (`encoder`, `vision_tower`) make one backbone. A network without such blocks
has one backbone, keyed by the names and shapes of its matrices; the outer dimension of those at either end is left open.

Everything is one pass over the names, with the parsing of each name remembered: groups are found by key, never by comparing models.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lineage.detect.signature import FLOAT_DTYPES, Role, TensorSpec, dotted, natural_key, role_of, signature_of
from lineage.graphdb.schema import KEYS_JOINED_BY

KEY_DIGITS = 16
MAX_BACKBONES = 8
MIN_BLOCK_MATRICES = 2  # different matrices that repeat: one alone is any perceptron of that width
MIN_REPEATED = 0.4  # of the matrix values under a list of blocks
MIN_COVERED = 0.3  # of the matrix values of a whole model, embeddings and heads aside
MIN_UNNAMED, MIN_NAMED = 0.25, 0.01  # of all blocks: what a part without and with a part's name must hold
TALL = 16  # times as many rows as columns: a vocabulary, whatever it is called
LONG_LIST = 6  # numbered modules from which a list of unlike modules is a whole network, its last one the head
HELD_BY_LIST = 0.8  # of the tensors

_WRAPPED = re.compile(
    r"(^|\.)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer|_forward_module)(?=\.)"
)
_ADAPTER = re.compile(
    r"(^|[._])(lora|loha|hada|lokr|ia3|b?oft|hra_u|vera|vblora|fourierft|adapters?|adapter_layer|prompt_encoder|prompt_embeddings|prefix|modules_to_save"
    r"|ranknum)([._]|$)"
)
_WHOLE_ADAPTER = "adapter."  # before all names: a network that is called so, and no adapter inside another one
_PART = re.compile(
    r"encoder|decoder|text|vision|visual|image|audio|speech|video|language|lang_model|llm|qformer|perceiver|generator"
    r"|discriminator|student|teacher|prior|vocoder|backbone|(^|_)vit($|_)"
)
_SURROUNDING = re.compile(
    r"(^|\.)(cls|[a-z_]*classifier[a-z_]*|[a-z_]*pooler|pooling|[a-z_]*head|heads|score|scorer|qa_outputs|predictions?|[a-z_]*projection"
    r"|logits?|fc_norm|vocab_[a-z_]+|mask_token|[a-z_]*position[a-z_]*|[a-z_]*projector|lm_bias|embed_out|sequence_summary"
    r"|discriminator_predictions|generator_predictions|generator_lm_head|num_labels)(\.|$)"
)


@dataclass(frozen=True, slots=True)
class Backbone:
    """
    Attributes:
        key: equal for models that can be compared in it.
        part: path of the part that it is, such as `text_model`; empty for the whole model.
        containers: paths of its lists of blocks, numbers within them as `*`; empty for a network without blocks.
        values: of its matrices in blocks.
        matrices: of a network without blocks, the names of those that its key depends on.
    """

    key: str
    part: str
    containers: tuple[str, ...]
    values: int
    matrices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _TensorName:
    """One parsed name.

    Attributes:
        body: no head, pooler or the like.
        places: for each number in it the path before, the number, and what follows (numbers as `*`).
    """

    source: str
    clean: str
    body: bool
    places: tuple[tuple[str, str, str], ...]


Matrix = tuple[_TensorName, tuple[int, ...], int]  # parsed name, shape, number of values


def backbones_of(header: Sequence[TensorSpec]) -> tuple[Backbone, ...]:
    """Backbones of a model, the largest first; none if no matrix of it can be compared."""
    return _backbones(tuple(sorted((spec.name, spec.dtype, tuple(spec.shape)) for spec in header)))


def signature_from(backbones: Iterable[Backbone]) -> str:
    """The keys of a model's backbones in one text, each once."""
    return KEYS_JOINED_BY.join(dict.fromkeys(backbone.key for backbone in backbones))


def group_signature(header: Sequence[TensorSpec]) -> str:
    """What a model's place among others is kept as: the keys of its backbones, or where it has none a digest of all its tensors."""
    return signature_from(backbones_of(header)) or signature_of(header)


@lru_cache(maxsize=64)
def _backbones(header: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[Backbone, ...]:
    matrices = _matrices(header)
    if not matrices:
        return ()
    matrices = _without_tail(matrices)
    lists, held = _lists(matrices)
    body = sum(values for name, shape, values in matrices if name.body and (name.places or not _table(shape)))
    if not lists or sum(held.values()) < MIN_COVERED * body:
        lists, held = _single_block(matrices, body)
    if not lists:
        return (_whole(matrices),)
    return _by_part(lists, held)


def _table(shape: tuple[int, ...]) -> bool:
    """Rows of a vocabulary, by the look of it."""
    return len(shape) == 2 and shape[0] >= TALL * shape[1]


def is_adapter(name: str) -> bool:
    """Whether a tensor is an adapter's that lies within a model."""
    return _ADAPTER.search(name) is not None


def clean_name(name: str) -> str:
    """A name without wrappers that may lie anywhere in it."""
    return _parsed(name).clean


@lru_cache(maxsize=1 << 18)
def _parsed(name: str) -> _TensorName:
    clean = dotted(name)
    if "module" in clean or "_orig" in clean or "base_layer" in clean:
        clean = _WRAPPED.sub("", clean).lstrip(".")
    pieces = clean.split(".")
    places = []
    for i, piece in enumerate(pieces):
        if piece.isdigit():
            rest = ".".join("*" if p.isdigit() else p for p in pieces[i + 1 :])
            places.append((".".join(pieces[:i]), piece, rest))
    surrounding = any(_SURROUNDING.search(path) for path in ([places[0][0]] if places else [clean]))
    surrounding = surrounding or (not places and role_of(clean, "F32", (2, 2)) is Role.HEAD)
    return _TensorName(name, clean, not surrounding, tuple(places))


@lru_cache(maxsize=1 << 16)
def _starred(path: str) -> str:
    return ".".join("*" if p.isdigit() else p for p in path.split("."))


@lru_cache(maxsize=1 << 18)
def _skipped(name: str) -> bool:
    """Adapters, buffers, embeddings and position tables."""
    role = role_of(dotted(name), "F32", (2, 2))
    return role not in (Role.WEIGHT, Role.HEAD) or bool(_ADAPTER.search(name))


def _matrices(header: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[Matrix]:
    header, found = list(header), []
    of_adapter = len(_WHOLE_ADAPTER) if all(name.startswith(_WHOLE_ADAPTER) for name, _, _ in header) else 0
    for name, dtype, shape in header:
        if len(shape) > 1 and dtype in FLOAT_DTYPES and not _skipped(name[of_adapter:]):
            values = 1
            for size in shape:
                values *= size
            if values > max(shape):
                found.append((_parsed(name), shape, values))
    return found


def _without_tail(matrices: list[Matrix]) -> list[Matrix]:
    """A network that is one long list of unlike modules, as detectors are, without the last module: that is its head."""
    first: dict[str, list[Matrix]] = defaultdict(list)
    for matrix in matrices:
        if matrix[0].places:
            first[matrix[0].places[0][0]].append(matrix)
    if not first:
        return matrices
    path, inside = max(first.items(), key=lambda item: len(item[1]))
    numbers = {int(name.places[0][1]) for name, _, _ in inside}
    if len(inside) < HELD_BY_LIST * len(matrices) or len(numbers) < LONG_LIST:
        return matrices
    seen: dict[tuple[str, tuple[int, ...]], int] = defaultdict(int)
    for name, shape, values in inside:
        seen[name.places[0][2], shape] += values
    alike = sum(total for (_, shape), total in seen.items() if total > _size(shape))
    if alike >= 0.9 * sum(seen.values()):
        return matrices
    last = str(max(numbers))
    return [m for m in matrices if not (m[0].places and m[0].places[0][:2] == (path, last))] or matrices


def _lists(matrices: list[Matrix]) -> tuple[dict[str, set[tuple[str, tuple[int, ...]]]], dict[str, int]]:
    """Lists of blocks: container (numbers as `*`) -> template, and the values that repeat in it."""
    first: dict[tuple[str, str, tuple[int, ...]], str] = {}
    again: set[tuple[str, str, tuple[int, ...]]] = set()
    for name, shape, _ in matrices:
        for path, number, rest in name.places:
            place = (path, rest, shape)
            if first.setdefault(place, number) != number:
                again.add(place)
    containers = {path for path, _, _ in again}
    template: dict[str, set[tuple[str, tuple[int, ...]]]] = defaultdict(set)
    repeated: dict[str, int] = defaultdict(int)
    everything: dict[str, int] = defaultdict(int)
    for name, shape, values in matrices:
        for path, _, rest in name.places:
            if path in containers:
                container = _starred(path)
                if (path, rest, shape) in again:
                    template[container].add((rest, shape))
                    repeated[container] += values
                    everything[container] += values
                    break
                everything[container] += values
    lists = {
        container: shapes
        for container, shapes in template.items()
        if len(shapes) >= MIN_BLOCK_MATRICES and repeated[container] >= MIN_REPEATED * everything[container]
    }
    lists = {
        container: shapes
        for container, shapes in lists.items()
        if not any(container != other and container.startswith(other + ".*.") for other in lists)
    }
    called = {container: _varying([p for p in containers if _starred(p) == container]) for container in lists}
    return {called[c]: shapes for c, shapes in lists.items()}, {called[c]: repeated[c] for c in lists}


def _varying(paths: list[str]) -> str:
    """Paths that agree but for numbers as one path: `*` where a number varies."""
    return ".".join(
        pieces[0] if len({*pieces}) == 1 else "*" for pieces in zip(*(p.split(".") for p in paths), strict=True)
    )


def _single_block(
    matrices: list[Matrix], body: int
) -> tuple[dict[str, set[tuple[str, tuple[int, ...]]]], dict[str, int]]:
    """A model with one block alone: the innermost list with a single number that holds most of the model."""
    numbers: dict[str, set[str]] = defaultdict(set)
    template: dict[str, set[tuple[str, tuple[int, ...]]]] = defaultdict(set)
    held: dict[str, int] = defaultdict(int)
    for name, shape, values in matrices:
        for path, number, rest in name.places:
            numbers[path].add(number)
            template[path].add((rest, shape))
            held[path] += values
    alone = [
        path
        for path, there in numbers.items()
        if len(there) == 1 and path and len(template[path]) > MIN_BLOCK_MATRICES and held[path] >= MIN_COVERED * body
    ]
    if not alone:
        return {}, {}
    inner = max(alone, key=lambda path: (path.count("."), held[path]))
    return {inner: template[inner]}, {inner: held[inner]}


def _by_part(lists: Mapping[str, set[tuple[str, tuple[int, ...]]]], held: Mapping[str, int]) -> tuple[Backbone, ...]:
    parts: dict[str, list[str]] = defaultdict(list)
    for container in lists:
        parts[_part_of(container)].append(container)
    plain = [container for container in parts[""] if not _SURROUNDING.search(container)]
    parts[""] = plain or parts[""]
    everything = sum(held.values())
    found = []
    for part, containers in ((part, some) for part, some in parts.items() if some):
        values = sum(held[c] for c in containers)
        if values >= (MIN_NAMED if part else MIN_UNNAMED) * everything:
            found.append(Backbone(_key_of(containers, lists), part, tuple(sorted(containers)), values))
    found.sort(key=lambda backbone: (-backbone.values, natural_key(backbone.part)))
    if len(found) == 1:
        found = [Backbone(found[0].key, "", found[0].containers, found[0].values)]
    return tuple(found[:MAX_BACKBONES])


def _part_of(container: str) -> str:
    """The path up to its last component that names a part."""
    pieces = container.split(".")
    last = max((i for i, piece in enumerate(pieces) if _PART.search(piece)), default=-1)
    return ".".join(pieces[: last + 1])


def _key_of(containers: Sequence[str], lists: Mapping[str, set[tuple[str, tuple[int, ...]]]]) -> str:
    prefix = common_path(containers) if len(containers) > 1 else containers[0]
    start = len(prefix) + 1 if prefix else 0
    template = sorted({(c[start:], rest, shape) for c in containers for rest, shape in lists[c]})
    return _digest(["blocks", template])


def common_path(paths: Iterable[str]) -> str:
    """The longest path, in whole components, that all begin with."""
    pieces: list[str] | None = None
    for path in paths:
        other = path.split(".") if path else []
        if pieces is None:
            pieces = other
        else:
            same = 0
            while same < min(len(pieces), len(other)) and pieces[same] == other[same]:
                same += 1
            pieces = pieces[:same]
    return ".".join(pieces or [])


def _whole(matrices: list[Matrix]) -> Backbone:
    """A network without repeated blocks: names and shapes of its matrices, open at either end."""
    body = [m for m in matrices if m[0].body] or matrices
    prefix = wrapper_of([name.clean for name, _, _ in body])
    named = [(beside(name.clean, prefix), shape) for name, shape, _ in body]
    named.sort(key=lambda item: natural_key(item[0]))
    inputs = {
        shape[1] for _, shape in named[1:]
    }  # what goes in first and comes out last is open, and is no other's measure
    outputs = {shape[0] for _, shape in named[:-1]}
    last = named[-1][0]
    layout = []
    for place, (name, shape) in enumerate(named):
        first = "*" if name == last or shape[0] not in inputs else shape[0]
        second = "*" if place == 0 or shape[1] not in outputs else shape[1]
        layout.append((name, first, second, *shape[2:]))
    names = tuple(name.source for name, _, _ in body)
    return Backbone(_digest(["whole", layout]), "", (), sum(values for _, _, values in body), names)


def wrapper_of(names: Sequence[str]) -> str:
    """The path, with its dot, that stands before most of a model's names."""
    prefix = ""
    while True:
        inside = [name for name in names if name.startswith(prefix)]
        heads: dict[str, int] = defaultdict(int)
        for name in inside:
            head, dot, _ = name[len(prefix) :].partition(".")
            if dot:
                heads[head] += 1
        if not heads:
            return prefix
        head, count = max(heads.items(), key=lambda item: item[1])
        deeper = {
            n[len(prefix) + len(head) + 1 :].partition(".")[0] for n in inside if n.startswith(f"{prefix}{head}.")
        }
        if all(piece.isdigit() for piece in deeper) or 3 * count < 2 * len(names) or count < 2:
            return prefix
        prefix += head + "."


def beside(path: str, wrapper: str) -> str:
    """A path relative to what it shares with a wrapper: within it, or beside it in what surrounds both."""
    pieces = path.split(".")
    shared = 0
    for piece, other in zip(pieces[:-1], wrapper.split("."), strict=False):
        if piece != other:
            break
        shared += 1
    return ".".join(pieces[shared:])


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:KEY_DIGITS]
