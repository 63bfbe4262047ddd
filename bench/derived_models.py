"""Small models of every architecture of transformers, each task class loaded by the library from one base: what is derived and what from.

A configuration is made small as a whole: widths by one factor, depths to a few layers, vocabularies and experts to a few. What
cannot be made so is left out, and said. Training is imitated, since 600 model types take as many kinds of input: a base is a random start
with changes of low rank on it, a child the base as `from_pretrained` gives it to another class, with a smaller change of that kind.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FACTORS = (4, 8, 16, 32, 64, 2, 1)  # widths are divided by; the last two where nothing else can be made
FEW_VALUES, MOST_VALUES = 1_500_000, 8_000_000
LEAST_LOADED = 0.3  # of the values of a model that come from its base
LAYERS, TRIES = 3, len(FACTORS)
WORDS, EXPERTS, IMAGE = 640, 4, 64
LEARNED, MOVED = 1.0, 0.12  # change of a base from its start, and of a child from its base, relative to the tensor
RANK = 6

_DEPTH = re.compile(
    r"(num_.*layers|.*_layers|n_layers?|num_blocks|depth|num_hidden_groups|layers|num_stages_of_blocks)"
)
_WIDTH = re.compile(
    r".*(hidden_size|hidden_dim|_dim|_size|d_model|d_kv|d_ff|d_inner|n_embd|n_inner|width|channels|units|hidden|intermediate)"
    r"|dim|dims|channels|ffn_dim|d_.*|n_embd|embed_dim|inner_dim|.*_rank|.*channels.*|.*hidden_sizes|.*dims?"
)
_NO_WIDTH = re.compile(
    r".*(patch|image|kernel|window|vocab|num_|stride|pool|input_size|sample|beam|batch|chunk|position|crop|block_size|group|type|bucket"
    r"|step|grid|audio_channels|num_channels|in_channels|dilation|return|token|in_chans|memory|context).*"
)
_WORDS = re.compile(r".*vocab_size.*|vocabulary_size|n_vocab|.*_vocab")
_TOKEN = re.compile(r".*_token_id|.*_token_index|.*_idx|.*_token")
_NO_TASK = re.compile(r"BACKBONE|TOKENIZATION|DECISION")  # the last loads a network of its own, of full size
_EXPERTS = re.compile(r"n_routed_experts|num_(local_)?experts|moe_num_experts|num_experts")


@dataclass(frozen=True, slots=True)
class DerivedModel:
    """A stored model. base: name of the model that it was loaded from; None of a base; failed: why it is not there."""

    name: str
    kind: str
    called: str
    base: str | None
    loaded: float = 1.0
    failed: str | None = None


Maker = Callable[[Path, int], Iterable[DerivedModel]]  # stores models in a folder, with a seed


def small(config_class: Any, factor: int) -> Any:
    config = config_class()
    if "stage_names" in vars(config):  # made from the depth when the configuration is made
        changed = {
            name: smaller(name, value, factor) for name, value in vars(config).items() if not name.startswith("_")
        }
        config = config_class(**{name: value for name, value in changed.items() if value is not getattr(config, name)})
    _shrink(config, factor, 0)
    return config


def _shrink(config: Any, factor: int, depth: int) -> None:
    for name, value in list(vars(config).items()):
        if name.startswith("_"):
            continue
        new = smaller(name, value, factor)
        if new is not value:
            try:
                setattr(config, name, new)
            except Exception:
                continue
        if hasattr(value, "to_dict") and depth < 4:
            _shrink(value, factor, depth + 1)


def smaller(name: str, value: Any, factor: int) -> Any:
    if type(value) is int:
        if _WORDS.fullmatch(name):
            return min(value, WORDS)
        if _TOKEN.fullmatch(name) and value >= WORDS:
            return 5
        if _DEPTH.fullmatch(name) and value > LAYERS:
            return LAYERS
        if name == "norm_num_groups":
            return min(value, 4)
        if _EXPERTS.fullmatch(name) and value > EXPERTS:
            return EXPERTS
        if _WIDTH.fullmatch(name) and not _NO_WIDTH.fullmatch(name) and value >= 8 and value % factor == 0:
            return value // factor
    elif isinstance(value, (list, tuple)) and value:
        if name in ("layer_types", "mlp_layer_types", "layers_block_type"):
            return list(value)[:LAYERS]
        if all(type(v) is int for v in value) and _WIDTH.fullmatch(name) and not _NO_WIDTH.fullmatch(name):
            return type(value)(v // factor if v >= 8 and v % factor == 0 else v for v in value)
    return value


def classes_of() -> Iterator[tuple[str, Any, list[Any]]]:
    """(model type, class of its configuration, its base class and its task classes)."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    tasks = [
        getattr(modeling_auto, name)
        for name in sorted(dir(modeling_auto))
        if name.startswith("MODEL_FOR") and name.endswith("_MAPPING") and not _NO_TASK.search(name)
    ]
    for kind in sorted(CONFIG_MAPPING.keys()):
        try:
            config_class = CONFIG_MAPPING[kind]
            found = [modeling_auto.MODEL_MAPPING[config_class]]
        except Exception:
            continue
        for task in tasks:
            try:
                found.append(task[config_class])
            except Exception:
                continue
        flat = [c for one in found for c in (one if isinstance(one, (tuple, list)) else [one])]
        yield kind, config_class, list(dict.fromkeys(flat))


def factors(config_class: Any, cls: Any) -> list[int]:
    """By which widths may be divided so that a class has few values, the best first; the others whose class can be made after it."""
    fitting: list[tuple[bool, int, int]] = []
    for place, factor in enumerate(FACTORS):
        try:
            with torch.device("meta"):
                network = cls(small(config_class, factor))
            count = sum(p.numel() for p in network.parameters())
        except Exception:
            continue
        if count <= MOST_VALUES:
            fitting.append((count > FEW_VALUES, place if count <= FEW_VALUES else count, factor))
    return [factor for _, _, factor in sorted(fitting)]


def moved(network: torch.nn.Module, size: float, dice: torch.Generator) -> None:
    """Changes a network as training does: matrices by few directions, some rows more than others, and a little everywhere.

    Args:
        size: of the change, relative to the tensor.
    """
    with torch.no_grad():
        for tensor in network.parameters():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            if tensor.dim() < 2:
                tensor += 0.1 * size * tensor.abs().mean() * torch.randn(tensor.shape, generator=dice)
                continue
            matrices = tensor.view(-1, *tensor.shape[-2:]) if tensor.dim() == 3 else tensor.view(1, tensor.shape[0], -1)
            count, rows, width = matrices.shape
            rank = min(RANK, rows, width)
            left = torch.randn(count, rows, rank, generator=dice) * torch.randn(count, rows, 1, generator=dice).exp()
            change = left @ torch.randn(count, rank, width, generator=dice)
            change = change / change.norm().clamp_min(1e-12) + 0.2 * _noise(change, dice)
            tensor += (size * tensor.norm() * change).view(tensor.shape)


def _noise(like: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
    noise = torch.randn(like.shape, generator=dice)
    return noise / noise.norm().clamp_min(1e-12)


def make(kind: str, config_class: Any, classes: Sequence[Any], folder: Path, seed: int) -> list[DerivedModel]:
    """Stores a base, a second model of its class and one of each task class; what fails is there with the reason for it."""
    best = [DerivedModel("base", kind, classes[0].__name__, None, failed="no small configuration")]
    for factor in factors(config_class, classes[0])[:TRIES]:
        shutil.rmtree(folder, ignore_errors=True)
        made = list(_made(kind, small(config_class, factor), classes, folder, seed))
        if _stored(made) > _stored(best) or _stored(best) == 0:
            best, kept = made, factor
        if not made[0].failed and _stored(made) == len(made):
            return made
    if _stored(best) and kept != factor:
        shutil.rmtree(folder, ignore_errors=True)
        best = list(_made(kind, small(config_class, kept), classes, folder, seed))
    return best


def _stored(made: Sequence[DerivedModel]) -> int:
    return sum(model.failed is None for model in made)


def _made(kind: str, config: Any, classes: Sequence[Any], folder: Path, seed: int) -> Iterator[DerivedModel]:
    base_class, *tasks = classes
    dice = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    base = folder / "base"
    try:
        network = base_class(config).float()
        moved(network, LEARNED, dice)
        network.save_pretrained(base)
        base_class.from_pretrained(base)
    except Exception as error:
        yield DerivedModel("base", kind, base_class.__name__, None, failed=said(error))
        return
    yield DerivedModel("base", kind, base_class.__name__, None)
    for cls in [base_class, *tasks]:
        name = "tuned" if cls is base_class else cls.__name__
        try:
            network, told = cls.from_pretrained(base, output_loading_info=True, dtype=torch.float32)
            loaded = loaded_share(network, told["missing_keys"])
            if loaded < LEAST_LOADED:
                yield DerivedModel(
                    name, kind, cls.__name__, "base", failed=f"{loaded:.2f} of its values come from the base"
                )
                continue
            moved(network, MOVED, dice)
            network.save_pretrained(folder / name)
        except Exception as error:
            yield DerivedModel(name, kind, cls.__name__, "base", failed=said(error))
            continue
        yield DerivedModel(name, kind, cls.__name__, "base", loaded)


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def loaded_share(network: torch.nn.Module, missing: Iterable[str]) -> float:
    """Share of a network's values that came out of the file."""
    fresh = set(missing)
    sizes = {name: tensor.numel() for name, tensor in network.named_parameters()}
    return 1 - sum(size for name, size in sizes.items() if name in fresh) / max(1, sum(sizes.values()))
