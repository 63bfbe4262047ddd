"""The lineage detector of Neural Lineage: a small network over weights and features of a child and its candidate parents.

In: for each candidate two pictures of two channels, candidate and child: one weight matrix cut to `side` x `side`, and features of up to 64
samples. Out: one logit a candidate, and one for "no parent" where the network has that token.

Each kind of picture has an encoder: 1x1 convolution 2 -> 3, ReLU, 3x3 convolution 3 -> E with padding 3, batch norm, ReLU, average
pool. A type embedding is added to each token, a class token is put first, one single-head self-attention runs over the tokens, and the
class token's output counts. These outputs are standardised over all candidates and channels of a child, the learned "no parent" vector is
appended, and one linear layer gives the logits. Source: Yu & Wang, CVPR 2024 (arXiv 2406.11129) and its released code; E = 32.

Dimension letters: b children, k candidates of each, s side, n samples, d features, e embedding.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lineage.graphdb.schema import Failure

SIDE = 32
SAMPLES = 64
FORMAT = "nl-detector-1"


class BadLineageDetector(Failure):
    """A file that is no trained lineage detector."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Kinds of pictures that the network sees, its width, and whether it can answer "no parent"."""

    weights: bool = True
    features: bool = True
    embedding: int = 32
    none: bool = True


@dataclass(frozen=True, slots=True)
class CandidateExample:
    """One child with its candidates.

    Attributes:
        weights: (k, 2, s, s) float32, or None; features: (k, 2, n, d) float32, or None.
        target: index of the true parent; k for "no parent".
    """

    weights: Tensor | None
    features: Tensor | None
    target: int = 0

    @property
    def candidates(self) -> int:
        for given in (self.weights, self.features):
            if given is not None:
                return len(given)
        return 0

    def only(self, candidates: Sequence[int], target: int) -> CandidateExample:
        """The same child with some of its candidates."""
        chosen = list(candidates)
        weights = None if self.weights is None else self.weights[chosen]
        return CandidateExample(weights, None if self.features is None else self.features[chosen], target)


class LineageDetector(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape, width = shape, shape.embedding
        self.weights = _encoder(width) if shape.weights else None
        self.features = _encoder(width) if shape.features else None
        self.kinds = nn.Parameter(torch.randn(2, width) * 0.02)
        self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, 1, batch_first=True)
        self.nobody = nn.Parameter(torch.randn(width)) if shape.none else None
        self.score = nn.Linear(width, 1)

    def forward(self, weights: Tensor | None, features: Tensor | None) -> Tensor:
        """(b, k, 2, s, s) and (b, k, 2, n, d) -> (b, k) logits, (b, k + 1) with "no parent" last."""
        tokens = []
        size: tuple[int, int] = (0, 0)
        for kind, (encoder, pictures) in enumerate(((self.weights, weights), (self.features, features))):
            if encoder is not None and pictures is not None:
                size = (pictures.shape[0], pictures.shape[1])
                tokens.append(encoder(pictures.flatten(0, 1)) + self.kinds[kind])  # (b*k, e)
        sequence = torch.cat([self.summary.expand(len(tokens[0]), 1, -1), torch.stack(tokens, 1)], 1)  # (b*k, 3, e)
        out = self.attention(sequence, sequence, sequence, need_weights=False)[0][:, 0]  # (b*k, e)
        out = out.view(*size, -1)  # (b, k, e)
        spread = out.flatten(1).std(1)[:, None, None].clamp(min=1e-6)
        out = (out - out.flatten(1).mean(1)[:, None, None]) / spread
        if self.nobody is not None:
            out = torch.cat([out, self.nobody.expand(size[0], 1, -1)], 1)  # (b, k + 1, e)
        logits: Tensor = self.score(out)[..., 0]
        return logits

    def probabilities(self, example: CandidateExample) -> Tensor:
        """(k,) or (k + 1,) float: softmax over the candidates of one child."""
        self.eval()
        with torch.no_grad():
            weights = None if example.weights is None else example.weights[None]
            features = None if example.features is None else example.features[None]
            found: Tensor = self(weights, features)[0].softmax(0)
        return found


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 1),
        nn.ReLU(),
        nn.Conv2d(3, width, 3, padding=3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def weight_picture(tensor: Tensor, side: int = SIDE) -> Tensor:
    """(side, side) float32: a weight as a matrix of its output units, its first rows and columns, zeros where it is smaller."""
    matrix = tensor.detach().float().reshape(len(tensor), -1)[:side, :side]
    return F.pad(matrix, (0, side - matrix.shape[1], 0, side - matrix.shape[0]))


def train_detector(
    examples: Sequence[CandidateExample],
    shape: Shape,
    epochs: int = 100,
    batch: int = 16,
    at_most: int = 12,
    missing: float = 0.1,
    seed: int = 0,
    device: torch.device | None = None,
) -> LineageDetector:
    """Adam with rate 0.01 that shrinks by 0.7 each epoch, cross entropy over the candidates, as published.

    Args:
        at_most: candidates a child is shown with at once: the true one and others drawn anew each time, so that children with
            different numbers of candidates fit into one batch.
        missing: share of children that are shown without their parent, for the "no parent" token.
    """
    device = device or torch.device("cpu")
    shown = min(at_most, min(example.candidates for example in examples))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LineageDetector(shape).to(device)
    dice = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, 0.7)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(examples), generator=dice).tolist()
        for start in range(0, len(order), batch):
            drawn = [
                _draw(examples[i], shown, missing if shape.none else 0.0, dice) for i in order[start : start + batch]
            ]
            logits = network(
                torch.stack([e.weights for e in drawn if e.weights is not None]).to(device) if shape.weights else None,
                torch.stack([e.features for e in drawn if e.features is not None]).to(device)
                if shape.features
                else None,
            )
            loss = F.cross_entropy(logits, torch.tensor([e.target for e in drawn], device=device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        if optimiser.param_groups[0]["lr"] < 1e-6:  # nothing moves any more
            break
    return network.eval()


def _draw(example: CandidateExample, shown: int, missing: float, dice: torch.Generator) -> CandidateExample:
    """A child with its parent and some other candidates in random order; now and then without its parent."""
    others = [i for i in torch.randperm(example.candidates, generator=dice).tolist() if i != example.target]
    hidden = example.target >= example.candidates or (
        len(others) >= shown and bool(torch.rand((), generator=dice) < missing)
    )
    if hidden:
        return example.only(others[:shown], shown)
    place = int(torch.randint(shown, (), generator=dice))
    chosen = others[: shown - 1]
    return example.only([*chosen[:place], example.target, *chosen[place:]], place)


def save_detector(network: LineageDetector, path: Path, about: dict[str, str]) -> None:
    """One safetensors file. about: which tensor and layer it was trained on, and on what."""
    metadata = {"format": FORMAT, "shape": json.dumps(asdict(network.shape)), **about}
    save_file({n: t.contiguous().cpu() for n, t in network.state_dict().items()}, path, metadata)


def load_detector(path: Path) -> tuple[LineageDetector, dict[str, str]]:
    """
    Raises:
        BadDetector: the file is not there, damaged, or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            if about.get("format") != FORMAT:
                raise BadLineageDetector(
                    f"{path} is no trained lineage detector", "train one: `lineage train nl-detector ZOO`"
                )
            network = LineageDetector(Shape(**json.loads(about["shape"])))
            network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadLineageDetector(
            f"cannot read {path}: {error}", "train one: `lineage train nl-detector ZOO`"
        ) from error
    return network.eval(), about
