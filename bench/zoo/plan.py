"""Which families there are.

In: an architecture and a number. Out: Family, a frozen description from which the same models are built again. Every choice is drawn
from a generator seeded with the family's name. Odd numbers are for tuning, even ones for reporting; shapes of trees take turns in both.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from bench.datasets import ALPHABET, CLASSES
from bench.zoo.architectures import ARCHITECTURES, READS_TEXT
from bench.zoo.description import Family, seed_of
from bench.zoo.grow import LONG_RUN, SHAPES, Builder
from bench.zoo.recipes import Style

PER_ARCHITECTURE = {"short": 16, "long": 4, "run": 4}  # kinds of families, and how many there are of each
PATIENCE = {"short": 1, "long": 8, "run": 8}
SIZES: dict[str, tuple[dict[str, object], ...]] = {  # 20,000 to 300,000 values
    "fc": ({"widths": (128, 96)}, {"widths": (160, 96, 64)}, {"widths": (96, 96, 96, 48)}, {"widths": (256, 128)}),
    "conv-bn": ({"widths": (16, 32, 64)}, {"widths": (24, 32, 64, 64)}, {"widths": (16, 48, 96)}),
    "resnet": (
        {"width": 16, "depths": (1, 1, 1)},
        {"width": 16, "depths": (2, 1, 1)},
        {"width": 12, "depths": (1, 2, 1)},
    ),
    "mobile": ({"widths": (16, 24, 24, 32, 32), "expand": 4}, {"widths": (12, 16, 24, 24, 40, 40), "expand": 3}),
    "vit": (
        {"width": 48, "depth": 3, "heads": 4},
        {"width": 64, "depth": 2, "heads": 4},
        {"width": 40, "depth": 4, "heads": 5},
    ),
    "gpt": ({"width": 48, "depth": 3, "heads": 4, "context": 32}, {"width": 64, "depth": 2, "heads": 4, "context": 32}),
    "llama": (
        {"width": 48, "depth": 3, "heads": 4, "kv_heads": 2, "inner": 128},
        {"width": 64, "depth": 2, "heads": 4, "kv_heads": 4, "inner": 160},
    ),
    "lstm": ({"width": 96, "depth": 1, "embedding": 48}, {"width": 72, "depth": 2, "embedding": 48}),
}
BATCH_NORM = ("resnet", "mobile")
STARTS = ("default", "default", "default", "xavier", "kaiming", "normal")


def catalogue(per_architecture: Mapping[str, int] = PER_ARCHITECTURE) -> list[Family]:
    """All families, architectures and halves taking turns, so that any beginning of the list is a varied zoo."""
    return [
        describe(architecture, number, kind)
        for kind, count in per_architecture.items()
        for number in range(1, count + 1)
        for architecture in ARCHITECTURES
    ]


def describe(architecture: str, number: int, kind: str = "short") -> Family:
    """The family `<architecture>-<number>`, or `<architecture>-<kind>-<number>` if it is not short; always the same."""
    name = f"{architecture}-{number:03d}" if kind == "short" else f"{architecture}-{kind}-{number:03d}"
    dice = random.Random(seed_of(name))
    turn = list(ARCHITECTURES).index(architecture)
    shape = LONG_RUN if kind == "run" else SHAPES[((number - 1) // 2 + turn) % len(SHAPES)]
    text = architecture in READS_TEXT
    channels = 1 if text else dice.choice((1, 1, 3))
    sizes = _sizes(architecture, channels, dice)
    start = "default" if text else dice.choice(STARTS)
    if start == "normal" and architecture != "vit":
        start = "default"
    style = Style(dice, architecture, PATIENCE[kind])
    has_stats = architecture in BATCH_NORM or sizes.get("norm") == "batch"
    return Family(
        name=name,
        architecture=architecture,
        sizes=tuple(sizes.items()),
        outputs=len(ALPHABET) if text else CLASSES,
        channels=channels,
        start=start,
        shape=shape,
        split="tune" if number % 2 else "report",
        style=style.name,
        members=Builder(architecture, style, dice, has_stats=has_stats).build(shape),
    )


def first_models(families: Sequence[Family], models: int) -> list[Family]:
    """The shortest beginning of the list that holds so many models."""
    kept: list[Family] = []
    for family in families:
        if sum(f.count for f in kept) >= models:
            break
        kept.append(family)
    return kept


def _sizes(architecture: str, channels: int, dice: random.Random) -> dict[str, object]:
    """One of SIZES, with what is drawn beside it."""
    sizes = dict(dice.choice(SIZES[architecture]))
    if architecture not in READS_TEXT:
        sizes["channels"] = channels
    if architecture == "fc":
        sizes |= {"activation": dice.choice(("relu", "relu", "gelu", "tanh")), "norm": dice.random() < 0.25}
    if architecture == "conv-bn":
        sizes |= {"norm": dice.choice(("batch", "batch", "batch", "group", "none")), "bias": dice.random() < 0.5}
    return sizes
