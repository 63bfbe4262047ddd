"""One training, as a plain loop with the settings of transformers' Trainer and of TRL's DPOTrainer.

In: a module, a recipe, data. Out: nothing; the module is changed and handed to `save` at every step of `recipe.saves`.
Sources: AdamW (Loshchilov & Hutter 2019), LoRA (Hu et al. 2022, through peft), DPO (Rafailov et al. 2023, beta 0.1).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.hub_family.description import Recipe
from bench.hub_family.networks import Plain, Transformers
from bench.hub_family.tasks import Source

WARM_UP = 0.05
CLIP = 1.0
BETA = 0.1
CHECK_BATCHES = 4


def train(
    module: nn.Module,
    kind: Transformers | Plain,
    recipe: Recipe,
    source: Source,
    seed: int,
    save: Callable[[int, nn.Module], None],
) -> tuple[float, float]:
    """Train and save.

    Args:
        save: called with the position in `recipe.saves` and a module that the callee may change.
    Returns: mean loss on the same few batches before and after.
    """
    generator = torch.Generator().manual_seed(seed)
    module = _prepared(module, kind, recipe)
    reference = copy.deepcopy(module).eval() if recipe.method == "dpo" else None
    parameters = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    optimiser = _optimiser(recipe, parameters)
    before = _checked(module, kind, recipe, source)
    for step in range(1, recipe.steps + 1):
        module.train()
        if recipe.stop_norm:
            _stop_norms(module)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate(recipe, step)
        loss = _loss(module, reference, kind, recipe, source, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in parameters], CLIP)
        optimiser.step()
        if recipe.weights_in == "bfloat16":
            _round(p for _, p in parameters)
        if step in recipe.saves:
            save(recipe.saves.index(step), _plain(copy.deepcopy(module)))
    return before, _checked(module, kind, recipe, source)


def rate(recipe: Recipe, step: int) -> float:
    """Share of the learning rate at a step, 1 for the first."""
    warm = max(1, round(WARM_UP * recipe.steps))
    if step <= warm:
        return step / warm
    gone = (step - warm) / max(1, recipe.steps - warm + 1)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * gone))
    return 1 - gone if recipe.schedule == "linear" else 1.0


def _prepared(module: nn.Module, kind: Transformers | Plain, recipe: Recipe) -> nn.Module:
    if recipe.added_tokens:
        module.resize_token_embeddings(module.config.vocab_size + recipe.added_tokens)  # type: ignore[operator, union-attr]
    if recipe.method == "lora":
        from peft import LoraConfig, get_peft_model

        return get_peft_model(
            module,  # type: ignore[arg-type]
            LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=list(kind.lora), lora_dropout=0.05),
        )
    parts = {name: kind.part(name) for name, _ in module.named_parameters()}
    blocks = sorted({int(part) for part in parts.values() if part.isdigit()})
    for name, parameter in module.named_parameters():
        part = parts[name]
        if recipe.method == "embeddings-frozen":
            parameter.requires_grad = part != "embeddings"
        elif recipe.method == "top-layers":
            parameter.requires_grad = part == "head" or (part.isdigit() and int(part) in blocks[len(blocks) // 2 :])
        elif recipe.method == "head":
            parameter.requires_grad = part == "head"
    return module


def _plain(module: nn.Module) -> nn.Module:
    """The model itself, adapters merged."""
    return module.merge_and_unload() if hasattr(module, "merge_and_unload") else module  # type: ignore[operator]


def _optimiser(recipe: Recipe, parameters: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for _, p in parameters if p.ndim >= 2], "weight_decay": recipe.decay},
        {"params": [p for _, p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(groups, recipe.learning_rate, fused=True)
    return torch.optim.AdamW(groups, recipe.learning_rate, fused=True)


def _loss(
    module: nn.Module,
    reference: nn.Module | None,
    kind: Transformers | Plain,
    recipe: Recipe,
    source: Source,
    generator: torch.Generator,
) -> Tensor:
    if reference is None:
        return kind.loss(module, source.batch(recipe.task, recipe.batch, generator))
    chosen, rejected = source.preferences(recipe.task, recipe.batch, generator)
    both = torch.cat([chosen, rejected])  # (2 * batch, length)
    with torch.no_grad():
        known = _log_probability(reference, both)
    margin = (_log_probability(module, both) - known).view(2, -1)  # (2, batch)
    return -F.logsigmoid(BETA * (margin[0] - margin[1])).mean()


def _log_probability(module: nn.Module, tokens: Tensor) -> Tensor:
    """(rows,) of the second half given the first."""
    half = tokens.shape[1] // 2
    logits = module(input_ids=tokens).logits[:, half - 1 : -1]  # (rows, length - half, vocabulary)
    return logits.log_softmax(-1).gather(-1, tokens[:, half:, None]).sum((1, 2))


@torch.no_grad()
def _checked(module: nn.Module, kind: Transformers | Plain, recipe: Recipe, source: Source) -> float:
    generator = torch.Generator().manual_seed(0)
    module.eval()
    losses = [float(kind.loss(module, source.batch(recipe.task, 16, generator))) for _ in range(CHECK_BATCHES)]
    return sum(losses) / len(losses)


def _stop_norms(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


@torch.no_grad()
def _round(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.copy_(parameter.to(torch.bfloat16))
