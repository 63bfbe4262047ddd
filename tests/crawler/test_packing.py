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
from lineage.crawler.packing.numbers import decoded, of_bits
from lineage.crawler.weights import LocalFile
from tests.crawler.packings import IN, MADE, OUT, STEM, Tensors, bits_in, four_bits, gptq, int8


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


@pytest.mark.parametrize("name", ["mlx 4 bits, groups of 32", "mlx 8 bits, groups of 32", "mlx 4 bits, groups of 128"])
def test_rows_of_mlx_are_as_long_as_a_norm_whatever_else_is_as_long(name: str, tmp_path: Path) -> None:
    tensors, values = MADE[name]
    groups = tensors[f"{STEM}.scales"][1].shape[1]
    biases: Tensors = {f"other.{size}.bias": ("F16", np.ones(size * groups, np.float16)) for size in (32, 64, 128)}
    np.testing.assert_allclose(read(opened(tmp_path / "m.safetensors", tensors | biases)), values, rtol=1e-5, atol=1e-6)


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
