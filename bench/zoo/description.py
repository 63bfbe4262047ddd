"""What is said about a family before anything of it is trained: frozen descriptions, and seeds that depend on names alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bench.zoo.tasks import Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one training goes.

    Args:
        tune: "full"; "head" trains the head alone; "upper" the later half of the stages; "last" the last two; "vectors" the head, biases
            and norms.
        head: "keep" the parent's, start a "new" one of the same size, or "grow" it by rows (other classes or a larger vocabulary).
        frozen_stats: batch norm's running values stay.
        rank: keep so many singular directions of each matrix' change, as a low-rank adapter taken out of a tuned model and merged does.
        saves: steps at which the model is written out; more than one makes checkpoints of one run.
    """

    task: Task
    optimiser: str
    learning_rate: float
    weight_decay: float
    schedule: str
    batch: int
    saves: tuple[int, ...]
    tune: str = "full"
    head: str = "keep"
    frozen_stats: bool = False
    decay_vectors: bool = True
    clip: float | None = None
    rank: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One model, or one run's checkpoints.

    Args:
        names: the file's name for each entry of `recipe.saves`; a copy or a merge has one name and no recipe.
        parents: names of other members' files; none for a root.
        relation: of (child, parent): finetune, finetune-backbone (new head), finetune-part-frozen, copy, cast (stored with fewer bits),
            quantized (255 levels a row), merge; None for a root.
        seed: of the random start for a root, of a new head otherwise.
        storage: float32, float16 or bfloat16.
        prefix: put before tensor names in the file, as wrappers leave it there.
        generation: 0 for a root; a member is trained after all of smaller generation.
    """

    names: tuple[str, ...]
    parents: tuple[str, ...]
    relation: str | None
    recipe: Recipe | None
    seed: int
    storage: str
    generation: int
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """`sizes`: arguments of the architecture, as pairs so that the whole can be compared and hashed."""

    name: str
    architecture: str
    sizes: tuple[tuple[str, object], ...]
    outputs: int
    channels: int
    start: str
    shape: str
    split: str
    style: str
    members: tuple[Member, ...]

    @property
    def fingerprint(self) -> str:
        """Changes when anything in the description changes: tells whether what lies on disk is still what is described."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def count(self) -> int:
        return sum(len(member.names) for member in self.members)


def seed_of(*words: object) -> int:
    """A seed that depends on the words alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, words)).encode()).digest()[:4], "big") >> 1
