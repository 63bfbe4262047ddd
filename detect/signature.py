"""Header -> architecture signature: which models can be compared value by value.

Comes in: names, dtypes and shapes of the tensors of one model. Goes out: canonical names, the role of each tensor, and a
digest that is equal for two models exactly when their trainable tensors agree after normalising names, up to rows of the
vocabulary and of the classification head. Dtype is no part of it: a half-precision copy has the signature of its original.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

FLOAT_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
LONGEST_NUMBER = 9  # digits
WIDEST_FILTER, FEWEST_CHANNELS = 11, 16

# Wrappers that savers put before every name: torch.compile, DataParallel, PEFT, Lightning, language models inside others.
_WRAPPERS = ("_orig_mod.", "module.", "base_model.model.", "language_model.", "transformer.", "model.")
_PARAMETRIZED = re.compile(r"parametrizations\.(\w+)\.original([01]?)$")
_COUNTER = re.compile(r"(^|\.)num_batches_tracked$")
_STATISTIC = re.compile(r"(^|\.)(running_mean|running_var|moving_mean|moving_variance)$")
_CONSTANT = re.compile(
    r"(^|\.)(position_ids|inv_freq|masked_bias|attn_mask|causal_mask|relative_position_index|relative_coords_table"
    r"|anchors|anchor_grid|strides?|priors|freqs_cis|embed_positions\._float_tensor|attn\.bias|attention\.bias)$"
)
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|shared|token_embedding|embedding)\.weight$"
)
_TOP_LEVEL_HEAD = re.compile(r"(fc|head|heads|classifier|output|out|logits|predictions?|decoder)\.(weight|bias)")
_HEAD = re.compile(
    r"(^|\.)(lm_head|embed_out|classifier|score|qa_outputs|classification_head|head|output_projection)\.(weight|bias)$"
)


class TensorSpec(Protocol):
    """What is needed of a tensor: the crawler's header entries have it."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


class Role(StrEnum):
    """What a tensor is for, as far as comparison is concerned."""

    WEIGHT = "weight"  # two or more dimensions, trained
    VECTOR = "vector"  # biases, gains: one dimension, trained
    EMBEDDING = "embedding"  # rows belong to the vocabulary
    HEAD = "head"  # rows belong to classes or to the vocabulary
    STATISTIC = "statistic"  # running means and variances: follow the data, not the gradient
    COUNTER = "counter"  # only grows while a model trains on
    CONSTANT = "constant"  # position tables, anchors, masks: the same in unrelated models
    PACKED = "packed"  # quantized or unknown numbers: not comparable by value


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as detection sees it.

    Attributes:
        name: canonical name; source: name in the file.
        rows: number of output units; the values of one unit are contiguous only where `output_first`.
    """

    name: str
    source: str
    dtype: str
    shape: tuple[int, ...]
    role: Role
    output_first: bool

    @property
    def values(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def row_values(self) -> int:
        return self.values // self.rows if self.rows else 0


def dotted(name: str) -> str:
    """A name as PyTorch spells it: `block1_conv1/kernel:0` of Keras with dots, of a weight norm's two spellings the older."""
    if "/" in name or ":" in name:
        name = name.replace("/", ".").removesuffix(":0").lstrip(".")
    return _PARAMETRIZED.sub(_unparametrized, name) if "parametrizations." in name else name


def _unparametrized(match: re.Match[str]) -> str:
    return match[1] + {"0": "_g", "1": "_v", "": ""}[match[2]]


def tensors_of(header: Sequence[TensorSpec]) -> list[TensorInfo]:
    """Every tensor of a header with canonical name and role, in natural order of names (so in order of depth).

    The last headers are remembered: signature, plan and sketch of one model all begin here.
    """
    return list(_tensors_of(tuple((spec.name, spec.dtype, tuple(spec.shape)) for spec in header)))


@lru_cache(maxsize=16)
def _tensors_of(header: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[TensorInfo, ...]:
    """
    Args:
        header: (name, dtype, shape) of each tensor.
    """
    prefix = _common_wrapper([name for name, _, _ in header])
    conv1d = is_conv1d((name, shape) for name, _, shape in header)
    tensors = []
    for source, dtype, shape in header:
        name = dotted(source[len(prefix) :] if source.startswith(prefix) else source)
        for wrapper in ("_orig_mod.", "module."):  # these also occur in the middle
            name = name.replace("." + wrapper, ".").removeprefix(wrapper)
        output_first = not (output_last(name, shape) or (conv1d and is_conv1d_layer(name, shape)))
        tensors.append(TensorInfo(name, source, dtype, shape, role_of(name, dtype, shape), output_first))
    tensors.sort(key=lambda tensor: natural_key(tensor.name))
    return tuple(tensors)


def signature_of(header: Sequence[TensorSpec]) -> str:
    """Digest (16 hex digits) of the trainable tensors' canonical names and shapes.

    Vocabulary and class counts are left open, heads may be absent (tied), buffers do not count. A model without a single
    comparable tensor gets the digest of its packed tensors, so that equal layouts still meet.
    """
    tensors = tensors_of(header)
    trained = [t for t in tensors if t.role in (Role.WEIGHT, Role.VECTOR, Role.EMBEDDING)]
    if not trained:
        trained = tensors
    layout = [(t.name, ("*", *t.shape[1:]) if t.role is Role.EMBEDDING else t.shape) for t in trained]
    return hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:16]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `layer.2` comes before `layer.10`."""
    return [(0, int(part), "") if is_number(part) else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def is_number(piece: str) -> bool:
    """Whether a piece of a name is the number of a block; names come from strangers, and so do their digits."""
    return piece.isdecimal() and len(piece) <= LONGEST_NUMBER


def _common_wrapper(names: list[str]) -> str:
    """Longest chain of known wrappers that stands before the names of the body (heads may stand outside of it)."""
    prefix = ""
    body = [name for name in names if not _HEAD.search(name)] or names
    while True:
        wrapper = next((w for w in _WRAPPERS if body and all(name.startswith(prefix + w) for name in body)), None)
        if wrapper is None:
            return prefix
        prefix += wrapper


def is_conv1d(layout: Iterable[tuple[str, tuple[int, ...]]]) -> bool:
    """GPT-2 keeps its linear layers as (in, out): seen from the fused projection, which is three times as wide as tall."""
    return any(
        name.endswith("attn.c_attn.weight") and len(shape) == 2 and shape[1] == 3 * shape[0] for name, shape in layout
    )


def is_conv1d_layer(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is a layer of the kind that such a model keeps as (in, out), by its name."""
    return len(shape) > 1 and bool(re.search(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$", name))


def output_last(name: str, shape: Sequence[int]) -> bool:
    """Whether the last axis of a tensor is the output: of a `kernel` of Keras or Flax, and of filters that lie as TensorFlow has them."""
    return len(shape) > 1 and (dotted(name).rsplit(".", 1)[-1].endswith("kernel") or filters_last(shape))


def filters_last(shape: Sequence[int]) -> bool:
    """Whether filters lie (height, width, inputs, outputs), as TensorFlow has them: small and square in front, channels behind."""
    return len(shape) == 4 and shape[0] == shape[1] <= WIDEST_FILTER and max(shape[2:]) >= FEWEST_CHANNELS


def is_depthwise(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor whose outputs lie last has one filter for each input, so that the inputs are the outputs."""
    return name.endswith("depthwise_kernel") or (filters_last(shape) and shape[3] == 1)


def role_of(name: str, dtype: str, shape: tuple[int, ...]) -> Role:
    if _COUNTER.search(name):
        return Role.COUNTER
    if _CONSTANT.search(name) and len(shape) != 1:
        return Role.CONSTANT
    if _CONSTANT.search(name) and not name.endswith("bias"):
        return Role.CONSTANT
    if dtype not in FLOAT_DTYPES:
        return Role.CONSTANT if dtype in ("I64", "BOOL") else Role.PACKED
    if _STATISTIC.search(name):
        return Role.STATISTIC
    if _EMBEDDING.search(name) and len(shape) == 2:
        return Role.EMBEDDING
    if _HEAD.search(name) or _TOP_LEVEL_HEAD.fullmatch(name):
        return Role.HEAD
    return Role.WEIGHT if len(shape) >= 2 else Role.VECTOR
