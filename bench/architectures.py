"""Do models of one backbone meet, whatever head, wrapper or task class they have? Headers made by the libraries themselves.

For every model type that the installed transformers knows: the base class and every task class that its automatic classes list, made
on the meta device (no numbers, a few layers), with the names under which `save_pretrained` would store them. Counted: how many task
classes share a backbone with their base, which types meet although their blocks differ, and how long grouping takes.

    python -m bench.architectures --make tests/detect/architectures.json.xz     # needs transformers; the file is what the tests read
    python -m bench.architectures                                               # counts, from that file
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.architecture_settings import configured
from lineage.detect.backbone import backbones_of, signature_from
from lineage.graphdb.schema import keys_in

GOLDEN = Path(__file__).parent.parent / "tests" / "detect" / "architectures.json.xz"
LAYERS = 3
_DEPTH = re.compile(r"(num_.*layers|.*_layers|n_layer|num_blocks|depth|n_layers|num_hidden_groups)")
_NO_TASK = re.compile(r"BACKBONE|TOKENIZATION|^MODEL_MAPPING$")
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "bool": "BOOL", "int32": "I32"}


@dataclass(frozen=True, slots=True)
class Spec:
    name: str
    dtype: str
    shape: tuple[int, ...]


Headers = Mapping[str, Mapping[str, list[Spec]]]  # model type -> class -> header; the base class comes first


def read(path: Path = GOLDEN) -> dict[str, dict[str, list[Spec]]]:
    """The stored headers."""
    with lzma.open(path, "rt") as file:
        content = json.load(file)
    names, layouts = content["names"], content["layouts"]
    return {
        kind: {
            called: [Spec(names[n], dtype, tuple(shape)) for n, dtype, shape in layouts[layout]]
            for called, layout in classes.items()
        }
        for kind, classes in content["types"].items()
    }


def write(headers: Headers, path: Path, version: str) -> None:
    names: dict[str, int] = {}
    layouts: dict[str, int] = {}
    types: dict[str, dict[str, int]] = {}
    for kind, classes in headers.items():
        for called, header in classes.items():
            layout = [[names.setdefault(s.name, len(names)), s.dtype, list(s.shape)] for s in header]
            types.setdefault(kind, {})[called] = layouts.setdefault(json.dumps(layout), len(layouts))
    content = {
        "transformers": version,
        "names": list(names),
        "layouts": [json.loads(x) for x in layouts],
        "types": types,
    }
    with lzma.open(path, "wb", preset=9) as packed:
        packed.write(json.dumps(content, separators=(",", ":")).encode())


def make(known: Headers, only: Collection[str] = ()) -> Iterator[tuple[str, str, list[Spec]]]:
    """(model type, class, header) of everything that can be made from a default configuration or architecture_settings.py.

    Args:
        known: what is not made again; only: of these types; none: of all.
    """
    import torch
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    base = modeling_auto.MODEL_MAPPING
    tasks = [
        getattr(modeling_auto, name)
        for name in dir(modeling_auto)
        if name.startswith("MODEL_FOR") and name.endswith("_MAPPING") and not _NO_TASK.search(name)
    ]
    for kind in sorted(only or CONFIG_MAPPING.keys()):
        try:
            config_class = CONFIG_MAPPING[kind]
        except Exception:
            continue
        classes = []
        with suppress(Exception):
            classes.append(base[config_class])
        for task in tasks:
            try:
                found = task[config_class]
            except Exception:
                continue
            classes += found if isinstance(found, tuple) else [found]
        flat = [c for one in classes for c in (one if isinstance(one, (tuple, list)) else [one])]
        for cls in dict.fromkeys(flat):
            if cls.__name__ in known.get(kind, ()):
                continue
            header = _header(kind, cls, config_class, torch)
            if header:
                yield kind, cls.__name__, header
        gc.collect()


def _header(kind: str, cls: Any, config_class: Any, torch: Any) -> list[Spec]:
    for shallow in (True, False):
        try:
            config = configured(kind, cls, config_class)
            if shallow:
                _make_shallow(config)
            with torch.device("meta"):
                model = cls(config)
            return _saved(model)
        except Exception as error:
            print(f"{cls.__name__}: {type(error).__name__}: {str(error)[:100]}", flush=True)
    return []


def _make_shallow(config: Any, seen: int = 0) -> None:
    for name, value in list(vars(config).items()):
        if type(value) is int and value > LAYERS and _DEPTH.fullmatch(name):
            setattr(config, name, LAYERS)
        elif name in ("layer_types", "mlp_layer_types", "layers_block_type") and isinstance(value, list):
            setattr(config, name, value[:LAYERS])
        elif hasattr(value, "to_dict") and seen < 3:
            _make_shallow(value, seen + 1)


def _saved(model: Any) -> list[Spec]:
    """Names, dtypes and shapes as `save_pretrained` writes them."""
    from transformers.core_model_loading import revert_weight_conversion

    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in getattr(model, "all_tied_weights_keys", {})
    }
    try:
        state = revert_weight_conversion(model, state)
    except Exception as error:
        print(f"{type(model).__name__}: names of memory, not of files ({type(error).__name__})", flush=True)
    return [
        Spec(name, DTYPES.get(str(tensor.dtype).removeprefix("torch."), "F32"), tuple(tensor.shape))
        for name, tensor in sorted(state.items())
    ]


@dataclass(frozen=True, slots=True)
class Counts:
    """apart: task classes that share no backbone with their base; meeting: keys that several types have, with these."""

    types: int
    tasks: int
    apart: tuple[tuple[str, str], ...]
    meeting: dict[str, tuple[str, ...]]
    headers_a_minute: float


def count(headers: Headers) -> Counts:
    keys = {
        (kind, called): set(keys_in(signature_from(backbones_of(header))))
        for kind, classes in headers.items()
        for called, header in classes.items()
    }
    apart, tasks = [], 0
    with_key: dict[str, set[str]] = defaultdict(set)
    for kind, classes in headers.items():
        base, *others = classes
        for called in others:
            tasks += 1
            if not keys[kind, base] & keys[kind, called]:
                apart.append((kind, called))
        for called in classes:
            for key in keys[kind, called]:
                with_key[key].add(kind)
    meeting = {key: tuple(sorted(kinds)) for key, kinds in with_key.items() if len(kinds) > 1}
    return Counts(len(headers), tasks, tuple(apart), meeting, _speed(headers))


def _speed(headers: Headers) -> float:
    """Headers a minute of processor time, none seen before (other shapes each), names as often as they are."""
    many = [header for classes in headers.values() for header in classes.values()][:400]
    fresh = [
        [Spec(s.name, s.dtype, (*s.shape[:-1], s.shape[-1] + 8 * n) if s.shape else s.shape) for s in header]
        for n in range(1, 4)
        for header in many
    ]
    began = time.process_time()
    groups: dict[str, list[int]] = defaultdict(list)
    for number, header in enumerate(fresh):
        for key in keys_in(signature_from(backbones_of(header))):
            groups[key].append(number)
    return 60 * len(fresh) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, help="make the headers anew and store them here")
    parser.add_argument("--add", action="store_true", help="make only what is not in --file, and store both")
    parser.add_argument("--only", default="", help="of these types, with commas between")
    parser.add_argument("--file", type=Path, default=GOLDEN)
    given = parser.parse_args()
    if given.make:
        import transformers

        made: dict[str, dict[str, list[Spec]]] = read(given.file) if given.add else {}
        for kind, called, header in make({**made}, [kind for kind in given.only.split(",") if kind]):
            made.setdefault(kind, {})[called] = header
        write(made, given.make, transformers.__version__)
        given.file = given.make
    found = count(read(given.file))
    for kind, called in found.apart:
        print(f"apart   {kind:30} {called}")
    for key, kinds in sorted(found.meeting.items()):
        print(f"meeting {key}  {', '.join(kinds)}")
    print(
        json.dumps(
            {
                "types": found.types,
                "task_classes": found.tasks,
                "in_group": found.tasks - len(found.apart),
                "keys_of_several_types": len(found.meeting),
                "headers_a_minute": round(found.headers_a_minute),
            }
        )
    )


if __name__ == "__main__":
    main()
