"""Matrices of few bits in ONNX files are read as the numbers that they represent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineage.crawler.formats.onnx_graph import OnnxWeights
from lineage.crawler.formats.onnx_packing import BNB4_TABLES
from lineage.crawler.weights import LocalFile
from lineage.detect.sketch import Block
from tests.crawler.onnxes import four_bits, model

RNG = np.random.default_rng(0)
OUT, IN, BLOCK = 12, 64, 32
NUMBERS = RNG.integers(0, 16, (OUT, IN))
SCALES = RNG.uniform(0.01, 0.02, (OUT, IN // BLOCK)).astype(np.float32)
ZEROS = RNG.integers(0, 16, (OUT, IN // BLOCK))
PATH = "/model/layers.0/self_attn/q_proj"
NAME = "model.layers.0.self_attn.q_proj.weight"
N_BITS = {"K": IN, "N": OUT, "bits": 4, "block_size": BLOCK}


def weights_at(path: Path, content: bytes) -> OnnxWeights:
    path.write_bytes(content)
    return OnnxWeights([LocalFile(path)])


def read(weights: OnnxWeights, name: str = NAME, first: int = 0, last: int | None = None) -> np.ndarray:
    (tensor,) = [t for t in weights.header if t.name == name]
    width = int(np.prod(tensor.shape[1:]))
    last = tensor.shape[0] if last is None else last
    ((_, raw),) = weights.read([Block(name, first * width, last * width)])
    return np.frombuffer(raw, "<f4").reshape(last - first, *tensor.shape[1:])


def pairs(numbers: np.ndarray) -> np.ndarray:
    """Two to a byte, the first one in the low bits."""
    return (numbers[..., 0::2] | numbers[..., 1::2] << 4).astype(np.uint8)


def n_bits(zeros: np.ndarray | None) -> tuple[bytes, np.ndarray]:
    tensors = {"onnx::MatMul_7_Q4": pairs(NUMBERS).reshape(OUT, -1, BLOCK // 2), "onnx::MatMul_7_scales": SCALES}
    less = np.repeat(ZEROS if zeros is not None else np.full_like(ZEROS, 8), BLOCK, 1)
    if zeros is not None:
        tensors["onnx::MatMul_7_zero_points"] = zeros
    content = model(tensors, [(PATH + "/MatMul_Q4", "MatMulNBits", ["x", *tensors], N_BITS)])
    return content, (NUMBERS - less) * np.repeat(SCALES, BLOCK, 1)


def test_rows_of_blocks_have_a_zero_point_in_the_middle_or_one_each(tmp_path: Path) -> None:
    for zeros in (None, pairs(ZEROS), ZEROS.astype(np.float32)):
        content, values = n_bits(zeros)
        weights = weights_at(tmp_path / "m.onnx", content)
        assert weights.quantization == "onnx 4 bits" and [t.name for t in weights.header] == [NAME]
        np.testing.assert_allclose(read(weights), values, rtol=1e-6)
        np.testing.assert_array_equal(read(weights, first=3, last=7), read(weights)[3:7])


def test_a_matrix_before_an_operator_of_its_own_is_turned_back(tmp_path: Path) -> None:
    stored, scales = NUMBERS.T - 8, np.ascontiguousarray(SCALES.T)  # (in, out), (blocks, out)
    nodes = [
        (PATH + "/MatMul_DQ_Q4", "DequantizeLinear", ["onnx::MatMul_7_DQ_Q4", "s"], {"axis": 0, "block_size": BLOCK}),
        (PATH + "/MatMul_matmul_Q4", "MatMul", ["x", PATH + "/MatMul_DQ_Q4_out"]),
    ]
    content = model({"s": scales}, nodes, [four_bits("onnx::MatMul_7_DQ_Q4", stored, signed=True)])
    weights = weights_at(tmp_path / "m.onnx", content)
    assert weights.quantization == "onnx 4 bits" and [t.name for t in weights.header] == [NAME]
    np.testing.assert_allclose(read(weights), (stored * np.repeat(scales, BLOCK, 0)).T, rtol=1e-6)


def test_eight_bits_with_a_scale_a_column_have_their_axis_from_the_operator(tmp_path: Path) -> None:
    stored = RNG.integers(-127, 128, (OUT, OUT)).astype(np.int8)
    for axis in (0, 1):
        nodes = [
            ("dq", "DequantizeLinear", ["fc.weight_quantized", "s"], {"axis": axis}),
            ("g", "Gemm", ["x", "dq_out"]),
        ]
        scales = RNG.uniform(0.01, 0.02, OUT).astype(np.float32)
        weights = weights_at(tmp_path / "m.onnx", model({"fc.weight_quantized": stored, "s": scales}, nodes))
        assert weights.quantization == "onnx int8"
        expected = stored * (scales[:, None] if axis == 0 else scales)
        np.testing.assert_allclose(read(weights, "fc.weight"), expected, rtol=1e-6)


def test_tables_of_bitsandbytes_have_the_first_value_in_the_high_bits(tmp_path: Path) -> None:
    flat = NUMBERS.reshape(-1)
    packed, scales = (flat[0::2] << 4 | flat[1::2]).astype(np.uint8), SCALES.reshape(-1)
    for kind, (name, table) in enumerate(BNB4_TABLES):
        settings = {"K": IN, "N": OUT, "block_size": BLOCK, "quant_type": kind}
        nodes = [(PATH + "/MatMul_Bnb4", "MatMulBnb4", ["x", "onnx::MatMul_7_Bnb4", "a"], settings)]
        weights = weights_at(tmp_path / "m.onnx", model({"onnx::MatMul_7_Bnb4": packed, "a": scales}, nodes))
        assert weights.quantization == f"onnx {name}"
        np.testing.assert_allclose(read(weights), np.array(table)[NUMBERS] * np.repeat(SCALES, BLOCK, 1), rtol=1e-6)


def test_an_embedding_of_four_bits_is_read_row_by_row(tmp_path: Path) -> None:
    nodes = [
        ("/model/embed_tokens/Gather_Q4", "GatherBlockQuantized", ["e.weight_Q4", "x", "s"], {"block_size": BLOCK})
    ]
    content = model({"s": SCALES}, nodes, [four_bits("e.weight_Q4", NUMBERS - 8, signed=True)])
    values = read(weights_at(tmp_path / "m.onnx", content), "e.weight", 2, 5)
    np.testing.assert_allclose(values, ((NUMBERS - 8) * np.repeat(SCALES, BLOCK, 1))[2:5], rtol=1e-6)


def test_one_matrix_of_queries_keys_and_values_is_three_of_the_model(tmp_path: Path) -> None:
    """As onnxruntime-genai's builder writes it: four heads of queries, one of keys and one of values."""
    stem = "model.layers.0.attn.qkv_proj.MatMul.weight"
    tensors = {
        f"{stem}_Q4": pairs(NUMBERS).reshape(OUT, -1, BLOCK // 2),
        f"{stem}_scales": SCALES,
        "model.layers.0.attn.qkv_proj.Add.bias": np.arange(OUT, dtype=np.float32),
        "model.layers.1.final_norm_layernorm.weight": np.ones(IN, np.float32),
        "lm_head.MatMul.weight": np.arange(2 * IN, dtype=np.float32).reshape(IN, 2),
    }
    nodes = [
        ("/model/layers.0/attn/qkv_proj/MatMul_Q4", "MatMulNBits", ["x", f"{stem}_Q4", f"{stem}_scales"], N_BITS),
        ("/model/layers.0/attn/GroupQueryAttention", "GroupQueryAttention", [], {"num_heads": 4, "kv_num_heads": 1}),
    ]
    weights = weights_at(tmp_path / "m.onnx", model(tensors, nodes))
    attention = "model.layers.0.self_attn"
    assert {t.name: t.shape for t in weights.header} == {
        **{f"{attention}.{part}_proj.weight": (rows, IN) for part, rows in (("q", 8), ("k", 2), ("v", 2))},
        **{f"{attention}.{part}_proj.bias": (rows,) for part, rows in (("q", 8), ("k", 2), ("v", 2))},
        "model.norm.weight": (IN,),
        "lm_head.weight": (2, IN),
    }
    values = (NUMBERS - 8) * np.repeat(SCALES, BLOCK, 1)
    np.testing.assert_allclose(read(weights, f"{attention}.k_proj.weight"), values[8:10], rtol=1e-6)
    assert read(weights, f"{attention}.v_proj.bias").tolist() == [10, 11]
    assert read(weights, "lm_head.weight")[1].tolist() == list(range(1, 2 * IN, 2))


@pytest.mark.parametrize(
    "changed", [{"K": IN + 32}, {"block_size": 0}, {"N": 1 << 62}, {"bits": 3}, {"block_size": 1 << 40}]
)
def test_settings_that_lie_leave_the_tensors_as_they_are(changed: dict[str, int], tmp_path: Path) -> None:
    tensors = {"a_Q4": pairs(NUMBERS).reshape(OUT, -1, BLOCK // 2), "a_scales": SCALES}
    nodes = [(PATH + "/MatMul_Q4", "MatMulNBits", ["x", *tensors], N_BITS | changed)]
    weights = weights_at(tmp_path / "m.onnx", model(tensors, nodes))
    assert weights.quantization is None and {t.dtype for t in weights.header} == {"U8", "F32"}
