"""Adapters as peft, kohya and diffusers write them, for models whose shapes are known: file names, tensor names and configurations.

The names are those that peft 0.21 saved (bench/relations_adapters.py runs the real library and checks that they are).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np
from safetensors.numpy import save

from tests.builders import Weights

PEFT = "base_model.model."


def lora(
    base: Mapping[str, np.ndarray], targets: Iterable[str], rank: int = 4, seed: int = 0, dora: bool = False
) -> Weights:
    """LoRA of every matrix of a model whose name ends with one of the targets and `.weight`."""
    random = np.random.default_rng(seed)
    found: Weights = {}
    for module, (outputs, inputs) in _matrices(base, targets).items():
        found[f"{PEFT}{module}.lora_A.weight"] = random.standard_normal((rank, inputs)).astype(np.float32)
        found[f"{PEFT}{module}.lora_B.weight"] = random.standard_normal((outputs, rank)).astype(np.float32)
        if dora:
            found[f"{PEFT}{module}.lora_magnitude_vector"] = np.ones(outputs, np.float32)
    return found


def ia3(base: Mapping[str, np.ndarray], targets: Iterable[str], feedforward: Iterable[str] = ()) -> Weights:
    """IA3: one factor for each output, of feedforward modules for each input."""
    ends = tuple(feedforward)
    return {
        f"{PEFT}{module}.ia3_l": np.ones((1, inputs) if module.endswith(ends) and ends else (outputs, 1), np.float32)
        for module, (outputs, inputs) in _matrices(base, targets).items()
    }


def kohya(base: Mapping[str, np.ndarray], component: str, targets: Iterable[str], rank: int = 4) -> Weights:
    """LoRA with joined names, as `lora_unet_down_blocks_0_…`."""
    found: Weights = {}
    for module, (outputs, inputs) in _matrices(base, targets).items():
        name = f"lora_{component}_{module.replace('.', '_')}"
        found[f"{name}.lora_down.weight"] = np.ones((rank, inputs), np.float32)
        found[f"{name}.lora_up.weight"] = np.zeros((outputs, rank), np.float32)
        found[f"{name}.alpha"] = np.array(rank, np.float32)
    return found


def diffusers(base: Mapping[str, np.ndarray], component: str, targets: Iterable[str], rank: int = 4) -> Weights:
    """LoRA of a part of a pipeline, as `unet.down_blocks.0.….lora_A.weight`."""
    return {name.replace(PEFT, f"{component}."): values for name, values in lora(base, targets, rank).items()}


def peft_files(weights: Weights, base: str | None, kind: str = "LORA", **more: object) -> dict[str, bytes]:
    """What `save_pretrained` leaves. base: as the configuration names it."""
    config = {"base_model_name_or_path": base, "peft_type": kind, "task_type": "CAUSAL_LM", **more}
    return {
        "adapter_config.json": json.dumps(config, indent=2, sort_keys=True).encode(),
        "adapter_model.safetensors": save(weights, {"format": "pt"}),
    }


def _matrices(base: Mapping[str, np.ndarray], targets: Iterable[str]) -> dict[str, tuple[int, int]]:
    ends = tuple(f"{target}.weight" for target in targets)
    found = {
        name.removesuffix(".weight"): (values.shape[0], values.shape[1])
        for name, values in base.items()
        if name.endswith(ends) and values.ndim >= 2
    }
    assert found, f"no module called {ends}"
    return found
