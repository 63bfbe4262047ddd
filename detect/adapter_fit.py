"""Whether an adapter fits a model: every adapted module exists there, with a weight of the sizes that the adapter works on.

Names are compared without wrappers, and under one common change of path where programs call the same body otherwise (`model.layers.0` and
`language_model.layers.0`, `bert.encoder` and `encoder`); joined names of kohya with `_` in place of dots. Either order of the axes
counts: GPT-2 keeps (in, out). Packed weights are checked by their number of values. Rows of a vocabulary may differ: tokens are added
for tuning; the difference is kept. A block that the model does not have, or a size that it does not have there, is a contradiction;
a name that nothing in the model bears is none while the model has weights of these sizes: converters rename.

Tensors of a method that is not known by its names belong to the longest module in their path that the model has; of what they are,
only two halves with a rank in common are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from lineage.detect.adapter_structure import JOINED, AdaptedModule, AdapterStructure, Shape, module_of
from lineage.detect.signature import Role, role_of

_WRAPPERS = ("base_model.model.", "base_model.", "model.", "transformer.", "language_model.", "module.")
_PLAIN_LEAVES = ("weight", "kernel", "w")
_CODES = ("codes", "Qidxs")  # as many as the codebook wants: nothing follows from their number
_LEAVES = (*_PLAIN_LEAVES, "qweight", "weight_packed", "q_weight", "W_q", *_CODES)
_NUMBER = re.compile(r"(?:^|[._])(\d+)(?=[._]|$)")
_VOCABULARY = re.compile(
    r"(^|[._])(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|shared|token_embedding|embeddings?|lm_head|embed_out)$"
)
_TABLE = re.compile(_VOCABULARY.pattern.removesuffix("$") + r"|wpe|position|relative_attention_bias|token_type")
_HEAD = re.compile(
    r"(^|\.)(lm_head|embed_out|classifier|score|qa_outputs|[a-z_]*head|pre_classifier|summary|[a-z_]*pooler)(\.|$)"
)
PACKINGS = (
    (1, 1),
    (2, 1),
    (4, 1),
    (8, 1),
    (16, 1),
    (32, 3),
    (16, 3),
    (8, 3),
)  # values in a stored number, as a fraction


@dataclass(frozen=True, slots=True)
class BaseStructure:
    """What is needed of a model: module -> shape of its weight, and which of them are packed into few bits."""

    weights: Mapping[str, Shape]
    packed: frozenset[str]
    tensors: Mapping[str, Shape]

    @property
    def widths(self) -> frozenset[int]:
        """Values of a row of its embeddings."""
        return frozenset(
            s[-1] for n, s in self.tensors.items() if len(s) == 2 and role_of(n, "F32", s) is Role.EMBEDDING
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """
    Attributes:
        modules: number of adapted modules; fitting: of those that exist with fitting sizes; named: of those whose names exist.
        misfit: the first contradiction in words; None where absent.
        unknown: names of modules that the model does not have under this name, without being contradicted.
        vocabulary: (rows that the adapter expects, rows that the model has) where they differ.
        renamed: no module has its name there, and every block has weights of the sizes that the adapter works on in it.
    """

    modules: int
    fitting: int
    named: int
    misfit: str | None = None
    unknown: tuple[str, ...] = ()
    vocabulary: tuple[int, int] | None = None
    renamed: bool = False

    @property
    def complete(self) -> bool:
        return self.misfit is None and self.fitting == self.modules > 0

    def __add__(self, other: Fit) -> Fit:
        return Fit(
            self.modules + other.modules,
            self.fitting + other.fitting,
            self.named + other.named,
            self.misfit or other.misfit,
            (*self.unknown, *other.unknown),
            self.vocabulary or other.vocabulary,
            self.renamed or other.renamed,
        )


def base_structure(layout: Mapping[str, Shape], packed: Iterable[str] = ()) -> BaseStructure:
    """
    Args:
        layout: canonical name -> shape of every tensor of the model; packed: names of those that are no floats.
    """
    few_bits = frozenset(packed)
    weights: dict[str, Shape] = {}
    of_bits: set[str] = set()
    tensors = {bare(name): shape for name, shape in layout.items()}
    for name, shape in layout.items():
        module, _, leaf = bare(name).rpartition(".")
        if leaf in _LEAVES and (module not in weights or leaf == "weight"):
            weights[module] = () if leaf in _CODES else shape
            if name in few_bits or leaf not in _PLAIN_LEAVES:
                of_bits.add(module)
    return BaseStructure(weights, frozenset(of_bits), tensors)


def fit(adapter: AdapterStructure, base: BaseStructure, component: str = "") -> Fit:
    """
    Args:
        component: the part of a pipeline that the model is; only what the adapter changes in that part is compared.
    """
    adapter = with_modules_of(adapter, base)
    modules = [module for module in adapter.modules if module.component == component]
    found = _fit_modules(modules, base)
    if component in ("", adapter.components[0]):
        found = found + _fit_replaced(adapter, base)
        if adapter.prompt is not None:
            found = found + _fit_prompt(adapter.prompt[1], base)
    if adapter.broken:
        return Fit(found.modules, 0, found.named, adapter.broken)
    return found


def with_modules_of(adapter: AdapterStructure, base: BaseStructure) -> AdapterStructure:
    """The adapter, what it brings under unknown names taken for parts of modules of the model: of the longest one in each name."""
    ends = {_from_block(name) for name in base.weights}
    parts: dict[str, dict[str, Shape]] = {}
    whole: dict[str, Shape] = {}
    for name, shape in adapter.replaced.items():
        module = None if bare(name) in base.tensors else _longest_module(bare(name), base, ends)
        if module is None:
            whole[name] = shape
        else:
            parts.setdefault(module, {})[bare(name)[len(module) + 1 :]] = shape
    if not parts:
        return adapter
    found = tuple(module_of(name, tensors, by_name=True) for name, tensors in parts.items())
    numberless = {
        name: shape for name, shape in whole.items() if not _NUMBER.search(name) and bare(name) not in base.tensors
    }
    left = {name: shape for name, shape in whole.items() if name not in numberless or _ends_plainly(name)}
    return replace(adapter, modules=(*adapter.modules, *found), replaced=left)


def _longest_module(name: str, base: BaseStructure, ends: Set[str]) -> str | None:
    """The beginning of a tensor's name that is a module of the model, under its path or another; None where no beginning is, or where what
    is left is a plain weight."""
    pieces = name.split(".")
    for length in range(len(pieces) - 1, 0, -1):
        module = ".".join(pieces[:length])
        if module in base.weights or (_NUMBER.search(module) and _from_block(module) in ends):
            return None if _ends_plainly(name) and length == len(pieces) - 1 else module
    return None


def _ends_plainly(name: str) -> bool:
    return name.rpartition(".")[2] in (*_PLAIN_LEAVES, "bias")


def _from_block(module: str) -> str:
    """A module's name from the list of blocks on, as in `layers.0.mlp`: what comes before differs between programs."""
    numbers = _paths_of_blocks(module)
    return module[numbers[0][0].rstrip(".").rfind(".") + 1 :] if numbers else module


def bare(name: str) -> str:
    """A name without the wrappers that savers put before it."""
    while (wrapper := next((w for w in _WRAPPERS if name.startswith(w)), None)) is not None:
        name = name[len(wrapper) :]
    return name


def _fit_modules(modules: list[AdaptedModule], base: BaseStructure) -> Fit:
    if not modules:
        return Fit(0, 0, 0)
    known = _joined(base) if modules[0].joined else {name: name for name in base.weights}
    names = [module.name if module.joined else bare(module.name) for module in modules]
    found = [
        _under(modules, names, path, known, base)
        for path in dict.fromkeys([("", ""), *_paths(names, known, modules[0].joined)])
    ]
    best = max(found, key=lambda one: (one.fitting, one.named, one.misfit is None))
    if not best.named and best.misfit is None and _fits_by_blocks(modules, names, base):
        return Fit(len(modules), len(modules), 0, renamed=True)
    return best


def _fits_by_blocks(modules: list[AdaptedModule], names: list[str], base: BaseStructure) -> bool:
    """Whether the model has as many blocks, each with weights of the sizes that the adapter works on there, under other names: programs
    rename modules between versions and keep the names of files."""
    if base.packed or not all(module.inputs or module.outputs or module.sides for module in modules):
        return False
    wanted = _by_block(zip(names, modules, strict=True))
    for blocks in _lists_of_blocks(base.weights).values():
        if wanted and all(_all_there(some, blocks.get(number, [])) for number, some in wanted.items()):
            return True
    return False


def _by_block(named: Iterable[tuple[str, AdaptedModule]]) -> dict[int, list[AdaptedModule]]:
    """Modules by the number of their block; those outside of blocks are left out."""
    found: dict[int, list[AdaptedModule]] = {}
    for name, module in named:
        numbers = _paths_of_blocks(name)
        if len(numbers) == 1:
            found.setdefault(numbers[0][1], []).append(module)
    return found


def _lists_of_blocks(weights: Mapping[str, Shape]) -> dict[str, dict[int, list[Shape]]]:
    """Path before a number -> number -> shapes of the matrices under it."""
    found: dict[str, dict[int, list[Shape]]] = {}
    for name, shape in weights.items():
        for path, number in _paths_of_blocks(name)[:1] if len(shape) >= 2 else ():
            found.setdefault(path, {}).setdefault(number, []).append(shape)
    return found


def _all_there(modules: list[AdaptedModule], shapes: list[Shape]) -> bool:
    """Whether there is a weight of its own for every module."""
    left = list(shapes)
    for module in modules:
        fitting = next((shape for shape in left if _fits(module, shape, False)[0]), None)
        if fitting is None:
            return False
        left.remove(fitting)
    return True


def _joined(base: BaseStructure) -> dict[str, str]:
    return {name.replace(".", JOINED): name for name in base.weights}


def _paths(names: list[str], known: Mapping[str, str], joined: bool) -> Iterator[tuple[str, str]]:
    """(path that the adapter's names have, path that the model's have) before what both call the same."""
    between = JOINED if joined else "."
    for name in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        pieces = name.split(between)
        for start in range(len(pieces)):
            tail = between.join(pieces[start:])
            if not (_NUMBER.search(tail) or not _NUMBER.search(name)):
                break  # what is left of it is in every block
            ends = [n for n in known if n == tail or n.endswith(between + tail)]
            if ends:
                yield from ((name[: len(name) - len(tail)], n[: len(n) - len(tail)]) for n in ends[:8])
                break


def _under(
    modules: list[AdaptedModule], names: list[str], path: tuple[str, str], known: Mapping[str, str], base: BaseStructure
) -> Fit:
    """How the modules fit where the adapter's path is taken for the model's."""
    mine, its = path
    blocks = _blocks(known)
    fitting = named = 0
    misfits: list[str] = []
    unknown: list[AdaptedModule] = []
    vocabulary = None
    containers = _containers(known) if any(module.container for module in modules) else frozenset()
    for module, name in zip(modules, names, strict=True):
        moved = its + name.removeprefix(mine) if name.startswith(mine) else name
        weight = known.get(moved) or known.get(name)
        if weight is None and _VOCABULARY.search(name):
            weight = next((n for n in base.weights if _VOCABULARY.search(n)), None)  # tied: one table serves as both
        if weight is None and module.container and (moved in containers or name in containers):
            named, fitting = named + 1, fitting + 1
            continue
        if weight is None:
            lacking = _lacking_block(moved, blocks)
            if lacking:
                misfits.append(f"{_shown(module)} lies in block {lacking[0]}, and there are {lacking[1]}")
            else:
                unknown.append(module)
            continue
        named += 1
        shape = base.weights[weight]
        if weight in base.packed:
            ok, rows = _packed_fits(module, shape), None
        else:
            ok, rows = _fits(module, shape, _VOCABULARY.search(name) is not None)
        fitting += ok
        vocabulary = vocabulary or rows
        if not ok:
            misfits.append(f"{_shown(module)} works on {_sizes(module)} and the weight there is {_by(shape)}")
    if not named and not misfits and unknown and not base.packed and not _any_fits(unknown, base):
        misfits.append(f"{_shown(unknown[0])} works on {_sizes(unknown[0])}, and no weight there has such sizes")
    return Fit(
        len(modules),
        fitting,
        named,
        misfits[0] if misfits else None,
        tuple(module.name for module in unknown),
        vocabulary,
    )


def _any_fits(modules: list[AdaptedModule], base: BaseStructure) -> bool:
    """Whether some weight of the model, whatever its name, has sizes that one of the modules works on."""
    tables = (
        name for name in base.weights if _TABLE.search(name)
    )  # as long as a vocabulary or a text is, which is chance
    shapes = {base.weights[name] for name in base.weights.keys() - set(tables) if len(base.weights[name]) >= 2}
    sized = [module for module in modules if module.sized]
    return not shapes or not sized or any(_fits(module, shape, False)[0] for module in sized for shape in shapes)


def _fits(module: AdaptedModule, shape: Shape, vocabulary: bool) -> tuple[bool, tuple[int, int] | None]:
    """Whether a weight has the sizes; and the rows of a vocabulary where those are all that differs."""
    if module.sides and not set(module.sides) & set(shape):
        return False, None
    if module.divisor and not any(size % module.divisor == 0 for size in shape):
        return False, None
    if prod(shape) < module.values or (module.of_both_sides and len(shape) == 2 and module.of_both_sides % sum(shape)):
        return False, None
    if len(shape) < 2:
        return module.inputs in (None, *shape) and module.outputs in (None, *shape), None
    wanted = (module.outputs, module.inputs)
    axes = shape[:2] if len(shape) != 3 else shape[1:]  # (experts, out, in), or a convolution over one axis
    for order in (axes, axes[::-1], shape[:2], shape[1::-1]):
        if all(want in (None, have) for want, have in zip(wanted, order, strict=True)):
            return True, None
    if vocabulary and module.outputs and module.inputs:
        for rows, width in ((module.outputs, module.inputs), (module.inputs, module.outputs)):
            if width in axes:
                have = axes[0] if axes[1] == width else axes[1]
                return True, (rows, have)
    return False, None


def _packed_fits(module: AdaptedModule, shape: Shape) -> bool:
    if module.inputs is None or module.outputs is None:
        return True
    stored, values = prod(shape), module.inputs * module.outputs
    return not shape or any(stored * many == values * few for many, few in PACKINGS)


def _fit_replaced(adapter: AdapterStructure, base: BaseStructure) -> Fit:
    """Whole tensors that the adapter brings: those that the model has under their names must have its shapes, vocabulary rows and heads
    aside."""
    count = fitting = 0
    misfit = vocabulary = None
    unknown = []
    blocks = _blocks(base.weights)
    for wrapped, shape in adapter.replaced.items():
        name = bare(wrapped)
        module, its = name.rpartition(".")[0], base.tensors.get(name)
        rows_are_free = _VOCABULARY.search(module) is not None or _HEAD.search(name) is not None
        if module in base.packed or (its is None and rows_are_free):
            continue
        if its is None:
            lacking = _lacking_block(name, blocks)
            if lacking:
                misfit = misfit or f"{name} lies in block {lacking[0]}, and there are {lacking[1]}"
            elif not adapter.modules:
                unknown.append(name)
            continue
        count += 1
        if its == shape or its[::-1] == shape or (rows_are_free and its[1:] == shape[1:]):
            fitting += 1
        else:
            misfit = misfit or f"{name} is {_by(shape)} and {_by(its)} there"
        if its != shape and its[1:] == shape[1:] and _VOCABULARY.search(module):
            vocabulary = vocabulary or (shape[0], its[0])
    return Fit(count + len(unknown), fitting, count, misfit, tuple(unknown), vocabulary)


def _fit_prompt(width: int, base: BaseStructure) -> Fit:
    """A tuned prompt is as wide as an embedding; a prefix holds a key and a value for each block."""
    if not base.widths:
        somewhere = not base.weights or any(width in shape for shape in base.weights.values())
        return Fit(1, 0, 0, None if somewhere else f"nothing there has {width} values", ("prompt_embeddings",))
    depth = max((count for count in _blocks({n: n for n in base.weights}).values()), default=0)
    keys = {s[0] for n, s in base.weights.items() if n.rpartition(".")[2] in ("k_proj", "key", "k") and len(s) == 2}
    if width in base.widths or any(width == 2 * depth * key for key in keys | base.widths):
        return Fit(1, 1, 1)
    wide = " or ".join(str(w) for w in sorted(base.widths))
    return Fit(1, 0, 1, f"its virtual tokens have {width} values and embeddings there {wide}")


def _containers(known: Iterable[str]) -> frozenset[str]:
    """Modules that hold other modules."""
    return frozenset(name[:place] for name in known for place, letter in enumerate(name) if letter == ".")


@lru_cache(maxsize=16384)
def _paths_of_blocks(name: str) -> tuple[tuple[str, int], ...]:
    return tuple((name[: found.start(1)], int(found[1])) for found in _NUMBER.finditer(name))


def _blocks(known: Iterable[str]) -> dict[str, int]:
    """Path before a number -> how many blocks there are under it."""
    count: dict[str, int] = {}
    for name in known:
        for path, number in _paths_of_blocks(name):
            count[path] = max(count.get(path, 0), number + 1)
    return count


def _lacking_block(name: str, blocks: Mapping[str, int]) -> tuple[int, int] | None:
    """(number of a block, how many there are) where a name lies in a block that is not there."""
    for path, number in _paths_of_blocks(name):
        if path in blocks and number >= blocks[path]:
            return number, blocks[path]
    return None


def _shown(module: AdaptedModule) -> str:
    return f"{module.component}: {module.name}" if module.component else module.name


def _sizes(module: AdaptedModule) -> str:
    if module.sides or module.divisor:
        return f"weights with a side of {' or '.join(map(str, module.sides)) or f'a multiple of {module.divisor}'}"
    if module.of_both_sides:
        return f"weights whose sides together divide {module.of_both_sides}"
    if module.values:
        return f"weights of {module.values} values and more"
    return f"{module.outputs or 'any'} × {module.inputs or 'any'}"


def _by(shape: Shape) -> str:
    return " × ".join(map(str, shape)) or "a number"
