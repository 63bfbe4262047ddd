"""Families of architectures that the other files have not, each with children of other depth, vocabulary or names, or with experts.

Depth as published recipes change it: contiguous middle layers cut (ShortGPT), every second one kept (DistilBERT), a model put on top of
itself (SOLAR), blocks repeated with outputs of zero (LLaMA Pro). Names as converters write them: Qwen, DistilBERT, torchvision, OpenCLIP,
llama.cpp. Experts as slices of the dense feed-forward (Qwen1.5-MoE) or whole copies of it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.relatives_converters import Tensors, halves_interleaved, spelled, upcycled
from bench.relatives_making import VOCABULARY, Made, Making, Relative, store, store_network
from bench.relatives_text import llama_network
from bench.relatives_training import Inputs, arrays, both, text

DEPTH = 6
CUT, SECOND, DOUBLED = (0, 1, 2, 5), (0, 2, 4), (0, 1, 2, 3, 2, 3, 4, 5)
GROWN = (0, 1, 1, 2, 3, 3, 4, 5, 5)  # LLaMA Pro: a copy behind every second block
SMALLER = 180  # words that a trimmed vocabulary keeps
_MATRIX = re.compile(r"(o_proj|down_proj|dense|dense_4h_to_h)\.(weight|bias)$")


def of_layers(base: Any, path: str, order: Sequence[int]) -> Any:
    """A network with some of the blocks of another one."""
    child = copy.deepcopy(base)
    *above, last = path.split(".")
    holder = child
    for piece in above:
        holder = getattr(holder, piece)
    blocks = getattr(holder, last)
    setattr(holder, last, torch.nn.ModuleList(copy.deepcopy(blocks[i]) for i in order))
    for config in (child.config, getattr(child.config, "text_config", None)):
        if config is not None and hasattr(config, "num_hidden_layers"):
            types = list(vars(config).get("layer_types") or ())
            config.num_hidden_layers = len(order)
            if types:
                config.layer_types = [types[i] for i in order]
    for place, block in enumerate(getattr(holder, last)):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place
    child.config.use_cache = False
    return child


def _deep(making: Making, base: Any, path: str, inputs: Inputs, name: str, orders: dict[str, Sequence[int]]) -> Made:
    """Children of other depths. orders: of their blocks, by what happened."""
    for number, (kind, order) in enumerate(orders.items()):
        child = of_layers(base, path, order)
        if kind == "grown":
            silence(child, path, order)
        making.tuned(child, inputs, 30 + number).save_pretrained(making.folder / f"{name}-{kind}")
        what = "layers dropped" if len(order) < DEPTH else "layers stacked"
        yield Relative(f"{name}-{kind}", name, what, _said(order))


def _said(order: Sequence[int]) -> str:
    """A layer map as answers have it."""
    return ",".join(map(str, order))


def silence(network: Any, path: str, order: Sequence[int]) -> None:
    """Repeated blocks put nothing out at first."""
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            inside = re.search(rf"{re.escape(path)}\.(\d+)\.", name)
            if inside and _MATRIX.search(name) and int(inside[1]) in _repeated(order):
                tensor.zero_()


def _repeated(order: Sequence[int]) -> set[int]:
    return {place for place, block in enumerate(order) if block in order[:place]}


def _other_words(making: Making, base: Any, inputs: str, name: str) -> Made:
    """More words, as the library adds them; and fewer, as a trimmed tokenizer leaves them."""
    child = copy.deepcopy(base)
    child.resize_token_embeddings(VOCABULARY + 29, pad_to_multiple_of=64)
    making.tuned(child, text(VOCABULARY + 29, called=inputs), 140).save_pretrained(making.folder / f"{name}-more-words")
    yield Relative(f"{name}-more-words", name, "vocabulary")
    kept = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(making.shift))[:SMALLER].sort().values
    rows = base.get_input_embeddings().weight.detach()[kept].clone()
    child = copy.deepcopy(base)
    child.resize_token_embeddings(SMALLER)
    with torch.no_grad():
        child.get_input_embeddings().weight.copy_(rows)
        head, old = child.get_output_embeddings(), base.get_output_embeddings()
        if head is not None and head.weight is not child.get_input_embeddings().weight:
            head.weight.copy_(old.weight[kept])
    making.tuned(child, text(SMALLER, called=inputs), 141).save_pretrained(making.folder / f"{name}-fewer-words")
    yield Relative(f"{name}-fewer-words", name, "vocabulary")


def qwen(making: Making) -> Made:
    """Qwen2; children of other depth and vocabulary, under the names of Qwen 1, and with experts that are slices."""
    making.start(21)
    words = text(VOCABULARY)
    base = making.train(llama_network("Qwen2"), words)
    yield from making.published(base, words, "qwen", 2)
    yield from _deep(making, base, "model.layers", words, "qwen", {"cut": CUT, "doubled": DOUBLED, "grown": GROWN})
    yield from _other_words(making, base, "input_ids", "qwen")
    child = making.tuned(copy.deepcopy(base), words, 142)
    store(as_first_qwen(child.state_dict()), making.folder / "qwen-first")
    yield Relative("qwen-first", "qwen", "renamed")
    shape = {"num_experts": 4, "moe_intermediate_size": 80, "shared_expert_intermediate_size": 160}
    moe = sliced(base, llama_network("Qwen2Moe", decoder_sparse_step=1, **shape))
    making.tuned(moe, words, 143).save_pretrained(making.folder / "qwen-experts")
    yield Relative("qwen-experts", "qwen", "experts")


def as_first_qwen(state: Tensors) -> Tensors:
    names = {
        "model.layers.": "transformer.h.",
        "self_attn.o_proj": "attn.c_proj",
        "mlp.gate_proj": "mlp.w2",
        "mlp.up_proj": "mlp.w1",
        "mlp.down_proj": "mlp.c_proj",
        "input_layernorm": "ln_1",
        "post_attention_layernorm": "ln_2",
        "model.embed_tokens": "transformer.wte",
        "model.norm": "transformer.ln_f",
    }
    return renamed(state, names, "attn.c_attn.")


def renamed(state: Tensors, names: Mapping[str, str], joined: str) -> Tensors:
    """Under other names, queries, keys and values in one tensor.

    Args:
        names: part of a name -> what is written in its place. joined: what is written in the place of `self_attn.q_proj.`.
    """
    found = {}
    for name, tensor in state.items():
        new = spelled(name, names)
        if ".q_proj." in name:
            parts = [state[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            found[new.replace("self_attn.q_proj.", joined)] = torch.cat(parts)
        elif not any(part in name for part in (".k_proj.", ".v_proj.")):
            found[new] = tensor
    return found


def sliced(base: Any, moe: Any) -> Any:
    """Experts that are slices of the dense feed-forward, each slice several times; a shared expert that is all of it."""
    state, dense = moe.state_dict(), base.state_dict()
    for name, tensor in state.items():
        if name in dense and dense[name].shape == tensor.shape:
            state[name] = dense[name].clone()
        elif ".experts." in name or "shared_expert." in name:
            layer = name.split("layers.")[1].split(".")[0]
            gate, up, down = (dense[f"model.layers.{layer}.mlp.{p}_proj.weight"] for p in ("gate", "up", "down"))
            if "shared_expert." in name:
                state[name] = {"gate": gate, "up": up, "down": down}[name.rsplit(".", 2)[1].split("_")[0]].clone()
                continue
            count, wide = tensor.shape[0], down.shape[1] * tensor.shape[0] // (2 * tensor.shape[0])
            pieces = [slice(wide * (e % 2), wide * (e % 2 + 1)) for e in range(count)]
            each = [torch.cat([gate[p], up[p]]) if "gate_up" in name else down[:, p] for p in pieces]
            state[name] = torch.stack(each)
    moe.load_state_dict(state)
    return moe


def neox(making: Making) -> Made:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    making.start(22)
    words = text(VOCABULARY)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=64,
    )
    base = making.train(GPTNeoXForCausalLM(config), words)
    yield from making.published(base, words, "neox", 2)
    orders = {"cut": CUT, "second": SECOND, "doubled": DOUBLED, "grown": GROWN}
    yield from _deep(making, base, "gpt_neox.layers", words, "neox", orders)
    yield from _other_words(making, base, "input_ids", "neox")


def roberta(making: Making) -> Made:
    """RoBERTa; every second layer, a Longformer of it, DistilBERT's names and layers."""
    from transformers import LongformerConfig, LongformerForMaskedLM, RobertaConfig, RobertaForMaskedLM

    making.start(23)
    words = text(VOCABULARY)
    shape = {"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": DEPTH, "num_attention_heads": 4}
    sizes = {"intermediate_size": 144, "max_position_embeddings": 40, "pad_token_id": 1, "type_vocab_size": 1}
    base = making.train(RobertaForMaskedLM(RobertaConfig(**shape, **sizes)), words)
    yield from making.published(base, words, "roberta", 2)
    yield from _deep(making, base, "roberta.encoder.layer", words, "roberta", {"second": SECOND, "cut": CUT})
    yield from _other_words(making, base, "input_ids", "roberta")
    long = LongformerForMaskedLM(
        LongformerConfig(**shape, **{**sizes, "max_position_embeddings": 80}, attention_window=[8] * DEPTH)
    )
    own, old = long.state_dict(), base.state_dict()
    for name, tensor in own.items():
        source = name.replace("longformer.", "roberta.").replace("_global.", ".")
        if source in old and old[source].shape == tensor.shape:
            own[name] = old[source].clone()
        elif source in old:
            own[name][: len(old[source])] = old[source]
    long.load_state_dict(own)
    making.tuned(long, words, 144).save_pretrained(making.folder / "roberta-long")
    yield Relative("roberta-long", "roberta", "task head")
    child = making.tuned(of_layers(base, "roberta.encoder.layer", SECOND), words, 145)
    store(as_distilbert(child.state_dict()), making.folder / "roberta-distilbert")
    yield Relative("roberta-distilbert", "roberta", "renamed, other depth", _said(SECOND))


def as_distilbert(state: Tensors) -> Tensors:
    names = {
        "roberta.encoder.layer.": "distilbert.transformer.layer.",
        "roberta.embeddings.": "distilbert.embeddings.",
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    kept = (name for name in state if "token_type" not in name and "position_ids" not in name)
    return {spelled(name, names): state[name] for name in kept}


def mistral(making: Making) -> Made:
    """Mistral; children of other depth and vocabulary, in llama.cpp's file, and a mixture of copies."""
    making.start(24)
    words = text(VOCABULARY)
    base = making.train(llama_network("Mistral", sliding_window=None), words)
    yield from making.published(base, words, "mistral", 2)
    yield from _deep(making, base, "model.layers", words, "mistral", {"cut": CUT, "doubled": DOUBLED})
    yield from _other_words(making, base, "input_ids", "mistral")
    child = making.tuned(copy.deepcopy(base), words, 146)
    write_gguf(child.state_dict(), making.folder / "mistral-cpp", 4, 2)
    yield Relative("mistral-cpp/model.gguf", "mistral", "renamed")
    moe = making.tuned(upcycled(base, llama_network("Mixtral", num_local_experts=3)), words, 147)
    moe.save_pretrained(making.folder / "mistral-experts")
    yield Relative("mistral-experts", "mistral", "experts")


def write_gguf(state: Tensors, folder: Path, heads: int, groups: int) -> None:
    """llama.cpp's names and order of rows, in 16 bits."""
    import numpy as np
    from gguf import GGUFWriter

    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "model.layers.": "blk.",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    folder.mkdir()
    writer = GGUFWriter(folder / "model.gguf", "llama")
    for name, tensor in state.items():
        values = halves_interleaved(name, tensor, heads, groups).detach().float().numpy()
        writer.add_tensor(spelled(name, names), values if values.ndim == 1 else values.astype(np.float16))
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_block_count(DEPTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def images(making: Making) -> Made:
    """A ViT of timm; under torchvision's names, whose blocks have no number of their own; fewer blocks; other patches."""
    import timm

    making.start(25)
    pictures = arrays((3, 32, 32), "x")
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": DEPTH, "num_heads": 4}
    base = making.train(timm.create_model("deit_tiny_patch16_224", pretrained=False, num_classes=30, **shape), pictures)
    yield from making.published(base, pictures, "deit", 2, store_network)
    for number, (name, order) in enumerate({"cut": CUT, "second": SECOND}.items()):
        child = copy.deepcopy(base)
        child.blocks = torch.nn.Sequential(*(copy.deepcopy(base.blocks[i]) for i in order))
        store(making.tuned(child, pictures, 148 + number).state_dict(), making.folder / f"deit-{name}")
        yield Relative(f"deit-{name}", "deit", "layers dropped", _said(order))
    child = making.tuned(copy.deepcopy(base), pictures, 150)
    store(dict(as_torchvision(child.state_dict())), making.folder / "deit-torchvision")
    yield Relative("deit-torchvision", "deit", "renamed")


def as_torchvision(state: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    names = {
        "attn.qkv.weight": "self_attention.in_proj_weight",
        "attn.qkv.bias": "self_attention.in_proj_bias",
        "attn.proj": "self_attention.out_proj",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.3",
        "cls_token": "class_token",
        "pos_embed": "encoder.pos_embedding",
        "patch_embed.proj": "conv_proj",
        "head.": "heads.head.",
    }
    for name, tensor in state.items():
        name = re.sub(r"^blocks\.(\d+)", r"encoder.layers.encoder_layer_\1", name)
        name = re.sub(r"^norm\.", "encoder.ln.", name)
        yield spelled(name, names), tensor


def open_clip(making: Making) -> Made:
    """CLIP; OpenCLIP's names; towers of fewer blocks."""
    from transformers import CLIPConfig, CLIPModel

    making.start(26)
    shape = {"num_hidden_layers": DEPTH, "num_attention_heads": 4}
    tokens = {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0, "vocab_size": VOCABULARY}
    sizes = {"hidden_size": 48, "intermediate_size": 96, "max_position_embeddings": 32}
    seen = {"hidden_size": 64, "intermediate_size": 128, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config={**tokens, **sizes, **shape}, vision_config={**seen, **shape}, projection_dim=32)
    inputs = both(text(VOCABULARY), arrays((3, 32, 32)))
    base = making.train(CLIPModel(config), inputs)
    yield from making.published(base, inputs, "clip", 2)
    child = making.tuned(copy.deepcopy(base), inputs, 151)
    store(as_open_clip(child.state_dict()), making.folder / "clip-open")
    yield Relative("clip-open", "clip", "renamed")
    child = of_layers(base, "vision_model.encoder.layers", CUT)
    making.tuned(child, inputs, 152)
    store(child.state_dict(), making.folder / "clip-cut")
    yield Relative("clip-cut", "clip", "layers dropped", _said(CUT))


def as_open_clip(state: Tensors) -> Tensors:
    names = {
        "vision_model.encoder.layers.": "visual.transformer.resblocks.",
        "text_model.encoder.layers.": "transformer.resblocks.",
        "vision_model.embeddings.patch_embedding": "visual.conv1",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
        "text_model.embeddings.token_embedding": "token_embedding",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm": "ln_final",
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    found = renamed({n: tensor for n, tensor in state.items() if "position_ids" not in n}, names, "attn.in_proj_")
    for name in [name for name in found if name.endswith("projection.weight")]:
        found["visual.proj" if "visual" in name else "text_projection"] = found.pop(name).T
    return found


def t5(making: Making) -> Made:
    """T5 with a gated feed-forward; a decoder of fewer blocks; another vocabulary."""
    from transformers import T5Config, T5ForConditionalGeneration

    making.start(27)
    inputs = both(text(VOCABULARY), text(VOCABULARY, called="decoder_input_ids"))
    shape = {"vocab_size": VOCABULARY, "d_model": 48, "d_kv": 12, "d_ff": 96, "num_heads": 4, "num_layers": DEPTH}
    tokens = {"pad_token_id": 0, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu"}
    base = making.train(T5ForConditionalGeneration(T5Config(**shape, **tokens)), inputs)
    yield from making.published(base, inputs, "t5", 2)
    child = of_layers(base, "decoder.block", SECOND)
    making.tuned(child, inputs, 153)
    store(child.state_dict(), making.folder / "t5-shallow")
    yield Relative("t5-shallow", "t5", "layers dropped", _said(SECOND))
    child = of_layers(of_layers(base, "decoder.block", SECOND), "encoder.block", CUT)
    making.tuned(child, inputs, 155)
    store(child.state_dict(), making.folder / "t5-small")
    yield Relative("t5-small", "t5", "layers dropped", f"decoder {_said(SECOND)}; encoder {_said(CUT)}")
    child = copy.deepcopy(base)
    child.resize_token_embeddings(VOCABULARY + 29)
    words = both(text(VOCABULARY + 29), text(VOCABULARY + 29, called="decoder_input_ids"))
    making.tuned(child, words, 154).save_pretrained(making.folder / "t5-more-words")
    yield Relative("t5-more-words", "t5", "vocabulary")


def mamba(making: Making) -> Made:
    from transformers import MambaConfig, MambaForCausalLM

    making.start(28)
    words = text(VOCABULARY, 10)
    shape = {"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": DEPTH, "state_size": 8}
    base = making.train(MambaForCausalLM(MambaConfig(**shape, use_cache=False)), words)
    yield from making.published(base, words, "mamba", 2)
    yield from _deep(making, base, "backbone.layers", words, "mamba", {"cut": CUT, "doubled": DOUBLED})
