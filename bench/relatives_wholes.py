"""Families of models of several parts: a speech model distilled beside its frozen encoder, a whole pipeline in one file, a language model
whose children changed names and depth at once, a vocoder in a checkpoint of two networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import save_file

from bench.relatives_converters import Tensors, meta_name
from bench.relatives_making import CHILD, VOCABULARY, Made, Making, Relative, store, store_network
from bench.relatives_text import llama_network
from bench.relatives_training import Recipe, arrays, both, text

LAST = {0: 0, 1: 3}  # layers of a distilled decoder: the first and the last one


def speech(making: Making) -> Made:
    """Whisper; Distil-Whisper's recipe; a classifier of its encoder."""
    from transformers import WhisperConfig, WhisperForAudioClassification, WhisperForConditionalGeneration

    def make(decoder_layers: int) -> Any:
        shape = {"encoder_layers": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "d_model": 48}
        sizes = {"encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_mel_bins": 16, "max_source_positions": 20}
        tokens = {"vocab_size": VOCABULARY, "decoder_start_token_id": 1, "pad_token_id": 0, "bos_token_id": 1}
        more = {"max_target_positions": 30, "eos_token_id": 2, "decoder_layers": decoder_layers}
        return WhisperForConditionalGeneration(WhisperConfig(**shape, **sizes, **tokens, **more))

    sounds = arrays((16, 40), "input_features")
    inputs = both(sounds, text(VOCABULARY, 12, "decoder_input_ids"))
    making.start(13)
    base = making.train(make(4), inputs, Recipe(150, 1e-3, 1))
    yield from making.published(base, inputs, "whisper", 2)
    child, state = make(2), base.state_dict()
    child.load_state_dict({name: state[_deeper(name, "decoder.layers", LAST)].clone() for name in child.state_dict()})
    child.model.encoder.requires_grad_(False)
    making.tuned(child, inputs, 1).save_pretrained(making.folder / "whisper-distilled")
    yield Relative("whisper-distilled", "whisper", "layers dropped", "0,3")
    classifier = WhisperForAudioClassification.from_pretrained(making.folder / "whisper", num_labels=5)
    making.tuned(classifier, sounds, 2).save_pretrained(making.folder / "whisper-classes")
    yield Relative("whisper-classes", "whisper", "part of a model")


def _deeper(name: str, inside: str, layers: Mapping[int, int]) -> str:
    """The name of a tensor in the deeper model that a block was taken from."""
    before, found, after = name.partition(f"{inside}.")
    number, _, rest = after.partition(".")
    return f"{before}{inside}.{layers[int(number)]}.{rest}" if found else name


def pipeline(making: Making) -> Made:
    """A text encoder and a U-Net on their own, and both in one file under the names of the first implementation."""
    from diffusers import UNet2DModel
    from transformers import BertConfig, BertModel

    making.start(14)
    words, images = text(VOCABULARY), arrays((4, 8, 8), "sample", timestep=torch.tensor(7))
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    reader = making.train(BertModel(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=32, **shape)), words)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "layers_per_block": 2}
    sizes = {"in_channels": 4, "out_channels": 4, "block_out_channels": (16, 32), "norm_num_groups": 4}
    painter = making.train(UNet2DModel(sample_size=8, **blocks, **sizes), images)
    for name, network, inputs in (("reader", reader, words), ("painter", painter, images)):
        yield from making.published(network, inputs, name, 2)
    parts = making.tuned(copy.deepcopy(painter), images, 3), making.tuned(copy.deepcopy(reader), words, 4)
    whole = {f"model.diffusion_model.{_first_name(n)}": t for n, t in parts[0].state_dict().items()}
    whole |= {f"cond_stage_model.{n.replace('attention.self', 'attn')}": t for n, t in parts[1].state_dict().items()}
    save_file({n: t.half().contiguous() for n, t in whole.items()}, making.folder / "whole.safetensors")
    yield Relative("whole", "painter", "part of a model")


def _first_name(name: str) -> str:
    """diffusers' name -> one in the manner of CompVis."""
    for new, old in {
        "input_blocks": "down_blocks",
        "output_blocks": "up_blocks",
        "res": "resnets",
        "in_layers.2": "conv1",
        "out_layers.3": "conv2",
        "emb_layers.1": "time_emb_proj",
        "skip_connection": "conv_shortcut",
    }.items():
        name = name.replace(old, new)
    return name


def depths_and_names(making: Making) -> Made:
    """Llama; children with other numbers of layers under Meta's names."""
    making.start(15)
    words = text(VOCABULARY)
    base = making.train(llama_network(), words)
    yield from making.published(base, words, "llama", 2)
    depth = base.config.num_hidden_layers
    for name, order in {"deep": [*range(depth - 1), *range(1, depth)], "flat": [0, depth - 1]}.items():
        child = making.tuned(_of_layers(base, order), words, 5 + depth + len(order))
        store({meta_name(n): t for n, t in child.state_dict().items()}, making.folder / f"llama-{name}")
        yield Relative(f"llama-{name}", "llama", "renamed, other depth", ",".join(map(str, order)))


def _of_layers(base: Any, order: Sequence[int]) -> Any:
    child = copy.deepcopy(base)
    child.model.layers = torch.nn.ModuleList(copy.deepcopy(base.model.layers[i]) for i in order)
    child.config.num_hidden_layers = len(order)
    for place, layer in enumerate(child.model.layers):
        layer.self_attn.layer_idx = place
    return child


class Vocoder(torch.nn.Module):
    """Convolutions with a weight norm, as HiFi-GAN has them."""

    def __init__(self) -> None:
        super().__init__()
        norm, wide = torch.nn.utils.parametrizations.weight_norm, 24
        self.conv_pre = norm(torch.nn.Conv1d(8, wide, 7, padding=3))
        self.resblocks = torch.nn.ModuleList(
            torch.nn.ModuleList(norm(torch.nn.Conv1d(wide, wide, 3, padding=1)) for _ in range(2)) for _ in range(3)
        )
        self.conv_post = norm(torch.nn.Conv1d(wide, 4, 7, padding=3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(x)
        for first, second in self.resblocks:
            x = x + second(torch.relu(first(torch.relu(x))))
        return self.conv_post(x)


def vocoders(making: Making) -> Made:
    """Checkpoints as trainers of speech write them: two networks and an optimizer, a weight norm of the older spelling."""
    making.start(16)
    sounds = arrays((8, 40), "x")
    base = making.train(Vocoder(), sounds)
    yield from making.published(base, sounds, "vocoder", 2, store_network)
    for place, key in enumerate(("generator", "weight")):
        state = _older(making.tuned(copy.deepcopy(base), sounds, 6 + place).state_dict())
        (making.folder / f"vocoder-{key}").mkdir()
        kept = {
            key: state,
            "optim_g": {"state": {0: {"exp_avg": torch.ones(9, 9)}}},
            "config": [1025, 32],
            "steps": CHILD.steps,
        }
        torch.save(kept, making.folder / f"vocoder-{key}" / "G_60.pth")
        yield Relative(f"vocoder-{key}", "vocoder", "pickle file")


def _older(state: Tensors) -> Tensors:
    spelled = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    found = {}
    for name, tensor in state.items():
        for new, old in spelled.items():
            name = name.replace(new, old)
        found[name] = tensor
    return found
