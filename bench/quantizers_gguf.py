"""Copies in GGUF as functions of two folders, with the names and the order of rows of llama.cpp's converter.

Packed by `gguf`, which packs no K-quants: Q4_K and Q6_K are packed here, without llama.cpp's search for better scales. Where llama.cpp's
own library is at hand (`LINEAGE_GGML`, the path of a `libggml-base.so`, as the package llama-cpp-python builds it), also by that, with an
importance matrix: mean squares of each layer's inputs over random tokens.
"""

from __future__ import annotations

import ctypes
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

SUPER_BLOCK = 256


def ggml_library() -> str | None:
    """Path of llama.cpp's own quantizer, where it is at hand."""
    return os.environ.get("LINEAGE_GGML")


def gguf_copy(source: Path, target: Path, kind: str, heads: int, keys: int, by_ggml: bool = False) -> None:
    """
    Args:
        by_ggml: packed by llama.cpp's library, with embedding and head in Q6_K.
    """
    import gguf
    from safetensors.torch import load_file

    target.mkdir(parents=True)
    tensors = {n: v.float().numpy() for n, v in load_file(source / "model.safetensors").items()}
    config = json.loads((source / "config.json").read_text())
    architecture = config["model_type"].replace("gpt_neox", "gptneox")
    layers = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(target / f"model-{kind}.gguf", architecture)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], layers)
    packing = gguf.GGMLQuantizationType[kind]
    for name, values in tensors.items():
        short = names.get_name(name, (".weight", ".bias"))
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            count = heads if "q_proj" in name else keys
            values = values.reshape(count, 2, values.shape[0] // count // 2, -1).swapaxes(1, 2).reshape(values.shape)
        if "query_key_value" in name:  # of each head its queries, keys and values; there all queries come first
            values = values.reshape(heads, 3, values.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(values.shape)
        if values.ndim == 1:
            writer.add_tensor(short, values)
        elif by_ggml:
            one = gguf.GGMLQuantizationType["Q6_K" if "embed" in name or "lm_head" in name else kind]
            writer.add_tensor(short, _by_ggml(values, one, _importance(source).get(name)), raw_dtype=one)
        elif kind in ("Q4_K", "Q6_K"):
            blocks = values.reshape(-1, SUPER_BLOCK)
            packed = (_q4_k if kind == "Q4_K" else _q6_k)(blocks).reshape(values.shape[0], -1)
            writer.add_tensor(short, packed, raw_dtype=packing)
        else:
            writer.add_tensor(short, gguf.quants.quantize(values, packing), raw_dtype=packing)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _by_ggml(values: np.ndarray, kind: Any, importance: np.ndarray | None) -> np.ndarray:
    """(rows, bytes) of (rows, inputs)."""
    import gguf

    pack = ctypes.CDLL(ggml_library()).ggml_quantize_chunk
    whole, place = ctypes.c_int64, ctypes.c_void_p
    pack.restype, pack.argtypes = ctypes.c_size_t, [ctypes.c_int, place, place, whole, whole, whole, place]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, wide = values.shape
    given, found = np.ascontiguousarray(values, np.float32), np.zeros((rows, wide // block * size), np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    written = pack(
        kind, given.ctypes.data, found.ctypes.data, 0, rows, wide, None if weights is None else weights.ctypes.data
    )
    assert written == found.nbytes, (kind, written)
    return found


@cache
def _importance(source: Path) -> dict[str, np.ndarray]:
    """Weight of each linear layer -> (inputs,)."""
    from bench.packed_by_hand import input_products

    return {f"{name}.weight": torch.diag(found).numpy() for name, found in input_products(source).items()}


def _q6_k(blocks: np.ndarray) -> np.ndarray:
    """(n, 256) -> (n, 210) bytes: sixteen scales of eight bits for 16 values each, and one for all of them."""
    groups = blocks.reshape(len(blocks), 16, 16)
    scale = np.abs(groups).max(2) / 32  # (n, 16)
    of_all = np.float16(scale.max(1) / 127).astype(np.float32)
    steps = np.round(scale / np.maximum(of_all, 1e-12)[:, None]).clip(0, 127)
    size = np.maximum(steps * of_all[:, None], 1e-12)
    number = (np.round(groups / size[:, :, None]).clip(-32, 31) + 32).astype(np.uint8).reshape(len(blocks), 2, 4, 32)
    low = (number[:, :, :2] & 15) | ((number[:, :, 2:] & 15) << 4)  # (n, 2, 2, 32)
    high = sum(((number[:, :, i] >> 4) << (2 * i) for i in range(4)), np.zeros((len(blocks), 2, 32), np.uint8))
    parts = [low.reshape(len(blocks), 128), high.reshape(len(blocks), 64).astype(np.uint8)]
    parts += [steps.astype(np.int8).view(np.uint8), np.float16(of_all)[:, None].view(np.uint8)]
    return np.concatenate(parts, 1)


def _q4_k(blocks: np.ndarray) -> np.ndarray:
    """(n, 256) -> (n, 144) bytes: scales and minima of six bits for 32 values each, and one of either for all of them."""
    groups = blocks.reshape(len(blocks), 8, 32)
    least = np.minimum(groups.min(2), 0)
    scale, lowest = (groups.max(2) - least) / 15, -least
    d, m = (np.float16(part.max(1) / 63).astype(np.float32)[:, None] for part in (scale, lowest))
    steps, minima = (
        np.round(part / np.maximum(one, 1e-12)).clip(0, 63).astype(np.uint8) for part, one in ((scale, d), (lowest, m))
    )
    size = np.maximum(steps * d, 1e-12)[:, :, None]
    number = np.round((groups + (minima * m)[:, :, None]) / size).clip(0, 15).astype(np.uint8)
    packed = number[:, 0::2] | (number[:, 1::2] << 4)  # (n, 4, 32)
    first = (steps[:, :4] & 63) | ((steps[:, 4:] >> 4) << 6)
    second = (minima[:, :4] & 63) | ((minima[:, 4:] >> 4) << 6)
    third = (steps[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    head = [np.float16(part).view(np.uint8) for part in (d, m)]
    return np.concatenate([*head, first, second, third, packed.reshape(len(blocks), 128)], 1)
