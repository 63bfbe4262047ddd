"""Which models are quantised copies, and how: from the configuration that the listing shows, from names, from headers.

Packed numbers (bitsandbytes, GPTQ, AWQ, fp8 and the like) are not compared by value; what is left in floats is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

_METHOD = re.compile(r"[A-Za-z0-9][\w.\- ]{0,39}", re.ASCII)
_GGUF_TYPE = re.compile(
    r"(?:^|[.\-_])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]{1,3})*(?:_[SML]|_XL|_XS|_XXS)?|F16|BF16|F32|MXFP4))(?=[.\-_]|$)", re.I
)
_GGUF_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf", re.ASCII | re.I)
_NO_MODEL = re.compile(r"(^|[.\-_])(mmproj|imatrix|lora|vocab)([.\-_]|$)", re.I)
_LOW_RANK = re.compile(
    r"(^|[._])(lora_(A|B|a|b|up|down|mid)|lora_embedding_[AB]|lora_magnitude_vector|lora(_linear_layer)?\.(up|down)|dora_scale"
    r"|hada_[wt]\d(_[ab])?|lokr_[wt]\d(_[ab])?|ia3_l|oft_(blocks|diag|R)|vera_lambda_[bd]|boft_[RS])([._]|$)"
)
_OF_LOW_RANK = re.compile(r"(^|[._])(alpha|scale|rank)$")  # a number beside the halves
_CONFIG_KEYS = {  # where configurations say that numbers are packed -> the method, where that is all they say
    "quantization_config": "an unknown method",
    "compression_config": "compressed-tensors",
    "quantization": "mlx",
    "quantize_config": "gptq",
    "quant_config": "an unknown method",
}
_INNER_CONFIGS = ("text_config", "llm_config", "language_config", "model_config")
_PACKED_DTYPES = frozenset({"I4", "U4", "I8", "U8", "I16", "U16", "I32", "U32"})
_SCALE = re.compile(
    r"(^|_)(scale|scales|scale_inv|wscales|absmax|zero_point|zeros|qzeros|SCB|s)$|_scale_\d$|^weight_scale|^scale_"
)
_ORDER = ("F32", "BF16", "F16", "Q8", "Q6", "Q5", "Q4", "Q3", "Q2")  # least is lost first


class HasName(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...


def quantisation_of(config: Mapping[str, Any]) -> str | None:
    """What a configuration says, as `gptq 4 bits`; None where it says nothing."""
    inner = (config.get(name) for name in _INNER_CONFIGS)
    for place in (config, *(found for found in inner if isinstance(found, Mapping))):
        for key, usual in _CONFIG_KEYS.items():
            said = place.get(key)
            if isinstance(said, Mapping) and said:
                return _said_by(said, usual)
            if key == "quantization" and isinstance(said, str) and _METHOD.fullmatch(said):
                return said
    return None


def _said_by(said: Mapping[str, Any], usual: str) -> str:
    """
    Args:
        usual: the method where none is named.
    """
    method = said.get("quant_method", said.get("quant_algo"))
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        method = "bitsandbytes" if "load_in_4bit" in said or "load_in_8bit" in said else usual
    bits = said.get("bits", said.get("w_bit", said.get("nbits")))
    if said.get("load_in_4bit") is True or said.get("_load_in_4bit") is True:
        bits = 4
    elif said.get("load_in_8bit") is True or said.get("_load_in_8bit") is True:
        bits = 8
    return f"{method} {bits} bits" if type(bits) is int and 0 < bits < 33 else method


def quantisation_in(header: Iterable[HasName]) -> str | None:
    """What the tensors show, where no configuration says it; None for a model in plain numbers."""
    endings: set[str] = set()
    dtypes: set[str] = set()
    packed: dict[str, str] = {}  # module -> dtype of what may be packed numbers
    scaled: dict[str, set[str]] = {}  # module -> what scales lie in it
    for tensor in header:
        module, _, ending = tensor.name.rpartition(".")
        endings.add(ending)
        dtypes.add(tensor.dtype)
        if tensor.dtype in _PACKED_DTYPES:
            packed[module] = tensor.dtype
        if _SCALE.search(ending):
            scaled.setdefault(module, set()).add(ending)
    if "absmax" in endings or any(ending.startswith("bitsandbytes__") for ending in endings):
        return "bitsandbytes"
    if "SCB" in endings:
        return "bitsandbytes 8 bits"
    if {"qweight", "g_idx"} <= endings:
        return "gptq"
    if {"qweight", "qzeros", "scales"} <= endings:
        return "awq or gptq"
    if "weight_packed" in endings:
        return "compressed-tensors"
    if {"q_weight", "q_scale"} <= endings:
        return "exl2"
    if {"codes", "codebooks"} <= endings:
        return "aqlm"
    if {"W_q", "scale"} <= endings:
        return "hqq"
    if "Qidxs" in endings:
        return "quip"
    both = [module for module in packed if module and module in scaled]
    if both and packed[both[0]] == "U32" and "scales" in scaled[both[0]]:
        return "mlx"
    if any(dtype.startswith("F8_") for dtype in dtypes):
        return "fp8"
    if any(dtype.startswith(("F4", "F6_")) for dtype in dtypes) or any(e.endswith("_blocks") for e in endings):
        return "fp4"
    if both:
        return {"I8": "int8", "U8": "uint8"}.get(packed[both[0]], "whole numbers with scales")
    return None


def is_low_rank(header: Iterable[HasName]) -> bool:
    """Whether most tensors are halves of low-rank products: an adapter, whatever its file is called."""
    names = [tensor.name for tensor in header if not _OF_LOW_RANK.search(tensor.name)]
    return 2 * sum(_LOW_RANK.search(name) is not None for name in names) > len(names)


def gguf_label(path: str) -> str:
    """The quantisation that a file's name tells, as `gguf Q4_K_M`."""
    found = _GGUF_TYPE.search(PurePosixPath(path).stem)
    return f"gguf {found[1].upper()}" if found else "gguf"


@dataclass(frozen=True, slots=True)
class GgufSet:
    """The parts of one GGUF model, in order.

    Attributes:
        missing: how many of its parts are not there.
    """

    files: tuple[str, ...]
    missing: int = 0

    @property
    def aside(self) -> int:
        """0 for a model; above it what by its name goes along with one, such as a projector. Its header decides."""
        found = {match[2].lower() for match in _NO_MODEL.finditer(PurePosixPath(self.files[0]).stem)}
        return 2 if found & {"mmproj", "imatrix"} else 1 if found else 0


def is_gguf(path: str) -> bool:
    return path.lower().endswith(".gguf")


def choose_gguf(paths: Iterable[str]) -> tuple[str, ...]:
    """The one GGUF model to read among those of a repository, all its parts: the one that lost least; empty if there is none whole."""

    def rank(found: GgufSet) -> tuple[int, int, int, int, str]:
        first = found.files[0]
        return found.aside, _loss(first), first.count("/"), len(found.files), first

    whole = [found for found in gguf_sets(paths) if not found.missing]
    return min(whole, key=rank).files if whole else ()


def gguf_sets(paths: Iterable[str]) -> list[GgufSet]:
    """Every GGUF model, whole or not."""
    sets: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    for path in paths:
        if not is_gguf(path):
            continue
        part = _GGUF_PART.fullmatch(path)
        stem, number, total = (part["stem"], int(part["number"]), int(part["total"])) if part else (path, 1, 1)
        if not 1 <= number <= total:
            stem, number, total = path, 1, 1  # numbers that say nothing
        sets.setdefault(f"{stem}/{total}", {})[number] = path
        totals[f"{stem}/{total}"] = total
    found = []
    for stem in sorted(sets):
        files = tuple(sets[stem][number] for number in sorted(sets[stem]))
        found.append(GgufSet(files, max(0, totals[stem] - len(files))))
    return found


def _loss(path: str) -> int:
    kind = gguf_label(path).removeprefix("gguf").strip().removeprefix("UD-")
    return next((place for place, start in enumerate(_ORDER) if kind.startswith(start)), len(_ORDER))
