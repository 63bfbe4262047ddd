"""Packed matrices are read as the numbers that they represent, under the names and shapes of the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineage.crawler.formats.interface import Opening, Readable
from lineage.crawler.formats.registry import SAFETENSORS
from lineage.crawler.packing import unpacking
from lineage.crawler.packing.interface import TensorRange
from lineage.crawler.packing.numbers import FLOAT4, decoded, of_bits
from lineage.crawler.weights import LocalFile

OUT, IN = 32, 128
STEM = "model.layers.0.self_attn.q_proj"
Tensors = dict[str, tuple[str, np.ndarray]]  # name -> (dtype, values)


def opened(path: Path, tensors: Tensors, texts: dict[str, str] | None = None) -> Readable:
    """A file written by hand, since not every dtype has a type in numpy."""
    header: dict[str, Any] = {"__metadata__": texts} if texts else {}
    data = b""
    for name, (dtype, values) in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return SAFETENSORS.open([LocalFile(path)], Opening())


def read(weights: Readable, first: int = 0, last: int = OUT, width: int = IN) -> np.ndarray:
    ((_, raw),) = weights.read([TensorRange(f"{STEM}.weight", first * width, last * width)])
    return np.frombuffer(raw, "<f4").reshape(last - first, width)


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
    return {f"{STEM}.weight": ("I8", numbers), f"{STEM}.weight_scale": ("F32", scales)}, numbers * scales


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


def mlx(bits: int) -> tuple[Tensors, np.ndarray]:
    rng = np.random.default_rng(7)
    numbers = rng.integers(0, 1 << bits, (OUT, IN))
    scales, biases = (rng.uniform(0.01, 0.02, (OUT, IN // 64)).astype(np.float16) for _ in range(2))
    names: Tensors = {
        "self_attn.q_proj.weight": ("U32", bits_in(numbers, bits)),
        "self_attn.q_proj.scales": ("F16", scales),
        "self_attn.q_proj.biases": ("F16", biases),
        "input_layernorm.weight": ("F16", np.ones(IN, np.float16)),
    }
    values = numbers * np.repeat(scales, 64, 1).astype(np.float32) + np.repeat(biases, 64, 1)
    return {f"model.layers.0.{name}": tensor for name, tensor in names.items()}, values


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
    "fp8": fp8("cast"),
    "fp8, blocks": fp8("blocks"),
    "fp8, one scale": fp8("one"),
    "compressed-tensors 4 bits": compressed(4, False),
    "compressed-tensors 8 bits, zeros": compressed(8, True),
    "nvfp4": fp4("nvfp4"),
    "mxfp4": fp4("mxfp4"),
    "mlx mxfp4": fp4("mlx"),
    "mlx 4 bits": mlx(4),
    "mlx 3 bits": mlx(3),
    "quanto 4 bits": quanto(4),
    "quanto 2 bits": quanto(2),
}


@pytest.mark.parametrize("name", MADE)
def test_a_packed_matrix_is_read_as_the_numbers_that_it_represents(name: str, tmp_path: Path) -> None:
    tensors, values = MADE[name]
    weights = opened(tmp_path / "m.safetensors", {**tensors, "other": ("I64", np.arange(3))})
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in weights.header}
    assert found.pop(f"{STEM}.weight") == ("F32", (OUT, IN))
    assert set(found) <= {"other", "model.layers.0.input_layernorm.weight"}
    assert weights.quantization == name.partition(",")[0]
    np.testing.assert_allclose(read(weights), values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(read(weights, 5, 12), read(weights)[5:12])


def test_torchao_says_beside_the_tensors_that_its_bytes_hold_four_bits(tmp_path: Path) -> None:
    said = '{"_type": "IntxUnpackedToInt8Tensor", "_data": {"target_dtype": {"_type": "torch.dtype", "_data": "int4"}}}'
    weights = opened(tmp_path / "m.safetensors", int8("torchao")[0], {f"{STEM}.weight": said})
    assert weights.quantization == "torchao 4 bits"


@pytest.mark.parametrize("name", MADE)
def test_tensors_that_do_not_fit_together_stay_as_they_are(name: str, tmp_path: Path) -> None:
    tensors, _ = MADE[name]
    part = next((n for n in tensors if "scale" in n or "absmax" in n or n.endswith("SCB")), None)
    if part is None:
        return
    dtype, values = tensors[part]
    longer = np.resize(values.reshape(-1), 2 * values.size + 13)
    weights = opened(tmp_path / "m.safetensors", {**tensors, part: (dtype, longer[None])})
    found = {tensor.name: tensor for tensor in weights.header}
    if f"{STEM}.weight" in found and found[f"{STEM}.weight"].dtype == "F32":
        pytest.fail(f"{name}: unpacked with {part} of the shape {longer[None].shape}")


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{", b'{"shape": [1e9, 4]}', b'{"shape": [-1, 4]}', b'{"shape": [32, 128], "blocksize": 0}']
)
def test_a_state_that_lies_is_no_matrix(said: bytes, tmp_path: Path) -> None:
    tensors, _ = four_bits(False)
    tensors[f"{STEM}.weight.quant_state.bitsandbytes__nf4"] = ("U8", np.frombuffer(said, np.uint8))
    weights = opened(tmp_path / "m.safetensors", tensors)
    assert f"{STEM}.weight.absmax" in {tensor.name for tensor in weights.header} and weights.quantization is None


def test_no_more_is_read_than_the_limit_and_the_cheapest_matrices_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, _ = gptq(4, 1)
    small = {name.replace("q_proj", "k_proj"): (dtype, part[..., :8].copy()) for name, (dtype, part) in tensors.items()}
    for name in (f"{STEM.replace('q_proj', 'k_proj')}.qzeros",):
        small[name] = ("I32", tensors[name.replace("k_proj", "q_proj")][1][:, :1].copy())
    small[f"{STEM.replace('q_proj', 'k_proj')}.g_idx"] = tensors[f"{STEM}.g_idx"]
    weights = opened(tmp_path / "m.safetensors", tensors | small)
    blocks = [TensorRange(f"{STEM}.weight", 0, IN), TensorRange(f"{STEM.replace('q_proj', 'k_proj')}.weight", 0, IN)]
    assert len(list(weights.read(blocks))) == 2
    monkeypatch.setattr(unpacking, "UNPACKED_LIMIT_BYTES", 2_000)
    assert [block.tensor for block, _ in weights.read(blocks)] == [blocks[1].tensor]


def test_runs_of_bits_cross_the_ends_of_words() -> None:
    numbers = np.random.default_rng(0).integers(0, 8, (3, 64))
    np.testing.assert_array_equal(of_bits(bits_in(numbers, 3), 3), numbers)


def test_floats_of_eight_bits_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for dtype, kind in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        there = torch.arange(256, dtype=torch.uint8).view(kind).float().numpy()
        mine = decoded(bytes(range(256)), dtype)
        finite = np.isfinite(there)
        np.testing.assert_array_equal(mine[finite], there[finite])
        assert np.isnan(mine[~finite]).all()
