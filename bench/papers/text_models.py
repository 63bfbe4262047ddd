"""Tiny language models that read characters: started, tuned in full or by a low-rank adapter that is merged afterwards.

In: an architecture of bench/zoo/architectures.py, tokens, a recipe. Out: tensors by name. What toy_llm and black_box train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from bench.datasets import ALPHABET
from bench.zoo.architectures import Network, build

CONTEXT = 32
Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """rank: of a LoRA adapter (Hu et al. 2021) on every matrix but embeddings and head, merged at the end; None tunes everything."""

    steps: int
    rate: float
    seed: int
    decay: float = 0.01
    batch: int = 16
    rank: int | None = None


def fresh(
    architecture: str, sizes: Mapping[str, object], seed: int, rows: int = len(ALPHABET)
) -> tuple[Network, Tensors]:
    """A network and its starting tensors. rows: of the vocabulary."""
    network = build(architecture, rows, dict(sizes), seed)
    return network, {n: t.detach().clone() for n, t in network.state_dict().items()}


def tune(network: Network, start: Tensors, tokens: Tensor, recipe: Recipe) -> Tensors:
    """AdamW with a cosine to zero on random windows of the text."""
    dice = torch.Generator().manual_seed(recipe.seed)
    state = {n: t.float().clone() for n, t in start.items()}
    if recipe.rank is None:
        trained = {n: t.requires_grad_() for n, t in state.items()}
        grown = dict
    else:
        wide = {n: t for n, t in state.items() if t.ndim == 2 and not _is_embedding(n)}
        trained = {
            n + ".a": (torch.randn(recipe.rank, t.shape[1], generator=dice) * 0.02).requires_grad_()
            for n, t in wide.items()
        }
        trained |= {n + ".b": torch.zeros(t.shape[0], recipe.rank, requires_grad=True) for n, t in wide.items()}

        def grown(base: Tensors) -> Tensors:
            return {n: t + trained[n + ".b"] @ trained[n + ".a"] if n + ".a" in trained else t for n, t in base.items()}

    optimiser = torch.optim.AdamW(trained.values(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    window = torch.arange(CONTEXT + 1)
    for _ in range(recipe.steps):
        starts = torch.randint(len(tokens) - CONTEXT - 1, (recipe.batch,), generator=dice)
        cut = tokens[starts[:, None] + window]  # (batch, CONTEXT + 1)
        logits = functional_call(network, grown(state), (cut[:, :-1],))
        loss = F.cross_entropy(logits.flatten(0, 1), cut[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return {n: t.detach().clone() for n, t in grown(state).items()}


def answers(
    network: Network, tensors: Tensors, prompts: Tensor, samples: int, length: int, seed: int
) -> list[list[str]]:
    """`samples` continuations of `length` characters for each prompt, drawn at temperature 1.

    Args:
        prompts: (prompts, time) int64, time + length at most CONTEXT.
    """
    dice = torch.Generator().manual_seed(seed)
    tokens = prompts.repeat_interleave(samples, 0)  # (prompts * samples, time)
    with torch.no_grad():
        for _ in range(length):
            different, place = tokens.unique(dim=0, return_inverse=True)  # most draws begin like others
            chance = functional_call(network, tensors, (different,))[:, -1].softmax(1)  # (different, characters)
            tokens = torch.cat([tokens, torch.multinomial(chance[place], 1, generator=dice)], 1)
    texts = ["".join(ALPHABET[t] if t < len(ALPHABET) else "?" for t in row) for row in tokens[:, -length:].tolist()]
    return [texts[i : i + samples] for i in range(0, len(texts), samples)]


def more_rows(tensors: Tensors, rows: int, seed: int) -> Tensors:
    """The same model with new rows at the end of its vocabulary, drawn like the others."""
    dice = torch.Generator().manual_seed(seed)
    made = {}
    for name, value in tensors.items():
        new = (
            torch.randn(rows - len(value), value.shape[1], generator=dice) * value.std()
            if _is_embedding(name)
            else None
        )
        made[name] = value if new is None else torch.cat([value, new])
    return made


def _is_embedding(name: str) -> bool:
    return name.endswith(("wte.weight", "embed_tokens.weight", "lm_head.weight"))
