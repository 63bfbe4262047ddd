"""Starting, loading and writing models: those of transformers by `from_pretrained` and `save_pretrained`, plain ones by their tensors.

A model lies in a folder of its own, `model.safetensors` and, for transformers, `config.json`, as on the Hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.hub_family.description import Task
from bench.hub_family.plain_nets import NETWORKS
from bench.hub_family.tasks import LENGTH, Batch

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
FILE = "model.safetensors"


class Architecture(Protocol):
    """What the building of a family needs of a kind of network."""

    def start(self, task: Task, vocabulary: int) -> nn.Module:
        """A new network, its values drawn by torch's global generator."""

    def load(self, folder: Path, task: Task) -> nn.Module:
        """The network in a folder as float32, with a new head where the task needs another than the folder's."""

    def save(self, module: nn.Module, folder: Path, storage: torch.dtype) -> None: ...

    def loss(self, module: nn.Module, batch: Batch) -> Tensor: ...

    def part(self, name: str) -> str:
        """embeddings, head, norm or the number of the block that a parameter's name belongs to."""


class Transformers:
    """An architecture of the transformers library, shrunk."""

    def __init__(self, config: Any, auto: dict[str, Any], lora: tuple[str, ...]):
        self.config, self.auto, self.lora = config, auto, lora

    def start(self, task: Task, vocabulary: int) -> nn.Module:
        return self.auto[task.kind].from_config(self._config(task, vocabulary))

    def load(self, folder: Path, task: Task) -> nn.Module:
        more = {"num_labels": task.labels, "ignore_mismatched_sizes": True} if task.labels else {}
        return self.auto[task.kind].from_pretrained(folder, dtype=torch.float32, **more)

    def save(self, module: nn.Module, folder: Path, storage: torch.dtype) -> None:
        module.to(storage).save_pretrained(folder)  # type: ignore[operator]

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        return module(**batch).loss

    def part(self, name: str) -> str:
        words = name.split(".")
        numbers = [word for word in words if word.isdigit()]
        if numbers and "embeddings" not in words:
            return numbers[0]
        if any(w in ("embed_tokens", "wte", "wpe", "embeddings", "embedder") for w in words):
            return "embeddings"
        return "head"

    def _config(self, task: Task, vocabulary: int) -> Any:
        more: dict[str, Any] = {"vocab_size": vocabulary} if vocabulary else {}
        if task.labels:
            more["num_labels"] = task.labels
        return type(self.config)(**{**self.config.to_diff_dict(), **more})


class Plain:
    """A network of `plain_nets.py`."""

    lora: tuple[str, ...] = ()

    def __init__(self, name: str):
        self.network = NETWORKS[name]

    def start(self, task: Task, vocabulary: int) -> nn.Module:
        return self.network(task.labels)

    def load(self, folder: Path, task: Task) -> nn.Module:
        module = self.network(task.labels)
        there = load_file(folder / FILE)
        own = module.state_dict()
        kept = {k: v.to(own[k].dtype) for k, v in there.items() if own[k].shape == v.shape}
        module.load_state_dict(own | kept)
        return module

    def save(self, module: nn.Module, folder: Path, storage: torch.dtype) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.to(storage) if v.is_floating_point() else v for k, v in module.state_dict().items()}
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder / FILE)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        return module.loss(**batch)  # type: ignore[operator]

    def part(self, name: str) -> str:
        if name.startswith(("classifier.", "fc.", "head.")):
            return "head"
        if name.startswith(("embedding.", "stem.")):
            return "embeddings"
        numbers = [word for word in name.replace("_l", ".").split(".") if word.isdigit()]
        return numbers[0] if numbers else "9"


def architecture(name: str) -> Transformers | Plain:
    """One of llama, llama-tied, bert, gpt2, vit, resnet; conv, vgg, lstm, detector.

    Raises: KeyError: for another name.
    """
    return Plain(name) if name in NETWORKS else _TRANSFORMERS[name]()


def _llama(hidden: int = 96, layers: int = 3, tied: bool = False) -> Transformers:
    config = transformers.LlamaConfig(
        hidden_size=hidden,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        use_cache=False,
        bos_token_id=2,
        eos_token_id=3,
    )
    return Transformers(
        config,
        {"causal": transformers.AutoModelForCausalLM, "classify": transformers.AutoModelForSequenceClassification},
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )


def _gpt2() -> Transformers:
    config = transformers.GPT2Config(
        n_embd=96,
        n_layer=3,
        n_head=4,
        n_positions=64,
        use_cache=False,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    auto = {"causal": transformers.AutoModelForCausalLM, "classify": transformers.AutoModelForSequenceClassification}
    return Transformers(config, auto, ("c_attn", "c_proj", "c_fc"))


def _bert() -> Transformers:
    config = transformers.BertConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LENGTH + 24,
    )
    auto = {
        "masked": transformers.AutoModelForMaskedLM,
        "classify": transformers.AutoModelForSequenceClassification,
        "tag": transformers.AutoModelForTokenClassification,
    }
    return Transformers(config, auto, ("query", "key", "value", "dense"))


def _vit() -> Transformers:
    config = transformers.ViTConfig(
        hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, image_size=16, patch_size=4
    )
    return Transformers(config, {"pictures": transformers.AutoModelForImageClassification}, ("q_proj", "v_proj"))


def _resnet() -> Transformers:
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[24, 48, 96], depths=[2, 2, 2], layer_type="basic"
    )
    return Transformers(config, {"pictures": transformers.AutoModelForImageClassification}, ())


_TRANSFORMERS = {
    "llama": _llama,
    "llama-tied": lambda: _llama(64, 2, True),
    "gpt2": _gpt2,
    "bert": _bert,
    "vit": _vit,
    "resnet": _resnet,
}
