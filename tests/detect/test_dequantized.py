"""Copies that were stored in few bits and written as floats again are copies of their original, and the parent of none."""

import numpy as np
import pytest

from lineage.detect.dequantized import NF4, grid_bits
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Relation
from tests.builders import Weights, sketch_of, start, tune


def on_grid(weights: Weights, bits: int, block: int = 0, dtype: type = np.float32) -> Weights:
    """Matrices rounded to whole numbers of one scale for each row or block; -1: for each matrix."""
    most, out = 2 ** (bits - 1) - 1, {}
    for name, values in weights.items():
        out[name] = values.astype(dtype)
        if values.ndim == 2 and values.shape[1] % (block or values.shape[1]) == 0:
            rows = values.reshape(1, -1) if block < 0 else values.reshape(-1, block or values.shape[1])
            scale = np.abs(rows).max(1, keepdims=True) / most
            out[name] = (np.round(rows / scale) * scale).reshape(values.shape).astype(dtype)
    return out


@pytest.mark.parametrize(
    ("bits", "block", "dtype"),
    [
        (8, 0, np.float32),
        (8, 0, np.float16),
        (8, 32, np.float16),
        (4, 32, np.float16),
        (8, -1, np.float32),
        (4, -1, np.float16),
    ],
)
def test_a_dequantized_copy_is_quantized_from_its_original(bits: int, block: int, dtype: type) -> None:
    base = start(5)
    models = {"base": base} | {f"t{i}": tune(base, i + 20, 0.3, decay=0.0) for i in range(4)}
    models["copy"] = on_grid(models["t1"], bits, block, dtype)
    found = {
        d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options(detector=False))
    }
    assert (found["copy"].parent, found["copy"].relation) == ("t1", Relation.QUANTIZED_FROM)
    assert found["copy"].evidence["bits"] == bits
    assert not [m for m, d in found.items() if d.parent == "copy"]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_four_bit_floats_are_seen_in_what_was_written_as_floats_again(dtype: type) -> None:
    levels = np.array(NF4)
    copy = {}
    for name, values in start(5).items():
        rows = values.reshape(-1, 64) if values.ndim == 2 else values.reshape(1, -1)
        most = np.abs(rows).max(1, keepdims=True)
        nearest = np.abs((rows / most)[..., None] - levels).argmin(-1)
        copy[name] = (levels[nearest] * most).reshape(values.shape).astype(dtype) if values.ndim == 2 else values
    assert grid_bits(sketch_of(copy)) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_trained_models_lie_on_no_grid(dtype: type) -> None:
    for seed in range(5):
        weights = {name: values.astype(dtype) for name, values in tune(start(seed), seed + 50).items()}
        assert grid_bits(sketch_of(weights)) is None


def test_blocks_of_whole_numbers_from_minus_eight_on_are_of_four_bits() -> None:
    """As GGUF's Q4_0 has them: the largest value of a block is eight times its scale."""
    copy = {}
    for name, values in start(6).items():
        rows = values.reshape(-1, 32) if values.ndim == 2 else values.reshape(1, -1)
        scale = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1) / -8
        number = np.round(rows / scale).clip(-8, 7)
        copy[name] = (number * scale).reshape(values.shape).astype(np.float16) if values.ndim == 2 else values
    assert grid_bits(sketch_of(copy)) == 4


@pytest.mark.parametrize("block", [32, 128])
def test_blocks_of_sixteen_values_are_of_four_bits_wherever_zero_lies(block: int) -> None:
    """As GPTQ, AWQ and GGUF's Q4_K have them."""
    copy = {}
    for name, values in start(7).items():
        rows = values.reshape(-1, block) if values.ndim == 2 else values.reshape(1, -1)
        least, most = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
        number = np.round((rows - least) / (most - least) * 15)
        found = (least + number * (most - least) / 15).reshape(values.shape).astype(np.float16)
        copy[name] = found if values.ndim == 2 else values
    assert grid_bits(sketch_of(copy)) == 4


def test_a_pruned_model_lies_on_no_grid() -> None:
    pruned = {
        name: np.where(np.abs(v) > np.quantile(np.abs(v), 0.6), v, 0).astype(np.float16) for name, v in start(8).items()
    }
    assert grid_bits(sketch_of(pruned)) is None


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_matrices_of_one_number_are_no_quantized_copy(number: float) -> None:
    same = {f"model.layers.{i}.mlp.weight": np.full((64, 64), number, np.float32) for i in range(3)}
    assert grid_bits(sketch_of(same, "same")) is None
