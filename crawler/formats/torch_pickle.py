"""The bytes of a `data.pkl` -> the tensors that it describes, without unpickling anything.

A pickle is a program for a stack machine, and Python's own machine calls what the program names. This one cannot: it has the opcodes that
build numbers, texts, lists and dictionaries, a table of the few functions by which PyTorch describes a tensor, and records for
everything else. A record keeps the name of a class or function and what it would have been given; nothing is imported, looked up or
called. What a call of any other name would give, such as a value of a class of its publisher's own in the settings of a checkpoint, is
an opaque value that holds nothing, and no tensor is reached through one. A file is refused by the name where nothing else is left, and
where the call would run a command or a program.

Opcodes: Python's `pickletools`. PyTorch's format: torch/serialization.py and torch/_utils.py (`_rebuild_tensor_v2`, `persistent_id`).
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 8_000_000
MAX_TENSORS = 1_000_000
MAX_DEPTH = 64
DTYPES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL", "QInt8": "I8", "QUInt8": "U8", "ComplexFloat": "C64",
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip
_TENSOR_CALLS = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"})
_QUANTIZED_CALL = "_rebuild_qtensor"  # storage, offset, shape, stride, then how its whole numbers are scaled
_PACKED_LINEAR = "._packed_params._packed_params"  # end of the name of a quantized layer's weight and bias, a pair
_PARAMETER_CALLS = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state"})
_INERT = frozenset(
    {"torch", "collections", "numpy", "pathlib", "argparse", "_codecs", "copyreg", "copy_reg", "datetime"}
)
_RUNS_PROGRAMS = frozenset(  # modules whose functions run commands, run or load programs, or reach the network
    {
        "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "ctypes", "importlib", "imp", "runpy", "pty", "platform", "commands",
        "code", "codeop", "pdb", "bdb", "profile", "cProfile", "timeit", "multiprocessing", "asyncio", "webbrowser", "urllib", "requests",
        "pip", "pydoc", "marshal", "pickle", "_pickle", "cloudpickle", "dill", "zipimport",
    }
)  # fmt: skip
_RUN_BUILTINS = frozenset(
    {"eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint", "apply", "reload"}
)
_INERT_BUILTINS = frozenset(
    {"set", "frozenset", "slice", "complex", "bytearray", "range", "list", "dict", "tuple", "object"}
)
_FIRST = (
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "ema",  # where the network that was trained is not there, as in what ultralytics releases
)
_NO_NETWORK = re.compile(r"optim|sched|scaler|rng|callback|hyper", re.IGNORECASE)
_OF_TRAINING = re.compile(rf"{_NO_NETWORK.pattern}|^(args|cfg|config|loss.*|state|history)$", re.IGNORECASE)
_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
MAX_NESTED = 3  # dictionaries within each other
MAX_NETWORKS = 64  # in one dictionary


class BadPickle(ValueError):
    """A pickle that is not one, or names something that is not harmless. The text says what."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A stored run of numbers. key: name of its member of the archive; dtype: as safetensors spells it, None if not stated."""

    dtype: str | None
    key: str
    values: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor: a window of a storage. dtype: None where we do not know it; affine: scale and zero point of all its whole numbers."""

    storage: Storage
    dtype: str | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    affine: tuple[float, int] | None = None

    @property
    def contiguous(self) -> bool:
        step = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True


@dataclass(slots=True, eq=False)
class PickledObject:
    """A class or function by name, with what it would have been given. It is never looked up."""

    name: str
    arguments: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _GlobalName:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Opaque:
    """What a call would give that nothing here makes: it holds nothing, whatever it would have been given. name: of what it calls."""

    name: str


_MARK = object()
_SCRIPTED = "__torch__."  # before the classes of a program that TorchScript made


def tensors_in(pickle: bytes) -> dict[str, StoredTensor]:
    """Name -> tensor of the weights that a pickle describes: of a dictionary of tensors, of one within a checkpoint, or of a stored module.

    Raises:
        BadPickle: not a pickle, it would run a command or a program, or it holds no named tensors.
    """
    return described_in(pickle, {})


def described_in(pickle: bytes, storages: dict[str, Storage]) -> dict[str, StoredTensor]:
    """The same, with every storage that the pickle mentions put into `storages` by its key, whatever it is of."""
    opaque: list[str] = []
    found = _weights(_run(pickle, storages, opaque))
    if not found and opaque:
        raise BadPickle(_would_call(opaque[0]))
    if not found:
        raise BadPickle("it holds no tensors with names")
    return found


def texts_in(pickle: bytes) -> list[str]:
    """The list of texts that a pickle describes.

    Raises:
        BadPickle: it describes something else.
    """
    found = _run(pickle, {}, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise BadPickle("the keys of its numbers are no list of texts")
    return found


def _run(pickle: bytes, storages: dict[str, Storage], opaque: list[str]) -> Any:
    """The object that a pickle describes, made of plain values and records.

    Args:
        storages: filled with every storage by its key; opaque: with the first name of those that it would call.
    """
    if len(pickle) > MAX_PICKLE_BYTES:
        raise BadPickle(f"its description of {len(pickle)} bytes is beyond the limit of {MAX_PICKLE_BYTES}")
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            count += 1
            if count > MAX_OPCODES:
                raise BadPickle(f"it has more than {MAX_OPCODES} instructions")
            if opcode.name == "STOP":
                return stack.pop()
            _step(opcode.name, argument, stack, memo, storages)
            if not opaque and stack and isinstance(stack[-1], _Opaque):
                opaque.append(stack[-1].name)
    except BadPickle:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise BadPickle(f"its description cannot be followed ({type(error).__name__})") from None
    raise BadPickle("its description does not end")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
        "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    }
)  # fmt: skip


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any], storages: dict[str, Storage]) -> None:
    """One opcode."""
    if name in _LITERALS:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
        memo[int(argument)] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[int(argument)])
    elif name == "MARK":
        stack.append(_MARK)
    elif name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"):
        stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_SET": []}[name])
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        width = int(name[-1])
        _need(stack, width)
        stack[-width:] = [tuple(stack[-width:])]
    elif name in ("TUPLE", "LIST", "FROZENSET"):
        some = _since_mark(stack)
        stack.append(tuple(some) if name != "LIST" else some)
    elif name == "DICT":
        some = _since_mark(stack)
        stack.append(dict(zip(map(_key, some[::2]), some[1::2], strict=True)))
    elif name in ("APPEND", "APPENDS", "ADDITEMS"):
        some = [stack.pop()] if name == "APPEND" else _since_mark(stack)
        if isinstance(stack[-1], list):
            stack[-1].extend(some)
        elif not isinstance(stack[-1], (PickledObject, _Opaque)):
            raise BadPickle("it appends to something that is not a list")
    elif name in ("SETITEM", "SETITEMS"):
        some = _since_mark(stack) if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
        into = stack[-1].items if isinstance(stack[-1], PickledObject) else stack[-1]
        if isinstance(into, dict):
            into.update(zip(map(_key, some[::2]), some[1::2], strict=True))
        elif not isinstance(into, _Opaque):
            raise BadPickle("it sets items of something that is not a dictionary")
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        if name == "GLOBAL":
            module, _, called = str(argument).partition(" ")
        else:
            called, module = str(stack.pop()), str(stack.pop())
        stack.append(_GlobalName(module, called))
    elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
        options = stack.pop() if name == "NEWOBJ_EX" else None
        arguments = stack.pop()
        stack.append(_made(stack.pop(), arguments if options is None else (arguments, options), name != "REDUCE"))
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], PickledObject):
            stack[-1].state = state
    elif name in ("BINPERSID", "PERSID"):
        storage = _storage(stack.pop() if name == "BINPERSID" else argument)
        if storages.setdefault(storage.key, storage) != storage:
            raise BadPickle("it describes one storage in two ways")
        stack.append(storage)
    elif name in ("POP", "POP_MARK"):
        _since_mark(stack) if name == "POP_MARK" else stack.pop()
    elif name == "DUP":
        stack.append(stack[-1])
    elif name not in ("PROTO", "FRAME"):
        raise BadPickle(f"its description uses {name}, which describes no tensor")


def _need(stack: list[Any], count: int) -> None:
    if len(stack) < count:
        raise BadPickle("its description takes more than there is")


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while at >= 0 and stack[at] is not _MARK:
        at -= 1
    if at < 0:
        raise BadPickle("its description takes more than there is")
    some = stack[at + 1 :]
    del stack[at:]
    return some


def _key(key: Any) -> Any:
    return key if isinstance(key, (str, int, float, bool, type(None))) else id(key)


def _made(what: Any, arguments: Any, new: bool) -> Any:
    """What a call would give: a tensor, a dictionary, a record, or an opaque value.

    Args:
        new: an object of a class, whose code a machine would not run here.
    """
    if isinstance(what, (PickledObject, _Opaque)):
        return _Opaque(what.name)
    if not isinstance(what, _GlobalName):
        raise BadPickle("it calls something that is not a name")
    if what == _GlobalName("collections", "OrderedDict"):
        return PickledObject(str(what), arguments) if arguments else {}
    if what.module == "torch._utils" and what.name in (*_TENSOR_CALLS, _QUANTIZED_CALL):
        return _tensor(arguments, what.name)
    if what.module in ("torch._utils", "torch.nn.parameter") and what.name in (*_PARAMETER_CALLS, "Parameter"):
        return arguments[0]
    top = what.module.partition(".")[0]
    builtin = top in ("builtins", "__builtin__")
    if not new and (top in _RUNS_PROGRAMS or (builtin and what.name in _RUN_BUILTINS)):
        raise BadPickle(_would_call(str(what)))
    if new or top in _INERT or (builtin and what.name in _INERT_BUILTINS):
        return PickledObject(str(what), arguments)
    return _Opaque(str(what))


def _would_call(name: str) -> str:
    return f"it would call {name}, and nothing is called"


def _storage(identity: Any) -> Storage:
    """What PyTorch puts in the place of a storage: ("storage", type, key, place, number of values)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise BadPickle("it refers to something that is not a storage")
    kind, key, values = identity[1], identity[2], identity[4]
    if not isinstance(kind, _GlobalName) or not isinstance(key, str) or type(values) is not int or values < 0:
        raise BadPickle("it describes an invalid storage")
    if len(identity) > 5 and identity[5] is not None:
        raise BadPickle("it describes a window of a storage, as very old files have them")
    untyped = kind.name == "UntypedStorage"
    return Storage(None if untyped else DTYPES.get(kind.name.removesuffix("Storage")), key, values)


def _tensor(arguments: Any, by: str) -> StoredTensor:
    storage, offset, shape, stride = arguments[:4]
    dtype = storage.dtype if isinstance(storage, Storage) else None
    if by == "_rebuild_tensor_v3":
        named = arguments[6]
        dtype = DTYPES.get(named.name) if isinstance(named, _GlobalName) else None
    sizes = (*shape, *stride, offset) if isinstance(shape, tuple) and isinstance(stride, tuple) else (-1,)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > MAX_DEPTH:
        raise BadPickle("it describes an invalid tensor")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
        raise BadPickle("it describes a tensor of impossible size")
    return StoredTensor(storage, dtype, offset, shape, stride, _affine(arguments[4]) if by == _QUANTIZED_CALL else None)


def _affine(quantizer: Any) -> tuple[float, int] | None:
    """Scale and zero point of a tensor of whole numbers that has one of each; None where rows have their own."""
    if not isinstance(quantizer, tuple) or len(quantizer) != 3:
        return None
    how, scale, zero = quantizer
    known = isinstance(how, _GlobalName) and how.name == "per_tensor_affine"
    return (scale, zero) if known and type(scale) is float and type(zero) is int and abs(zero) < 1 << 16 else None


def _weights(top: Any) -> dict[str, StoredTensor]:
    """The named tensors: of the object itself, of what checkpoints keep the model under, or else of the dictionaries within it."""
    queue: list[tuple[Any, int]] = [(top, 0)]
    best: dict[str, StoredTensor] = {}
    seen: dict[int, dict[str, StoredTensor]] = {}
    while queue:
        here, depth = queue.pop(0)
        found = _own(here, depth, seen)
        if found and _content(found) > 2 * _content(best):
            best = found
        inside = _content_of(here)
        if isinstance(inside, dict) and not found and depth < MAX_NESTED:
            keys = [key for key in _FIRST if key in inside]
            queue += [(inside[key], depth + 1) for key in keys]
    return best or _of_networks(top, 0, {}) or _only_network(top)


def _own(here: Any, depth: int, seen: dict[int, dict[str, StoredTensor]]) -> dict[str, StoredTensor]:
    """The tensors of a network itself; none of a checkpoint, whose network lies in one of its dictionaries, and beside them the state of
    training: random numbers, masks, counts. depth, seen: see `_of_networks`."""
    found, content = _named(here), _content_of(here)
    if not found or not isinstance(content, dict) or len(found) == len(content) or len(content) > MAX_NETWORKS:
        return found
    beside = [
        value for key, value in content.items() if isinstance(value, (dict, PickledObject)) and not _of_training(key)
    ]
    networks = [_of_networks(value, depth + 1, seen) for value in beside] if depth < MAX_NESTED else []
    loose = {name: t for name, t in found.items() if t.dtype in _FLOATS and not _of_training(name)}
    return {} if _content(loose) < max(map(_content, networks), default=0) else found


def _of_training(key: Any) -> bool:
    """Whether what lies under a key belongs to the training and not to the network."""
    return not isinstance(key, str) or bool(_OF_TRAINING.search(key))


def _of_networks(here: Any, depth: int, seen: dict[int, dict[str, StoredTensor]]) -> dict[str, StoredTensor]:
    """The tensors of a dictionary of networks, such as `{"generator": …}`; of several networks each under its key.

    Args:
        seen: id of an object -> its tensors, since one may be in many dictionaries.
    """
    if id(here) in seen:
        return seen[id(here)]
    seen[id(here)] = {}  # of an object that lies within itself
    found, inside = _own(here, depth, seen), _content_of(here)
    if not found and isinstance(inside, dict) and depth < MAX_NESTED and len(inside) <= MAX_NETWORKS:
        networks = {
            key: own
            for key, value in inside.items()
            if not _of_training(key) and (own := _of_networks(value, depth + 1, seen))
        }
        if len(networks) == 1:
            found = next(iter(networks.values()))
        elif sum(map(len, networks.values())) <= MAX_TENSORS:
            found = {f"{key}.{name}": tensor for key, own in networks.items() for name, tensor in own.items()}
    seen[id(here)] = found
    return found


def _only_network(top: Any) -> dict[str, StoredTensor]:
    """The tensors of the one dictionary that holds any beside the optimizer's, also under what is mostly the state of the training."""
    inside = _content_of(top)
    if not isinstance(inside, dict) or len(inside) > MAX_NETWORKS:
        return {}
    doubtful = [v for key, v in inside.items() if isinstance(key, str) and not _NO_NETWORK.search(key)]
    networks = [own for value in doubtful if (own := _of_networks(value, 1, {}))]
    return networks[0] if len(networks) == 1 else {}


def _content(found: dict[str, StoredTensor]) -> int:
    total = 0
    for tensor in found.values():
        size = 1
        for n in tensor.shape:
            size *= n
        total += size
    return total


def _content_of(here: Any) -> Any:
    """What a dictionary holds, also one of pairs as old files have them."""
    if not isinstance(here, PickledObject):
        return here
    pairs = here.arguments[0] if here.name == "collections.OrderedDict" and isinstance(here.arguments, tuple) else []
    if here.items or not isinstance(pairs, (list, tuple)):
        return here.items
    pairs = [pair for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return {_key(key): value for key, value in pairs}


def _named(here: Any) -> dict[str, StoredTensor]:
    """Names and tensors of a dictionary of them, or of a stored module."""
    if isinstance(here, PickledObject) and isinstance(here.state, dict):
        if "_modules" in here.state:
            return dict(_module(here, "", 0, [0]))
        if here.name.startswith(_SCRIPTED):
            return dict(_scripted(here, "", 0, [0]))
    content = _content_of(here)
    if not isinstance(content, dict):
        return {}
    found = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, StoredTensor)}
    found |= _of_quantized_layers(content)
    opaque = sum(isinstance(value, _Opaque) for value in content.values())  # such as weights of a class of their own
    return found if opaque < len(found) <= MAX_TENSORS else {}


def _of_quantized_layers(content: dict[Any, Any]) -> dict[str, StoredTensor]:
    """The weights and biases that PyTorch's quantized layers keep in one pair, under the names that they have in the original."""
    found = {}
    for key, value in content.items():
        if isinstance(key, str) and key.endswith(_PACKED_LINEAR) and isinstance(value, tuple):
            for name, tensor in zip(("weight", "bias"), value, strict=False):
                if isinstance(tensor, StoredTensor):
                    found[f"{key.removesuffix(_PACKED_LINEAR)}.{name}"] = tensor
    return found


def _module(here: PickledObject, prefix: str, depth: int, seen: list[int]) -> Iterator[tuple[str, StoredTensor]]:
    """What `state_dict` of a stored module would list. seen: modules so far, in one number."""
    _count_module(depth, seen)
    state = here.state if isinstance(here.state, dict) else {}
    for kind in ("_parameters", "_buffers"):
        content = state.get(kind)
        for name, value in content.items() if isinstance(content, dict) else ():
            if isinstance(value, StoredTensor):
                yield f"{prefix}{name}", value
    modules = state.get("_modules")
    for name, module in modules.items() if isinstance(modules, dict) else ():
        if isinstance(module, PickledObject):
            yield from _module(module, f"{prefix}{name}.", depth + 1, seen)


def _scripted(here: PickledObject, prefix: str, depth: int, seen: list[int]) -> Iterator[tuple[str, StoredTensor]]:
    """The same of a module that TorchScript stored: its tensors and its modules are its attributes."""
    _count_module(depth, seen)
    for name, value in here.state.items() if isinstance(here.state, dict) else ():
        if isinstance(value, StoredTensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, PickledObject) and value.name.startswith(_SCRIPTED):
            yield from _scripted(value, f"{prefix}{name}.", depth + 1, seen)


def _count_module(depth: int, seen: list[int]) -> None:
    """One module more, so deep within others."""
    seen[0] += 1
    if depth > MAX_DEPTH or seen[0] > MAX_TENSORS:
        raise BadPickle("its modules lie within each other without end")
