"""Small GGUF files, written by the `gguf` package, of models whose safetensors files we have as well."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

HEADS, KEYS, WIDE, LAYERS, VOCABULARY = 4, 2, 256, 2, 96
Q = gguf.GGMLQuantizationType
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    **{
        f"blk.{i}.{short}": f"model.layers.{i}.{long}"
        for i in range(LAYERS)
        for short, long in {
            "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
        }.items()
    },
}


RANDOM = (
    Q.Q4_K,
    Q.Q6_K,
    Q.IQ4_NL,
    Q.IQ4_XS,
    Q.IQ3_S,
    Q.IQ2_XXS,
    Q.IQ1_M,
    Q.TQ2_0,
    Q.MXFP4,
    Q.NVFP4,
)  # not packed by `gguf`


def llama(seed: int = 0) -> dict[str, np.ndarray]:
    """A tiny Llama-like model under the names of its safetensors files; float16."""
    random = np.random.default_rng(seed)
    shapes = {"attn_k": (WIDE * KEYS // HEADS, WIDE), "attn_v": (WIDE * KEYS // HEADS, WIDE)}
    found = {}
    for short, long in NAMES.items():
        part = short.rpartition(".")[2]
        shape: tuple[int, ...] = shapes.get(part, (WIDE, WIDE))
        shape = (WIDE,) if part.endswith("norm") else (VOCABULARY, WIDE) if part in ("token_embd", "output") else shape
        found[long + ".weight"] = (0.05 * random.standard_normal(shape)).astype(np.float16)
    return found


def reordered(rows: np.ndarray, heads: int) -> np.ndarray:
    """As the converter of llama.cpp does it (`LlamaModel.permute`)."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def write(
    path: Path,
    tensors: dict[str, np.ndarray],
    kind: Q = Q.F16,
    architecture: str = "llama",
    endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
    heads: int | list[int] = HEADS,
    keys: int | list[int] = KEYS,
) -> bytes:
    """The same model as a GGUF file; vectors stay in float32, K-quants are random blocks of the right size."""
    writer = gguf.GGUFWriter(path, architecture, endianess=endian)
    writer.add_block_count(LAYERS)
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{i}" for i in range(VOCABULARY)])
    for short, long in NAMES.items():
        values = tensors[long + ".weight"].astype(np.float32)
        part = short.rpartition(".")[2]
        if part in ("attn_q", "attn_k") and architecture == "llama":
            values = reordered(values, HEADS if part == "attn_q" else KEYS)
        if values.ndim == 1:
            writer.add_tensor(short + ".weight", values)
        elif kind in RANDOM:
            writer.add_tensor(short + ".weight", random_blocks(values.shape, kind), raw_dtype=kind)
        else:
            packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(short + ".weight", packed, raw_dtype=kind)
    writer.add_tensor("rope_freqs.weight", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def random_blocks(shape: tuple[int, ...], kind: Q) -> np.ndarray:
    """(rows, bytes of a row): blocks of random quants with moderate scales, since the package cannot make K-quants."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(int(kind))
    blocks = random.integers(0, 256, (shape[0], shape[1] // values, size), np.uint8)
    scale = np.frombuffer(np.float16(0.001).tobytes(), np.uint8)
    places = (0, 2) if kind is Q.Q4_K else (size - 2,)
    for place in places:
        blocks[:, :, place : place + 2] = scale
    return blocks.reshape(shape[0], -1)
