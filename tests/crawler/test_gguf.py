"""GGUF files: headers that may lie, and numbers that must come out as the `gguf` package and the original have them."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from lineage.crawler.formats.gguf import GgufWeights
from lineage.crawler.formats.gguf_header import GgufHeader, read_gguf_header
from lineage.crawler.formats.gguf_names import choose_gguf, gguf_label
from lineage.crawler.headers import BadHeader, LfsPointer
from lineage.crawler.open_model import open_model
from lineage.crawler.weights import LocalFile, UnreadableWeights, Weights
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import make_sketch
from tests.crawler.ggufs import HEADS, KEYS, LAYERS, VOCABULARY, Q, llama, write


def header_of(raw: bytes) -> GgufHeader:
    return read_gguf_header(lambda start, stop: raw[start:stop], "x.gguf", len(raw))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("gguf") / "m.gguf", llama())


def test_a_header_says_what_the_reference_reader_says(small: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(small)
    reference = gguf.GGUFReader(tmp_path / "m.gguf")
    header = header_of(small)
    assert {t.name: (t.dtype, t.shape[::-1], t.start, t.stop - t.start) for t in header.tensors} == {
        t.name: (t.tensor_type.name, tuple(int(d) for d in t.shape), t.data_offset, t.n_bytes)
        for t in reference.tensors
    }
    assert header.metadata["general.architecture"] == "llama" and header.metadata["tokenizer.ggml.tokens"] == VOCABULARY
    assert header.tokenizer is not None and header.metadata["llama.attention.head_count_kv"] == KEYS


def test_head_counts_of_each_layer_are_taken_layer_by_layer(small: bytes, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", llama(), heads=[HEADS] * LAYERS, keys=[KEYS] * LAYERS)
    copy, original = GgufWeights([LocalFile(tmp_path / "m.gguf")]), llama()
    for block, raw in copy.read(plan(copy.header)):
        values = np.frombuffer(raw, "<f2" if original[block.tensor].ndim > 1 else "<f4")
        np.testing.assert_array_equal(values, original[block.tensor].reshape(-1)[block.start : block.stop])
    write(tmp_path / "n.gguf", llama(), heads=[HEADS] * LAYERS, keys=[KEYS])
    short = GgufWeights([LocalFile(tmp_path / "n.gguf")])
    with pytest.raises(UnreadableWeights, match="attention heads"):
        list(short.read(plan(short.header)))


def test_a_big_endian_file_is_refused_as_what_it_is(tmp_path: Path) -> None:
    raw = write(tmp_path / "m.gguf", llama(), endian=gguf.GGUFEndian.BIG)
    with pytest.raises(BadHeader, match="not a GGUF file: GGUF version 50331648 is not known \\(big-endian"):
        header_of(raw)


def test_a_pointer_in_place_of_a_gguf_file_is_called_one() -> None:
    with pytest.raises(LfsPointer):
        header_of(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def test_a_float_copy_has_signature_and_bits_of_its_original(small: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(small)
    (tmp_path / "m.safetensors").write_bytes(save(llama()))
    copy, original = GgufWeights([LocalFile(tmp_path / "m.gguf")]), Weights([LocalFile(tmp_path / "m.safetensors")])
    one, other = (make_sketch("0", w.header, w.read(plan(w.header))) for w in (copy, original))
    assert one.signature == other.signature and one.samples.keys() == other.samples.keys()
    assert any("q_proj" in name for name in one.samples)
    for name, sample in one.samples.items():
        np.testing.assert_array_equal(sample.values(), other.samples[name].values(), err_msg=name)


@pytest.mark.parametrize(("kind", "error"), [(Q.Q8_0, 0.01), (Q.Q4_0, 0.15)])
def test_a_quantized_copy_is_near_its_original(kind: Q, error: float, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", llama(), kind)
    weights = GgufWeights([LocalFile(tmp_path / "m.gguf")])
    original = llama()
    blocks = plan(weights.header)
    assert blocks
    for block, raw in weights.read(blocks):
        values = np.frombuffer(raw, "<f4")
        true = original[block.tensor].astype(np.float32).reshape(-1)[block.start : block.stop]
        assert np.linalg.norm(values - true) <= error * np.linalg.norm(true), block.tensor


@pytest.mark.parametrize("kind", [Q.Q8_0, Q.Q4_0, Q.Q4_K, Q.Q6_K, Q.Q5_0, Q.Q4_1])
def test_any_block_has_the_values_of_the_whole_dequantized_tensor(kind: Q, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", llama(), kind, architecture="qwen2")
    weights = GgufWeights([LocalFile(tmp_path / "m.gguf")])
    reference = {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors
    }
    random = np.random.default_rng(1)
    from lineage.detect.sketch import Block

    for name, source in (
        ("model.layers.1.mlp.up_proj.weight", "blk.1.ffn_up.weight"),
        ("lm_head.weight", "output.weight"),
    ):
        whole = reference[source].astype(np.float32).reshape(-1)
        for _ in range(8):
            start, stop = sorted(int(n) for n in random.integers(0, whole.size, 2))
            ((_, raw),) = weights.read([Block(name, start, stop)])
            np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), whole[start:stop])


def test_other_architectures_keep_their_names_and_unknown_types_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", llama(), Q.Q8_0, architecture="mamba")
    weights = GgufWeights([LocalFile(tmp_path / "m.gguf")])
    assert {t.name for t in weights.header} >= {"blk.0.attn_q.weight", "token_embd.weight"}
    raw = bytearray((tmp_path / "m.gguf").read_bytes())
    at = raw.index(b"blk.0.ffn_up.weight") + len(b"blk.0.ffn_up.weight") + 4 + 16
    raw[at : at + 4] = struct.pack("<I", 9999)
    (tmp_path / "m.gguf").write_bytes(raw)
    from lineage.detect.sketch import Block

    weights = GgufWeights([LocalFile(tmp_path / "m.gguf")])
    with pytest.raises(UnreadableWeights, match="GGML_9999"):
        list(weights.read([Block("blk.0.ffn_up.weight", 0, 256)]))


LIES = {
    "no GGUF": lambda raw: b"GGML" + raw[4:],
    "old version": lambda raw: raw[:4] + struct.pack("<I", 1) + raw[8:],
    "big-endian": lambda raw: raw[:4] + struct.pack(">I", 3) + raw[8:],
    "many tensors": lambda raw: raw[:8] + struct.pack("<Q", 1 << 40) + raw[16:],
    "many keys": lambda raw: raw[:16] + struct.pack("<Q", 1 << 63) + raw[24:],
    "a long key": lambda raw: raw[:24] + struct.pack("<Q", 1 << 62) + raw[32:],
    "a name of 16 KB": lambda raw: raw.replace(
        struct.pack("<Q", 19) + b"blk.0.ffn_up.weight", struct.pack("<Q", 16_000) + b"1." * 8_000
    ),
    "cut in the header": lambda raw: raw[:500],
    "cut in the data": lambda raw: raw[:-5000],
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("what", LIES)
def test_a_lying_header_is_a_clear_failure(what: str, small: bytes) -> None:
    with pytest.raises(BadHeader) as failure:
        header_of(LIES[what](small))
    assert failure.value.exit_code == 4 and "\n" not in failure.value.message


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_headers_give_the_right_answer_or_a_failure(small: bytes, data: st.DataObject) -> None:
    raw = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 3500))
        raw[at : at + 1] = data.draw(st.binary(min_size=0, max_size=9))
    try:
        header = header_of(bytes(raw))
    except BadHeader:
        return
    end = 0
    for tensor in header.tensors:
        assert end <= tensor.start <= tensor.stop <= len(raw)
        end = tensor.stop


def test_a_long_header_is_read_in_few_steps_and_a_longer_one_refused() -> None:
    reads: list[int] = []
    tokens = b"".join(struct.pack("<Q", 8) + b"tokentok" for _ in range(100_000))
    key = b"tokenizer.ggml.tokens"
    raw = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    raw += struct.pack("<IIQ", 9, 8, 100_000) + tokens

    def read(start: int, stop: int) -> bytes:
        reads.append(stop - start)
        return raw[start:stop]

    assert read_gguf_header(read, "x", len(raw)).metadata == {key.decode(): 100_000}
    assert len(reads) <= 4 and sum(reads) == len(raw)
    with pytest.raises(BadHeader, match="beyond byte 100000"):
        read_gguf_header(read, "x", len(raw), limit_bytes=100_000)


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["m-Q2_K.gguf", "m-Q8_0.gguf", "m-Q4_K_M.gguf"], ("m-Q8_0.gguf",)),
        (["m.Q4_K_M.gguf", "m.f16.gguf"], ("m.f16.gguf",)),
        (
            ["q4/m-00001-of-00002.gguf", "q4/m-00002-of-00002.gguf"],
            ("q4/m-00001-of-00002.gguf", "q4/m-00002-of-00002.gguf"),
        ),
        (["m-Q8_0-00001-of-00002.gguf", "m-Q4_0.gguf"], ("m-Q4_0.gguf",)),
        (["mmproj-m-f16.gguf", "m.gguf"], ("m.gguf",)),
        (["mmproj-m-f16.gguf", "alpaca-lora-7b.Q4_0.gguf"], ("alpaca-lora-7b.Q4_0.gguf",)),
        (["m-Q8_0-00001-of-00002.gguf"], ()),
        (["M-F16.GGUF", "m-Q4_0.gguf"], ("M-F16.GGUF",)),
    ],
)
def test_the_copy_that_lost_least_is_chosen(files: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_gguf(files) == chosen


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("llama-2-7b.Q4_K_M.gguf", "gguf Q4_K_M"),
        ("x/m-IQ2_XXS.gguf", "gguf IQ2_XXS"),
        ("qwen2.gguf", "gguf"),
        ("m-bf16.gguf", "gguf BF16"),
    ],
)
def test_the_label_is_what_the_name_says(name: str, label: str) -> None:
    assert gguf_label(name) == label


@pytest.mark.parametrize("kind", [Q.IQ4_NL, Q.IQ4_XS, Q.IQ3_S, Q.IQ2_XXS, Q.IQ1_M, Q.TQ2_0, Q.MXFP4, Q.NVFP4])
def test_types_of_few_bits_are_dequantized_too(kind: Q, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", llama(), kind, architecture="qwen2")
    weights = GgufWeights([LocalFile(tmp_path / "m.gguf")])
    reference = gguf.GGUFReader(tmp_path / "m.gguf").tensors
    named = next(t for t in reference if t.name == "blk.0.attn_v.weight")
    with np.errstate(all="ignore"):  # random blocks, so random scales
        expected = gguf.quants.dequantize(named.data, named.tensor_type).reshape(-1)
    wide = int(named.shape[0])
    from lineage.detect.sketch import Block

    block = Block("model.layers.0.self_attn.v_proj.weight", wide, 3 * wide)
    ((_, raw),) = weights.read([block])
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), expected[wide : 3 * wide].astype("<f4"))
    assert plan(weights.header)


def test_what_the_metadata_say_of_the_origin_is_a_claim(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_source_repo_url("https://huggingface.co/acme/base")
    writer.add_base_model_count(3)
    for number, url in enumerate(
        ("https://huggingface.co/acme/older/", "https://huggingface.co/acme/base", "https://x.y/z")
    ):
        writer.add_base_model_repo_url(number, url)
    writer.add_tensor("output.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    opened = open_model(str(tmp_path / "m.gguf"), lambda: pytest.fail("no Hub is needed"))
    assert [(c.base, c.relation, c.source) for c in opened.claims_in_weights] == [
        ("acme/base", "quantized", "gguf"),
        ("acme/older", None, "gguf"),
    ]
    assert opened.model.quantized
