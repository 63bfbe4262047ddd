"""Quantized copies whose numbers cannot be compared: what their claims, their shapes and what was not packed tell."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.commands import main
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.options import Options
from lineage.detect.packed_claims import EQUAL_VALUES, SAME_SHAPES, SAME_VECTORS, UNSEEN, ClaimedOriginal, settle
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.schema import Relation
from lineage.graphdb.store import Store, open_store
from tests.builders import sketch_of
from tests.crawler.ggufs import llama, write
from tests.crawler.toys import hub_at
from tests.fake_hub import FakeHub

CARD = b"---\nbase_model: acme/base\nbase_model_relation: quantized\n---\n"
CONFIG = b'{"quantization_config": {"quant_method": "gptq", "bits": 4}}'
UNKNOWN_TYPE = 4_000
LINKS = (
    "MATCH (c:Model)-[r:POSSIBLE_PARENT|QUANTIZED_FROM]->(p:Model) "
    "RETURN c.repo_id AS child, p.repo_id AS parent, type(r) AS kind, r.probability AS probability ORDER BY child"
)


def gptq(model: dict[str, np.ndarray]) -> bytes:
    """As GPTQ leaves it: linear layers packed, embeddings, head and norms as they were."""
    found = {}
    for name, values in model.items():
        if values.ndim == 2 and "embed" not in name and "lm_head" not in name:
            wide = values.shape[1]
            stem = name.removesuffix(".weight")
            found[stem + ".qweight"] = np.zeros((wide // 8, values.shape[0]), np.int32)
            found[stem + ".scales"] = (values[:, : wide // 128].T / 7).copy()
            found[stem + ".g_idx"] = np.zeros(wide, np.int32)
        else:
            found[name] = values
    return save(found)


def of_an_unknown_type(gguf: bytes) -> bytes:
    """The same file, but for the type of its matrices, which becomes one that nobody knows."""
    out = bytearray(gguf)
    for name in (b"attn_q", b"attn_k", b"attn_v", b"attn_output", b"ffn_gate", b"ffn_up", b"ffn_down"):
        at = -1
        while (at := gguf.find(name + b".weight", at + 1)) >= 0:
            place = at + len(name) + len(b".weight") + 4 + 2 * 8  # behind the rank and two dimensions
            struct.pack_into("<I", out, place, UNKNOWN_TYPE)
    return bytes(out)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store")) as store:
        yield store


@pytest.mark.slow
def test_a_packed_copy_is_from_the_model_that_it_names_if_its_norms_are_that_models(
    graph: Store, tmp_path: Path
) -> None:
    narrow = {name: values[:, :128] if values.ndim == 2 else values[:128] for name, values in llama(1).items()}
    with FakeHub() as fake:
        fake.add_repo("acme/base", {"model.safetensors": save(llama())})
        fake.add_repo("acme/small", {"model.safetensors": save(narrow)})
        fake.add_repo("q/gptq", {"README.md": CARD, "config.json": CONFIG, "model.safetensors": gptq(llama())})
        fake.add_repo("q/odd-gguf", {"README.md": CARD, "m.gguf": of_an_unknown_type(write(tmp_path / "m", llama()))})
        liar = CARD.replace(b"acme/base", b"acme/small")
        fake.add_repo("q/liar", {"README.md": liar, "config.json": CONFIG, "model.safetensors": gptq(llama(3))})
        fake.add_repo("q/silent", {"config.json": CONFIG, "model.safetensors": gptq(llama(2))})
        sketches = SketchStore(tmp_path / "sketches")
        crawl_into(graph, sketches, tmp_path / "p.sqlite", CrawlOptions(), hub=hub_at(fake))
    detect_into(graph, sketches, Options(), "run-1")
    rows = [tuple(row.values()) for row in graph.read(LINKS)]
    assert rows == [
        ("q/gptq", "acme/base", "QUANTIZED_FROM", EQUAL_VALUES),
        ("q/odd-gguf", "acme/base", "QUANTIZED_FROM", EQUAL_VALUES),
    ]
    said = {
        row["name"]: (row["answer"], row["why"])
        for row in graph.read("MATCH (m:Model) RETURN m.repo_id AS name, m.answer AS answer, m.answer_reason AS why")
    }
    assert said["q/gptq"][0] == said["q/odd-gguf"][0] == "parent"
    assert said["q/liar"][0] == said["q/silent"][0] == "undecided"
    assert said["q/odd-gguf"][1] == "packed_equal_values" and said["q/liar"][1] == "packed_other_shapes"
    assert said["q/silent"][1] == "packed_unknown"
    assert detect_into(graph, sketches, Options(), "run-2")["architectures"] == 0  # nothing changed
    detect_into(graph, sketches, Options(declared=False), "run-3")
    assert graph.read(LINKS) == []


def nothing_found() -> Decision:
    return Decision("copy", AnswerKind.ROOT, 0.99, decided_by=("relatedness",))


def test_values_that_were_not_packed_settle_which_of_the_claimed_it_is() -> None:
    rng = np.random.default_rng(0)
    base: dict[str, np.ndarray] = {
        "a.weight": rng.normal(size=(8, 64)),
        "norm.weight": rng.normal(size=300),
        "ones.weight": np.ones(300),
    }
    base = {name: values.astype(np.float32) for name, values in base.items()}
    copy: dict[str, np.ndarray] = {
        "a.qweight": np.zeros((8, 8), np.int32),
        **{n: v for n, v in base.items() if n != "a.weight"},
    }
    other: dict[str, np.ndarray] = base | {"norm.weight": base["norm.weight"] + np.float32(0.01)}
    claimed = [
        ClaimedOriginal("other", "org/other", ("tag",), sketch_of(other)),
        ClaimedOriginal("base", "org/base", ("card",), sketch_of(base)),
    ]
    found = settle(nothing_found(), sketch_of(copy), claimed)
    assert (found.parent, found.relation) == ("base", Relation.QUANTIZED_FROM)
    assert found.decided_by == ("content", "declared") and found.evidence == {
        "claimed_in": ["card"],
        "equal_values": 300,
    }
    without = settle(nothing_found(), sketch_of(copy), claimed[:1])
    assert without.parent is None and without.candidates == (Candidate("other", SAME_VECTORS),)


def test_equal_shapes_alone_make_a_possible_parent() -> None:
    base = {"a.weight": np.ones((8, 8), np.float32), "b.weight": np.ones(4, np.float32)}
    copy = {"a.q": np.zeros((8, 8), np.int32), "b.q": np.zeros(4, np.int32)}
    found = settle(nothing_found(), sketch_of(copy), [ClaimedOriginal("base", "org/base", ("card",), sketch_of(base))])
    assert found.parent is None and found.candidates == (Candidate("base", SAME_SHAPES),)


def test_a_claim_alone_asserts_nothing_and_what_values_told_stays() -> None:
    sketch = sketch_of({"a.qweight": np.zeros((8, 8), np.int32), "norm.weight": np.ones(8, np.float32)})
    unread = [ClaimedOriginal("x", "org/x", ("card",), None), ClaimedOriginal("y", "org/y", ("tag",), None)]
    found = settle(nothing_found(), sketch, unread)
    assert found.answer is AnswerKind.UNDECIDED and found.parent is None
    assert found.candidates == (Candidate("x", UNSEEN / 2), Candidate("y", UNSEEN / 2))
    told = Decision(
        "copy", AnswerKind.PARENT, 0.98, "z", Relation.QUANTIZED_FROM, (Candidate("z", 0.98),), ("content",)
    )
    assert settle(told, sketch, unread) is told


def test_a_packed_model_on_disk_is_answered_by_its_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeHub() as fake, open_store(str(tmp_path / "store")) as store:
        fake.add_repo("acme/base", {"model.safetensors": save(llama())})
        sketches = SketchStore(tmp_path / "store" / "sketches")
        crawl_into(store, sketches, tmp_path / "p.sqlite", CrawlOptions(), hub=hub_at(fake))
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in {"README.md": CARD, "config.json": CONFIG, "model.safetensors": gptq(llama())}.items():
        (folder / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["who-is-parent", str(folder), "--store", str(tmp_path / "store")])
    answer = capsys.readouterr().out
    assert ended.value.code == 0
    assert "was quantized from acme/base" in answer and "values that were not packed" in answer
