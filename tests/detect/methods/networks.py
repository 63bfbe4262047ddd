"""A small network as a caller's function, and models of it with known parents: what methods that need forward passes are tested on.

Also importable from the command line as `--forward tests.detect.methods.networks:layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

WIDTHS = (6, 8, 8, 3)


def layers(tensors: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two hidden layers and a head: features by name, outputs last."""
    x = batch["x"]
    found = {}
    for i in range(len(WIDTHS) - 1):
        x = x @ tensors[f"layers.{i}.weight"].T + tensors[f"layers.{i}.bias"]
        if i < len(WIDTHS) - 2:
            x = torch.tanh(x)
        found[f"layer{i}"] = x
    return found


def start(seed: int) -> dict[str, Tensor]:
    """A model of its own."""
    dice = torch.Generator().manual_seed(seed)
    made = {}
    for i, (narrow, wide) in enumerate(pairwise(WIDTHS)):
        made[f"layers.{i}.weight"] = torch.randn(wide, narrow, generator=dice) / narrow**0.5
        made[f"layers.{i}.bias"] = torch.zeros(wide)
    return made


def moved(parent: Mapping[str, Tensor], seed: int, by: float = 0.05) -> dict[str, Tensor]:
    """A child whose every value moved a little."""
    dice = torch.Generator().manual_seed(seed)
    return {name: value + by * torch.randn(value.shape, generator=dice) for name, value in parent.items()}


def inputs(count: int = 40, seed: int = 9) -> Tensor:
    """(count, 6)"""
    return torch.randn(count, WIDTHS[0], generator=torch.Generator().manual_seed(seed))
