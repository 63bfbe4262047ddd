"""Tensors of one library under the names of another, as the converters of either write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]

META_NAMES = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "tok_embeddings",
    "lm_head": "output",
}


def spelled(name: str, parts: Mapping[str, str]) -> str:
    """A name with each part of it written as another one. parts: as they are -> as they are to be, in order."""
    for old, new in parts.items():
        name = name.replace(old, new)
    return name


def halves_interleaved(name: str, tensor: torch.Tensor, heads: int, groups: int) -> torch.Tensor:
    """Queries and keys of transformers -> with the halves of each head's rows interleaved, as Meta has them; others as they are."""
    count = heads if "q_proj" in name else groups if "k_proj" in name else 0
    if not count:
        return tensor
    rows, width = tensor.shape
    return tensor.view(count, 2, rows // count // 2, width).transpose(1, 2).reshape(rows, width)


def meta_name(name: str) -> str:
    """Llama's name in transformers -> Meta's, which InternLM2 took over."""
    return next((name.replace(a, b) for a, b in META_NAMES.items() if a in name), name)


def fused(state: Tensors) -> Tensors:
    """Llama's names -> Phi-3's."""
    found = {}
    for name, tensor in state.items():
        if name.endswith("q_proj.weight"):
            q, k, v = (state[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj"))
            found[name.replace("q_proj", "qkv_proj")] = torch.cat([q, k, v])
        elif name.endswith("gate_proj.weight"):
            found[name.replace("gate_proj", "gate_up_proj")] = torch.cat([tensor, state[name.replace("gate", "up")]])
        elif not name.endswith(("k_proj.weight", "v_proj.weight", "up_proj.weight")):
            found[name] = tensor
    return found


def internlm2(state: Tensors, heads: int, groups: int) -> Tensors:
    """Llama's names -> InternLM2's: q, k and v of each group of heads one behind the other."""
    found = {}
    for name, tensor in state.items():
        if name.endswith("q_proj.weight"):
            width = tensor.shape[0] // heads
            q = tensor.view(groups, heads // groups, width, -1)
            k = state[name.replace("q_proj", "k_proj")].view(groups, 1, width, -1)
            v = state[name.replace("q_proj", "v_proj")].view(groups, 1, width, -1)
            found[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat([q, k, v], 1).reshape(
                -1, tensor.shape[1]
            )
        elif not name.endswith(("k_proj.weight", "v_proj.weight")):
            new = meta_name(name)
            found[new] = tensor
    return found


def original_llama(state: Tensors, heads: int, groups: int) -> Tensors:
    """transformers' names -> those of Meta's release: halves of each head's rows interleaved."""
    found = {}
    for name, tensor in state.items():
        found[meta_name(name).removeprefix("model.")] = halves_interleaved(name, tensor, heads, groups)
    return found


def as_transformers_vit(state: Tensors) -> Tensors:
    names = {
        "blocks.": "vit.encoder.layer.",
        "attn.proj": "attention.output.dense",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "head.": "classifier.",
    }
    found = {}
    for name, tensor in state.items():
        new = spelled("vit.layernorm" + name[4:] if name.startswith("norm.") else name, names)
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[new.replace("attn.qkv", f"attention.attention.{part}")] = piece
        else:
            found[new] = tensor
    return found


def upcycled(base: Any, moe: Any) -> Any:
    """A mixture of experts that are a dense model's feed-forward, with a little noise, as mergekit and sparse upcycling make it."""
    state, dense = moe.state_dict(), base.state_dict()
    for name in state:
        if name in dense and dense[name].shape == state[name].shape:
            state[name] = dense[name].clone()
        elif ".experts." in name or "shared_expert." in name:
            layer = name.split("layers.")[1].split(".")[0]
            mlp = {p: dense[f"model.layers.{layer}.mlp.{p}_proj.weight"] for p in ("gate", "up", "down")}
            leaf = name.rsplit("experts.", 1)[-1].rsplit("shared_expert.", 1)[-1]
            part = {"gate_up_proj": torch.cat([mlp["gate"], mlp["up"]]), "down_proj": mlp["down"]}.get(leaf)
            if part is None:
                part = mlp[leaf.split("_")[0]]
            if state[name].dim() == 3:
                part = torch.stack([part] * state[name].shape[0])
            state[name] = part.reshape(state[name].shape).clone()
    moe.load_state_dict(state)
    return moe
