"""Headers of strangers: the right answer, or a clear failure, and nothing else."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import deserialize
from safetensors.numpy import save

from lineage.crawler.folder import local_models
from lineage.crawler.headers import (
    DTYPE_BITS,
    FIRST_READ_BYTES,
    BadHeader,
    LfsPointer,
    TwoPlaces,
    join_shards,
    parse_header,
    read_header,
)
from lineage.crawler.open_model import locate_local
from tests.crawler.toys import model_file, raw_header, weights


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2,), start: int = 0, stop: int = 8) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_a_sound_header_gives_names_dtypes_shapes_and_places() -> None:
    tensors = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.arange(4, dtype=np.int64)}
    raw = save(tensors)
    found = parse_header(raw, "f", len(raw))
    assert {t.name: (t.dtype, t.shape) for t in found} == {"a": ("I64", (4,)), "b": ("F16", (2, 3))}
    for tensor in found:
        assert raw[tensor.start : tensor.stop] == tensors[tensor.name].tobytes()


def test_most_headers_take_one_read_and_long_ones_two_exact_ones() -> None:
    for count, reads in ((6, 1), (1500, 2)):
        raw = save({f"layer.{i}.weight": np.zeros(1, np.float32) for i in range(count)})
        asked: list[tuple[int, int]] = []

        def read(start: int, stop: int, raw: bytes = raw, asked: list[tuple[int, int]] = asked) -> bytes:
            asked.append((start, stop))
            return raw[start:stop]

        assert len(read_header(read, "f", len(raw))) == count
        header_stop = 8 + int.from_bytes(raw[:8], "little")
        assert asked == [(0, min(len(raw), FIRST_READ_BYTES)), (FIRST_READ_BYTES, header_stop)][:reads]


def test_metadata_and_padding_are_allowed() -> None:
    raw = raw_header({"__metadata__": {"format": "pt", "note": 'a [[{" \\ b'}, "a": entry()}, 8, padding=7)
    assert [t.name for t in parse_header(raw, "f", len(raw))] == ["a"]


def test_an_unknown_dtype_is_accepted_and_marked() -> None:
    raw = raw_header({"a": entry("F5_NEW", (3,))}, 8)
    (tensor,) = parse_header(raw, "f", len(raw))
    assert not tensor.known


def test_packed_dtypes_are_measured_in_bits() -> None:
    raw = raw_header({"a": entry("F4", (16,))}, 8)
    assert parse_header(raw, "f", len(raw))[0].known


BAD = {
    "a length beyond the file": (10**6).to_bytes(8, "little") + b"{}",
    "a huge length": b"\xff" * 64,
    "an empty file": b"",
    "seven bytes": b"1234567",
    "no JSON": raw_header(b"nonsense"),
    "a list": raw_header([]),
    "not UTF-8": raw_header(b'{"\xff": 1}'),
    "the same name twice": raw_header(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        8,
    ),
    "the same field twice": raw_header(b'{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', 8),
    "deep lists": raw_header(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "deep objects": raw_header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a negative dimension": raw_header({"a": entry(shape=(-2, -1))}, 8),
    "a huge dimension": raw_header({"a": entry(shape=(1 << 62, 0))}, 0),
    "dimensions whose product is huge": raw_header({"a": entry(shape=(1 << 40,) * 8)}, 8),
    "a thousand dimensions": raw_header({"a": entry(shape=(1,) * 1000)}, 8),
    "a dimension of true": raw_header(b'{"a":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}}', 8),
    "a dimension of 1.5": raw_header(b'{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]}}', 8),
    "an endless number": raw_header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}', 8),
    "NaN": raw_header(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', 8),
    "offsets beyond the file": raw_header({"a": entry(stop=8_000_000, shape=(2_000_000,))}, 8),
    "offsets backwards": raw_header({"a": entry(start=8, stop=0)}, 8),
    "fewer bytes than the shape needs": raw_header({"a": entry(shape=(3,))}, 8),
    "tensors that overlap": raw_header({"a": entry(), "b": entry(start=4, stop=12)}, 12),
    "a gap between tensors": raw_header({"a": entry(), "b": entry(start=12, stop=20)}, 20),
    "bytes behind the last tensor": raw_header({"a": entry()}, 9),
    "a file cut short": raw_header({"a": entry()}, 7),
    "metadata that are no texts": raw_header({"__metadata__": {"a": 1}, "a": entry()}, 8),
    "an entry without offsets": raw_header({"a": {"dtype": "F32", "shape": [2]}}, 8),
    "a name that is no text": raw_header(b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    "a name of numbers without end": raw_header({"1." * 8_000 + "weight": entry()}, 8),
    "a name of 65 parts": raw_header({"1." * 64 + "weight": entry()}, 8),
    "a name of 1,025 bytes": raw_header({"w" * 1_025: entry()}, 8),
    "an unclosed text": raw_header(b'{"a' + b'\\"' * 10_000),
}


@pytest.mark.parametrize("what", BAD)
def test_a_lying_header_is_a_clear_failure(what: str) -> None:
    raw = BAD[what]
    with pytest.raises(BadHeader) as failure:
        read_header(lambda start, stop: raw[start:stop], "model.safetensors", len(raw))
    assert "\n" not in failure.value.message and len(failure.value.message) < 400
    assert failure.value.exit_code == 4


def test_a_header_beyond_the_limit_is_not_read() -> None:
    asked: list[int] = []

    def read(start: int, stop: int) -> bytes:
        asked.append(stop)
        return (30_000_000).to_bytes(8, "little").ljust(stop - start, b" ")

    with pytest.raises(BadHeader, match="limit"):
        read_header(read, "f", 40_000_000)
    assert asked == [FIRST_READ_BYTES]


@pytest.mark.parametrize(
    "body", [b"[" * 2_000_000, b"[]," * 700_000, b'"a":{},' * 300_000, b'{"dtype":"F32"},' * 100_000, b'"\\"' * 500_000]
)
def test_a_bomb_takes_little_memory(body: bytes) -> None:
    raw = raw_header(b'{"a":' + body + b"}")
    tracemalloc.start()
    with pytest.raises(BadHeader):
        parse_header(raw, "f", len(raw))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(raw) + 1_000_000


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
@pytest.mark.parametrize(
    "note", [{}, {"note": "x"}, {"stride": [1]}, {"a": None, "b": {"c": [{"d": [[]]}]}, "__metadata__": 3}]
)
def test_metadata_of_null_and_further_keys_are_read_as_the_reference_reads_them(metadata: object, note: dict) -> None:
    raw = raw_header({"__metadata__": metadata, "a": entry() | note, "b": entry(start=8, stop=16) | note}, 16)
    assert [t.name for t in parse_header(raw, "f", len(raw))] == ["a", "b"]
    agrees_with_the_reference(raw)


def test_every_dtype_of_the_format_is_read_and_one_of_tomorrow_is_not_fatal() -> None:
    entries, at = {}, 0
    for dtype, bits in [*DTYPE_BITS.items(), ("F4_NEW", 4)]:
        entries[dtype] = entry(dtype, (16,), at, at + 2 * bits)
        at += 2 * bits
    raw = raw_header(entries, at)
    found = parse_header(raw, "f", len(raw))
    assert {t.dtype for t in found if not t.known} == {"F4_NEW"} and len(found) == len(entries)


@pytest.mark.parametrize(
    "text",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\r\noid sha256:00\r\nsize 1\r\n",
        b"version https://hawser.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"# xet version 0\n",
    ],
)
def test_a_pointer_of_large_file_storage_is_called_one(text: bytes) -> None:
    with pytest.raises(LfsPointer, match="pointer of Git LFS") as failure:
        read_header(lambda start, stop: text[start:stop], "model.safetensors", len(text))
    assert failure.value.exit_code == 4 and "git lfs pull" in str(failure.value.try_next)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"\n\n  <!doctype html>\n<html></html>", "an HTML page"),
        (b'{"error": "Access to model acme/a is restricted"}', "a JSON text"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML text"),
        (b"GGUF" + b"\3\0\0\0" * 9, "a GGUF file"),
        (b"PK\x03\x04" + b"\0" * 40, "a zip archive"),
    ],
)
def test_other_files_under_the_name_are_called_what_they_are(text: bytes, what: str) -> None:
    with pytest.raises(BadHeader, match=what):
        read_header(lambda start, stop: text[start:stop], "model.safetensors", len(text))


@pytest.mark.parametrize("name", ["model.onnx", "pytorch_model.bin", "model.gguf", "model.safetensors"])
def test_a_pointer_is_called_one_in_every_format(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    )
    (model,) = local_models(tmp_path)
    with pytest.raises(LfsPointer, match="pointer of Git LFS"):
        _ = locate_local(model).header


def test_a_pointer_of_git_annex_says_how_to_get_the_file() -> None:
    text = b"/annex/objects/SHA256E-s123--00.safetensors\n"
    with pytest.raises(LfsPointer, match="pointer of git-annex") as failure:
        read_header(lambda start, stop: text[start:stop], "model.safetensors", len(text))
    assert "git annex get" in str(failure.value.try_next)


def test_a_tensor_in_two_shards_counts_where_the_index_puts_it() -> None:
    one, two = model_file(1, tensors=2), model_file(1, tensors=3)
    shards = [parse_header(one, "1", len(one)), parse_header(two, "2", len(two))]
    names = list(weights(1, 3))
    for file in ("1", "2"):
        joined = join_shards(shards, lambda file=file: dict.fromkeys(names[:2], file) | {names[2]: "2"})
        assert [(t.name, t.file) for t in joined] == [(names[0], file), (names[1], file), (names[2], "2")]
    with pytest.raises(TwoPlaces):
        join_shards(shards, lambda: {"another": "1"})


def test_shards_are_joined_and_a_tensor_in_two_of_them_is_refused_without_an_index() -> None:
    one, two = model_file(1, tensors=2), save({"other": np.zeros(3, np.float32)})
    first, second = parse_header(one, "1", len(one)), parse_header(two, "2", len(two))
    assert [t.name for t in join_shards([first, second])] == [*weights(1, 2), "other"]
    with pytest.raises(TwoPlaces, match="lies in 1 and in 1, and no index says which counts"):
        join_shards([first, second, first])


def agrees_with_the_reference(raw: bytes) -> None:
    """Whatever we accept, the format's own library accepts as well, with the same tensors; we may be stricter."""
    try:
        found = parse_header(raw, "f", len(raw))
    except BadHeader:
        return
    if any(not tensor.known for tensor in found):
        return
    reference = dict(deserialize(raw))
    assert {t.name: list(t.shape) for t in found} == {name: spec["shape"] for name, spec in reference.items()}
    assert {t.name: raw[t.start : t.stop] for t in found} == {n: bytes(spec["data"]) for n, spec in reference.items()}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_headers_give_the_right_answer_or_a_failure(data: st.DataObject) -> None:
    raw = bytearray(save({"a": np.arange(4, dtype=np.float32), "b.c": np.ones((2, 2), np.float16)}))
    for _ in range(data.draw(st.integers(1, 4))):
        if not raw:
            break
        place = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["set", "delete", "insert", "cut"]))
        if how == "set":
            raw[place] = data.draw(st.integers(0, 255))
        elif how == "delete":
            del raw[place]
        elif how == "insert":
            raw[place:place] = data.draw(st.binary(min_size=1, max_size=4))
        else:
            del raw[place:]
    agrees_with_the_reference(bytes(raw))


SIZES = st.integers(-2, 20) | st.sampled_from([1 << 31, 1 << 40, 1 << 63, 1 << 64])
TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "X"]),
        "shape": st.lists(SIZES, max_size=4),
        "data_offsets": st.lists(SIZES, min_size=1, max_size=3),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=8), TENSOR, max_size=4), st.integers(0, 64))
@example({"a": {"dtype": "F32", "shape": [0, 1 << 40], "data_offsets": [0, 0]}}, 0)
def test_invented_headers_give_the_right_answer_or_a_failure(header: dict, data_bytes: int) -> None:
    agrees_with_the_reference(raw_header(json.dumps(header).encode(), data_bytes))
