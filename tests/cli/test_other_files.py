"""Models of a Hub whose files are not safetensors, and models of several parts, from crawl to answer."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.builders import stack
from tests.cli.command import Command
from tests.crawler.onnxes import model as onnx
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

Tensors = dict[str, np.ndarray]


def tuned(tensors: Tensors, seed: int) -> Tensors:
    """Each row moves by an amount of its own, in one direction more than in others, as a gradient moves it."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, v in tensors.items():
        own = rng.lognormal(0.0, 0.7, (len(v), 1))
        found[name] = (v + 0.3 * own * v.std() * rng.normal(size=v.shape)).astype(np.float32)
    return found


def saved(tensors: Tensors, old: bool = False, wrapped: bool = False) -> bytes:
    state = {name: torch.from_numpy(values) for name, values in tensors.items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "epoch": 2} if wrapped else state, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def sharded(tensors: Tensors) -> dict[str, bytes]:
    names = list(tensors)
    parts = {f"pytorch_model-0000{n + 1}-of-00002.bin": {name: tensors[name] for name in names[n::2]} for n in range(2)}
    places = {name: file for file, part in parts.items() for name in part}
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    return {file: saved(part) for file, part in parts.items()} | {"pytorch_model.bin.index.json": index}


BASE = stack("model.", 0)


def files_of(kind: str, tensors: Tensors) -> dict[str, bytes]:
    return {
        "bin": lambda: {"pytorch_model.bin": saved(tensors)},
        "old bin": lambda: {"pytorch_model.bin": saved(tensors, old=True)},
        "sharded bin": lambda: sharded(tensors),
        "ckpt": lambda: {"epoch=2.ckpt": saved({f"net.{n}": v for n, v in tensors.items()}, wrapped=True)},
        "onnx": lambda: {"model.onnx": onnx(tensors)},
    }[kind]()


@pytest.mark.parametrize("kind", ["bin", "old bin", "sharded bin", "ckpt", "onnx"])
def test_a_copy_in_another_file_format_is_equal_and_a_child_in_it_is_linked(
    kind: str, small_hub: FakeHub, lineage: Command
) -> None:
    small_hub.add_repo("acme/base", {"model.safetensors": save(BASE)})
    small_hub.add_repo("acme/stranger", {"model.safetensors": save(stack("model.", 1))})
    small_hub.add_repo("birch/copy", files_of(kind, BASE))
    small_hub.add_repo("birch/child", files_of(kind, tuned(BASE, 5)))
    done = lineage("sync", "--json", HF_ENDPOINT=small_hub.url)
    assert done.code == 0, done.stderr
    copy = lineage("who-is-parent", "birch/copy", "--json", HF_ENDPOINT=small_hub.url).json
    near = {copy["parent"], *(row["parent"] for row in copy["runners_up"])}
    assert near == {"acme/base"} or near == {None, "acme/base"}, copy
    assert copy["relation"] in ("COPY_OF", None) and "equal" in json.dumps(copy)
    child = lineage("who-is-parent", "birch/child", "--json", HF_ENDPOINT=small_hub.url).json
    linked = {child["parent"], *(row["parent"] for row in child["runners_up"])}
    assert linked & {"acme/base", "birch/copy"} and "acme/stranger" not in linked, child


def test_a_model_of_two_parts_has_a_parent_for_each_and_they_are_listed(small_hub: FakeHub, lineage: Command) -> None:
    vision = stack("", 3, wide=48)
    both = {f"language_model.{n}": v for n, v in tuned(BASE, 6).items()}
    both |= {f"vision_tower.encoder.{n}": v for n, v in tuned(vision, 7).items()}
    small_hub.add_repo("acme/language", {"model.safetensors": save(BASE)})
    small_hub.add_repo("acme/vision", {"model.safetensors": save(vision)})
    small_hub.add_repo("birch/both", {"model.safetensors": save(both)})
    for number in range(2):  # a family tells more than a pair
        small_hub.add_repo(f"acme/language-{number}", {"model.safetensors": save(tuned(BASE, 20 + number))})
        small_hub.add_repo(f"acme/vision-{number}", {"model.safetensors": save(tuned(vision, 30 + number))})
    assert lineage("sync", HF_ENDPOINT=small_hub.url).code == 0
    found = lineage("who-is-parent", "birch/both", "--json", HF_ENDPOINT=small_hub.url).json
    expected = {"acme/language": "language_model", "acme/vision": "vision_tower.encoder"}
    assert {row["parent"]: row["part"] for row in found["parents"]} == expected
    assert {row["parent"]: row["parts"] for row in found["parents"]} == {
        name: [part] for name, part in expected.items()
    }
    in_graph = lineage(
        "cypher", "MATCH (c:Model)-[r]->(p) WHERE size(r.parts) > 0 RETURN p.repo_id AS p, r.parts AS parts", "--json"
    )
    assert {row["p"]: row["parts"] for row in in_graph.json} == {name: [part] for name, part in expected.items()}
    assert found["parent"] in found["reason"], "the reason is about the parent that is named first"
    text = lineage("who-is-parent", "birch/both", HF_ENDPOINT=small_hub.url).stdout
    for name, part in expected.items():
        assert re.search(rf"{name} \(>?0\.\d\d, its {re.escape(part)}\)", text)
    small_hub.add_repo(
        "birch/never-crawled", {"model.safetensors": save(both | {"head.weight": BASE["model.layers.0.query.weight"]})}
    )
    live = lineage("who-is-parent", "birch/never-crawled", "--json", HF_ENDPOINT=small_hub.url).json
    assert len({row["parent"] for row in live["parents"]} | {row["parent"] for row in live["runners_up"]}) >= 2, live


def test_a_model_of_other_names_that_was_never_crawled_is_linked_to_its_base(
    small_hub: FakeHub, lineage: Command
) -> None:
    small_hub.add_repo("acme/base", {"model.safetensors": save(BASE)})
    for number in range(3):
        small_hub.add_repo(f"acme/child-{number}", {"model.safetensors": save(tuned(BASE, 20 + number))})
    small_hub.add_repo("acme/stranger", {"model.safetensors": save(stack("model.", 1))})
    assert lineage("sync", HF_ENDPOINT=small_hub.url).code == 0
    words = {"model": "net", "layers": "h", "query": "attn.w", "up": "ff.first", "down": "ff.second"}
    other = {".".join(words.get(piece, piece) for piece in name.split(".")): v for name, v in tuned(BASE, 9).items()}
    small_hub.add_repo("new/renamed", {"pytorch_model.bin": saved(other)})
    found = lineage("who-is-parent", "new/renamed", "--json", HF_ENDPOINT=small_hub.url).json
    assert "acme/base" in {found["parent"], *(row["parent"] for row in found["runners_up"])}, found
    assert found["evidence"]["renamed"] is True and "other names" in found["reason"]
    shown = lineage("explain", "new/renamed", "acme/base", HF_ENDPOINT=small_hub.url)
    assert shown.code in (0, 3) and "query" in shown.stdout, shown.stderr


def test_a_model_of_other_names_gets_the_answer_of_a_scan_among_the_models_of_a_folder(
    tmp_path: Path, offline: Command
) -> None:
    words = {"model": "net", "layers": "h", "query": "attn.w", "up": "ff.first", "down": "ff.second"}
    other = {".".join(words.get(piece, piece) for piece in name.split(".")): v for name, v in tuned(BASE, 9).items()}
    models = {"base": BASE, "renamed": other, "renamed-again": tuned(other, 10), "stranger": stack("model.", 1)}
    models |= {f"child-{number}": tuned(BASE, 20 + number) for number in range(2)}
    for name, tensors in models.items():
        (tmp_path / f"{name}.safetensors").write_bytes(save(tensors))
    scan = offline("scan", tmp_path, "--json").json
    parents = {edge["child"]: edge["parent"] for edge in scan["edges"]}
    undecided = {row["child"]: [c["parent"] for c in row["candidates"]] for row in scan["undecided"]}
    assert {*parents, *undecided} & {"renamed", "renamed-again"}
    for name in models:
        found = offline("who-is-parent", tmp_path / f"{name}.safetensors", "--among", tmp_path, "--json").json
        assert found["parent"] == parents.get(name), name
        if found["answer"] == "undecided":
            assert [row["parent"] for row in found["runners_up"]] == undecided[name], name
