"""Small networks of the kinds that the Hub is full of, with the tensor names that their big relatives use.

In: the name of an architecture and its sizes. Out: a torch module whose forward takes (batch, channels, 16, 16) pictures or (batch, time)
tokens and gives (batch, classes) or (batch, time, characters) logits. `stages` lists name prefixes from the input to the head; partly
frozen tuning cuts there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "silu": F.silu,
}


class Network(nn.Module):
    """A module that names its stages; the last one is the head."""

    stages: tuple[str, ...]


class FullyConnected(Network):
    def __init__(self, channels: int, outputs: int, widths: tuple[int, ...], activation: str, norm: bool):
        super().__init__()
        sizes = (channels * 256, *widths)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths if norm)
        self.head = nn.Linear(sizes[-1], outputs)
        self.activation = ACTIVATIONS[activation]
        self.stages = (*(f"layers.{i}." for i in range(len(widths))), "head.")

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = self.activation(self.norms[i](x) if len(self.norms) else x)
        return self.head(x)


class ConvNet(Network):
    """Plain convolutions, each with batch norm, group norm or nothing, halving the picture three times."""

    def __init__(self, channels: int, outputs: int, widths: tuple[int, ...], norm: str, bias: bool):
        super().__init__()
        sizes = (channels, *widths)
        blocks: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers: list[nn.Module] = [nn.Conv2d(a, b, 3, padding=1, bias=bias or norm == "none")]
            if norm != "none":
                layers.append(nn.BatchNorm2d(b) if norm == "batch" else nn.GroupNorm(4, b))
            blocks.append(nn.Sequential(*layers, nn.ReLU()))
        self.features = nn.ModuleList(blocks)
        self.classifier = nn.Linear(sizes[-1], outputs)
        self.stages = (*(f"features.{i}." for i in range(len(blocks))), "classifier.")

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.features):
            x = block(x)
            if i < 3:
                x = F.max_pool2d(x, 2)
        return self.classifier(x.mean((2, 3)))


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Network):
    """torchvision's names and block, at a sixteenth of the width."""

    def __init__(self, channels: int, outputs: int, width: int, depths: tuple[int, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, depth in enumerate(depths, start=1):
            wide = width * 2 ** (stage - 1)
            blocks = [
                BasicBlock(inputs if i == 0 else wide, wide, 2 if i == 0 and stage > 1 else 1) for i in range(depth)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = wide
        self.fc = nn.Linear(inputs, outputs)
        self.depth = len(depths)
        self.stages = ("conv1.", *(f"layer{i + 1}." for i in range(self.depth)), "fc.")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.depth):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int):
        super().__init__()
        wide = inputs * expand
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNet(Network):
    """Depthwise convolutions between 1x1 ones, as MobileNetV2 has them."""

    def __init__(self, channels: int, outputs: int, widths: tuple[int, ...], expand: int):
        super().__init__()
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU6())
        ]
        inputs = widths[0]
        for wide in widths[1:]:
            blocks += [InvertedResidual(inputs, wide, 2 if wide != inputs and len(blocks) < 5 else 1, expand)]
            inputs = wide
        last = inputs * 2
        blocks.append(nn.Sequential(nn.Conv2d(inputs, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(last, outputs))
        self.stages = (*(f"features.{i}." for i in range(len(blocks))), "classifier.")

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Attention(nn.Module):
    """Scaled dot products over (batch, time, width); `linear` makes the projections, so that GPT-2 can lay them out its own way."""

    def __init__(self, width: int, heads: int, causal: bool, linear: Callable[[int, int], nn.Module]):
        super().__init__()
        self.qkv = linear(width, 3 * width)
        self.proj = linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # (batch, heads, time, width / heads)
        return self.proj(y.transpose(1, 2).reshape(batch, time, width))


class VitBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal=False, linear=nn.Linear)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(Network):
    """timm's names; 16 patches of 4 x 4 and a class token."""

    def __init__(self, channels: int, outputs: int, width: int, depth: int, heads: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, width, 4, 4)})
        self.blocks = nn.ModuleList(VitBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        self.stages = ("patch_embed.", *(f"blocks.{i}." for i in range(depth)), "norm.", "head.")

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)  # (batch, 16, width)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Conv1D(nn.Module):
    """GPT-2's linear layer: weight is (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * 0.02)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class GptAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.c_attn, self.c_proj = Conv1D(width, 3 * width), Conv1D(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.c_attn(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, time, width))


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = GptAttention(width, heads)
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(width, 4 * width), "c_proj": Conv1D(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Gpt(Network):
    """GPT-2's names and layout; the head is the embedding, so no head is stored."""

    def __init__(self, outputs: int, width: int, depth: int, heads: int, context: int):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(outputs, width), nn.Embedding(context, width)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.h = nn.ModuleList(GptBlock(width, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)
        self.stages = ("wpe.", *(f"h.{i}." for i in range(depth)), "ln_f.", "wte.")

    def forward(self, x: Tensor) -> Tensor:
        y = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.h:
            y = block(y)
        return self.ln_f(y) @ self.wte.weight.T


class RmsNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class LlamaAttention(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.size, self.heads, self.kv_heads = width // heads, heads, kv_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        batch, time, width = x.shape
        q = rotate(self.q_proj(x).view(batch, time, self.heads, self.size).transpose(1, 2), turn)
        k = rotate(self.k_proj(x).view(batch, time, self.kv_heads, self.size).transpose(1, 2), turn)
        v = self.v_proj(x).view(batch, time, self.kv_heads, self.size).transpose(1, 2)
        share = self.heads // self.kv_heads
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, time, width))


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: x (batch, heads, time, size), turn two of (time, size / 2)."""
    first, second = x.chunk(2, -1)
    cosine, sine = turn
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


class LlamaMlp(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int, inner: int):
        super().__init__()
        self.self_attn = LlamaAttention(width, heads, kv_heads)
        self.mlp = LlamaMlp(width, inner)
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(width), RmsNorm(width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaBody(nn.Module):
    def __init__(self, vocabulary: int, width: int, depth: int, heads: int, kv_heads: int, inner: int):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(LlamaLayer(width, heads, kv_heads, inner) for _ in range(depth))
        self.norm = RmsNorm(width)
        self.turns = width // heads // 2

    def forward(self, x: Tensor) -> Tensor:
        speed = torch.exp(torch.arange(self.turns, device=x.device) * (-math.log(10000.0) / self.turns))
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * speed  # (time, size / 2)
        turn = (angle.cos(), angle.sin())
        y = self.embed_tokens(x)
        for layer in self.layers:
            y = layer(y, turn)
        return self.norm(y)


class Llama(Network):
    """Llama's names: RMS norm, rotary positions, grouped queries, gated MLP, its own head."""

    def __init__(self, outputs: int, width: int, depth: int, heads: int, kv_heads: int, inner: int):
        super().__init__()
        self.model = LlamaBody(outputs, width, depth, heads, kv_heads, inner)
        self.lm_head = nn.Linear(width, outputs, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.05)
        self.stages = ("model.embed_tokens.", *(f"model.layers.{i}." for i in range(depth)), "model.norm.", "lm_head.")

    def forward(self, x: Tensor) -> Tensor:
        return self.lm_head(self.model(x))


class LstmCells(nn.Module):
    """nn.LSTM's tensors, called as a function: nn.LSTM keeps a second list of its weights, which functional_call does not replace."""

    def __init__(self, inputs: int, width: int, depth: int):
        super().__init__()
        lstm = nn.LSTM(inputs, width, depth, batch_first=True)
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)
        self.width, self.depth = width, depth

    def forward(self, x: Tensor) -> Tensor:
        start = x.new_zeros(self.depth, len(x), self.width)
        weights: list[Tensor] = [weight for weight in self._parameters.values() if weight is not None]
        return torch.lstm(x, (start, start), weights, True, self.depth, 0.0, True, False, True)[0]


class Lstm(Network):
    def __init__(self, outputs: int, width: int, depth: int, embedding: int):
        super().__init__()
        self.embedding = nn.Embedding(outputs, embedding)
        self.rnn = LstmCells(embedding, width, depth)
        self.fc = nn.Linear(width, outputs)
        self.stages = ("embedding.", "rnn.", "fc.")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(self.embedding(x)))


ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "fc": FullyConnected,
    "conv-bn": ConvNet,
    "resnet": ResNet,
    "mobile": MobileNet,
    "vit": VisionTransformer,
    "gpt": Gpt,
    "llama": Llama,
    "lstm": Lstm,
}
READS_TEXT = frozenset({"gpt", "llama", "lstm"})


def build(name: str, outputs: int, sizes: dict[str, object], seed: int, start: str = "default") -> Network:
    """A freshly started network.

    Args:
        start: "default" leaves torch's start; "xavier", "kaiming" and "normal" (deviation 0.05) draw all matrices again.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[name](outputs=outputs, **sizes)
        for parameter in network.parameters():
            if parameter.ndim < 2 or start == "default":
                continue
            if start == "xavier":
                nn.init.xavier_normal_(parameter)
            elif start == "kaiming":
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.05)
    return network
