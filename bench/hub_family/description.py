"""Description of a family before any of it is trained: frozen, and drawn from seeds that depend on names alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is trained on.

    Args:
        kind: "causal" or "masked" (language), "classify" (which source a text is from), "tag" (a label a token), "pictures"
            (a label a picture), "detect" (objects on a canvas), "characters" (next letter).
        sources: names of texts (`texts.TEXTS`) or of picture sets (`bench.datasets.PICTURES`), mixed in equal parts.
        labels: size of the head where the kind has one.
        examples: only this many different windows or pictures; None for all.
    """

    kind: str
    sources: tuple[str, ...]
    labels: int = 0
    examples: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one training goes.

    Args:
        saves: steps at which the model is written; more than one makes checkpoints of one run.
        decay: AdamW's or SGD's weight decay, on matrices only, as transformers' Trainer applies it.
        schedule: "linear" or "cosine" to nothing, "constant"; all after a warm-up of one step in twenty.
        method: "full"; "lora" (peft, merged into the weights); "dpo" (Rafailov et al. 2023, the parent is the reference);
            "embeddings-frozen"; "top-layers" (upper half and head); "head" (head alone).
        rank: of the low-rank adapters.
        added_tokens: rows appended to the vocabulary by `resize_token_embeddings` before the training.
        weights_in: "bfloat16" rounds the weights after each step, as a training without a float32 copy does.
        stop_norm: batch norm's running values stay.
    """

    task: Task
    saves: tuple[int, ...]
    learning_rate: float
    decay: float = 0.0
    batch: int = 8
    optimiser: str = "adamw"
    schedule: str = "linear"
    method: str = "full"
    rank: int = 8
    added_tokens: int = 0
    weights_in: str = "float32"
    stop_norm: bool = False

    @property
    def steps(self) -> int:
        return self.saves[-1]


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge by mergekit.

    Args:
        method: "linear", "slerp", "ties" (Yadav et al. 2023), "dare_ties" (Yu et al. 2024) or "task_arithmetic" (Ilharco et al. 2023).
        base: name of the common base, which the last three subtract; slerp gets the first parent.
        weight: of each parent.
        density: share of the changes that ties and dare keep.
    """

    method: str
    base: str
    weight: float = 0.5
    density: float = 0.6


@dataclass(frozen=True, slots=True)
class Member:
    """One model, or the checkpoints of one run.

    Args:
        names: one file name for each entry of `recipe.saves`; a cast or a merge has one name.
        recipe: a training or a merge by mergekit; None for a cast or a plain mean.
        parents: file names of the parents; empty for a root.
        relation: finetune, finetune-backbone (new head or vocabulary), finetune-part-frozen, continued, cast, merge; None for a root.
        seed: of the random start for a root, of data order and new heads otherwise.
        storage: float32, float16 or bfloat16.
        tree: the root's name.
    """

    names: tuple[str, ...]
    parents: tuple[str, ...]
    relation: str | None
    recipe: Recipe | Merge | None
    seed: int
    storage: str
    tree: str


@dataclass(frozen=True, slots=True)
class Family:
    """All models of one base and its decoys. `vocabulary`: tokens, of a tokenizer trained on `tokenizer_texts`."""

    name: str
    architecture: str
    split: str
    members: tuple[Member, ...]
    tokenizer_texts: tuple[str, ...] = ()
    vocabulary: int = 0

    @property
    def fingerprint(self) -> str:
        """Changes when anything in the description changes."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def count(self) -> int:
        return sum(len(member.names) for member in self.members)


def shortened(family: Family, steps: int) -> Family:
    """The first member of each kind with its ancestors, trained for a few steps only: to try the code, not to measure with."""
    kept: list[Member] = []
    kinds: set[object] = set()
    needed: set[str] = set()
    for member in reversed(family.members):  # parents come before children
        kind: object = member.relation
        if isinstance(member.recipe, Recipe):
            kind = (member.relation, member.recipe.method, member.recipe.task.kind, len(member.names) > 1)
        elif member.recipe:
            kind = member.recipe.method
        if kind in kinds and not needed & set(member.names) and member.relation is not None:
            continue
        kinds.add(kind)
        needed |= set(member.parents)
        kept.append(member)
    return replace(family, members=tuple(_short(member, steps) for member in reversed(kept)))


def _short(member: Member, steps: int) -> Member:
    if not isinstance(member.recipe, Recipe):
        return member
    saves = tuple(steps * (i + 1) for i in range(len(member.names)))
    return replace(member, recipe=replace(member.recipe, saves=saves))


def seed_of(*words: object) -> int:
    """A seed that depends on the words alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, words)).encode()).digest()[:4], "big") >> 1
