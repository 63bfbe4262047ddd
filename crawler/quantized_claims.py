"""Which models are quantized copies, and how: from the configuration that the listing shows, from names, from headers.

Packed numbers (bitsandbytes, GPTQ, AWQ, fp8 and the like) are not compared by value; what is left in floats is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

_METHOD = re.compile(r"[A-Za-z0-9][\w.\- ]{0,39}", re.ASCII)
_LOW_RANK = re.compile(
    r"(^|[._])(lora_(A|B|a|b|up|down|mid)|lora_embedding_[AB]|lora_magnitude_vector|lora(_linear_layer)?\.(up|down)|dora_scale"
    r"|hada_[wt]\d(_[ab])?|lokr_[wt]\d(_[ab])?|ia3_l|oft_(blocks|diag|R)|vera_(lambda_[bd]|[AB])|boft_[RSs]|hra_u"
    r"|prompt_embeddings|adaption_(prompt|gate)|fourierft_spectrum|vblora_(logits_[AB]|vector_bank)|ln_tuning_layers)([._]|$)"
)
_OF_LOW_RANK = re.compile(r"(^|[._])(alpha|scale|rank)$")  # a number beside the halves
_BASE_WEIGHT = ".base_layer.weight"  # of a module that peft has wrapped
_CONFIG_KEYS = {  # where configurations say that numbers are packed -> the method, where that is all they say
    "quantization_config": "an unknown method",
    "compression_config": "compressed-tensors",
    "quantization": "mlx",
    "quantize_config": "gptq",
    "quant_config": "an unknown method",
}
_MLX_FLOATS = frozenset({"mxfp4", "mxfp8", "nvfp4"})  # modes of mlx, which states no method
_INNER_CONFIGS = ("text_config", "llm_config", "language_config", "model_config")
_PACKED_DTYPES = frozenset({"I4", "U4", "I8", "U8", "I16", "U16", "I32", "U32"})
_SCALE = re.compile(
    r"(^|_)(scale|scales|scale_inv|wscales|absmax|zero_point|zeros|qzeros|SCB|s)$|_scale_\d$|^weight_scale|^scale_"
)


class HasName(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """What a configuration says, as `gptq 4 bits`; None where it says nothing."""
    inner = (config.get(name) for name in _INNER_CONFIGS)
    for place in (config, *(found for found in inner if isinstance(found, Mapping))):
        for key, usual in _CONFIG_KEYS.items():
            said = place.get(key)
            if isinstance(said, Mapping) and said:
                return _said_by(said, "mlx" if said == place.get("quantization") else usual)  # mlx writes it twice
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
        mode = said.get("mode")
        if isinstance(mode, str) and mode in _MLX_FLOATS and "group_size" in said:
            return f"mlx {mode}"
        method = "mlx" if mode == "affine" and "group_size" in said else method
    bits = said.get("bits", said.get("w_bit", said.get("nbits")))
    if said.get("load_in_4bit") is True or said.get("_load_in_4bit") is True:
        bits = 4
    elif said.get("load_in_8bit") is True or said.get("_load_in_8bit") is True:
        bits = 8
    bits = bits if bits is not None else _bits_of_groups(said)
    return f"{method} {bits} bits" if type(bits) is int and 0 < bits < 33 else method


def _bits_of_groups(said: Mapping[str, Any]) -> object:
    """Bits of whole numbers, as configurations of compressed-tensors state them for groups of layers: those of the first group."""
    groups = said.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            return weights.get("num_bits") if weights.get("type") == "int" else None
    return None


def quantization_in(header: Iterable[HasName]) -> str | None:
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
    """Whether most tensors are halves of low-rank products or the like: an adapter, whatever its file is called; unless the weights that
    it adapts are there as well."""
    names = [tensor.name for tensor in header if not _OF_LOW_RANK.search(tensor.name)]
    found = [(name, at) for name in names if (at := _LOW_RANK.search(name)) is not None]
    adapted = {name[: at.start()] for name, at in found}
    with_weights = {name.rpartition(_BASE_WEIGHT)[0] for name in names if name.endswith(_BASE_WEIGHT)}
    return 2 * len(found) > len(names) and 2 * len(adapted & with_weights) <= len(adapted)
