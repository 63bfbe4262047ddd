"""Header -> backbones: the stacks of repeated blocks by which models find each other, whatever surrounds them.

Comes in: names, dtypes and shapes of one model. Goes out: one backbone, or several (encoder and decoder, text and vision, the language
model within a multimodal one), each with a key. Two models of one key have blocks of one template: the same names within the block
and the same shapes of its matrices. The key knows nothing of the number of blocks, of what the container is called, of wrappers before it,
heads, poolers, vocabularies, position tables, class counts, input channels, biases or adapters.

A list of blocks is a path with numbers behind it (`bert.encoder.layer.0`, `.1`, …) under which tensors of one relative name and one shape
occur at two or more numbers. Lists of one part of the model (`encoder`, `vision_tower`) make one backbone. A network without such blocks
has one backbone, keyed by the names and shapes of its matrices; the outer dimension of those at either end is left open.

Everything is one pass over the names, with the parsing of each name remembered, and then over the kinds of matrices: names that agree
but for the numbers in them, of one shape. Groups are found by key, never by comparing models.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lineage.detect.signature import (
    FLOAT_DTYPES,
    LONGEST_NUMBER,
    Role,
    TensorSpec,
    dotted,
    is_number,
    natural_key,
    role_of,
    signature_of,
)
from lineage.graphdb.schema import KEYS_JOINED_BY

KEY_DIGITS = 16
MAX_BACKBONES = 8
MIN_BLOCK_MATRICES = 2  # different matrices that repeat: one alone is any perceptron of that width
MIN_REPEATED = 0.4  # of the matrix values under a list of blocks
MIN_COVERED = 0.3  # of the matrix values of a whole model, embeddings and heads aside
MIN_UNNAMED, MIN_NAMED = 0.25, 0.01  # of all blocks: what a part without and with a part's name must hold
MIN_NAMED_VALUES = 20_000_000  # or so many: a vision tower beside a mixture of experts has less than a hundredth
STAGES = 3  # lists of one block side by side from which on they are stages
TALL = 16  # times as many rows as columns: a vocabulary, whatever it is called
LONG_LIST = 6  # numbered modules from which a list of unlike modules is a whole network, its last one the head
HELD_BY_LIST = 0.8  # of the tensors

_NUMBER = re.compile(rf"(?<![^.])\d{{1,{LONGEST_NUMBER}}}(?![^.])")
_STAR = "\u2217"  # for a star that a name has itself
_WRAPPED = re.compile(
    r"(^|\.)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer|_forward_module)(?=\.)"
)
# torchvision, Flax and timm's networks without a head
_UNDERLINED = re.compile(
    rf"(?<![^.])((?:encoder|decoder|transformer)_?(?:layer|block)|resblock|layers)_(\d{{1,{LONGEST_NUMBER}}})(?=\.)"
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
# layers instead of the one that was there: dropout and a linear layer, or two with an activation between
_HEAD_OF_SEVERAL = re.compile(r"(^|\.)(fc|last_linear|out|output)$")


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


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    """Names that agree but for the numbers in them.

    Attributes:
        paths: before each number, with `*` for the numbers in it; rests: behind each number, the same.
        body: no head, pooler or the like; skipped: adapters, buffers, embeddings and position tables.
    """

    text: str
    paths: tuple[str, ...]
    rests: tuple[str, ...]
    body: bool
    skipped: bool


@dataclass(frozen=True, slots=True, eq=False)
class _TensorName:
    """One parsed name. clean: without wrappers; numbers: in it, in order."""

    source: str
    clean: str
    template: _Template
    numbers: tuple[str, ...]


@dataclass(slots=True)
class _Matrices:
    """Matrices of one shape whose names have one template. values: of each."""

    template: _Template
    shape: tuple[int, ...]
    values: int
    names: list[_TensorName]

    @property
    def total(self) -> int:
        return self.values * len(self.names)


Templates = dict[
    str, set[tuple[str, tuple[int, ...]]]
]  # container -> what its blocks have: name within the block, shape


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
    body = sum(m.total for m in matrices if m.template.body and (m.template.paths or not _table(m.shape)))
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


def surrounds(name: str) -> bool:
    """Whether a tensor lies around the body: in a head, a pooler or the like."""
    return _SURROUNDING.search(name) is not None


def clean_name(name: str) -> str:
    """A name without wrappers that may lie anywhere in it, and with the numbers of blocks as PyTorch's own lists have them."""
    clean = dotted(name)
    if "module" in clean or "_orig" in clean or "base_layer" in clean:
        clean = _WRAPPED.sub("", clean).lstrip(".")
    if "layer_" in clean or "layers_" in clean or "block_" in clean:
        clean = _UNDERLINED.sub(r"\1.\2", clean)
    return clean


@lru_cache(maxsize=1 << 18)
def _parsed(name: str) -> _TensorName:
    clean = clean_name(name)
    text = _NUMBER.sub("*", clean.replace("*", _STAR))
    return _TensorName(name, clean, _template(text), tuple(_NUMBER.findall(clean)))


@lru_cache(maxsize=1 << 16)
def _template(text: str) -> _Template:
    pieces = text.split(".")
    places = [i for i, piece in enumerate(pieces) if piece == "*"]
    paths = tuple(".".join(pieces[:i]) for i in places)
    surrounding = bool(_SURROUNDING.search(paths[0] if paths else text)) or bool(
        paths and _HEAD_OF_SEVERAL.search(paths[0])
    )
    surrounding = surrounding or (not paths and role_of(text, "F32", (2, 2)) is Role.HEAD)
    return _Template(text, paths, tuple(".".join(pieces[i + 1 :]) for i in places), not surrounding, _skipped(text))


def _skipped(text: str) -> bool:
    return role_of(text, "F32", (2, 2)) not in (Role.WEIGHT, Role.HEAD) or is_adapter(text)


def _matrices(header: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[_Matrices]:
    header = list(header)
    of_adapter = len(_WHOLE_ADAPTER) if all(name.startswith(_WHOLE_ADAPTER) for name, _, _ in header) else 0
    found: dict[tuple[_Template, tuple[int, ...]], list[_TensorName]] = defaultdict(list)
    for name, dtype, shape in header:
        if len(shape) > 1 and dtype in FLOAT_DTYPES:
            parsed = _parsed(name)
            found[parsed.template, shape].append(parsed)
    matrices = [_Matrices(template, shape, _size(shape), names) for (template, shape), names in found.items()]
    return [
        m
        for m in matrices
        if m.values > max(m.shape)
        and not (_skipped(m.template.text[of_adapter:]) if of_adapter else m.template.skipped)
    ]


def _without_tail(matrices: list[_Matrices]) -> list[_Matrices]:
    """A network that is one long list of unlike modules, as detectors are, without the last module: that is its head."""
    first: dict[str, list[_Matrices]] = defaultdict(list)
    for m in matrices:
        if m.template.paths:
            first[m.template.paths[0]].append(m)
    if not first:
        return matrices
    path, inside = max(first.items(), key=lambda item: sum(len(m.names) for m in item[1]))
    count, within = sum(len(m.names) for m in matrices), sum(len(m.names) for m in inside)
    if within < HELD_BY_LIST * count:
        return matrices
    numbers = {int(name.numbers[0]) for m in inside for name in m.names}
    if len(numbers) < LONG_LIST:
        return matrices
    if sum(m.total for m in inside if len(m.names) > 1) >= 0.9 * sum(m.total for m in inside):
        return matrices
    last = str(max(numbers))
    kept = []
    for m in matrices:
        of_list = m.template.paths[:1] == (path,)
        names = [name for name in m.names if name.numbers[0] != last] if of_list else m.names
        if names:
            kept.append(_Matrices(m.template, m.shape, m.values, names))
    return kept or matrices


def _lists(matrices: list[_Matrices]) -> tuple[Templates, dict[str, int]]:
    """Lists of blocks: container (numbers as `*`) -> template, and the values that repeat in it."""
    containers: dict[str, set[tuple[str, ...]]] = defaultdict(
        set
    )  # path -> the numbers in it, of those lists that repeat
    again = []  # of each number in the template: the numbers before it with which it takes several values
    for m in matrices:
        again.append([_repeating(m.names, place) for place in range(len(m.template.paths))])
        for path, before in zip(m.template.paths, again[-1], strict=True):
            if before:
                containers[path] |= before
    template: Templates = defaultdict(set)
    repeated: dict[str, int] = defaultdict(int)
    everything: dict[str, int] = defaultdict(int)
    for m, repeating in zip(matrices, again, strict=True):
        names = m.names
        for place, (path, rest) in enumerate(zip(m.template.paths, m.template.rests, strict=True)):
            if path not in containers:
                continue
            inside = names if not place else [n for n in names if n.numbers[:place] in containers[path]]
            everything[path] += m.values * len(inside)
            taken = (
                inside if not place and repeating[0] else [n for n in inside if n.numbers[:place] in repeating[place]]
            )
            if taken:
                template[path].add((rest, m.shape))
                repeated[path] += m.values * len(taken)
            if len(taken) == len(names):
                break
            names = [n for n in names if n.numbers[:place] not in repeating[place]]
    lists = {
        container: shapes
        for container, shapes in template.items()
        if len(shapes) >= MIN_BLOCK_MATRICES and repeated[container] >= MIN_REPEATED * everything[container]
    }
    lists = {
        container: shapes
        for container, shapes in lists.items()
        if not any(container != other and container.startswith(f"{other}.*.".lstrip(".")) for other in lists)
    }
    called = {container: _varying(container, containers[container]) for container in lists}
    return {called[c]: shapes for c, shapes in lists.items()}, {called[c]: repeated[c] for c in lists}


def _repeating(names: Sequence[_TensorName], place: int) -> set[tuple[str, ...]]:
    """The numbers before a place with which names have several numbers there."""
    if not place:
        first = names[0].numbers[0]
        return {()} if any(name.numbers[0] != first for name in names) else set()
    first_of: dict[tuple[str, ...], str] = {}
    return {
        n.numbers[:place] for n in names if first_of.setdefault(n.numbers[:place], n.numbers[place]) != n.numbers[place]
    }


def _varying(path: str, numbers: Iterable[tuple[str, ...]]) -> str:
    """A path with those of its numbers that do not vary, and `*` where one does."""
    for values in zip(*numbers, strict=True):
        path = path.replace("*", "\n" if len({*values}) > 1 else values[0], 1)
    return path.replace("\n", "*")


def _single_block(matrices: list[_Matrices], body: int) -> tuple[Templates, dict[str, int]]:
    """A model with one block alone: the innermost list with a single number that holds most of the model. A network of stages with a
    block each, which are no list's, has none."""
    numbers: dict[str, set[str]] = defaultdict(set)
    template: Templates = defaultdict(set)
    held: dict[str, int] = defaultdict(int)
    for m in matrices:
        for name in m.names:
            pieces, taken = m.template.text.split("."), iter(name.numbers)
            numbered = [next(taken) if piece == "*" else piece for piece in pieces]
            for place, (starred, rest) in enumerate(zip(m.template.paths, m.template.rests, strict=True)):
                path = ".".join(numbered[: starred.count(".") + 1]) if starred else ""
                numbers[path].add(name.numbers[place])
                template[path].add((rest, m.shape))
                held[path] += m.values
    single = {path for path, there in numbers.items() if len(there) == 1 and path}
    alone = [p for p in single if len(template[p]) > MIN_BLOCK_MATRICES and held[p] >= MIN_COVERED * body]
    side_by_side = [p for p in single if len(template[p]) >= MIN_BLOCK_MATRICES and not _within_any(p, single)]
    if not alone or len(side_by_side) >= STAGES:
        return {}, {}
    inner = max(alone, key=lambda path: (path.count("."), held[path]))
    return {inner: template[inner]}, {inner: held[inner]}


def _within_any(path: str, lists: Iterable[str]) -> bool:
    return any(path.startswith(f"{other}.") for other in lists)


def _by_part(lists: Templates, held: Mapping[str, int]) -> tuple[Backbone, ...]:
    parts: dict[str, list[str]] = defaultdict(list)
    for container in lists:
        parts[_part_of(container)].append(container)
    plain = [container for container in parts[""] if not _SURROUNDING.search(container)]
    parts[""] = plain or parts[""]
    everything = sum(held.values())
    found = []
    for part, containers in ((part, some) for part, some in parts.items() if some):
        values = sum(held[c] for c in containers)
        least = min(MIN_NAMED * everything, MIN_NAMED_VALUES) if part else MIN_UNNAMED * everything
        if values >= least:
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


def _key_of(containers: Sequence[str], lists: Templates) -> str:
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


def _whole(matrices: list[_Matrices]) -> Backbone:
    """A network without repeated blocks: names and shapes of its matrices, open at either end."""
    matrices = [m for m in matrices if m.template.body] or matrices
    body = sorted(((n, m.shape, m.values) for m in matrices for n in m.names), key=lambda item: item[0].source)
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
        if all(is_number(piece) for piece in deeper) or 3 * count < 2 * len(names) or count < 2:
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
