"""Models on disk: which there are, what they are called, and what is said of those that cannot be read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.crawler.folder import NoSuchFolder, content_hash, local_models, one_local_model
from lineage.crawler.weights import Unreadable, local_weights
from lineage.detect.sketch import Block
from tests.crawler.toys import model_file, weights


def put(root: Path, *paths: str, content: bytes = b"x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def names(folder: Path) -> dict[str, str | None]:
    return {model.id: model.reason for model in local_models(folder)}


def test_a_folder_of_unrelated_files_is_one_model_each(tmp_path: Path) -> None:
    put(tmp_path, "b.safetensors", "a.safetensors", "truth.json", "LICENSE")
    assert [model.id for model in local_models(tmp_path)] == ["a", "b"]


def test_a_folder_with_a_configuration_is_one_model(tmp_path: Path) -> None:
    put(tmp_path, "x/config.json", "x/model.safetensors", "x/model.fp16.safetensors", "x/README.md")
    (model,) = local_models(tmp_path)
    assert (model.id, model.path, [f.name for f in model.files]) == ("x", tmp_path / "x", ["model.safetensors"])


def test_a_sharded_folder_is_one_model(tmp_path: Path) -> None:
    shards = [f"s/model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    put(tmp_path, *shards, "s/model.safetensors.index.json")
    (model,) = local_models(tmp_path)
    assert model.id == "s" and [f"s/{f.name}" for f in model.files] == shards


def test_the_folder_itself_may_be_the_model(tmp_path: Path) -> None:
    put(tmp_path, "config.json", "model.safetensors")
    assert names(tmp_path) == {".": None}


def test_a_single_file_is_a_model(tmp_path: Path) -> None:
    put(tmp_path, "a.safetensors")
    (model,) = local_models(tmp_path / "a.safetensors")
    assert model.id == "a" and one_local_model(tmp_path) == one_local_model(tmp_path / "a.safetensors")


def test_model_beside_unrelated_files_without_a_configuration_is_one_of_several(tmp_path: Path) -> None:
    put(tmp_path, "model.safetensors", "other.safetensors")
    assert set(names(tmp_path)) == {"model", "other"}


def test_a_tree_is_walked_and_hidden_folders_are_not(tmp_path: Path) -> None:
    put(tmp_path, "run/checkpoint-1/model.safetensors", "run/checkpoint-2/model.safetensors", ".git/x.safetensors")
    assert set(names(tmp_path)) == {"run/checkpoint-1", "run/checkpoint-2"}


def test_the_parts_of_a_pipeline_are_models_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, "p/model_index.json", "p/unet/config.json", "p/unet/diffusion_pytorch_model.safetensors")
    put(tmp_path, "p/vae/config.json", "p/vae/diffusion_pytorch_model.safetensors")
    assert set(names(tmp_path)) == {"p/unet", "p/vae"}


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    put(
        tmp_path,
        "pickle/pytorch_model.bin",
        "pickle/config.json",
        "bare/x.ckpt",
        "gguf/q-00001-of-00002.gguf",
        "none/config.json",
    )
    put(tmp_path, "lora/adapter_config.json", "lora/adapter_model.safetensors")
    put(tmp_path, "shards/model-00001-of-00002.safetensors")
    put(tmp_path, "index/model.safetensors.index.json", content=b'{"weight_map": {"a": "gone.safetensors"}}')
    put(tmp_path, "index/there.safetensors")
    put(tmp_path, "escape/model.safetensors.index.json", content=b'{"weight_map": {"a": "../../x.safetensors"}}')
    put(tmp_path, "escape/there.safetensors")
    found = names(tmp_path)
    assert "never opened" in (found["pickle"] or "") and "never opened" in (found["bare"] or "")
    assert "not read" in (found["gguf"] or "") and "adapter" in (found["lora"] or "")
    assert "1 of its 2 weight files are missing" in (found["shards"] or "")
    assert "gone.safetensors, which is missing" in (found["index"] or "")
    assert "no file beside it" in (found["escape"] or "")
    assert "none" not in found and all(found.values())


def test_links_in_circles_and_pipes_do_no_harm(tmp_path: Path) -> None:
    put(tmp_path, "a/x.safetensors")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "broken.safetensors").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "a" / "pipe.safetensors")
    assert names(tmp_path) == {"a/x": None}


def test_hugging_faces_cache_names_its_models(tmp_path: Path) -> None:
    first, second = "1" * 40, "2" * 40
    for sha, text in ((first, b"old"), (second, b"new")):
        blob = tmp_path / "models--acme--tiny" / "blobs" / hashlib.sha256(text).hexdigest()
        put(blob.parent, blob.name, content=text)
        snapshot = tmp_path / "models--acme--tiny" / "snapshots" / sha
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(blob)
    put(tmp_path, "models--acme--tiny/refs/main", content=first.encode())
    put(tmp_path, f"models--gpt2/snapshots/{first}/config.json")
    put(tmp_path, "models--acme--gone/snapshots/readme")
    found = {model.id: model for model in local_models(tmp_path)}
    tiny = found["acme/tiny"]
    assert (tiny.repo_id, tiny.revision, tiny.path) == ("acme/tiny", first, tmp_path / "models--acme--tiny")
    assert [file.read_bytes() for file in tiny.files] == [b"old"]
    assert found["gpt2"].reason == "no weight files"
    assert found["acme/gone"].reason == "the cache holds no revision of it"
    assert one_local_model(tmp_path / "models--acme--tiny") == tiny


def test_names_of_blobs_are_not_believed(tmp_path: Path) -> None:
    put(tmp_path, f"blobs/{'0' * 64}", content=b"something else")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / ("0" * 64))
    assert content_hash(tmp_path / "model.safetensors") == hashlib.sha256(b"something else").hexdigest()


def test_one_model_is_wanted_and_none_or_several_are_told(tmp_path: Path) -> None:
    put(tmp_path, "two/a.safetensors", "two/b.safetensors", "pickle/pytorch_model.bin")
    with pytest.raises(Unreadable, match="several models: a, b"):
        one_local_model(tmp_path / "two")
    with pytest.raises(Unreadable, match="never opened"):
        one_local_model(tmp_path / "pickle")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Unreadable, match="no weight files"):
        one_local_model(tmp_path / "empty")
    with pytest.raises(NoSuchFolder):
        one_local_model(tmp_path / "nowhere")


def test_local_files_are_read_like_remote_ones(tmp_path: Path) -> None:
    tensors = weights(5)
    halves = [dict(list(tensors.items())[:3]), dict(list(tensors.items())[3:])]
    for i, half in enumerate(halves, 1):
        (tmp_path / f"model-0000{i}-of-00002.safetensors").write_bytes(save(half))
    (model,) = local_models(tmp_path)
    blocks = [Block(name, 64, 640) for name in tensors]
    found = dict(local_weights(model.files).read(blocks))
    assert {b.tensor: raw for b, raw in found.items()} == {n: t.ravel()[64:640].tobytes() for n, t in tensors.items()}


def test_a_file_cut_while_it_is_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(model_file(1))
    opened = local_weights([file])
    assert opened.header
    file.write_bytes(model_file(1)[:5000])
    with pytest.raises(Unreadable, match="became shorter"):
        list(opened.read([Block("layers.5.weight", 0, 10)]))


def test_a_sample_of_absurdly_wide_rows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wide.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1,100000000],"data_offsets":[0,400000000]}}'
    with file.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(8 + len(header) + 400_000_000)
    with pytest.raises(Unreadable, match="so wide"):
        list(local_weights([file]).read([Block("a", 0, 100_000_000)]))
    assert np.frombuffer(next(local_weights([file]).read([Block("a", 5, 9)]))[1], np.float32).tolist() == [0.0] * 4


def test_every_gguf_is_a_model_of_its_own_and_the_best_one_stands_for_the_folder(tmp_path: Path) -> None:
    put(
        tmp_path,
        "m/m-Q4_0.gguf",
        "m/m-Q8_0.gguf",
        "m/mmproj-m.gguf",
        "m/README.md",
        "both/model.safetensors",
        "both/m.gguf",
    )
    put(tmp_path, "parts/m-F16-00001-of-00002.gguf", "parts/m-F16-00002-of-00002.gguf", "half/m-00001-of-00002.gguf")
    found = {model.id: [file.name for file in model.files] for model in local_models(tmp_path)}
    assert found == {
        "m/m-Q4_0.gguf": ["m-Q4_0.gguf"],
        "m/m-Q8_0.gguf": ["m-Q8_0.gguf"],
        "both/m.gguf": ["m.gguf"],
        "both": ["model.safetensors"],
        "parts/m-F16-00001-of-00002.gguf": ["m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf"],
        "half": [],
    }
    assert one_local_model(tmp_path / "m").files[0].name == "m-Q8_0.gguf"
    assert one_local_model(tmp_path / "both").files[0].name == "model.safetensors"
    assert one_local_model(tmp_path / "m" / "m-Q4_0.gguf").gguf
