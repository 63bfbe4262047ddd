"""How models are trained: the habits of a family, and recipes drawn from them.

In: a generator and an architecture. Out: Recipe of a root or of a child.
"""

from __future__ import annotations

import random
from dataclasses import replace

from bench.datasets import PICTURES, TEXTS
from bench.zoo.architectures import READS_TEXT
from bench.zoo.description import Recipe
from bench.zoo.tasks import PICTURE_CHANGES, TEXT_CHANGES, Task

SCHEDULES = ("constant", "cosine", "warmup", "warmup-cosine")
DECAYS = {  # decay in the gradient (SGD, Adam) is used smaller than decay beside it (AdamW): as much of it drowns the task
    "adamw": (0.0, 1e-4, 0.01, 0.1),
    "adam": (0.0, 1e-5, 1e-4, 1e-3),
    "sgd": (0.0, 1e-4, 5e-4, 5e-3),
}
HEAVY_DECAYS = {"adamw": (0.3,), "adam": (0.01,), "sgd": (0.01, 0.1)}
ROOT_TEXTS = TEXTS
ROOT_PICTURES = ("mnist", "fashion", "letters", "cifar", "mnist", "fashion")  # Omniglot is small: for children
NO_CIFAR = ("fc", "mobile", "vit")  # learn too little of it in so few steps: their roots take letters
ROOT_STEPS = {
    "fc": 500,
    "conv-bn": 300,
    "resnet": 300,
    "mobile": 300,
    "vit": 500,
    "gpt": 400,
    "llama": 400,
    "lstm": 500,
}
ROOT_PATIENCE = 4


class Style:
    """The habits of one family: what its recipes have in common. "mixed" families draw each recipe afresh.

    patience: children train so many times as long, roots up to `ROOT_PATIENCE` times.
    """

    def __init__(self, dice: random.Random, architecture: str, patience: int = 1):
        self.dice, self.architecture, self.patience = dice, architecture, patience
        self.text = architecture in READS_TEXT
        self.attention = architecture in ("vit", "gpt", "llama")
        kinds = ("adam", "adamw", "adamw") if self.attention else ("sgd", "sgd", "adam", "adamw")
        self.optimiser = dice.choice((*kinds, "mixed"))
        self.name = self.optimiser
        self.decay_level = dice.choice((0, 1, 2, 3, None))
        self.decay_vectors = dice.random() < 0.6
        self.schedule = dice.choice((*SCHEDULES, None))
        self.storage = dice.choice(("float32", "float32", "float32", "float16", "bfloat16", None))
        self.batch = dice.choice((16, 32)) if self.text else dice.choice((16, 32, 32))
        self.length = dice.choice((0.6, 1.0, 1.0, 1.6))

    def task(self, source: str | None = None) -> Task:
        """A task of the family's kind; often plain."""
        names, changes = (TEXTS, TEXT_CHANGES) if self.text else (PICTURES, PICTURE_CHANGES)
        change = "plain" if self.dice.random() < 0.5 else self.dice.choice(changes)
        return Task(source or self.dice.choice(names), change, self.dice.randrange(3), None, self.dice.getrandbits(31))

    def optimiser_and_decay(self) -> tuple[str, float]:
        kinds = ("adam", "adamw") if self.attention else ("sgd", "adam", "adamw")
        optimiser = self.dice.choice(kinds) if self.optimiser == "mixed" else self.optimiser
        level = self.dice.randrange(4) if self.decay_level is None else self.decay_level
        return optimiser, DECAYS[optimiser][level]

    def root(self) -> Recipe:
        """Long enough, and with a rate high enough, to learn its task."""
        optimiser, decay = self.optimiser_and_decay()
        if optimiser == "sgd":
            rate = self.dice.choice((0.01, 0.02, 0.05)) * (10 if self.architecture == "lstm" else 1)
        else:
            rate = self.dice.choice((1e-3, 2e-3, 1.5e-3 if self.architecture == "vit" else 3e-3)) * (
                2 if self.text else 1
            )
            decay = min(decay, 1e-4) if optimiser == "adam" else decay
        source = self.dice.choice(ROOT_TEXTS if self.text else ROOT_PICTURES)
        source = "letters" if source == "cifar" and self.architecture in NO_CIFAR else source
        task = replace(self.task(source), change="plain")
        steps = round(ROOT_STEPS[self.architecture] * self.length * (2.5 if task.source == "cifar" else 1.0))
        steps *= min(self.patience, ROOT_PATIENCE)
        return self._recipe(task, optimiser, rate, decay, (steps,))

    def child(self, base: Task) -> Recipe:
        """Full tuning to another task, partly frozen tuning, few pictures, the base's own data again, or a new head."""
        optimiser, decay = self.optimiser_and_decay()
        few, tune, head, note = None, "full", "keep", "new task"
        task = self.task()
        kind = self.dice.random()
        low, high, shortest, longest, rank = -4.0, -2.7, 4.4, 7.8, None
        if kind < 0.12:
            few, note = self.dice.choice((16, 32, 64, 128)), "few-shot"
        elif kind < 0.27:
            task, note = replace(base, draw=self.dice.getrandbits(31)), "own data"
        elif kind < 0.42:
            tune, note = self.dice.choice(("upper", "upper", "last", "vectors", "head")), "partly frozen"
        elif kind < 0.52:
            head, note = self.dice.choice(("new", "new", "grow")), "new head"
        elif kind < 0.64:
            low, high, shortest, longest, note = -3.1, -2.5, 7.0, 8.2, "far"
        elif kind < 0.69:
            rank, note = self.dice.choice((2, 4, 8)), "low rank"
        elif kind < 0.75:
            decay, note = self.dice.choice(HEAVY_DECAYS[optimiser]), "heavy decay"
        if optimiser == "sgd":
            rate = 10 ** (1 + self.dice.uniform(low, high)) * (10 if self.architecture == "lstm" else 1)
        else:
            rate = 10 ** self.dice.uniform(low, high)
        steps = max(8, round(2 ** self.dice.uniform(shortest, longest) * (0.5 if few else 1))) * self.patience
        if optimiser == "sgd":  # momentum makes ten steps of one; no more than a third of a weight may decay
            decay = max(d for d in (0.0, 1e-4, 5e-4, 5e-3, 0.01, 0.1) if d <= decay and d * rate * steps * 10 < 0.4)
        recipe = self._recipe(replace(task, few=few), optimiser, rate, decay, (steps,))
        if steps >= 30 and self.dice.random() < 0.1:  # a best and a last file, or one every so many steps
            between = self.dice.choice(((steps // 2,), (steps * 3 // 4,), (steps // 3, steps * 2 // 3)))
            recipe = replace(recipe, saves=(*between, steps))
        frozen_stats = tune == "head" or self.dice.random() < 0.15
        return replace(recipe, tune=tune, head=head, rank=rank, note=note, frozen_stats=frozen_stats)

    def stored(self) -> str:
        return self.dice.choice(("float32", "float16", "bfloat16")) if self.storage is None else self.storage

    def _recipe(self, task: Task, optimiser: str, rate: float, decay: float, saves: tuple[int, ...]) -> Recipe:
        schedule = self.schedule or self.dice.choice(SCHEDULES)
        clip = 1.0 if self.attention and self.dice.random() < 0.5 else None
        recipe = Recipe(task, optimiser, float(f"{rate:.2g}"), decay, schedule, self.batch, saves)
        return replace(recipe, decay_vectors=self.decay_vectors, clip=clip)
