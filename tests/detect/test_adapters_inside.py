"""Models stored with an adapter that was not merged come from the model whose weights they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lineage.detect.options import Options
from lineage.scanning import scan_folder
from tests.builders import stack

Tensors = dict[str, np.ndarray]
HALVES = {
    "lora": ("lora_A.default.weight", "lora_B.default.weight"),
    "loha": ("hada_w1_a.default", "hada_w1_b.default", "hada_w2_a.default", "hada_w2_b.default"),
    "vera": ("vera_A.default", "vera_B.default", "vera_lambda_b.default", "vera_lambda_d.default"),
    "boft": ("boft_R.default", "boft_s.default"),
}


def wrapped(tensors: Tensors, halves: tuple[str, ...], seed: int = 3) -> Tensors:
    """As peft names everything in memory: each matrix of a block a base layer with an adapter beside it."""
    rng = np.random.default_rng(seed)
    found: Tensors = {}
    for name, v in tensors.items():
        if v.ndim != 2 or "embed" in name:
            found[f"base_model.model.{name}"] = v
            continue
        module = f"base_model.model.{name.removesuffix('.weight')}"
        found[f"{module}.base_layer.weight"] = v
        found |= {f"{module}.{half}": rng.normal(size=(8, v.shape[1])).astype(np.float32) for half in halves}
    return found


def put(folder: Path, models: dict[str, Tensors]) -> None:
    for name, tensors in models.items():
        (folder / name).mkdir()
        save_file(tensors, folder / name / "model.safetensors")


@pytest.mark.parametrize("method", list(HALVES))
def test_a_model_stored_with_its_adapter_comes_from_the_base_whose_weights_it_holds(
    method: str, tmp_path: Path
) -> None:
    base, stranger = stack("model.", 0), stack("model.", 1)
    put(tmp_path, {"base": base, "whole": wrapped(base, HALVES[method]), "stranger": stranger})
    said = {d.model: d for d in scan_folder(tmp_path, Options(detector=False)).decisions}
    assert (said["whole"].parent, said["base"].parent, said["stranger"].parent) == ("base", None, None)
    assert "holds an adapter that was not merged" in str(said["whole"].reason)


def test_models_with_different_adapters_on_one_base_are_all_its_children(tmp_path: Path) -> None:
    base = stack("model.", 0)
    put(tmp_path, {"base": base} | {method: wrapped(base, halves) for method, halves in HALVES.items()})
    said = {d.model: d for d in scan_folder(tmp_path, Options(detector=False)).decisions}
    assert {said[method].parent for method in HALVES} == {"base"} and said["base"].parent is None
