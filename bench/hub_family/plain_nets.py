"""Networks of plain torch: a convolution network, an LSTM and a detector. They take a batch of `tasks.Source` and give the loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench import datasets
from bench.hub_family.tasks import IGNORED
from bench.zoo.architectures import ConvNet, Lstm


class Classifier(ConvNet):
    """Five convolutions with batch norm and a linear head; (batch, 3, 16, 16) pictures."""

    def __init__(self, labels: int):
        super().__init__(3, labels, (24, 48, 64, 96, 96), "batch", False)

    def loss(self, pixel_values: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self(pixel_values), labels)


class PlainNet(Classifier):
    """The same without batch norm, with biases, wider at the end."""

    def __init__(self, labels: int):
        ConvNet.__init__(self, 3, labels, (16, 32, 64, 128), "none", True)


class CharacterModel(Lstm):
    """Two LSTM layers over 96 characters."""

    def __init__(self, labels: int):
        super().__init__(len(datasets.ALPHABET), 112, 2, 64)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self(inputs).flatten(0, 1), labels.flatten())


class Separable(nn.Sequential):
    """A depthwise and a 1x1 convolution, each with batch norm, as small detectors have them."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class Detector(nn.Module):
    """One stage, one scale: objectness, box and class for each of 6 x 6 cells; (batch, 3, 48, 48) pictures.

    Loss: that of YOLO (Redmon et al. 2016) with cross-entropies instead of squares for objectness and class.
    """

    def __init__(self, labels: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        widths = (24, 48, 96, 160, 160, 192)
        strides = (2, 1, 2, 1, 1)
        self.body = nn.ModuleList(
            Separable(a, b, stride) for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.neck = nn.Sequential(nn.Conv2d(192, 96, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU())
        self.head = nn.Conv2d(96, 5 + labels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.body:
            x = block(x)
        return self.head(self.neck(x))  # (batch, 5 + labels, 6, 6)

    def loss(self, inputs: Tensor, there: Tensor, labels: Tensor, boxes: Tensor) -> Tensor:
        out = self(inputs)
        found = F.binary_cross_entropy_with_logits(out[:, 0], there)
        named = F.cross_entropy(out[:, 5:], labels, ignore_index=IGNORED)
        placed = (out[:, 1:5] - boxes).abs().mul(there[:, None]).sum() / (4 * there.sum())
        return found + 0.5 * named + placed


NETWORKS: dict[str, type[Classifier] | type[CharacterModel] | type[Detector]] = {
    "conv": Classifier,
    "vgg": PlainNet,
    "lstm": CharacterModel,
    "detector": Detector,
}
