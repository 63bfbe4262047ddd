"""Tensors whose values do not lie in order in PyTorch's files: read like their contiguous copies, at a bounded cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.crawler.formats.torch_zip import TorchWeights
from lineage.crawler.strided import STRIDED_LIMIT_BYTES
from lineage.crawler.weights import LocalFile


@dataclass(frozen=True)
class Run:
    tensor: str
    start: int
    stop: int


def weights(path: Path, old: bool = False, **tensors: torch.Tensor) -> TorchWeights:
    torch.save(tensors, path, _use_new_zipfile_serialization=not old)
    return TorchWeights([LocalFile(path)])


def turned(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(columns, rows).to(dtype).t()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "made",
    [
        lambda randn: randn(7, 12).t(),
        lambda randn: randn(8, 3, 5, 5).contiguous(memory_format=torch.channels_last),
        lambda randn: randn(3, 4, 6).permute(1, 2, 0),
        lambda randn: randn(9, 20)[:, 5:11],
        lambda randn: randn(40)[1::3],
        lambda randn: randn(12, 4)[::2],
    ],
    ids=["transposed", "channels last", "permuted", "columns", "every third", "every second row"],
)
def test_rows_and_runs_are_those_of_the_tensor(tmp_path: Path, made: object, dtype: torch.dtype, old: bool) -> None:
    tensor = made(lambda *shape: torch.randn(shape).to(dtype))  # type: ignore[operator]
    assert not tensor.is_contiguous()
    read = weights(tmp_path / "w.pt", old, before=torch.ones(5), w=tensor, after=torch.ones(3, 3))
    (header,) = (t for t in read.header if t.name == "w")
    assert header.shape == tuple(tensor.shape) and header.dtype in ("F32", "F16", "BF16")
    flat, count = tensor.contiguous().view(-1), tensor.numel()
    for start, stop in ((0, count), (0, 1), (count // 3, count // 2 + 1), (count - 1, count), (2, 2)):
        ((_, raw),) = read.read([Run("w", start, stop)])
        held = flat[start:stop].view(torch.uint8).numpy() if stop > start else np.empty(0, np.uint8)
        assert raw == held.tobytes()


def test_rows_of_a_layer_in_channels_last_are_read_alone(tmp_path: Path) -> None:
    layer = torch.randn(512, 64, 3, 3).to(memory_format=torch.channels_last)
    path = tmp_path / "w.pt"
    read = weights(path, w=layer)
    asked: list[int] = []
    whole = read.files[0].read
    read.files[0].read = lambda start, stop: (asked.append(stop - start), whole(start, stop))[1]  # type: ignore[method-assign]
    row = 64 * 9
    ((_, raw),) = read.read([Run("w", 10 * row, 14 * row)])
    assert raw == layer[10:14].contiguous().numpy().tobytes()
    assert asked[-1] == 4 * row * 4


def test_the_costliest_matrices_are_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    side = 1024
    many = {f"layers.{i}.weight": turned(side, side) for i in range(6)}
    read = weights(tmp_path / "w.pt", **many, plain=torch.randn(4, side), small=turned(16, side))
    blocks = [Run(name, 0, 2 * side) for name in many] + [Run("plain", 0, side), Run("small", 0, side)]
    found = {block.tensor: np.frombuffer(raw, "<f4") for block, raw in read.read(blocks)}
    assert {"plain", "small"} <= found.keys()
    assert 0 < len(found.keys() & many.keys()) == STRIDED_LIMIT_BYTES // (4 * side * side) - 1
    for name in found.keys() & many.keys():
        assert np.array_equal(found[name], many[name][:2].contiguous().view(-1).numpy())


def test_a_transposed_square_matrix_is_not_the_matrix_itself(tmp_path: Path) -> None:
    square = torch.randn(6, 6)
    read = weights(tmp_path / "w.pt", a=square, b=square.t())
    held = {block.tensor: np.frombuffer(raw, "<f4") for block, raw in read.read([Run("a", 0, 36), Run("b", 0, 36)])}
    assert np.array_equal(held["a"].reshape(6, 6), held["b"].reshape(6, 6).T)
