"""The weights of a GGUF file as if they lay in the safetensors files that it was made from: names, layout, and numbers.

Quantized blocks are turned into float32 by the `gguf` package, so that a copy can be compared
with its original value by value; floats stay as they are, bit for bit. Names are translated for the architectures whose
converter does nothing but rename and, for Llama, reorder the rows of queries and keys; others keep the names of GGUF and are
compared among themselves. Conversion: https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from lineage.crawler.formats.gguf_header import GgufHeader, block_sizes, read_gguf_header
from lineage.crawler.formats.gguf_names import GgufSet, choose_gguf, gguf_label, gguf_sets
from lineage.crawler.formats.interface import Companion, Format, Opening, Readable
from lineage.crawler.headers import SpanT, TensorHeader, join_shards
from lineage.crawler.repo_names import repo_id_of
from lineage.crawler.selection import Choice, Layout, WeightSet, missing_reason
from lineage.crawler.weights import SAMPLE_LIMIT_BYTES, UnreadableWeights, WeightFile

PLAIN = frozenset({"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"})
DEQUANTIZED = frozenset(
    {
        "Q8_0",
        "Q4_0",
        "Q4_1",
        "Q5_0",
        "Q5_1",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "IQ1_S",
        "IQ1_M",
        "IQ2_XXS",
        "IQ2_XS",
    }
    | {"IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"}
)
NO_MODEL = {
    "vocab": "there are no tensors in it, as in a vocabulary alone",
    "imatrix": "an importance matrix for quantizing, which has no weights",
    "mmproj": "a projector for pictures or sound, which goes with a language model",
}
REORDERED = frozenset({"llama"})  # rows of attn_q and attn_k are interleaved, head by head
_RENAMED = frozenset({"llama", "qwen2", "qwen3"})
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAME = re.compile(r"(?:blk\.(\d{1,6})\.)?([a-z_]+)\.(weight|bias)", re.ASCII)
_LORA = re.compile(r"(.+\.weight)\.lora_([ab])", re.ASCII)
_COMPUTED = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})


class GgufWeights:
    """Header and ranges of one model, as crawler.weights.Weights has them.

    Args:
        files: of one model, in the order of their names.
    """

    def __init__(self, files: Sequence[WeightFile]):
        self.files = tuple(files)
        self._by_name = {file.name: file for file in files}

    @cached_property
    def _headers(self) -> list[GgufHeader]:
        return [read_gguf_header(file.read, file.name, file.size_bytes) for file in self.files]

    @cached_property
    def _sources(self) -> dict[str, TensorHeader]:
        """Translated name -> the tensor as it lies in its file."""
        architecture = self.architecture
        tensors = join_shards(header.tensors for header in self._headers)
        return {translated(tensor.name, architecture): tensor for tensor in tensors if tensor.name not in _COMPUTED}

    @property
    def architecture(self) -> str:
        return str(self._headers[0].metadata.get("general.architecture", "")) if self._headers else ""

    @property
    def tokenizer(self) -> str | None:
        """sha256 hex of the vocabulary: copies of one model in several quantizations share it."""
        return next((header.tokenizer for header in self._headers if header.tokenizer), None)

    @property
    def kind(self) -> str:
        """`model`, or what else the file says that it is: `adapter`, `imatrix`, `mmproj`."""
        metadata = self._headers[0].metadata if self._headers else {}
        said = metadata.get("general.type", "model")
        if self._headers and not any(header.tensors for header in self._headers):
            return "vocab"
        return "mmproj" if self.architecture == "clip" else str(said)

    @property
    def bases(self) -> list[tuple[str, str | None, str]]:
        """What the metadata name as its origin: repositories of the Hub, with the relation where it is said."""
        metadata = self._headers[0].metadata if self._headers else {}
        count = metadata.get("general.base_model.count")
        keys: list[tuple[str, str | None]] = [
            ("general.source.repo_url", "quantized"),
            ("general.source.url", "quantized"),
            ("general.source.huggingface.repository", "quantized"),
        ]
        keys += [(f"general.base_model.{i}.repo_url", None) for i in range(min(count, 16) if type(count) is int else 0)]
        found: dict[str, str | None] = {}
        for key, relation in keys:
            named = repo_id_of(str(metadata.get(key, "")))
            if named and "/" in named:
                found.setdefault(named, relation)
        return [(base, relation, "gguf") for base, relation in found.items()]

    @property
    def quantization(self) -> str | None:
        """The type of most of its matrices, as `gguf Q4_K`."""
        values: Counter[str] = Counter()
        for tensor in self._sources.values():
            if len(tensor.shape) > 1:
                values[tensor.dtype] += tensor.values
        return f"gguf {values.most_common(1)[0][0]}" if values else None

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """Tensors with translated names; those that are dequantized when read count as F32.

        Raises:
            Failure: a header that cannot be trusted, or a file that cannot be read. UnreadableWeights: it is no model but goes with one.
        """
        if self.kind in NO_MODEL:
            raise UnreadableWeights(f"{self.files[0].name}: {NO_MODEL[self.kind]}", "name the file of the model")
        return tuple(
            replace(tensor, name=name, dtype="F32" if tensor.dtype in DEQUANTIZED else tensor.dtype)
            for name, tensor in self._sources.items()
        )

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values, whole rows of them, little-endian, in the dtype that `header` says.

        Raises:
            UnreadableWeights: the blocks are too large for a sample, or of a type that is not dequantized.
        """
        blocks = sorted(blocks, key=lambda b: (self._sources[b.tensor].file, self._sources[b.tensor].start, b.start))
        if sum(4 * (block.stop - block.start) for block in blocks) > SAMPLE_LIMIT_BYTES:
            raise UnreadableWeights("its tensors are too wide for a sample", "such a model cannot be compared")
        for block in blocks:
            yield block, self._values(self._sources[block.tensor], block.start, block.stop)

    def _values(self, tensor: TensorHeader, start: int, stop: int) -> bytes:
        """Values [start, stop), row-major in the order of the original."""
        if not 0 <= start <= stop <= tensor.values:
            raise ValueError(f"block [{start}, {stop}) lies outside of {tensor.name}")
        wide = tensor.shape[-1] if tensor.shape else 1
        first, last = start // wide, max(start // wide + 1, -(-stop // wide))
        order = self._rows(tensor, first, last)
        low, high = int(order.min()), int(order.max()) + 1
        rows = self._decoded(tensor, low, high)  # (high - low, wide)
        values = rows[order - low].reshape(-1)  # (rows wanted x wide,)
        return values[start - first * wide : stop - first * wide].tobytes()

    def _decoded(self, tensor: TensorHeader, first: int, last: int) -> np.ndarray:
        """Rows [first, last) as they lie in the file; (rows, wide) float32, or raw values of plain types."""
        wide = tensor.shape[-1] if tensor.shape else 1
        per_block, block_bytes = block_sizes().get(tensor.dtype, (1, 0))
        row_bytes = wide // per_block * block_bytes
        raw = self._by_name[tensor.file].read(tensor.start + first * row_bytes, tensor.start + last * row_bytes)
        if tensor.dtype in PLAIN:
            return np.frombuffer(raw, f"V{block_bytes}").reshape(last - first, wide)  # (rows, wide)
        if tensor.dtype not in DEQUANTIZED:
            raise UnreadableWeights(
                f"values of the type {tensor.dtype} are not dequantized", "such a model cannot be compared"
            )
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        packed = np.frombuffer(raw, np.uint8).reshape(last - first, row_bytes)  # (rows, bytes of a row)
        with np.errstate(all="ignore"):  # scales of a damaged file may be anything; NaN is refused by the sketch
            decoded = dequantize(packed, GGMLQuantizationType[tensor.dtype])  # (rows, wide)
        return np.ascontiguousarray(decoded, "<f4")

    def _rows(self, tensor: TensorHeader, first: int, last: int) -> np.ndarray:
        """Where rows [first, last) of the original lie in the file; (rows,)."""
        rows = np.arange(first, last)
        match = _NAME.fullmatch(tensor.name)
        if not match or match[2] not in ("attn_q", "attn_k") or self.architecture not in REORDERED:
            return rows
        metadata = self._headers[0].metadata
        heads = metadata.get("llama.attention.head_count")
        if match[2] == "attn_k":
            heads = metadata.get("llama.attention.head_count_kv", heads)
        if isinstance(heads, tuple):  # an entry a layer
            layer = int(match[1] or 0)
            heads = heads[layer] if layer < len(heads) else None
        total = tensor.shape[0]
        if type(heads) is not int or heads < 1 or total % (2 * heads):
            raise UnreadableWeights(
                "its number of attention heads is missing or invalid", "such a model cannot be compared"
            )
        size = total // heads
        head, within = rows // size, rows % size
        return head * size + 2 * (within % (size // 2)) + within // (size // 2)  # (rows,)


def translated(name: str, architecture: str) -> str:
    """A tensor's name in the files of the original, where that is known; else its name in GGUF."""
    half = _LORA.fullmatch(name)
    if half:  # llama.cpp adds a half's name to that of the weight, peft to that of its module
        return f"{translated(half[1], architecture).removesuffix('.weight')}.lora_{half[2].upper()}.weight"
    match = _NAME.fullmatch(name)
    if not match or architecture not in _RENAMED:
        return name
    layer, part, leaf = match.groups()
    if layer is None:
        return f"{_TOP[part]}.{leaf}" if part in _TOP else name
    return f"model.layers.{int(layer)}.{_LAYER[part]}.{leaf}" if part in _LAYER else name


class Gguf(Format):
    """Several files of a folder are the same model in several sizes; of a repository, the one that lost least is read."""

    kind = "gguf"
    suffixes = (".gguf",)
    one_each = True
    header_bytes = 8_000_000  # the vocabulary lies in the header

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return GgufWeights(files)

    def sets(self, paths: Collection[str]) -> list[WeightSet]:
        return [_weight_set(found.files, found.missing) for found in gguf_sets(paths)]

    def choose(self, paths: Collection[str]) -> Choice | None:
        files = choose_gguf(paths)
        if files:
            return Choice(_weight_set(files))
        parts = next((found for found in self.sets(paths) if found.missing), None)
        reason = parts and f"{missing_reason(parts)} ({parts.files[0]} is there)"
        return Choice(None, reason=reason) if reason else None

    def quantization(self, file: str) -> str | None:
        return gguf_label(file)

    def companion_rank(self, found: WeightSet) -> int:
        return GgufSet(found.files).aside

    def companion(self, files: Sequence[WeightFile]) -> Companion | None:
        kind = GgufWeights(files).kind
        return Companion(NO_MODEL[kind]) if kind in NO_MODEL else None


def _weight_set(files: tuple[str, ...], missing: int = 0) -> WeightSet:
    folder, _, name = files[0].rpartition("/")
    return WeightSet(folder, name, Layout.SHARDED, files, missing=missing)
