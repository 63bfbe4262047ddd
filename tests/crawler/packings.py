"""Packed matrices made by hand, as each library lays them out: (tensors of a file, the numbers that they represent)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lineage.crawler.packing.numbers import FLOAT4, decoded

OUT, IN = 32, 128
STEM = "model.layers.0.self_attn.q_proj"
Tensors = dict[str, tuple[str, np.ndarray]]  # name -> (dtype, values)


def bits_in(rows: np.ndarray, bits: int) -> np.ndarray:
    """(n, many) small numbers -> (n, words) uint32: the lowest bits first, across the ends of words."""
    words = []
    for row in rows.tolist():
        number = sum(value << (bits * place) for place, value in enumerate(row))
        many = len(row) * bits // 32
        words.append([(number >> (32 * place)) & 0xFFFFFFFF for place in range(many)])
    return np.array(words, np.uint32)


def gptq(bits: int, less: int, reordered: bool = False, middle: bool = True) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(bits)
    zeros = np.full((2, OUT), 1 << (bits - 1)) if middle else rng.integers(5, 10, (2, OUT))
    numbers = np.round(rng.normal(0, 2, (OUT, IN)) + np.repeat(zeros.T, 64, 1)).astype(int).clip(0, (1 << bits) - 1)
    scales = rng.uniform(0.01, 0.02, (2, OUT)).astype(np.float16)
    order = rng.permutation(np.arange(IN) // 64) if reordered else np.arange(IN) // 64
    values = (numbers - zeros[order].T) * scales[order].T.astype(np.float32)
    tensors: Tensors = {
        f"{STEM}.qweight": ("I32", bits_in(numbers, bits).T.copy()),
        f"{STEM}.qzeros": ("I32", bits_in(zeros - less, bits)),
        f"{STEM}.scales": ("F16", scales),
        f"{STEM}.g_idx": ("I32", order.astype(np.int32)),
    }
    return tensors, values


def awq() -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(1)
    numbers, zeros = rng.integers(0, 16, (IN, OUT)), rng.integers(0, 16, (2, OUT))
    scales = rng.uniform(0.01, 0.02, (2, OUT)).astype(np.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def packed(rows: np.ndarray) -> np.ndarray:
        return bits_in(rows.reshape(len(rows), -1, 8)[:, :, order].reshape(len(rows), -1), 4)

    group = np.arange(IN) // 64
    values = (numbers - zeros[group]) * scales[group].astype(np.float32)  # (in, out)
    names = {"qweight": ("I32", packed(numbers)), "qzeros": ("I32", packed(zeros)), "scales": ("F16", scales)}
    return {f"{STEM}.{name}": tensor for name, tensor in names.items()}, values.T


def four_bits(nested: bool) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(2)
    codes, entries = rng.integers(0, 16, OUT * IN), np.sort(rng.uniform(-1, 1, 16)).astype(np.float32)
    runs = OUT * IN // 64
    said: dict[str, Any] = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [OUT, IN]}
    scales = rng.uniform(0.1, 0.2, runs).astype(np.float32)
    more: Tensors = {f"{STEM}.weight.absmax": ("F32", scales)}
    if nested:
        index, table = rng.integers(0, 256, runs).astype(np.uint8), rng.uniform(-1, 1, 256).astype(np.float32)
        scales = table[index] * np.float32(0.05) + np.float32(0.1)
        said |= {"nested_blocksize": 256, "nested_offset": 0.1}
        more = {
            f"{STEM}.weight.absmax": ("U8", index),
            f"{STEM}.weight.nested_absmax": ("F32", np.array([0.05], np.float32)),
            f"{STEM}.weight.nested_quant_map": ("F32", table),
        }
    state = np.frombuffer(json.dumps(said).encode(), np.uint8)
    tensors: Tensors = {
        f"{STEM}.weight": ("U8", ((codes[0::2] << 4) | codes[1::2]).astype(np.uint8)[:, None]),
        f"{STEM}.weight.quant_map": ("F32", entries),
        f"{STEM}.weight.quant_state.bitsandbytes__nf4": ("U8", state),
        **more,
    }
    return tensors, (entries[codes] * np.repeat(scales, 64)).reshape(OUT, IN)


def int8(kind: str) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(3)
    numbers = rng.integers(-127, 128, (OUT, IN)).astype(np.int8)
    scales = rng.uniform(0.5, 1, (OUT, 1)).astype(np.float32)
    if kind == "bitsandbytes":
        parts: Tensors = {f"{STEM}.SCB": ("F32", scales[:, 0]), f"{STEM}.weight_format": ("U8", np.zeros((), np.uint8))}
        return {f"{STEM}.weight": ("I8", numbers), **parts}, numbers * scales / np.float32(127)
    if kind == "quanto":
        parts = {f"{STEM}.weight._scale": ("F32", scales), f"{STEM}.input_scale": ("F32", np.ones((), np.float32))}
        return {f"{STEM}.weight._data": ("I8", numbers), **parts}, numbers * scales
    if kind == "torchao":
        groups, zeros = rng.uniform(0.5, 1, (OUT, 4)).astype(np.float32), rng.integers(-3, 3, (OUT, 4)).astype(np.int8)
        parts = {f"{STEM}._weight_scale": ("F32", groups), f"{STEM}._weight_zero_point": ("I8", zeros)}
        values = (numbers - np.repeat(zeros, 32, 1).astype(np.float32)) * np.repeat(groups, 32, 1)
        return {f"{STEM}._weight_qdata": ("I8", numbers), **parts}, values
    name, scale = {
        "compressed-tensors": (".weight", ".weight_scale"),
        "of the tensor": (".weight.qweight", ".weight.scale"),
        "of the module": (".qweight", ".scale"),
        "plain": (".weight", ".scale"),
    }[kind]
    return {f"{STEM}{name}": ("I8", numbers), f"{STEM}{scale}": ("F32", scales)}, numbers * scales


def fp8(kind: str) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(4)
    raw = rng.integers(0, 127, (OUT, IN)).astype(np.uint8)
    plain = decoded(raw.tobytes(), "F8_E4M3").reshape(OUT, IN)
    if kind == "cast":
        return {f"{STEM}.weight": ("F8_E4M3", raw)}, plain
    if kind == "blocks":
        scales = rng.uniform(0.5, 1, (2, 4)).astype(np.float32)
        parts: Tensors = {f"{STEM}.weight_scale_inv": ("F32", scales)}
        return {f"{STEM}.weight": ("F8_E4M3", raw), **parts}, plain * np.repeat(np.repeat(scales, 16, 0), 32, 1)
    if kind == "powers":
        exponents = rng.integers(120, 130, (OUT, IN // 32)).astype(np.uint8)
        parts = {f"{STEM}.weight_scale": ("U8", exponents)}
        return {f"{STEM}.weight": ("F8_E4M3", raw), **parts}, plain * np.repeat(np.exp2(exponents - 127.0), 32, 1)
    parts = {f"{STEM}.weight_scale": ("F32", np.full((1,), 0.25, np.float32))}
    return {f"{STEM}.weight": ("F8_E4M3", raw), **parts}, plain * np.float32(0.25)


def compressed(bits: int, zeros: bool) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(5)
    half = 1 << (bits - 1)
    numbers, scales = rng.integers(-half, half, (OUT, IN)), rng.uniform(0.01, 0.02, (OUT, 2)).astype(np.float32)
    zero = rng.integers(-half, half, (OUT, 2)) if zeros else np.zeros((OUT, 2), np.int64)
    tensors: Tensors = {
        f"{STEM}.weight_packed": ("I32", bits_in(numbers + half, bits)),
        f"{STEM}.weight_scale": ("F32", scales),
        f"{STEM}.weight_shape": ("I64", np.array([OUT, IN], np.int64)),
    }
    if zeros:
        tensors[f"{STEM}.weight_zero_point"] = ("I32", bits_in((zero + half).T, bits).T.copy())
    return tensors, ((numbers - np.repeat(zero, 64, 1)) * np.repeat(scales, 64, 1)).astype(np.float32)


def fp4(kind: str) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(6)
    numbers = rng.integers(0, 16, (OUT, IN))
    packed = (numbers[:, 0::2] | (numbers[:, 1::2] << 4)).astype(np.uint8)
    if kind == "nvfp4":
        raw = rng.integers(40, 90, (OUT, IN // 16)).astype(np.uint8)
        scales = decoded(raw.tobytes(), "F8_E4M3").reshape(raw.shape)
        names: Tensors = {"weight_packed": ("U8", packed), "weight_scale": ("F8_E4M3", raw)}
        names["weight_global_scale"] = ("F32", np.array([8], np.float32))
        values = FLOAT4[numbers] * np.repeat(scales, 16, 1) / np.float32(8)
    else:
        raw = rng.integers(120, 130, (OUT, IN // 32)).astype(np.uint8)
        names = {"weight": ("U32", packed.view(np.uint32)), "scales": ("U8", raw)}
        if kind == "mxfp4":
            names = {"weight_packed": ("U8", packed), "weight_scale": ("U8", raw)}
        values = FLOAT4[numbers] * np.repeat(np.exp2(raw.astype(np.float32) - 127), 32, 1)
    return {f"{STEM}.{name}": tensor for name, tensor in names.items()}, values


def mlx(bits: int, group: int = 64) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(7)
    numbers = rng.integers(0, 1 << bits, (OUT, IN))
    scales, biases = (rng.uniform(0.01, 0.02, (OUT, IN // group)).astype(np.float16) for _ in range(2))
    names: Tensors = {
        "self_attn.q_proj.weight": ("U32", bits_in(numbers, bits)),
        "self_attn.q_proj.scales": ("F16", scales),
        "self_attn.q_proj.biases": ("F16", biases),
        "input_layernorm.weight": ("F16", np.ones(IN, np.float16)),
    }
    values = numbers * np.repeat(scales, group, 1).astype(np.float32) + np.repeat(biases, group, 1)
    return {f"model.layers.0.{name}": tensor for name, tensor in names.items()}, values


def mlx_floats(kind: str) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(12)
    bits, group = (8, 32) if kind == "mxfp8" else (4, 16)
    codes = rng.integers(0, 127 if bits == 8 else 16, (OUT, IN)).astype(np.uint8)
    raw = (
        rng.integers(120, 130, (OUT, IN // group)) if bits == 8 else rng.integers(40, 90, (OUT, IN // group))
    ).astype(np.uint8)
    plain = decoded(codes.tobytes(), "F8_E4M3").reshape(OUT, IN) if bits == 8 else FLOAT4[codes]
    scales = np.exp2(raw - 127.0) if bits == 8 else decoded(raw.tobytes(), "F8_E4M3").reshape(raw.shape)
    names: Tensors = {"weight": ("U32", bits_in(codes, bits)), "scales": ("U8", raw)}
    return {f"{STEM}.{name}": tensor for name, tensor in names.items()}, plain * np.repeat(scales, group, 1)


def quanto(bits: int) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(8)
    groups = rng.integers(0, 1 << bits, (OUT * IN // 64, 64))
    scales, shifts = (rng.uniform(0.01, 0.02, (len(groups), 1)).astype(np.float32) for _ in range(2))
    pieces = np.split(groups, 8 // bits)
    packed = sum(piece << (bits * place) for place, piece in enumerate(pieces)).astype(np.uint8)
    names: Tensors = {
        "self_attn.q_proj.weight._data._data": ("U8", packed),
        "self_attn.q_proj.weight._scale": ("F32", scales),
        "self_attn.q_proj.weight._shift": ("F32", shifts),
        "input_layernorm.weight": ("F32", np.ones(IN, np.float32)),
    }
    tensors = {f"model.layers.0.{name}": tensor for name, tensor in names.items()}
    return tensors, (groups * scales - shifts).reshape(OUT, IN).astype(np.float32)


def hqq(bits: int, axis: int, floats: bool = False, stated: bool = True) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(9)
    shape = (OUT * IN // 64, 64) if axis else (64, OUT * IN // 64)
    numbers = rng.integers(0, 1 << bits, shape)
    side = (shape[0], 1) if axis else (1, shape[1])
    scales, zeros = (rng.uniform(low, high, side).astype(np.float16) for low, high in ((0.01, 0.02), (0, 1 << bits)))
    if bits == 3:
        padded = np.concatenate([numbers, np.zeros((-len(numbers) % 10, shape[1]), int)])
        packed = sum(part << (27 - 3 * place) for place, part in enumerate(np.split(padded, 10))).astype(np.int32)
    else:
        many = 8 // bits
        packed = sum(part << (bits * (many - 1 - place)) for place, part in enumerate(np.split(numbers, many)))
        packed = packed.astype(np.uint8)
    names: Tensors = {
        "W_q": ("I32", packed) if bits == 3 else ("BF16", packed.view(np.uint16)) if floats else ("U8", packed),
        "scale": ("F16", scales), "zero": ("F16", zeros), "shape": ("I64", np.array([OUT, IN])), "nbits": ("I32", np.array(bits, np.int32)),
    }  # fmt: skip
    tensors = {f"{STEM}.{name}": tensor for name, tensor in names.items() if stated or name not in ("shape", "nbits")}
    if not stated:  # as in hqq's own files
        tensors["model.layers.0.input_layernorm.weight"] = ("F16", np.ones(IN, np.float16))
    return tensors, ((numbers - zeros) * scales).reshape(OUT, IN)


def exl2() -> tuple[Tensors, np.ndarray]:
    """Three groups of inputs with 5, 4 and 3 bits, the inputs in another order."""
    rng = np.random.default_rng(10)
    groups, packed, values, start = [], [], [], 0
    steps, largest = rng.integers(0, 16, (3, OUT)), rng.uniform(0.5, 1, 3).astype(np.float16)
    for group, (bits, inputs) in enumerate(((5, 32), (4, 64), (3, 32))):
        numbers = rng.integers(0, 1 << bits, (inputs, OUT))
        scale = (steps[group] + 1.0) ** 2 * (float(largest[group]) / 256)
        values.append((numbers - (1 << (bits - 1))) * scale)
        packed.append(bits_in(numbers.T, bits).T)
        groups += [bits, start]
        start += len(packed[-1])
    order = rng.permutation(IN)
    names: Tensors = {
        "q_weight": ("I32", np.concatenate(packed)), "q_scale": ("I32", bits_in(steps, 4)), "q_scale_max": ("F16", largest),
        "q_groups": ("I16", np.array(groups, np.int16)), "q_invperm": ("I32", order.astype(np.int32)),
    }  # fmt: skip
    return {f"{STEM}.{name}": tensor for name, tensor in names.items()}, np.concatenate(values)[order].T


def aqlm(tall: int) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(11)
    codes, books = (
        rng.integers(0, 256, (OUT // tall, IN // 8, 2)),
        rng.normal(size=(2, 256, tall, 8)).astype(np.float16),
    )
    scales = rng.uniform(0.5, 1, (OUT // tall, 1, 1, 1)).astype(np.float16)
    blocks = sum(books[i].astype(np.float32)[codes[:, :, i]] for i in range(2)) * scales.astype(np.float32)
    names: Tensors = {"codes": ("I8", codes.astype(np.int8)), "codebooks": ("F16", books), "scales": ("F16", scales)}
    return {f"{STEM}.{n}": tensor for n, tensor in names.items()}, blocks.swapaxes(1, 2).reshape(OUT, IN)


MADE = {
    "gptq 4 bits": gptq(4, 1),
    "gptq 3 bits": gptq(3, 0, reordered=True),
    "gptq 4 bits, uneven": gptq(4, 1, middle=False),
    "gptq 4 bits, uneven, second": gptq(4, 0, middle=False),
    "gptq 8 bits": gptq(8, 1, reordered=True),
    "awq 4 bits": awq(),
    "bitsandbytes nf4": four_bits(False),
    "bitsandbytes nf4, nested": four_bits(True),
    "bitsandbytes 8 bits": int8("bitsandbytes"),
    "quanto 8 bits": int8("quanto"),
    "torchao 8 bits": int8("torchao"),
    "int8": int8("compressed-tensors"),
    "int8, names of the tensor": int8("of the tensor"),
    "int8, names of the module": int8("of the module"),
    "int8, plain names": int8("plain"),
    "fp8": fp8("cast"),
    "fp8, blocks": fp8("blocks"),
    "fp8, one scale": fp8("one"),
    "fp8, powers of two": fp8("powers"),
    "compressed-tensors 4 bits": compressed(4, False),
    "compressed-tensors 8 bits, zeros": compressed(8, True),
    "nvfp4": fp4("nvfp4"),
    "mxfp4": fp4("mxfp4"),
    "mlx mxfp4": fp4("mlx"),
    "mlx 4 bits": mlx(4),
    "mlx 3 bits": mlx(3),
    "mlx 4 bits, groups of 32": mlx(4, 32),
    "mlx 8 bits, groups of 32": mlx(8, 32),
    "mlx 4 bits, groups of 128": mlx(4, 128),
    "mlx nvfp4": mlx_floats("nvfp4"),
    "mlx mxfp8": mlx_floats("mxfp8"),
    "quanto 4 bits": quanto(4),
    "quanto 2 bits": quanto(2),
    "hqq 4 bits": hqq(4, 1),
    "hqq 4 bits, columns": hqq(4, 0),
    "hqq 4 bits, floats": hqq(4, 1, floats=True),
    "hqq 4 bits, shape from norms": hqq(4, 1, stated=False),
    "hqq 3 bits": hqq(3, 1),
    "hqq 3 bits, columns": hqq(3, 0),
    "hqq 2 bits": hqq(2, 0),
    "hqq 1 bits": hqq(1, 1),
    "hqq 8 bits": hqq(8, 1),
    "exl2 4 bits": exl2(),
    "aqlm 2 bits": aqlm(1),
    "aqlm 1 bits": aqlm(2),
}
