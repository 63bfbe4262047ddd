"""A star around a published base: textgenrnn 2.0.0's network, tuned on many texts by the recipe of its own library.

    pip download --no-deps --no-binary :all: textgenrnn==2.0.0 && tar -xzf textgenrnn-2.0.0.tar.gz
    python -m bench.text_star textgenrnn-2.0.0/textgenrnn --texts FOLDER --out OUT [--models 40] [--seed 1]
    python -m bench.real_families --families OUT

Needs h5py. No code of the package is run: its weights are read, and two LSTM of torch compute what its layers do (characters in
windows of 40, attention over embedding and both LSTM). Recipe: Adam at 0.004, falling to nothing in equal steps an epoch, batches of
128, 1 to 5 epochs; how many steps (30 to 360) and lines (60 to 1,500) is drawn, and one model in seven comes from another child. Texts
are files of a folder, their lines of 8 to 200 characters. Written: `OUT/textgenrnn`, and `OUT/textgenrnn-without-base`, where what was
tuned from the base has no parent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WINDOW, BATCH, RATE = 40, 128, 0.004
EPOCHS, STEPS, LINES = (1, 1, 2, 3, 5), (30, 60, 120, 240, 360), (60, 200, 600, 1500)
FROM_A_CHILD = 0.15
UNITS, CHARACTERS, WIDTH = 128, 465, 100
GATES = 4 * UNITS
BASE = "base"
ABOUT = "Trainings of textgenrnn's network by its recipe (bench/text_star.py)."


class TextNetwork(nn.Module):
    """(n, 40) int64 characters, 0 where there is none yet -> (n, 465) scores of the next one."""

    def __init__(self, weights: Mapping[str, Tensor]):
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.rnn_1 = nn.LSTM(WIDTH, UNITS, batch_first=True)
        self.rnn_2 = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.attention = nn.Parameter(weights["attention.attention_W"].clone())
        self.output = nn.Linear(WIDTH + 2 * UNITS, CHARACTERS)
        with torch.no_grad():
            self.embedding.weight.copy_(weights["embedding.embeddings"])
            self.output.weight.copy_(weights["output.kernel"].T)
            self.output.bias.copy_(weights["output.bias"])
            for name in ("rnn_1", "rnn_2"):
                layer = getattr(self, name)
                layer.weight_ih_l0.copy_(_each_gate(weights[f"{name}.kernel"], _from_cudnn).T)
                layer.weight_hh_l0.copy_(_each_gate(weights[f"{name}.recurrent_kernel"], np.transpose).T)
                layer.bias_ih_l0.copy_(weights[f"{name}.bias"][:GATES])
                layer.bias_hh_l0.copy_(weights[f"{name}.bias"][GATES:])

    def forward(self, characters: Tensor) -> Tensor:
        embedded = self.embedding(characters)
        first, _ = self.rnn_1(embedded)
        second, _ = self.rnn_2(first)
        seen = torch.cat([embedded, first, second], 2)  # (n, 40, 356)
        odds = (seen @ self.attention)[:, :, 0].masked_fill(characters == 0, -torch.inf)
        return self.output((seen * odds.softmax(1)[:, :, None]).sum(1))

    def as_published(self) -> dict[str, Tensor]:
        """The weights in the layout of the library's file."""
        found = {
            "attention.attention_W": self.attention,
            "embedding.embeddings": self.embedding.weight,
            "output.kernel": self.output.weight.T,
            "output.bias": self.output.bias,
        }
        for name in ("rnn_1", "rnn_2"):
            layer = getattr(self, name)
            found[f"{name}.kernel"] = _each_gate(layer.weight_ih_l0.T, _to_cudnn)
            found[f"{name}.recurrent_kernel"] = _each_gate(layer.weight_hh_l0.T, np.transpose)
            found[f"{name}.bias"] = torch.cat([layer.bias_ih_l0, layer.bias_hh_l0])
        return {name: tensor.detach().contiguous() for name, tensor in sorted(found.items())}


def _each_gate(kernel: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """(inputs, 512) -> the same: Keras keeps the kernels of its CUDA layer gate by gate in the order of cuDNN."""
    gates = np.hsplit(kernel.detach().numpy(), 4)
    return torch.from_numpy(np.ascontiguousarray(np.hstack([change(gate) for gate in gates])))


def _from_cudnn(gate: np.ndarray) -> np.ndarray:
    return gate.T.reshape(gate.shape, order="F")


def _to_cudnn(gate: np.ndarray) -> np.ndarray:
    return gate.T.reshape(gate.shape, order="C")


def published(package: Path) -> dict[str, Tensor]:
    """The base's tensors, as `layer.weight`."""
    h5py = import_module("h5py")
    found: dict[str, Tensor] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            layer, *_, weight = name.split("/")
            found[f"{layer}.{weight.removesuffix(':0')}"] = torch.from_numpy(item[()])

    with h5py.File(package / "textgenrnn_weights.hdf5") as file:
        file.visititems(keep)
    return found


def some_lines(files: Sequence[Path], dice: random.Random) -> list[str]:
    """Lines in a row of a file that has sixty or more."""
    while True:
        text = dice.choice(files).read_text(encoding="utf-8", errors="ignore")
        lines = [line.strip() for line in text.splitlines() if 8 < len(line.strip()) < 200]
        if len(lines) >= LINES[0]:
            begin = dice.randrange(max(1, len(lines) - LINES[-1]))
            return lines[begin : begin + dice.choice(LINES)]


def windows(lines: Sequence[Sequence[int]], dice: random.Random) -> tuple[Tensor, Tensor]:
    """(128, 40) and (128,) int64: what was read, 0 before a line's begin, and what comes next."""
    read, following = np.zeros((BATCH, WINDOW), np.int64), np.zeros(BATCH, np.int64)
    for row in range(BATCH):
        line = dice.choice(lines)
        place = dice.randrange(1, len(line))
        before = line[max(0, place - WINDOW) : place]
        read[row, WINDOW - len(before) :] = before
        following[row] = line[place]
    return torch.from_numpy(read), torch.from_numpy(following)


def tuned(weights: Mapping[str, Tensor], lines: Sequence[Sequence[int]], dice: random.Random) -> dict[str, Tensor]:
    network = TextNetwork(weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, eps=1e-7)
    epochs, steps = dice.choice(EPOCHS), dice.choice(STEPS)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - epoch / epochs)
        for _ in range(steps // epochs):
            read, following = windows(lines, dice)
            loss = nn.functional.cross_entropy(network(read), following)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.as_published()


def write_truth(folder: Path, parents: Mapping[str, str | None], about: str = ABOUT) -> None:
    """Of the models that lie in the folder; the others are no parents."""
    here = sorted(path.stem for path in folder.glob("*.safetensors"))
    pairs = [{"child": m, "parent": parents[m], "relation": "finetune"} for m in here if parents[m] in here]
    children = {pair["child"] for pair in pairs}
    truth = {
        "family": folder.name,
        "about": about,
        "pairs": pairs,
        "roots": [m for m in here if m not in children],
        "unknown": [],
        "trees": {BASE: here},
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    dice = random.Random(wanted.seed)
    vocabulary: dict[str, int] = json.loads((wanted.package / "textgenrnn_vocab.json").read_text())
    files = sorted(path for path in wanted.texts.rglob("*") if path.suffix in {".py", ".md", ".txt", ".rst"})
    whole, away = (wanted.out / name for name in ("textgenrnn", "textgenrnn-without-base"))
    for folder in (whole, away):
        folder.mkdir(parents=True)
    save_file(published(wanted.package), whole / f"{BASE}.safetensors")
    parents: dict[str, str | None] = {BASE: None}
    for index in range(wanted.models):
        name = f"tuned-{index:03}"
        children = [*parents][1:]
        parents[name] = parent = dice.choice(children) if children and dice.random() < FROM_A_CHILD else BASE
        edge = vocabulary["<s>"]
        lines = [[edge, *(vocabulary.get(c, 0) for c in line), edge] for line in some_lines(files, dice)]
        save_file(tuned(load_file(whole / f"{parent}.safetensors"), lines, dice), whole / f"{name}.safetensors")
        os.link(whole / f"{name}.safetensors", away / f"{name}.safetensors")
        print(name, "from", parent, flush=True)
    write_truth(whole, parents)
    write_truth(away, parents)


if __name__ == "__main__":
    main()
