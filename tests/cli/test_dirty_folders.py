"""Folders and repositories as they really are, asked with the command: stale shards, links, odd names, packed numbers, long cards."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.builders import Weights, start, three_generations
from tests.cli.command import Command
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.fixture(scope="module")
def models() -> dict[str, Weights]:
    """`b` is a child of `a`."""
    return three_generations()[0]


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def shards(weights: Weights, total: int) -> tuple[dict[str, bytes], bytes]:
    """Files of a sharded set, and its index."""
    names = list(weights)
    placed = {
        name: f"model-{1 + i * total // len(names):05d}-of-{total:05d}.safetensors" for i, name in enumerate(names)
    }
    files = {
        file: save({name: weights[name] for name in names if placed[name] == file}) for file in set(placed.values())
    }
    return files, json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}).encode()


SURE = ("--missing-parents", "0.02")  # of two models alone nothing is asserted otherwise


def edges(scan: dict) -> set[tuple[str, str]]:
    return {(edge["child"], edge["parent"]) for edge in scan["edges"]}


def reasons(scan: dict) -> dict[str, str]:
    return {model["id"]: model["reason"] for model in scan["unreadable"]}


def test_the_shards_that_the_index_names_are_the_model_on_disk_and_on_the_hub(
    offline: Command, hub: FakeHub, lineage: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    new, index = shards(models["b"], 3)
    old, _ = shards(start(99), 2)
    repositories = {
        "p": {"model.safetensors": save(models["a"])},
        "whole": {**new, **old, "model.safetensors.index.json": index},
        "partial": {**new, min(old): old[min(old)], "model.safetensors.index.json": index},
    }
    for i, (name, files) in enumerate(repositories.items()):
        folder = tmp_path / "L" / name
        folder.mkdir(parents=True)
        for file, content in {**files, "config.json": b"{}"}.items():
            (folder / file).write_bytes(content)
        hub.add_repo(f"acme/{name}", files, created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=i))
    scan = offline("scan", tmp_path / "L", *SURE, "--json").json
    assert scan["unreadable"] == [] and len(scan["models"]) == 3
    assert any(child in ("whole", "partial") and parent == "p" for child, parent in edges(scan))
    assert lineage("sync").code == 0
    for name in ("whole", "partial"):
        found = lineage("who-is-parent", f"acme/{name}", "--json").json
        assert found["answer"] == "parent" and found["parent"] in ("acme/p", "acme/whole", "acme/partial"), found


def test_nothing_in_a_folder_is_left_out_in_silence(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    a, b = save(models["a"]), save(models["b"])
    put(tmp_path / "L" / "p", model__safetensors=a)
    put(tmp_path / "disk" / "c", model__safetensors=b)
    put(tmp_path / "L" / "gone", config__json=b"{}")
    put(tmp_path / "L" / "pointer", model__safetensors=POINTER, config__json=b"{}")
    (tmp_path / "L" / "gone" / "model.safetensors").symlink_to("../../blobs/gone")
    (tmp_path / "L" / "c").symlink_to(tmp_path / "disk" / "c")
    (tmp_path / "L" / "UPPER.SAFETENSORS").write_bytes(b)
    (tmp_path / "L" / os.fsdecode(b"caf\xe9.safetensors")).write_bytes(b)
    (tmp_path / "L" / "m-F16-00001-of-00002.gguf").write_bytes(b"GGUF")
    done = offline("scan", tmp_path / "L", "--json")
    assert done.code == 0, done.stderr
    assert {model["id"] for model in done.json["models"]} == {"p", "c", "UPPER", "caf\\xe9"}
    assert reasons(done.json) == {
        "gone": "model.safetensors is a link that leads nowhere (../../blobs/gone)",
        "pointer": "model.safetensors: a pointer of Git LFS in place of the file",
        "m-F16-00001-of-00002.gguf": "1 of its 2 weight files is missing",
    }
    text = offline("scan", tmp_path / "L")
    assert text.code == 0 and "caf\\xe9" in text.stdout
    assert offline("sync", "--folder", tmp_path / "L").code == 0
    one = offline("who-is-parent", os.fsdecode(os.fsencode(tmp_path) + b"/L/caf\xe9.safetensors"))
    assert one.code in (0, 3) and "caf\\xe9.safetensors" in one.stdout, one.stderr


def test_full_weights_with_the_name_of_an_adapter_are_compared(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    put(tmp_path / "L" / "p", model__safetensors=save(models["a"]), config__json=b"{}")
    full = put(tmp_path / "L" / "c", config__json=b"{}")
    (full / "gpt4-alpaca-lora-13b.safetensors").write_bytes(save(models["b"]))
    scan = offline("scan", tmp_path / "L", *SURE, "--json").json
    assert edges(scan) == {("c", "p")}


def test_a_card_that_names_one_list_ten_thousand_times_is_read_at_once(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    card = "---\na: &a [" + ",".join(["x"] * 12_000) + "]\nbase_model: [" + ",".join(["*a"] * 10_000) + "]\n---\n"
    put(tmp_path / "L" / "c", model__safetensors=save(models["b"]), README__md=card.encode())
    assert offline("scan", tmp_path / "L").code == 0  # the helper gives it a minute


def test_bases_written_as_addresses_are_linked(hub: FakeHub, lineage: Command, models: dict[str, Weights]) -> None:
    written = (
        "https://huggingface.co/acme/a",
        "https://huggingface.co/acme/a/tree/main",
        "acme/a@main",
        "acme/a/",
        "acme/a",
    )
    hub.add_repo("acme/a", {"model.safetensors": save(models["a"])}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    for i, base in enumerate(written):
        files = {"model.safetensors": save(models["b"]), "README.md": f"---\nbase_model: {base}\n---\n".encode()}
        hub.add_repo(f"acme/child{i}", files, created_at=datetime(2026, 1, 2 + i, tzinfo=UTC))
    assert lineage("sync").code == 0
    rows = lineage("declared", "--json").json
    assert len(rows) == len(written) and not any("not in the graph" in json.dumps(row) for row in rows), rows
    assert lineage("orphans", "--json").json == []


def test_the_address_in_the_browser_names_a_model(hub: FakeHub, lineage: Command, models: dict[str, Weights]) -> None:
    hub.add_repo("acme/a", {"model.safetensors": save(models["a"])})
    for address in (f"{hub.url}/acme/a", f"{hub.url}/acme/a/tree/main", "https://huggingface.co/acme/a"):
        done = lineage("who-is-parent", address, "--json")
        assert done.code in (0, 3) and done.json["model"] == "acme/a", done
    wrong = lineage("who-is-parent", "https://example.com/acme/a")
    assert wrong.code == 4 and "is not the address of a model" in wrong.stderr


def test_a_folder_is_compared_with_a_folder_without_a_store(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    put(tmp_path / "all" / "p", model__safetensors=save(models["a"]))
    put(tmp_path / "all" / "other", model__safetensors=save(start(4242, {"w.weight": (64, 32)})))
    child = put(tmp_path / "all" / "c", model__safetensors=save(models["b"]))
    done = offline("who-is-parent", child, "--among", tmp_path / "all", *SURE, "--json")
    assert done.code == 0 and (done.json["answer"], done.json["parent"]) == ("parent", "p"), done.stderr
    assert not (offline.store / "graph").exists()
    assert offline("who-is-parent", child, "--among", tmp_path / "nowhere").code == 2


def test_a_copied_graph_says_where_its_samples_are_and_answers_warn_without_them(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    for name in "ab":
        put(tmp_path / "L" / name, model__safetensors=save(models[name]))
    assert offline("sync", "--folder", tmp_path / "L").code == 0
    copied = offline("graph", "copy", offline.store, tmp_path / "other")
    assert copied.code == 0 and f"sketches copy {offline.store}/sketches {tmp_path}/other/sketches" in copied.stderr
    new = put(tmp_path / "new", model__safetensors=save(models["c"]))
    done = offline("who-is-parent", new, "--store", tmp_path / "other")
    assert "the samples are not at this --sketches" in done.stderr
    assert "samples" not in offline("who-is-parent", new).stderr


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    put(tmp_path, a__safetensors=save(models["a"]))
    (tmp_path / "Ba$$in_{x}.safetensors").write_bytes(save(models["b"]))
    pair = (tmp_path / "Ba$$in_{x}.safetensors", tmp_path / "a.safetensors")
    done = offline("explain", *pair, "--plot", tmp_path / "none" / "x.png")
    assert done.code == 1 and done.stdout == "" and "there is no such folder" in done.stderr
    done = offline("explain", *pair, "--plot", tmp_path / "x.png")
    assert done.code == 3 and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG"), done.stderr


def test_adapters_and_packed_models_are_told_by_their_tensors(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    halves = {f"x.lora_{half}.weight": np.ones((4, 32), np.float32) for half in "AB"}
    put(tmp_path / "L" / "low", config__json=b"{}", weights__safetensors=save(halves))
    put(tmp_path / "L" / "p", config__json=b"{}", model__safetensors=save(models["a"]))
    packed = {n: v for n, v in models["a"].items() if v.ndim < 2} | {
        part: value
        for n, v in models["a"].items()
        if v.ndim == 2
        for part, value in ((n, np.ones(v.shape, np.int8)), (n + "_scale", np.ones((len(v), 1), np.float32)))
    }
    card = b"---\nbase_model: p\n---\n"
    put(tmp_path / "L" / "int8", config__json=b"{}", README__md=card, model__safetensors=save(packed))
    scan = offline("scan", tmp_path / "L", "--json").json
    assert not reasons(scan) and "low" in {model["id"] for model in scan["models"]}
    assert "int8" not in {root["model"] for root in scan["roots"]}, "a packed copy is no root"
    one = offline("who-is-parent", tmp_path / "L" / "low")
    assert one.code in (3, 4) and "adapter" in one.stdout + one.stderr


def test_a_repository_made_again_under_its_name_is_no_copy_of_itself(
    models: dict[str, Weights], offline: Command
) -> None:
    for age in range(2):
        with FakeHub() as hub:
            for place, name in enumerate("abc"):
                made = datetime(2026, 1 + age, 1 + place, tzinfo=UTC)
                hub.add_repo(f"acme/{name}", {"model.safetensors": save(models[name])}, created_at=made)
            if age:
                asked = offline("who-is-parent", "acme/b@main", "--json", HF_ENDPOINT=hub.url)
                assert asked.json["parent"] == "acme/a" and asked.json["relation"] == "FINE_TUNED_FROM"
            assert offline("sync", HF_ENDPOINT=hub.url).code == 0
    found = offline("who-is-parent", "acme/b", "--json").json
    assert (found["parent"], found["relation"]) == ("acme/a", "FINE_TUNED_FROM")
    tree = offline("tree", "acme/a").stdout
    assert "#" not in tree and "copy" not in tree and len(tree.splitlines()) == 3, tree
    assert [row["model"] for row in offline("roots", "--json").json] == ["acme/a"], "no family is there twice"
    assert offline("copies", "--json").json == []
    (old,) = {
        name for row in offline("changes", "--json").json for name in (row["child"],) if name.startswith("acme/b#")
    }
    said = offline("who-is-parent", old)
    assert said.code == 3 and "acme/b is another repository now, with the same weights" in said.stdout


def test_masks_among_the_weights_hide_no_child_and_a_nan_in_a_weight_is_named(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    above = np.triu(np.ones((77, 77), bool), 1)
    masks: Weights = {
        "text.causal_mask": np.where(above, np.float32(-np.inf), np.float32(0)),
        "text.attn.bias": np.where(above, np.finfo(np.float32).min, np.float32(0)),
        "text.attn.masked_bias": np.array(-1e4, np.float32),
    }
    put(tmp_path / "L" / "p", model__safetensors=save({**models["a"], **masks}))
    put(tmp_path / "L" / "c", model__safetensors=save({**models["b"], **masks}))
    name = max(models["b"], key=lambda n: models["b"][n].size)
    broken = models["c"][name].copy()
    broken.flat[:] = np.nan
    put(tmp_path / "L" / "nan", model__safetensors=save({**models["c"], **masks, name: broken}))
    scan = offline("scan", tmp_path / "L", *SURE, "--json").json
    assert edges(scan) == {("c", "p")}
    assert set(reasons(scan)) == {"nan"} and name in reasons(scan)["nan"] and "NaN" in reasons(scan)["nan"]


def test_models_with_the_same_weights_are_shown_together(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    for name in ("base", "other"):
        put(tmp_path / "L" / name, model__safetensors=save(models["a"]))
    lines = offline("scan", tmp_path / "L").stdout.splitlines()
    assert lines[0].startswith("base   (root")
    assert lines[1] == "└── other   (undecided: same weights as base; which came first is not in the weights)"


def cached(hub: Path, name: str, weights: Weights | None, card: bytes = b"", revision: str = "a" * 40) -> Path:
    """A revision of a model as Hugging Face's cache keeps it: links to blobs, named by a reference."""
    folder = hub / f"models--{name.replace('/', '--')}"
    files = {"config.json": b"{}", "README.md": card} | ({"model.safetensors": save(weights)} if weights else {})
    for file, content in files.items():
        blob = put(folder / "blobs", **{sha256(content).hexdigest(): content}) / sha256(content).hexdigest()
        link = put(folder / "snapshots" / revision) / file
        link.symlink_to(os.path.relpath(blob, link.parent))
    put(folder / "refs", main=revision.encode())
    return folder / "snapshots" / revision


def test_a_card_that_names_one_of_several_equal_models_is_not_contradicted(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    names = {"zoo/original": "a", "acme/again": "a", "acme/c": "c", "acme/d": "d", "acme/bb": "bb"}
    for name, weights in names.items():
        cached(hub, name, models[weights])
    cached(hub, "acme/child", models["b"], b"---\nbase_model: acme/again\n---\n")
    cached(hub, "acme/cast", {name: values.astype(np.float64) for name, values in models["a"].items()})
    cached(hub, "acme/grandchild", models["ba"], b"---\nbase_model: acme/cast\n---\n")
    found = offline("verify", hub, "--declared", "--json")
    assert found.code == 0 and found.json["outcome"] == "holds", found.stdout
    assert offline("sync", "--folder", hub).code == 0
    rows = {row["model"]: row for row in offline("declared", "--json").json}
    assert {row["agreement"] for row in rows.values()} <= {"agree", "missing"}, rows
    assert "has the same weights as" in rows["acme/child"]["reason"]
    for equal in ("zoo/original", "acme/again", "acme/cast"):
        assert offline("verify", "acme/child", "--parent", equal).code == 0
    assert offline("verify", "acme/child", "--declared").code == 0
    wrong = cached(hub, "acme/wrong", models["ca"], b"---\nbase_model: acme/child\n---\n")
    assert offline("verify", hub, "--declared").code == 5, "what is wrong is still found"
    assert offline("sync", "--folder", hub).code == 0
    assert offline("verify", wrong, "--declared").code == 5


def test_a_card_is_not_contradicted_where_the_parent_itself_may_come_from_its_base(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    cached(hub, "acme/base", models["a"])
    cached(
        hub, "acme/child", models["b"]
    )  # of three models alone, a parent in between that is missing cannot be ruled out
    cached(hub, "acme/grandchild", models["ba"], b"---\nbase_model: acme/base\n---\n")
    assert offline("sync", "--folder", hub).code == 0
    answer = offline("who-is-parent", "acme/child", "--json").json["answer"]
    (row,) = [row for row in offline("declared", "--json").json if row["model"] == "acme/grandchild"]
    assert row["agreement"] == ("agree" if answer == "parent" else "cannot tell"), row
    assert offline("verify", hub, "--declared").code == (0 if answer == "parent" else 3)


def test_a_snapshot_of_the_cache_is_its_repository_and_data_sets_are_no_models(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    child = cached(hub, "acme/child", models["b"])
    cached(hub, "acme/base", models["a"])
    put(hub / "models--acme--begun" / "blobs", **{"f" * 64 + ".incomplete": b"x"})
    put(hub / "datasets--acme--x" / "snapshots" / ("d" * 40), data__safetensors=b"rows")
    assert offline("sync", "--folder", hub).code == 0
    for name in (child, child / "model.safetensors", child.parent.parent):
        assert offline("who-is-parent", name, "--json").json["model"] == "acme/child", name
    scan = offline("scan", hub, "--json").json
    assert {model["id"] for model in scan["models"]} == {"acme/child", "acme/base"}
    assert reasons(scan) == {"acme/begun": "the cache holds no revision of it"}


def test_no_answer_sends_anything_of_a_name_to_the_terminal(
    offline: Command, models: dict[str, Weights], tmp_path: Path
) -> None:
    evil = "evil\x1b[31m\x1b]0;owned\x07\u202e\nline"
    put(tmp_path / "L" / evil, model__safetensors=save(models["b"]), config__json=b"{}")
    for name in "acd":
        put(tmp_path / "L" / name, model__safetensors=save(models[name]))
    put(tmp_path / "L" / (evil + "2"), model__safetensors=b"nonsense")
    child, parent = tmp_path / "L" / evil, tmp_path / "L" / "a"
    asked: list[tuple[object, ...]] = [("who-is-parent", child, "--among", tmp_path / "L"), ("explain", child, parent)]
    asked += [("origins", child, parent), ("verify", tmp_path / "L"), ("scan", tmp_path / "L")]
    asked += [("sync", "--folder", tmp_path / "L"), ("who-is-parent", child), ("tree", "a"), ("ancestors", child)]
    asked += [("path", child, "a"), ("declared",), ("licences", child), ("leaves",), ("changes",), ("verify", child)]
    for words in asked:
        done = offline(*words)
        assert done.code in (0, 3), (words, done)
        shown = done.stdout + done.stderr
        assert not [c for c in shown if not c.isprintable() and c != "\n"], (words[0], shown)
        assert "\nline" not in shown, words[0]


def test_copies_beside_each_other_in_a_folder_are_no_published_originals(tmp_path: Path, offline: Command) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(save(start(3)))
    done = offline("who-is-parent", tmp_path / "one.safetensors", "--among", tmp_path, "--json")
    assert done.code == 3 and done.json["answer"] == "undecided"
