"""ONNX files: the weights that a model was exported from, under their own names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lineage.crawler.folder import one_local_model
from lineage.crawler.formats.onnx_graph import OnnxWeights
from lineage.crawler.open_model import locate_local
from lineage.crawler.weights import LocalFile
from lineage.detect.sketch import Block
from lineage.graphdb.schema import Failure
from tests.crawler.onnxes import KINDS, field, model, tensor, varint

ROUNDS = int(os.environ.get("LINEAGE_FUZZ_ROUNDS", "1500"))
RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(12, 8)).astype(np.float32)  # (out, in)
PATH = "/encoder/layer.0/attention/self/query/MatMul"


def weights_at(path: Path, content: bytes) -> OnnxWeights:
    path.write_bytes(content)
    return OnnxWeights([LocalFile(path)])


def read(weights: OnnxWeights, name: str) -> np.ndarray:
    (tensor,) = [t for t in weights.header if t.name == name]
    ((_, raw),) = weights.read([Block(name, 0, tensor.values)])
    return np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "I64": "<i8"}[tensor.dtype]).reshape(tensor.shape)


def test_initialisers_come_under_their_names_with_their_numbers(tmp_path: Path) -> None:
    bias = RNG.normal(size=12).astype(np.float16)
    weights = weights_at(
        tmp_path / "m.onnx", model({"encoder.weight": QUERY, "encoder.bias": bias, "shape": np.arange(3)})
    )
    assert np.array_equal(read(weights, "encoder.weight"), QUERY) and np.array_equal(
        read(weights, "encoder.bias"), bias
    )
    assert not weights.quantization


def test_a_matrix_that_lost_its_name_gets_it_back_from_the_node_that_uses_it(tmp_path: Path) -> None:
    content = model({"onnx::MatMul_123": QUERY.T, "b": QUERY[0]}, [(PATH, "MatMul", ["x", "onnx::MatMul_123"])])
    weights = weights_at(tmp_path / "m.onnx", content)
    assert np.array_equal(read(weights, "encoder.layer.0.attention.self.query.weight"), QUERY)
    some = list(weights.read([Block("encoder.layer.0.attention.self.query.weight", 16, 40)]))
    assert some[0][1] == QUERY.ravel()[16:40].tobytes()


def test_a_name_that_only_a_note_of_the_exporter_has_comes_back(tmp_path: Path) -> None:
    """As torch exports since 2.9."""
    scopes = "['', 'model', 'model.layers.0', 'model.layers.0.self_attn.q_proj', 'linear']"
    notes = {"pkg.torch.onnx.stack_trace": "x" * 9_000, "pkg.torch.onnx.name_scopes": scopes}
    content = model({"val_8": QUERY.T}, [("node_linear", "MatMul", ["x", "val_8"], {}, notes)])
    weights = weights_at(tmp_path / "m.onnx", content)
    assert np.array_equal(read(weights, "model.layers.0.self_attn.q_proj.weight"), QUERY)


def test_eight_bit_matrices_are_unpacked_and_the_model_is_a_quantized_copy(tmp_path: Path) -> None:
    scale = np.float32(np.abs(QUERY).max() / 127)
    packed = np.round(QUERY.T / scale).astype(np.int8) + np.int8(0)
    content = model(
        {
            "onnx::MatMul_9_quantized": packed,
            "onnx::MatMul_9_scale": np.array([scale]),
            "onnx::MatMul_9_zero_point": np.array([0], np.int8),
        },
        [(PATH + "_quant", "MatMulInteger", ["x", "onnx::MatMul_9_quantized"])],
    )
    weights = weights_at(tmp_path / "m.onnx", content)
    assert weights.quantization and [t.name for t in weights.header] == ["encoder.layer.0.attention.self.query.weight"]
    assert np.abs(read(weights, "encoder.layer.0.attention.self.query.weight") - QUERY).max() <= scale / 2 + 1e-6


def test_zero_points_that_are_written_as_varints_count(tmp_path: Path) -> None:
    """As onnxruntime writes them; of an embedding they are far from 0."""
    table = np.random.default_rng(1).normal(0.1, 1, (40, 16)).astype(np.float32)
    scale, zero = np.array((table.max() - table.min()) / 255, np.float32), 131
    packed = np.clip(np.round(table / scale) + zero, 0, 255).astype(np.uint8)
    point = field(2, KINDS["uint8"]) + field(8, "embed.weight_zero_point")
    for written in (field(5, varint(zero)), field(5, zero)):
        graph = field(5, tensor("embed.weight_quantized", packed)) + field(5, tensor("embed.weight_scale", scale))
        weights = weights_at(tmp_path / "m.onnx", field(7, graph + field(5, point + written)))
        values = read(weights, "embed.weight")
        assert np.abs(values - (packed.astype(np.float32) - zero) * scale).max() < 1e-6


def constant(name: str, values: np.ndarray) -> bytes:
    return field(2, name) + field(4, "Constant") + field(5, field(1, "value") + field(5, tensor("", values)))


def test_weights_written_as_constants_or_into_branches_count_where_a_graph_has_no_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    first, second = (rng.normal(size=(6, 8)).astype(np.float32) for _ in range(2))
    inner = field(1, constant("encoder.1.weight", second)) + field(5, tensor("encoder.1.bias", second[0]))
    choice = field(4, "If") + field(5, field(1, "then_branch") + field(6, inner))
    graph = field(1, constant("encoder.0.weight", first)) + field(1, constant("axes", np.arange(3))) + field(1, choice)
    path = tmp_path / "vad.onnx"
    path.write_bytes(field(1, 8) + field(7, graph))
    read = OnnxWeights([LocalFile(path)])
    assert {t.name: t.shape for t in read.header} == {
        "encoder.0.weight": (6, 8),
        "encoder.1.weight": (6, 8),
        "encoder.1.bias": (8,),
    }
    held = {b.tensor: np.frombuffer(raw, "<f4") for b, raw in read.read([Block("encoder.1.weight", 8, 24)])}
    assert np.array_equal(held["encoder.1.weight"], second[1:3].reshape(-1))
    plain = field(5, tensor("head.weight", rng.normal(size=(30, 40)).astype(np.float32)))
    path.write_bytes(field(1, 8) + field(7, graph + plain))
    assert [t.name for t in OnnxWeights([LocalFile(path)]).header] == ["head.weight"]


def test_graphs_within_graphs_without_end_are_refused(tmp_path: Path) -> None:
    graph = field(1, constant("w", np.ones((4, 8), np.float32)))
    for _ in range(40):
        graph = field(1, field(4, "If") + field(5, field(1, "then_branch") + field(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(field(1, 8) + field(7, graph))
    with pytest.raises(Failure, match="too deep"):
        _ = OnnxWeights([LocalFile(path)]).header


def test_numbers_beside_the_graph_are_read_from_their_file(tmp_path: Path) -> None:
    outside = b"".join(field(1, size) for size in QUERY.shape) + field(2, 1) + field(8, "w")
    for key, value in {"location": "model.onnx_data", "offset": "16", "length": str(QUERY.nbytes)}.items():
        outside += field(13, field(1, key) + field(2, value))
    outside += field(14, 1)
    (tmp_path / "model.onnx").write_bytes(field(7, field(5, outside)))
    (tmp_path / "model.onnx_data").write_bytes(b"\0" * 16 + QUERY.tobytes())
    opened = locate_local(one_local_model(tmp_path))
    ((_, raw),) = opened.read([Block("w", 0, QUERY.size)])
    assert raw == QUERY.tobytes()
    (tmp_path / "model.onnx_data").unlink()
    with pytest.raises(Failure, match="not there"):
        list(locate_local(one_local_model(tmp_path)).read([Block("w", 0, 4)]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        field(7, b"")[:-1] + varint(1 << 60),
        field(1, 8),
        field(7, field(5, field(1, 1 << 50) + field(2, 1) + field(8, "w") + field(9, b"abcd"))),
    ],
)
def test_what_is_no_onnx_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Failure) as refused:
        list(weights_at(tmp_path / "m.onnx", content).header)
    assert "\n" not in refused.value.message


@pytest.mark.slow
def test_damaged_files_never_do_anything_but_fail_in_one_line(tmp_path: Path) -> None:
    original = model(
        {
            "onnx::MatMul_1": QUERY.T,
            "b": QUERY[0],
            "c_quantized": np.ones((4, 4), np.int8),
            "c_scale": np.ones(4, np.float32),
            "d_Q4": np.ones((4, 1, 16), np.uint8),
            "d_scales": np.ones((4, 1), np.float32),
        },
        [
            (PATH, "MatMul", ["x", "onnx::MatMul_1"]),
            ("d/MatMul_Q4", "MatMulNBits", ["x", "d_Q4", "d_scales"], {"K": 32, "N": 4, "bits": 4, "block_size": 32}),
            ("e/DequantizeLinear", "DequantizeLinear", ["c_quantized", "c_scale"], {"axis": 1}),
        ],
    )
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(ROUNDS):
        content = bytearray(original)
        for at in rng.integers(0, len(content), rng.integers(1, 8)):
            content[at] = rng.integers(0, 256)
        try:
            weights = weights_at(tmp_path / "m.onnx", bytes(content[: rng.integers(1, len(content) + 1)]))
            for tensor in weights.header:
                assert 0 <= tensor.start <= tensor.stop
                if tensor.values:
                    list(weights.read([Block(tensor.name, 0, 1)]))
        except Failure as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > ROUNDS // 4
