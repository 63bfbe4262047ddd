"""What weight files say of themselves is kept with their sample: no visit, first or later, and no road knows more or less of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from lineage.crawler.hub import Hub
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import Sketch, SketchStore
from lineage.detection import detect_into
from lineage.graphdb.schema import Model, Status, WeightFacts
from lineage.graphdb.store import Store, open_store
from lineage.reading import look_up, read_now
from lineage.scanning import read_folder, scan_folder
from lineage.tensors import open_tensors
from tests.adapters import lora
from tests.builders import start, tune
from tests.crawler.ggufs import llama
from tests.crawler.toys import hub_at
from tests.detect.test_quantized_copies import gptq
from tests.fake_hub import FakeHub

BASES = "MATCH (c:Model)-[:DECLARES_BASE]->(p:Model) RETURN c.repo_id AS child, p.repo_id AS parent ORDER BY child"


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store")) as store:
        yield store


def gguf_of(path: Path, base: str) -> None:
    """A GGUF file of a few tensors whose header names its base."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_base_model_count(1)
    writer.add_base_model_repo_url(0, f"https://huggingface.co/{base}")
    for name in ("token_embd", "blk.0.ffn_up", "blk.0.ffn_down"):
        writer.add_tensor(f"{name}.weight", np.full((64, 64), 0.5, np.float32) + np.eye(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def models_after(graph: Store, sketches: SketchStore, folder: Path, progress: Path) -> dict[str, Model]:
    crawl_into(graph, sketches, progress, CrawlOptions(folder=folder))
    return {Path(model.repo_id).name: model for model in graph.models()}


@pytest.mark.slow
def test_a_second_crawl_still_knows_that_a_model_is_packed(graph: Store, tmp_path: Path) -> None:
    folder, sketches = tmp_path / "models", SketchStore(tmp_path / "sketches")
    for name, content in {"base": save(llama()), "packed": gptq(llama()), "again": gptq(llama())}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(content)
    first = models_after(graph, sketches, folder, tmp_path / "p.sqlite")
    found = detect_into(graph, sketches, Options(), "run-1")
    (folder / "packed" / "README.md").write_text("words")
    second = models_after(graph, sketches, folder, tmp_path / "p.sqlite")
    assert {name: model.quantization for name, model in first.items()} == {
        "base": None,
        "packed": "gptq",
        "again": "gptq",  # equal files under another name, of which no header was read
    }
    assert {name: model.quantization for name, model in second.items()} == {n: m.quantization for n, m in first.items()}
    again = detect_into(graph, sketches, Options(), "run-2", everything=True)
    same = ("models", "parents", "roots", "undecided")
    assert [again[name] for name in same] == [found[name] for name in same]


def test_a_new_commit_and_a_second_repository_of_the_hub_know_it_as_well(graph: Store, tmp_path: Path) -> None:
    sketches = SketchStore(tmp_path / "sketches")
    with FakeHub() as fake:
        fake.add_repo("acme/packed", {"model.safetensors": gptq(llama())})
        crawl_into(graph, sketches, tmp_path / "p.sqlite", CrawlOptions(), hub=hub_at(fake))
        fake.commit("acme/packed", {"README.md": b"words"})
        fake.add_repo("other/same-files", {"model.safetensors": gptq(llama())})
        crawl_into(graph, sketches, tmp_path / "p.sqlite", CrawlOptions(), hub=hub_at(fake))
    assert {m.repo_id: m.quantization for m in graph.models()} == {"acme/packed": "gptq", "other/same-files": "gptq"}


def test_a_second_local_crawl_keeps_the_base_that_a_gguf_header_names(graph: Store, tmp_path: Path) -> None:
    folder, sketches = tmp_path / "models", SketchStore(tmp_path / "sketches")
    (folder / "acme" / "base").mkdir(parents=True)
    save_file(start(1), folder / "acme" / "base" / "model.safetensors")
    (folder / "copy").mkdir()
    gguf_of(folder / "copy" / "copy-F32.gguf", "acme/base")
    for _ in range(2):
        models_after(graph, sketches, folder, tmp_path / "p.sqlite")
        (row,) = graph.read(BASES)
        assert Path(row["child"]).name == "copy-F32.gguf" and Path(row["parent"]).name == "base"


def test_low_rank_files_named_like_a_model_are_adapters_on_every_road(graph: Store, tmp_path: Path) -> None:
    folder, sketches = tmp_path / "models", SketchStore(tmp_path / "sketches")
    for name, weights in {"base": start(1), "child": tune(start(1), 2), "lora": lora(start(1), ("1", "2"))}.items():
        (folder / name).mkdir(parents=True)
        save_file(weights, folder / name / "model.safetensors")
    for _ in range(2):
        models = models_after(graph, sketches, folder, tmp_path / "p.sqlite")
        assert {n for n, m in models.items() if m.status is Status.ADAPTER} == {"lora"}
        assert models["lora"].signature is None
    scan = scan_folder(folder, Options())
    assert not scan.unreadable
    candidates = {d.model: {c.parent for c in d.candidates} for d in scan.decisions}
    assert candidates == {"base": set(), "child": {"base"}, "lora": {"base", "child"}}


def test_facts_are_read_again_as_they_were_written(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.builders import sketch_of

    sketches, sketch = SketchStore(tmp_path), sketch_of(start(1))
    facts = WeightFacts(
        sketch.signature, "gptq", False, (("org/base", "quantized", "gguf"), ("org/other", None, "metadata"))
    )
    sketches.keep(replace(sketch, facts=facts))
    assert SketchStore(tmp_path).facts_if_known(sketch.digest) == facts
    sketches.compact(everything=True)
    assert SketchStore(tmp_path).facts_if_known(sketch.digest) == facts
    assert sketches.facts_if_known("f" * 64) is None


def test_files_that_come_and_go_do_not_change_what_a_model_is_called(graph: Store, tmp_path: Path) -> None:
    """Names in cards are those of folders: `org/name` under the folder that is crawled."""
    folder, sketches = tmp_path / "models", SketchStore(tmp_path / "sketches")
    for name, weights in {"org/a": start(1), "org/b": tune(start(1), 2)}.items():
        (folder / name).mkdir(parents=True)
        save_file(weights, folder / name / "model.safetensors")
    (folder / "org" / "b" / "README.md").write_text("---\nbase_model: org/a\n---\n")
    for _ in range(2):
        models_after(graph, sketches, folder, tmp_path / "p.sqlite")
        (row,) = graph.read(BASES)
        assert (row["child"], row["parent"]) == (str(folder / "org" / "b"), str(folder / "org" / "a"))
    found = graph.model("org/b")
    assert found is not None and found.path == str(folder / "org" / "b")


def test_every_road_reads_the_same_values_of_a_model_larger_than_a_sample(graph: Store, tmp_path: Path) -> None:
    weights = {
        f"model.layers.{i}.mlp.{name}.weight": np.random.default_rng(i).normal(size=(512, 256)).astype(np.float32)
        for i in range(4)
        for name in ("up_proj", "down_proj")
    }
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "large.safetensors"
    path.write_bytes(save(weights))
    sketches = SketchStore(tmp_path / "sketches")
    crawl_into(graph, sketches, tmp_path / "p.sqlite", CrawlOptions(folder=tmp_path / "models"))
    (model,) = graph.models()
    crawled = sketches.get(str(model.weights_digest))
    assert crawled.sampled_values < crawled.total_values / 2
    (scanned,) = read_folder(tmp_path / "models").readings.values()
    looked_up = look_up(str(path), None, SketchStore(tmp_path / "other"), hub_at_nothing)
    in_memory = read_now(open_tensors("large", weights))
    for reading in (scanned, looked_up, in_memory):
        assert blocks(reading.sketch) == blocks(crawled)


def hub_at_nothing() -> Hub:
    raise AssertionError("a file on disk needs no Hub")


def blocks(sketch: Sketch) -> dict[str, tuple[int, int]]:
    return {name: (sample.start, sample.stop) for name, sample in sketch.samples.items()}
