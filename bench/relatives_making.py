"""What the families of `bench.relatives` are made with: seeds, trainings, files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.relatives_training import Inputs, Recipe, train

BASE, CHILD = Recipe(250, 2e-3, 1), Recipe(60, 5e-4, 2)
VOCABULARY = 300
Made = Iterator["Relative"]


@dataclass(frozen=True, slots=True)
class Relative:
    """A model on disk. parent: its name, None for a base; kind: what lies between the two; layers: the layer map, where there is one."""

    name: str
    parent: str | None
    kind: str
    layers: str | None = None


@dataclass(frozen=True, slots=True)
class Making:
    """Where a family is stored. shift: of all seeds: other random starts, other data."""

    folder: Path
    shift: int = 0

    def start(self, number: int) -> None:
        torch.manual_seed(number + self.shift)

    def train(self, network: Any, inputs: Inputs, recipe: Recipe = BASE) -> Any:
        return train(network, inputs, replace(recipe, seed=recipe.seed + self.shift))

    def tuned(self, network: Any, inputs: Inputs, seed: int) -> Any:
        return self.train(network, inputs, Recipe(CHILD.steps, CHILD.rate, 100 + seed))

    def published(
        self, base: Any, inputs: Inputs, name: str, count: int, save: Callable[[Any, Path], None] | None = None
    ) -> Made:
        """A base, and children of it that are tuned as they are."""
        save = save or (lambda network, where: network.save_pretrained(where))
        save(base, self.folder / name)
        yield Relative(name, None, "base")
        for number in range(count):
            child = self.tuned(copy.deepcopy(base), inputs, 50 + number)
            where = self.folder / f"{name}-tuned-{number}"
            save(child, where)
            yield Relative(where.name, name, "as it is")


def store_network(network: Any, folder: Path) -> None:
    store(network.state_dict(), folder)


def store(state: dict[str, torch.Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.detach().clone().contiguous() for n, t in state.items()}, folder / "model.safetensors")
