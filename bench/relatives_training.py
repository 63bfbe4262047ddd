"""Short real trainings of small networks of any kind: inputs made from a few hidden causes, which the network learns to tell.

A base is trained from its random start until its weights are no start any more; a child goes on from there, at other causes. Nothing here
knows of a task: whatever a network puts out is averaged over positions and read by a fixed random projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

CAUSES = 8
BATCH = 8
Batch = dict[str, torch.Tensor]
Inputs = Callable[[torch.Tensor, torch.Generator], Batch]  # (batch, CAUSES) causes -> what the network is called with


@dataclass(frozen=True, slots=True)
class Recipe:
    """steps of AdamW at a rate; seed: of the causes' directions and of the data."""

    steps: int
    rate: float
    seed: int
    decay: float = 0.01


def text(vocabulary: int, length: int = 16, called: str = "input_ids", **more: torch.Tensor) -> Inputs:
    """Tokens, each drawn from the distribution that the causes make."""

    def make(causes: torch.Tensor, dice: torch.Generator) -> Batch:
        table = torch.randn(CAUSES, vocabulary, generator=torch.Generator().manual_seed(1))
        odds = (causes @ table + 0.5 * torch.randn(len(causes), vocabulary, generator=dice)).softmax(1)
        return {called: torch.multinomial(odds, length, replacement=True, generator=dice), **more}

    return make


def arrays(shape: tuple[int, ...], called: str = "pixel_values", **more: torch.Tensor) -> Inputs:
    """Images, sounds or latents: the causes' patterns with noise."""

    def make(causes: torch.Tensor, dice: torch.Generator) -> Batch:
        patterns = torch.randn(CAUSES, *shape, generator=torch.Generator().manual_seed(2))
        noise = 0.3 * torch.randn(len(causes), *shape, generator=dice)
        return {called: torch.tensordot(causes, patterns, 1) + noise, **more}

    return make


def both(*makers: Inputs) -> Inputs:
    def make(causes: torch.Tensor, dice: torch.Generator) -> Batch:
        return {name: value for maker in makers for name, value in maker(causes, dice).items()}

    return make


def outputs_of(found: object) -> Iterator[torch.Tensor]:
    """Every float tensor of an output, whatever holds it."""
    if isinstance(found, torch.Tensor):
        if found.is_floating_point() and found.dim() > 1:
            yield found
    elif isinstance(found, dict):
        for value in found.values():
            yield from outputs_of(value)
    elif isinstance(found, (list, tuple)):
        for value in found:
            yield from outputs_of(value)


def train(network: torch.nn.Module, inputs: Inputs, recipe: Recipe, positional: bool = False) -> torch.nn.Module:
    """Trains in place.

    Args:
        positional: the network takes its inputs without names.
    """
    torch.manual_seed(recipe.seed)
    dice = torch.Generator().manual_seed(recipe.seed)
    wanted = [p for p in network.parameters() if p.requires_grad and p.is_floating_point()]
    optimizer = torch.optim.AdamW(wanted, lr=recipe.rate, weight_decay=recipe.decay)
    readers: dict[tuple[int, int], torch.Tensor] = {}
    mixing = torch.randn(CAUSES, CAUSES, generator=dice)
    network.train()
    for step in range(recipe.steps):
        causes = torch.randn(BATCH, CAUSES, generator=dice)
        batch = inputs(causes, dice)
        found = network(*batch.values()) if positional else network(**batch)
        loss = torch.zeros(())
        for place, each in enumerate(list(outputs_of(found))[:3]):
            if each.shape[0] != BATCH:
                continue
            channels = 1 if each.dim() == 4 else -1
            flat = each.movedim(channels, -1).reshape(BATCH, -1, each.shape[channels]).mean(1)  # (b, c)
            key = (place, flat.shape[1])
            reader = readers.setdefault(key, torch.randn(flat.shape[1], CAUSES, generator=dice) / flat.shape[1] ** 0.5)
            loss = loss + (flat @ reader - torch.tanh(causes @ mixing)).square().mean()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / 10) * (1 - step / (recipe.steps + 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wanted, 1.0)
        optimizer.step()
    network.eval()
    return network
