"""What a model is trained on: a set of pictures or text, altered so that there are many tasks, and drawn from in an order of its own.

In: a Task and the Data. Out: step -> (inputs, targets).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.datasets import ALPHABET, CLASSES, Data

CONTEXT = 32  # characters a text model sees
PICTURE_CHANGES = ("plain", "invert", "turn", "flip", "noise", "relabel", "shift", "blur")
TEXT_CHANGES = ("plain", "upper", "reverse", "cipher", "words")


@dataclass(frozen=True, slots=True)
class Task:
    """Args:
    source: name of a set of pictures or of a text.
    change: what is done to it, one of PICTURE_CHANGES or TEXT_CHANGES.
    part: which third of a text.
    few: keep only so many pictures or so many pieces of text; None keeps all.
    draw: which ones are kept, and their order.
    """

    source: str
    change: str
    part: int
    few: int | None
    draw: int


def stream(
    task: Task, data: Data, *, text: bool, channels: int, batch: int, steps: int, device: torch.device
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Batches of a task in their order: each pass over the data is shuffled anew.

    Returns: step -> ((batch, channels, 16, 16), (batch,)) or, for text, two of (batch, CONTEXT), the second one character ahead.
    """
    generator = torch.Generator().manual_seed(task.draw)
    if text:
        tokens = _changed_text(data.text(task.source), task).to(device)
        starts = torch.randint(len(tokens) - CONTEXT - 1, (task.few or len(tokens),), generator=generator)
        chosen = starts[_order(len(starts), batch * steps, generator)].view(steps, batch).to(device)
        window = torch.arange(CONTEXT + 1, device=device)

        def piece(step: int) -> tuple[Tensor, Tensor]:
            cut = tokens[chosen[step][:, None] + window]  # (batch, CONTEXT + 1)
            return cut[:, :-1], cut[:, 1:]

        return piece
    pictures = data.pictures(task.source)
    kept = torch.randperm(len(pictures.labels), generator=generator)[: task.few]
    order = kept[_order(len(kept), batch * steps, generator)].view(steps, batch)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        images, labels = _changed_pictures(pictures.images[order[step]], pictures.labels[order[step]], task)
        return _coloured(images, channels, task).to(device), labels.to(device)

    return sample


def _order(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    passes = -(-wanted // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])[:wanted]


def _changed_pictures(images: Tensor, labels: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    match task.change:
        case "invert":
            images = 1 - images
        case "turn":
            images = images.rot90(1, (2, 3))
        case "flip":
            images = images.flip(3)
        case "shift":
            images = images.roll((3, 2), (2, 3))
        case "blur":
            images = F.avg_pool2d(images, 3, 1, 1)
        case "noise":
            noise = torch.Generator().manual_seed(int(images.sum() * 1000) % 2**31)
            images = images + 0.3 * torch.randn(images.shape, generator=noise)
        case "relabel":
            labels = (3 * labels + 1) % CLASSES
    return images, labels


def _coloured(images: Tensor, channels: int, task: Task) -> Tensor:
    """Grey from colour, or grey tinted by the set; about zero mean and unit deviation."""
    if channels == 1:
        images = images.mean(1, keepdim=True)
    elif images.shape[1] == 1:
        tint = torch.rand(3, generator=torch.Generator().manual_seed(sum(map(ord, task.source)))) * 0.7 + 0.3
        images = images * tint[:, None, None]
    return (images - 0.3) * 3


def _changed_text(tokens: Tensor, task: Task) -> Tensor:
    third = len(tokens) // 3
    tokens = tokens[task.part * third : (task.part + 1) * third]
    size = len(ALPHABET)
    match task.change:
        case "upper":
            table = torch.tensor([ALPHABET.index(c.upper()) for c in ALPHABET])
            tokens = table[tokens]
        case "reverse":
            tokens = tokens.flip(0)
        case "cipher":
            tokens = torch.randperm(size, generator=torch.Generator().manual_seed(7))[tokens]
        case "words":
            tokens = tokens[tokens != ALPHABET.index(" ")]
    return tokens
