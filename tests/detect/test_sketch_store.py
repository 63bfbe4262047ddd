"""Sketches on disk and elsewhere: found again, compacted, copied, checked, and never lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from lineage.detect import shards, sketch_store
from lineage.detect.compacting import gather
from lineage.detect.shards import FORMER_SUFFIXES, SUFFIX, is_single
from lineage.detect.sketch_store import BadSketch, Sample, Sketch, SketchStore
from lineage.graphdb.schema import Failure
from tests.s3 import s3  # noqa: F401 - a fixture


def a_sketch(number: int, signature: str = "aaaaaaaaaaaaaaaa", values: int = 64) -> Sketch:
    chance = np.random.default_rng(number)
    raw = chance.standard_normal(values).astype(np.float32).tobytes()
    samples = {
        f"l{i}.weight": Sample(f"l{i}.weight", "F32", (values, 2), 0, values // 2, raw[i * values * 2 :][: values * 2])
        for i in range(2)
    }
    layout = {**dict.fromkeys(samples, (values, 2)), "norm.weight": (7,)}
    return Sketch(f"{number:064x}", signature, 4 * values + 7, layout, samples)


def filled(store: SketchStore, count: int = 20) -> list[Sketch]:
    sketches = [a_sketch(n, "ab"[n % 2] * 16) for n in range(count)]
    for sketch in sketches:
        store.keep(sketch)
    return sketches


def read_all(store: SketchStore, sketches: list[Sketch]) -> list[Sketch]:
    found = {sketch.digest: sketch for sketch in store.many([*(s.digest for s in sketches), "0" * 64])}
    return [found[sketch.digest] for sketch in sketches]


def test_what_is_put_is_found_before_and_after_it_is_compacted(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    sketches = filled(store)
    assert read_all(store, sketches) == sketches
    stored = store.compact(everything=True)
    assert (stored.single, stored.shards, stored.in_shards) == (0, 1, 20)
    for reader in (store, SketchStore(tmp_path)):
        assert read_all(reader, sketches) == sketches
        assert [reader.signature_if_known(s.digest) for s in sketches] == [s.signature for s in sketches]
        assert reader.get(sketches[3].digest) == sketches[3]
        assert reader.signature_if_known("f" * 64) is None and not list(reader.many(["f" * 64]))


def test_a_shard_is_a_safetensors_file_ordered_by_signature(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    sketches = filled(store, 6)
    store.compact(everything=True)
    (path,) = (tmp_path / "shards").iterdir()
    tables = load_file(path)
    assert tables["signatures"].view("S136").ravel().tolist() == [b"a" * 16] * 3 + [b"b" * 16] * 3
    assert {bytes(d).decode() for d in tables["digests"].view("S64").ravel()} == {s.digest for s in sketches}
    first = tables["records"][: tables["starts"][1]].tobytes()
    (tmp_path / "one.safetensors").write_bytes(first)
    with safe_open(tmp_path / "one.safetensors", framework="np") as file:
        assert file.metadata()["signature"] == "a" * 16 and set(file.keys()) == {"l0.weight", "l1.weight"}


def test_the_same_again_gives_the_same_bytes(tmp_path: Path) -> None:
    names = []
    for folder in ("one", "other"):
        store = SketchStore(tmp_path / folder)
        for sketch in (a_sketch(1), a_sketch(2), a_sketch(1)):
            store.keep(sketch)
        store.compact(everything=True)
        store.compact(everything=True)
        (path,) = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        names.append((path.name, path.read_bytes()))
    assert names[0] == names[1]


def test_files_of_the_first_version_are_read_and_compacted(tmp_path: Path) -> None:
    sketch = a_sketch(5)
    metadata = {
        "version": "1",
        "signature": sketch.signature,
        "total_values": str(sketch.total_values),
        "layout": json.dumps({name: list(shape) for name, shape in sketch.layout.items()}),
        "samples": json.dumps({n: [s.dtype, list(s.shape), s.start, s.stop] for n, s in sketch.samples.items()}),
    }
    tensors = {name: np.frombuffer(sample.raw, np.uint8) for name, sample in sketch.samples.items()}
    path = tmp_path / sketch.digest[:2] / (sketch.digest + SUFFIX)
    path.parent.mkdir()
    path.write_bytes(save(tensors, metadata))
    store = SketchStore(tmp_path)
    assert store.signature_if_known(sketch.digest) == sketch.signature and store.get(sketch.digest) == sketch
    store.compact(everything=True)
    assert not path.exists() and store.get(sketch.digest) == sketch


def test_small_shards_become_one_and_large_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch_store, "LOOSE_FILES", 4)
    monkeypatch.setattr(sketch_store, "SMALL_SHARDS", 3)
    store, kept = SketchStore(tmp_path), []
    for round_ in range(9):
        for number in range(4):
            kept.append(a_sketch(10 * round_ + number))
            store.keep(kept[-1])
        store.compact_if_due()
        assert read_all(store, kept) == kept
    stored = store.stored()
    assert stored.single == 0 and stored.shards < 4 and stored.in_shards == 36


def test_a_crawl_that_put_little_leaves_files_of_their_own(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    filled(store, 3)
    store.compact_if_due(at_end=True)
    assert store.stored().single == 3


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("compacted", [False, True])
def test_a_changed_byte_is_noticed_named_and_repaired(tmp_path: Path, compacted: bool) -> None:
    store = SketchStore(tmp_path)
    sketches = filled(store, 8)
    if compacted:
        store.compact(everything=True)
    path = max((p for p in tmp_path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    flip(path, path.stat().st_size - 1)
    left = list(SketchStore(tmp_path).many(s.digest for s in sketches))
    assert len(left) == 7 and all(sketch in sketches for sketch in left)
    (bad,) = {s.digest for s in sketches} - {s.digest for s in left}
    with pytest.raises(BadSketch, match="no readable sketch"):
        store.get(bad)
    assert [name for name in store.check(repair=True).damaged if bad in name]
    assert store.check().damaged == () and store.signature_if_known(bad) is None, "so that a crawl reads it again"
    assert len(list(store.many(s.digest for s in sketches))) == 7


def test_a_shard_whose_tables_are_damaged_is_not_believed(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    sketches = filled(store, 4)
    store.compact(everything=True)
    (path,) = (tmp_path / "shards").iterdir()
    for at in (3, 20, 700):
        whole = path.read_bytes()
        flip(path, at)
        again = SketchStore(tmp_path)
        assert not list(again.many(s.digest for s in sketches)) and len(again.stored().damaged) == 1
        path.write_bytes(whole)
    assert read_all(SketchStore(tmp_path), sketches) == sketches


def test_a_reader_follows_what_another_process_compacts(tmp_path: Path) -> None:
    reader, writer = SketchStore(tmp_path), SketchStore(tmp_path)
    first = filled(writer, 6)
    assert read_all(reader, first) == first
    writer.compact(everything=True)
    assert read_all(reader, first) == first
    more = [a_sketch(n) for n in range(100, 104)]
    for sketch in more:
        writer.keep(sketch)
    writer.compact(everything=True)
    assert read_all(reader, [*first, *more]) == [*first, *more]


def test_two_that_compact_at_once_lose_nothing(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    sketches = filled(store, 10)
    names = [name for name in store.place.names() if is_single(name)]
    other = tmp_path / "before"
    shutil.copytree(tmp_path, other, ignore=shutil.ignore_patterns("before"))
    gather(store.place, names[:5])
    gather(SketchStore(other).place, names)
    shutil.copytree(other / "shards", tmp_path / "shards", dirs_exist_ok=True)
    store.compact(everything=True)
    assert read_all(store, sketches) == sketches and store.stored().in_shards == 10


WRITER = """
import sys
from pathlib import Path
from lineage.detect import sketch_store
from tests.detect.test_sketch_store import a_sketch
sketch_store.LOOSE_FILES, sketch_store.SMALL_SHARDS = 5, 2
store = sketch_store.SketchStore(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 10**6):
    store.keep(a_sketch(number))
    print(number, flush=True)
    store.compact_if_due()
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_writing_and_compacting_loses_nothing(tmp_path: Path) -> None:
    chance, written = random.Random(3), 0
    for _ in range(5):
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(written)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read().split()
        process.wait()
        written = max(written + 1, *(int(number) + 1 for number in said)) if said else written + 1
        expected = [a_sketch(n) for n in range(written)]
        assert read_all(SketchStore(tmp_path), expected) == expected
    assert written > 20 and SketchStore(tmp_path).check().damaged == ()


@pytest.fixture(params=["memory", "file", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3"))
    return f"memory://{tmp_path.name}/sketches" if request.param == "memory" else f"file://{tmp_path}/sketches"


@pytest.mark.slow
def test_sketches_lie_at_any_address(address: str, tmp_path: Path) -> None:
    store = SketchStore(address)
    assert store.signature_if_known("a" * 64) is None and not list(store.many(["a" * 64]))
    sketches = filled(store, 7)
    assert read_all(SketchStore(address), sketches) == sketches
    assert store.compact(everything=True).in_shards == 7
    elsewhere = SketchStore(address)
    assert read_all(elsewhere, sketches) == sketches
    assert elsewhere.signature_if_known(sketches[1].digest) == "b" * 16
    assert elsewhere.check().damaged == ()
    here = SketchStore(tmp_path / "copy")
    assert elsewhere.copy_to(here) == 1 and elsewhere.copy_to(here) == 0
    assert read_all(here, sketches) == sketches


@pytest.mark.slow
@pytest.mark.parametrize("url", ["nowhere://x/y", "s3://no-such-bucket-of-ours/x"])
def test_an_address_that_cannot_be_used_is_one_line(url: str, request: pytest.FixtureRequest) -> None:
    if url.startswith("s3"):
        request.getfixturevalue("s3")
    with pytest.raises(Failure) as failure:
        SketchStore(url).keep(a_sketch(1))
    assert url in failure.value.message and "\n" not in failure.value.message and failure.value.try_next


@pytest.mark.slow
def test_many_are_read_in_few_long_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SketchStore(tmp_path)
    for number in range(400):
        store.keep(a_sketch(number, "ab"[number % 2] * 16))
    store.compact(everything=True)
    wanted = [a_sketch(n).digest for n in range(0, 400, 2)]
    reads = []
    plain = store.place.ranges
    monkeypatch.setattr(store.place, "ranges", lambda name, spans: reads.append(len(spans)) or plain(name, spans))
    assert len(list(store.many(wanted))) == 200
    assert sum(reads) <= 2 + 200 * 2000 // shards.BUNDLE_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("former", FORMER_SUFFIXES)
def test_sketches_of_former_versions_stay_readable_until_the_model_is_read_again(tmp_path: Path, former: str) -> None:
    store = SketchStore(tmp_path)
    (sketch,) = filled(store, 1)
    new = tmp_path / sketch.digest[:2] / f"{sketch.digest}{SUFFIX}"
    old = new.with_name(f"{sketch.digest}{former}")
    new.rename(old)
    reader = SketchStore(tmp_path)
    assert reader.get(sketch.digest) == sketch and reader.holds(sketch.digest)
    assert reader.signature_if_known(sketch.digest) is None, "a crawl reads it anew"
    reader.compact(everything=True)
    assert old.exists(), "nothing of a former version is rewritten"
    reader.keep(sketch)
    assert SketchStore(tmp_path).signature_if_known(sketch.digest) == sketch.signature
