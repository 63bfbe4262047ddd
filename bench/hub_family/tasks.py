"""Batches of a task.

In: a Task, a generator, a size. Out: a dict of tensors that a transformers model takes as keyword arguments and answers with a loss;
the plain networks (`plain_nets.py`) read the same dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import datasets
from bench.hub_family import texts
from bench.hub_family.description import Task

LENGTH = 40  # tokens of a window
CHARACTERS = 48  # of a window of characters
CANVAS, CELLS = 48, 6  # side of a detector's picture; cells a side, each with one object at most
OBJECTS = 3  # on a canvas, at most
MASKED = 0.3  # share of the tokens to guess; twice that of Devlin et al. 2019, as Wettig et al. 2023 find better
IGNORED = -100  # label that transformers' losses leave out

Batch = dict[str, Tensor]


@dataclass
class Source:
    """The data of one family. `tokenizer_texts` and `vocabulary` of the family; nothing is read before it is needed."""

    tokenizer_texts: tuple[str, ...] = ()
    vocabulary: int = 0
    data: datasets.Data = field(default_factory=datasets.from_environment)
    _tokens: dict[str, Tensor] = field(default_factory=dict)
    _tokenizer: texts.Tokenizer | None = None

    def batch(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        """`size` examples of a task, drawn by the generator."""
        return getattr(self, f"_{task.kind}")(task, size, generator)

    def preferences(self, task: Task, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(chosen, rejected), (size, LENGTH) tokens each: the second half of a rejected window is from elsewhere."""
        chosen, _ = self._windows(task, size, generator)
        other, _ = self._windows(task, size, generator)
        half = LENGTH // 2
        shuffled = other[:, torch.randperm(LENGTH - half, generator=generator) + half]
        return chosen, torch.cat([chosen[:, :half], shuffled], 1)  # (size, LENGTH)

    @property
    def tokenizer(self) -> texts.Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = texts.train_tokenizer(self.tokenizer_texts, self.vocabulary)
        return self._tokenizer

    def _text(self, name: str) -> Tensor:
        if name not in self._tokens:
            self._tokens[name] = texts.encode(self.tokenizer, name)
        return self._tokens[name]

    def _windows(self, task: Task, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(size, LENGTH) tokens and (size,) the source of each."""
        which = torch.randint(len(task.sources), (size,), generator=generator)
        rows = []
        for source in which.tolist():
            tokens = self._text(task.sources[source])
            choices = task.examples or len(tokens) - LENGTH
            start = int(torch.randint(choices, (1,), generator=generator))
            start = start * 997 % (len(tokens) - LENGTH) if task.examples else start
            rows.append(tokens[start : start + LENGTH])
        return torch.stack(rows), which

    def _causal(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        windows, _ = self._windows(task, size, generator)
        return {"input_ids": windows, "labels": windows}

    def _masked(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        windows, _ = self._windows(task, size, generator)
        hidden = torch.rand(windows.shape, generator=generator) < MASKED
        seen = windows.masked_fill(hidden, texts.SPECIAL.index("<mask>"))
        return {"input_ids": seen, "labels": windows.masked_fill(~hidden, IGNORED)}

    def _classify(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        windows, which = self._windows(task, size, generator)
        return {"input_ids": windows, "labels": which}

    def _tag(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        windows, _ = self._windows(task, size, generator)
        if "labels" not in self._tokens:
            self._tokens["labels"] = texts.token_labels(self.tokenizer)
        return {"input_ids": windows, "labels": self._tokens["labels"][windows] % task.labels}

    def _characters(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        rows = []
        for source in torch.randint(len(task.sources), (size,), generator=generator).tolist():
            name = task.sources[source]
            if name not in self._tokens:
                self._tokens[name] = datasets.tokens(texts.text(name))
            start = int(torch.randint(len(self._tokens[name]) - CHARACTERS - 1, (1,), generator=generator))
            rows.append(self._tokens[name][start : start + CHARACTERS + 1])
        letters = torch.stack(rows)  # (size, CHARACTERS + 1)
        return {"inputs": letters[:, :-1], "labels": letters[:, 1:]}

    def _drawn(self, task: Task, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(size, 3, 16, 16) pictures and (size,) labels below task.labels."""
        pictures = self.data.pictures(task.sources[int(torch.randint(len(task.sources), (1,), generator=generator))])
        chosen = torch.randint(
            min(task.examples or len(pictures.labels), len(pictures.labels)), (size,), generator=generator
        )
        images = pictures.images[chosen].expand(-1, 3, -1, -1)
        return images, pictures.labels[chosen] % task.labels

    def _pictures(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        images, labels = self._drawn(task, size, generator)
        return {"pixel_values": images * 2 - 1, "labels": labels}

    def _detect(self, task: Task, size: int, generator: torch.Generator) -> Batch:
        """Objects of 8 to 20 pixels on a noisy canvas; the cell that holds an object's middle has to find it."""
        canvas = 0.3 * torch.rand(size, 3, CANVAS, CANVAS, generator=generator)
        there = torch.zeros(size, CELLS, CELLS)
        labels = torch.full((size, CELLS, CELLS), IGNORED)
        boxes = torch.zeros(size, 4, CELLS, CELLS)
        cell = CANVAS // CELLS
        for i in range(size):
            count = int(torch.randint(1, OBJECTS + 1, (1,), generator=generator))
            objects, classes = self._drawn(task, count, generator)
            for picture, label in zip(objects, classes, strict=True):
                side = int(torch.randint(8, 21, (1,), generator=generator))
                x, y = torch.randint(0, CANVAS - side + 1, (2,), generator=generator).tolist()
                canvas[i, :, y : y + side, x : x + side] += F.interpolate(picture[None], size=side, mode="bilinear")[0]
                row, column = (y + side // 2) // cell, (x + side // 2) // cell
                there[i, row, column] = 1
                labels[i, row, column] = label
                middle = torch.tensor([(x + side / 2) / cell - column, (y + side / 2) / cell - row])
                boxes[i, :, row, column] = torch.cat([middle, torch.tensor([side / CANVAS, side / CANVAS])])
        return {"inputs": canvas, "there": there, "labels": labels, "boxes": boxes}
