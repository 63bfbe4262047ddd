"""Shapes of published networks of convolutions, by their names in torchvision and timm, and how transformers calls the same tensors."""

from __future__ import annotations

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]
Words = list[tuple[str, str]]

RESNET = {"ResNet-18": ((2, 2, 2, 2), False), "ResNet-50": ((3, 4, 6, 3), True)}  # blocks of each stage, bottlenecks
CONVNEXT = {"ConvNeXt-T": ((96, 192, 384, 768), (3, 3, 9, 3))}  # widths, blocks
STAGES = [(f"layer{i + 1}.", f"resnet.encoder.stages.{i}.layers.") for i in range(4)]
RESNET_WORDS = [
    *STAGES,
    ("downsample.0", "shortcut.convolution"),
    ("downsample.1", "shortcut.normalization"),
    *((f".conv{i}.", f".layer.{i - 1}.convolution.") for i in (1, 2, 3)),
    *((f".bn{i}.", f".layer.{i - 1}.normalization.") for i in (1, 2, 3)),
    ("fc.", "classifier.1."),
]
CONVNEXT_WORDS = [
    ("stages.", "convnext.encoder.stages."),
    (".blocks.", ".layers."),
    ("conv_dw", "dwconv"),
    ("mlp.fc1", "pwconv1"),
    ("mlp.fc2", "pwconv2"),
    (".norm.", ".layernorm."),
    (".downsample.", ".downsampling_layer."),
    ("stem.0", "convnext.embeddings.patch_embeddings"),
]


def convolution_networks() -> Iterator[tuple[str, Shapes, Words]]:
    """(name, shapes, what is replaced by what in transformers' names) of each network."""
    for name, (blocks, bottleneck) in RESNET.items():
        yield name, resnet(blocks, bottleneck), RESNET_WORDS
    for name, (widths, depths) in CONVNEXT.items():
        yield name, convnext(widths, depths), CONVNEXT_WORDS


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> Shapes:
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), "bn1.weight": (64,), "bn1.bias": (64,)}
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        outputs = 4 * width if bottleneck else width
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            kernels = [(width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)]
            if not bottleneck:
                kernels = [(width, inputs, 3, 3), (width, width, 3, 3)]
            for number, shape in enumerate(kernels, 1):
                shapes[f"{at}.conv{number}.weight"] = shape
                shapes |= {f"{at}.bn{number}.{part}": shape[:1] for part in ("weight", "bias")}
            if inputs != outputs:
                shapes[f"{at}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= {f"{at}.downsample.1.{part}": (outputs,) for part in ("weight", "bias")}
            inputs = outputs
    return shapes | {"fc.weight": (1000, inputs), "fc.bias": (1000,)}


def convnext(widths: tuple[int, ...], depths: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {"stem.0.weight": (widths[0], 3, 4, 4)}
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            shapes[f"stages.{stage}.downsample.1.weight"] = (width, widths[stage - 1], 2, 2)
        for block in range(depth):
            at = f"stages.{stage}.blocks.{block}"
            shapes |= {f"{at}.conv_dw.weight": (width, 1, 7, 7), f"{at}.norm.weight": (width,)}
            shapes |= {f"{at}.mlp.fc1.weight": (4 * width, width), f"{at}.mlp.fc2.weight": (width, 4 * width)}
    return shapes | {"head.fc.weight": (1000, widths[-1])}
