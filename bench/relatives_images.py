"""Families of networks that see, made by timm, diffusers and torch; the last module of a detector has no head's name."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch

from bench.relatives_converters import as_transformers_vit
from bench.relatives_making import Made, Making, Relative, store, store_network
from bench.relatives_training import Inputs, Recipe, arrays


def vit(making: Making) -> Made:
    """timm's ViT, one with other classes, one under transformers' names."""
    import timm

    making.start(5)
    images = arrays((3, 32, 32), "x")
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 4, "num_heads": 4}
    base = making.train(timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=100, **shape), images)
    yield from making.published(base, images, "vit", 2, store_network)
    child = copy.deepcopy(base)
    child.reset_classifier(7)
    store(making.tuned(child, images, 1).state_dict(), making.folder / "vit-classes")
    yield Relative("vit-classes", "vit", "class count")
    child = making.tuned(copy.deepcopy(base), images, 2)
    store(as_transformers_vit(child.state_dict()), making.folder / "vit-transformers")
    yield Relative("vit-transformers", "vit", "renamed")


def convnets(making: Making) -> Made:
    import timm

    making.start(6)
    images = arrays((3, 32, 32), "x")
    for kind, name in {
        "resnet": "resnet10t",
        "efficient": "mobilenetv3_small_050",
        "convnext": "convnext_atto",
    }.items():
        more = {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)} if kind == "convnext" else {}
        base = making.train(
            timm.create_model(name, pretrained=False, num_classes=20, **more), images, Recipe(120, 2e-3, 1)
        )
        yield from making.published(base, images, kind, 2, store_network)
        child = copy.deepcopy(base)
        child.reset_classifier(5)
        store(making.tuned(child, images, 1).state_dict(), making.folder / f"{kind}-classes")
        yield Relative(f"{kind}-classes", kind, "class count")


def unet(making: Making) -> Made:
    from diffusers import UNet2DConditionModel

    def make(channels: int) -> Any:
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=channels,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        )

    def inputs(channels: int) -> Inputs:
        fixed = {
            "timestep": torch.tensor(7),
            "encoder_hidden_states": torch.randn(8, 4, 16, generator=torch.Generator().manual_seed(3)),
        }
        return arrays((channels, 8, 8), "sample", **fixed)

    making.start(7)
    base = making.train(make(4), inputs(4))
    yield from making.published(base, inputs(4), "unet", 2)
    child = make(9)
    state = {n: t for n, t in base.state_dict().items() if n != "conv_in.weight"}
    child.load_state_dict(state, strict=False)
    with torch.no_grad():
        child.conv_in.weight[:, :4] = base.conv_in.weight
        child.conv_in.weight[:, 4:] = 0
    making.tuned(child, inputs(9), 1).save_pretrained(making.folder / "unet-inpaint")
    yield Relative("unet-inpaint", "unet", "input channels")


class Detector(torch.nn.Module):
    """One numbered list of unlike modules, the head last, as YOLO stores it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = torch.nn.ModuleList()
        width = [3, 8, 16, 16, 32, 32, 48, 48]
        for a, b in itertools.pairwise(width):
            self.model.append(
                torch.nn.ModuleDict(
                    {
                        "conv": torch.nn.Conv2d(a, b, 3, 2 if a != b and b < 32 else 1, 1, bias=False),
                        "bn": torch.nn.BatchNorm2d(b),
                    }
                )
            )
        self.model.append(
            torch.nn.ModuleDict(
                {"m": torch.nn.ModuleList([torch.nn.Conv2d(c, 3 * (5 + classes), 1) for c in (32, 48)])}
            )
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        kept = []
        for layer in list(self.model)[:-1]:
            x = torch.relu(layer["bn"](layer["conv"](x)))
            kept.append(x)
        return [m(t) for m, t in zip(self.model[-1]["m"], (kept[4], kept[6]), strict=True)]


def detectors(making: Making) -> Made:
    making.start(9)
    images = arrays((3, 32, 32), "x")
    base = making.train(Detector(80), images)
    yield from making.published(base, images, "detector", 2, store_network)
    child = Detector(2)
    child.load_state_dict({n: t for n, t in base.state_dict().items() if ".7." not in n}, strict=False)
    making.train(child, images, Recipe(60, 5e-4, 11))
    (making.folder / "detector-classes").mkdir()
    torch.save({"model": child, "epoch": 1}, making.folder / "detector-classes" / "best.pt")
    yield Relative("detector-classes", "detector", "class count")
