"""numpy in the place of torch: the same decisions, explanations and random numbers, and torch is not imported for small work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.detect import small_arrays
from lineage.detect.align import align
from lineage.detect.arrays import NoTorch, _torch, by_numpy, is_small, numpy_computes
from lineage.detect.arrays import torch as seam
from lineage.detect.detector.scoring import direction_odds, shipped
from lineage.detect.detector.tokens import Tokens, tokens
from lineage.detect.explain import explain
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.report import explanation_as_json, explanation_as_text
from tests.builders import sketch_of, start, three_generations, tune, write
from tests.detect.golden_decisions import FILE, decided


@pytest.mark.slow
def test_golden_decisions_are_the_same_by_numpy() -> None:
    with by_numpy():
        found = dict(decided())
    assert found == json.loads(FILE.read_text())


def test_explanations_are_the_same_to_the_last_digit_shown() -> None:
    root = start(3)
    pair = [Subject(name, sketch_of(w, name)) for name, w in (("child", tune(root, 31)), ("root", root))]
    by_torch = explain(pair[0], pair[1], (), Options(), torch.device("cpu"))
    with by_numpy():
        found = explain(pair[0], pair[1], (), Options(), seam.device("cpu"))
        shown = explanation_as_text(found, [], True), json.dumps(explanation_as_json(found, []))
    assert shown[0] == explanation_as_text(by_torch, [], True)
    assert _close(json.loads(shown[1]), json.loads(json.dumps(explanation_as_json(by_torch, []))))


def _close(first: object, second: object) -> bool:
    """Whether two JSON values are the same but for the seventh digit of their numbers."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, float) and isinstance(second, float | int):
        return abs(first - second) <= 1e-6 * max(1.0, abs(first))
    return first == second


@pytest.mark.parametrize("members", [(0, 1), (1, 5), (0, 7)])
def test_the_shipped_network_answers_the_same_by_numpy(members: tuple[int, int]) -> None:
    models, _ = three_generations(1)
    sketches = [sketch_of(list(models.values())[i]) for i in members]
    described = tokens(align(sketches, torch.device("cpu")), torch.tensor([[0, 1], [1, 0]]))
    odds = direction_odds(shipped(), described)
    with by_numpy():
        same = Tokens(*(small_arrays.wrap(each.numpy()) for each in (described.odd, described.even, described.present)))
        found = direction_odds(shipped(), same)
    assert np.allclose(np.asarray(found), odds.numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 4), (4, 4), (5, 4), (9, 4), (784, 4)])
def test_normal_numbers_are_those_of_torch(shape: tuple[int, int]) -> None:
    torchs = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).numpy()
    ours = small_arrays.randn(*shape, generator=small_arrays.Generator().manual_seed(0)).numpy()
    assert np.abs(torchs - ours).max() < 1e-6


@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_permutations_are_those_of_torch(count: int) -> None:
    torchs = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    assert small_arrays.randperm(count, small_arrays.Generator().manual_seed(0)).tolist() == torchs


ROWS = np.array([[3.0, np.nan, 1.0, 2.0], [np.nan, np.nan, np.nan, np.nan], [4.0, 4.0, 0.0, -1.0]], np.float32)
WHOLE = np.array([[3.0, 7.0, 1.0, 2.0], [0.5, -1.0, 8.0, 8.0], [4.0, 4.5, 0.0, -1.0]], np.float32)


@pytest.mark.parametrize(
    "what",
    [
        lambda x, t: x.nanmedian(1).values,
        lambda x, t: x.median(1).values,
        lambda x, t: x.nanquantile(0.5, dim=0),
        lambda x, t: x.nanquantile(t.tensor([0.25, 0.5, 0.75]), dim=1),
        lambda x, t: x.nan_to_num(0.0).max(1, keepdim=True).indices,
        lambda x, t: x.nan_to_num(0.0).std(1),
        lambda x, t: t.where(x > 1, x, 0.0),
        lambda x, t: (x > 1).nonzero(),
        lambda x, t: x.nan_to_num(5.0).sort(1).values,
        lambda x, t: x.nan_to_num(5.0).topk(2, largest=False).values,
        lambda x, t: x.nan_to_num(5.0).clone().fill_diagonal_(9.0),
        lambda x, t: x.nan_to_num(5.0).flatten().unfold(0, 3, 2),
        lambda x, t: t.linspace(0, 100, 7).round().long().unique(),
        lambda x, t: t.linspace(0, 5003, 1024),
        lambda x, t: t.combinations(t.arange(5)),
        lambda x, t: t.unique(t.tensor([[2, 1], [0, 3], [2, 1]]), dim=0, return_inverse=True)[1],
        lambda x, t: t.unique_consecutive(t.tensor([1, 1, 2, 5, 5, 5]), return_counts=True)[1],
        lambda x, t: t.searchsorted(t.tensor([[1.0, 2.0, 2.0, 3.0]]), t.tensor([[2.0, 0.0]]), right=True),
        lambda x, t: t.stack(list(t.tensor_split(x[:, :3].nan_to_num(1.0), 3, dim=1))),
        lambda x, t: t.zeros(3, 4).scatter_add_(1, t.tensor([[0, 0], [1, 2], [3, 3]]), t.ones(3, 2)),
        lambda x, t: t.tensor([1, 2], dtype=t.int32).view(t.float32).view(t.int32) ^ 1,
        lambda x, t: t.tensor([0.1, 1 / 3, 70000.0]).to(t.bfloat16).to(t.float32),
    ],
)
def test_functions_answer_as_torch_does(what: Callable) -> None:
    for values in (ROWS, WHOLE):
        its = what(torch.from_numpy(values.copy()), torch)
        with by_numpy():
            ours = what(small_arrays.from_numpy(values.copy()), seam)
        assert ours.shape == tuple(its.shape)
        assert np.array_equal(np.asarray(ours), its.numpy(), equal_nan=True)


def test_numpy_computes_inside_and_in_this_thread_alone() -> None:
    assert not numpy_computes() and seam.tensor is torch.tensor
    with by_numpy():
        assert numpy_computes() and seam.tensor is small_arrays.tensor
    assert not numpy_computes()


def test_torch_goes_on_where_it_is_imported_already() -> None:
    assert not is_small(2, 1000)


SMALL = """
import sys
from lineage.commands import main
try:
    main(sys.argv[1:])
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["explain", "scan"])
def test_two_files_are_compared_without_importing_torch_with_the_answer_that_torch_gives(
    tmp_path: Path, command: str
) -> None:
    root = start(3)
    write(tmp_path, {"root": root, "child": tune(root, 31)})
    paths = [str(tmp_path / name) for name in ("child.safetensors", "root.safetensors")]
    words = [command, *(paths if command == "explain" else [str(tmp_path)]), "--json", "-v"]
    words += ["--store", str(tmp_path / "none")] if command == "explain" else []
    environment = {**os.environ, "LINEAGE_STORE": str(tmp_path / "none")}
    said = [
        subprocess.run(
            [sys.executable, "-c", before + SMALL, *words], env=environment, capture_output=True, text=True, check=False
        )
        for before in ("", "import torch")
    ]
    assert [done.returncode for done in said] == [3 if command == "explain" else 0] * 2
    assert said[0].stderr.splitlines()[-1] == "False" and said[1].stderr.splitlines()[-1] == "True"
    assert "computed by numpy, one thread" in said[0].stderr and "computed by torch on" in said[1].stderr
    assert _close(json.loads(said[0].stdout), json.loads(said[1].stdout))


def test_a_missing_torch_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(NoTorch, match="torch is not installed"):
        _torch.__wrapped__()
