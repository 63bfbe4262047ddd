"""A star with grandchildren around a published language model: IgLM-S of iglm 0.1.0, a GPT-2 of antibodies, tuned by transformers and peft.

    pip download --no-deps iglm==0.1.0 && unzip -q iglm-0.1.0-py3-none-any.whl -d iglm
    python -m bench.sequence_star iglm/iglm/trained_models --out OUT [--models 36] [--seed 7]
    python -m bench.real_families --families OUT

Needs `pip install -e .[hub-family]`. Each model has a text of its own: sequences that the base writes of some chain and species, 2 to 30 %
of their letters exchanged. Recipe: AdamW, linear decay, warm-up over a tenth, gradients cut at 1, batches of 8; learning rate (1e-5 to
1e-4), steps (15 to 150), decay (0 to 0.1), task (next letter, a class of each sequence, a class of each letter) and dtype are drawn; one
in seven trains an adapter of rank 8 that is merged, one in seven leaves embeddings and the first block alone. The last third comes from
one of the first third. Written: `OUT/iglm`, and `OUT/iglm-without-base`.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.text_star import write_truth

BASE = "base"
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
CHAINS, SPECIES = ("[HEAVY]", "[LIGHT]"), ("[HUMAN]", "[MOUSE]", "[CAMEL]", "[RAT]")
LENGTH, WRITTEN, VARIANTS, BATCH = 72, 32, 8, 8
TASKS = {"next": "GPT2LMHeadModel", "sequence": "GPT2ForSequenceClassification", "letter": "GPT2ForTokenClassification"}
DTYPES = (torch.float32, torch.float32, torch.bfloat16, torch.float16)
ABOUT = "Trainings of IgLM-S by transformers and peft (bench/sequence_star.py)."
FROZEN = ("wte", "wpe", "h.0.")


@dataclass(frozen=True)
class Recipe:
    task: str
    rate: float
    steps: int
    decay: float
    dtype: torch.dtype
    adapter: bool
    frozen: bool


def drawn(dice: random.Random) -> Recipe:
    task = dice.choice(["next", "next", "sequence", "sequence", "letter"])
    rate, steps = dice.choice([1e-5, 2e-5, 3e-5, 5e-5, 1e-4]), dice.choice([15, 30, 60, 100, 150])
    decay, dtype, kind = dice.choice([0.0, 0.0, 0.01, 0.1]), dice.choice(DTYPES), dice.random()
    return Recipe(task, 3e-4 if kind < 0.15 else rate, steps, decay, dtype, kind < 0.15, 0.15 <= kind < 0.3)


def written(base: Any, vocabulary: Mapping[str, int], dice: random.Random) -> Tensor:
    """(n, 72) int64 sequences that the base writes, with some letters exchanged."""
    first = [[vocabulary[dice.choice(CHAINS)], vocabulary[dice.choice(SPECIES)]]] * WRITTEN
    start = torch.tensor(first)
    own = base.generate(
        start, do_sample=True, max_length=LENGTH, min_length=LENGTH, pad_token_id=0, attention_mask=torch.ones_like(start),
        bad_words_ids=[[number] for number in range(5)],
    )  # fmt: skip
    letters = torch.tensor([vocabulary[letter] for letter in LETTERS])
    rows = []
    for _ in range(VARIANTS):
        exchanged = torch.rand(own.shape) < dice.choice([0.02, 0.1, 0.3])
        exchanged[:, :2] = False
        rows.append(torch.where(exchanged, letters[torch.randint(0, len(letters), own.shape)], own))
    return torch.cat(rows)


def answers(task: str, batch: Tensor, vocabulary: Mapping[str, int]) -> Tensor:
    if task == "next":
        return batch
    return (batch == vocabulary["G"]).sum(1).clamp(max=9) // 3 if task == "sequence" else (batch > 15).long()


def tuned(parent: Path, recipe: Recipe, text: Tensor, vocabulary: Mapping[str, int], dice: random.Random) -> Any:
    transformers = import_module("transformers")
    known = {} if recipe.task == "next" else {"num_labels": 4}
    model = getattr(transformers, TASKS[recipe.task]).from_pretrained(parent, **known).float()
    model.config.pad_token_id = 0
    trained = model
    if recipe.adapter:
        peft = import_module("peft")
        trained = peft.get_peft_model(
            model, peft.LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn"], fan_in_fan_out=True)
        )
    for name, weight in model.named_parameters():
        if recipe.frozen and any(part in name for part in FROZEN):
            weight.requires_grad = False
    weights = [weight for weight in trained.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": recipe.decay},
        {"params": [w for w in weights if w.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate)
    slower = transformers.get_scheduler(
        "linear", optimizer, num_warmup_steps=recipe.steps // 10, num_training_steps=recipe.steps
    )
    trained.train()
    for _ in range(recipe.steps):
        batch = text[torch.tensor([dice.randrange(len(text)) for _ in range(BATCH)])]
        trained(input_ids=batch, labels=answers(recipe.task, batch, vocabulary)).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        slower.step()
        optimizer.zero_grad()
    return trained.merge_and_unload() if recipe.adapter else model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models_of_package", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=int, default=36)
    parser.add_argument("--seed", type=int, default=7)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(wanted.seed)
    dice = random.Random(wanted.seed)
    words = (wanted.models_of_package / "vocab.txt").read_text().split()
    vocabulary = {word: number for number, word in enumerate(words)}
    published = wanted.models_of_package / "IgLM-S"
    base = import_module("transformers").GPT2LMHeadModel.from_pretrained(published)
    whole, away, kept = (wanted.out / name for name in ("iglm", "iglm-without-base", "trained"))
    for folder in (whole, away):
        folder.mkdir(parents=True)
    save_file(
        {n: w.clone() for n, w in base.state_dict().items() if n != "lm_head.weight"}, whole / f"{BASE}.safetensors"
    )
    parents: dict[str, str | None] = {BASE: None}
    for index in range(wanted.models):
        name = f"tuned-{index:03}"
        parent = BASE if index < wanted.models * 2 // 3 else f"tuned-{dice.randrange(wanted.models // 3):03}"
        recipe = drawn(dice)
        text = written(base, vocabulary, dice)
        model = tuned(published if parent == BASE else kept / parent, recipe, text, vocabulary, dice)
        model.to(recipe.dtype).save_pretrained(kept / name)
        os.link(kept / name / "model.safetensors", whole / f"{name}.safetensors")
        os.link(kept / name / "model.safetensors", away / f"{name}.safetensors")
        parents[name] = parent
        print(name, "from", parent, recipe, flush=True)
    write_truth(whole, parents, ABOUT)
    write_truth(away, parents, ABOUT)


if __name__ == "__main__":
    main()
