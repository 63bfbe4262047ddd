"""Models on disk: which there are, what they are called, and what is said of those that cannot be read."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save

from lineage.crawler.folder import NoSuchFolder, local_models, one_local_model
from lineage.crawler.local_digest import content_hash
from lineage.crawler.local_names import names_of
from lineage.crawler.open_model import locate_local
from lineage.crawler.weights import UnreadableWeights, local_weights
from lineage.detect.sketch import Block
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import local_id, real_path
from lineage.graphdb.store import open_store
from tests.builders import sketch_of
from tests.crawler.toys import model_file, weights


def put(root: Path, *paths: str, content: bytes = b"x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def write_gguf(
    root: Path, path: str, tensors: dict[str, np.ndarray], kind: str = "model", architecture: str = "llama"
) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(root / path, architecture)
    writer.add_type(kind)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def names(folder: Path) -> dict[str, str | None]:
    return {model.id: model.reason for model in local_models(folder)}


def test_a_loose_file_above_folders_of_models_has_its_own_name(tmp_path: Path) -> None:
    put(tmp_path, "base.pt")
    assert list(names(tmp_path)) == ["."]
    put(tmp_path, "child/model.safetensors")
    assert list(names(tmp_path)) == ["base.pt", "child"]


def test_a_folder_of_unrelated_files_is_one_model_each(tmp_path: Path) -> None:
    put(tmp_path, "b.safetensors", "a.safetensors", "truth.json", "LICENSE")
    assert [model.id for model in local_models(tmp_path)] == ["a", "b"]


def test_a_folder_with_a_configuration_is_one_model(tmp_path: Path) -> None:
    put(tmp_path, "x/config.json", "x/model.safetensors", "x/model.fp16.safetensors", "x/README.md")
    (model,) = local_models(tmp_path)
    assert (model.id, model.path, [f.name for f in model.files]) == ("x", tmp_path / "x", ["model.safetensors"])


def test_modules_behind_a_sentence_encoder_are_no_models(tmp_path: Path) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    said = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    put(tmp_path, "x/config.json", "x/model.safetensors", "x/2_Dense/model.safetensors", "x/other/model.safetensors")
    put(tmp_path, "x/modules.json", content=json.dumps(said).encode())
    assert names(tmp_path).keys() == {"x", "x/other"}
    said[0]["path"] = "0_Transformer"
    put(tmp_path, "y/0_Transformer/model.safetensors", "y/2_Dense/model.safetensors")
    put(tmp_path, "y/modules.json", content=json.dumps(said).encode())
    assert names(tmp_path / "y").keys() == {"0_Transformer"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, null]", b'[{}, {"path": 3}]', b"[" * 70_000, b'"' + b"\xff" * 9])
def test_a_list_of_modules_that_says_something_else_hides_nothing(content: bytes, tmp_path: Path) -> None:
    put(tmp_path, "x/model.safetensors", "x/2_Dense/model.safetensors")
    put(tmp_path, "x/modules.json", content=content)
    assert {model.folder.name for model in local_models(tmp_path)} == {"x", "2_Dense"}


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
        "pickle/model.pkl",
        "pickle/config.json",
        "bare/x.pkl",
        "gguf/q-00001-of-00002.gguf",
        "none/config.json",
    )
    put(tmp_path, "lora/adapter_config.json", "lora/adapter_model.pkl")
    put(tmp_path, "shards/model-00001-of-00002.safetensors")
    put(tmp_path, "index/model.safetensors.index.json", content=b'{"weight_map": {"a": "gone.safetensors"}}')
    put(tmp_path, "index/there.safetensors", "index/another.safetensors")
    put(tmp_path, "escape/model.safetensors.index.json", content=b'{"weight_map": {"a": "../../x.safetensors"}}')
    put(tmp_path, "escape/there.safetensors")
    found = names(tmp_path)
    assert "never opened" in (found["pickle"] or "") and "never opened" in (found["bare"] or "")
    assert found["gguf/q-00001-of-00002.gguf"] == "1 of its 2 weight files is missing"
    assert "adapter" in (found["lora"] or "")
    assert "1 of its 2 weight files is missing" in (found["shards"] or "")
    assert "gone.safetensors, which is missing" in (found["index"] or "")
    assert "not a file beside it" in (found["escape"] or "")
    assert "none" not in found and all(found.values())


def test_weights_in_formats_that_are_not_read_are_named_and_not_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "lite/model.tflite", "apple/Net.mlpackage/Data/weights/weight.bin", "parts/consolidated.00.pth")
    put(tmp_path, "parts/consolidated.01.pth", "vino/openvino_model.bin", "vino/openvino_model.xml", "data/table.csv")
    put(tmp_path, "whole/consolidated.00.pth")
    found = names(tmp_path)
    assert found.pop("whole") is None
    assert found.keys() == {"lite", "apple/Net.mlpackage", "parts", "vino"}
    assert "TensorFlow Lite" in str(found["lite"]) and "Core ML" in str(found["apple/Net.mlpackage"])
    assert "cut in parts" in str(found["parts"]) and "OpenVINO" in str(found["vino"])


def test_links_in_circles_and_pipes_do_no_harm_and_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a/x.safetensors")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "broken.safetensors").symlink_to("../../nowhere")
    (tmp_path / "a" / "gone").symlink_to("/no/disk")
    (tmp_path / "a" / "self.safetensors").symlink_to("self.safetensors")
    os.mkfifo(tmp_path / "a" / "pipe.safetensors")
    found = names(tmp_path)
    assert found.pop("a/x") is None
    assert found == {
        "a/broken": "broken.safetensors is a link that leads nowhere (../../nowhere)",
        "a/gone": "gone is a link that leads nowhere (/no/disk)",
        "a/loop": "a link to a folder that it lies in itself",
        "a/pipe": "pipe.safetensors is not a regular file",
        "a/self": "self.safetensors is a link that leads nowhere (self.safetensors)",
    }


def test_a_link_to_itself_has_an_identity_and_a_place_as_every_model_that_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, "one/model.safetensors")
    (tmp_path / "self").symlink_to("self")
    looped, one = sorted(local_models(tmp_path), key=lambda model: model.reason is None)
    assert real_path(looped.path) == looped.path and names_of(looped) != names_of(one)
    found = locate_local(looped).model
    assert found.hub_id == local_id(looped.path) != local_id(one.path)
    assert found.reason == "self is a link that leads nowhere (self)"


def test_a_folder_whose_weights_are_a_broken_link_is_named(tmp_path: Path) -> None:
    put(tmp_path, "c/config.json", "s/config.json", "s/model-00001-of-00002.safetensors", "g/readme.md")
    (tmp_path / "c" / "model.safetensors").symlink_to("../../blobs/gone")
    (tmp_path / "s" / "model-00002-of-00002.safetensors").symlink_to("/gone")
    (tmp_path / "g" / "m-F16.gguf").symlink_to("/gone")
    assert names(tmp_path) == {
        "c": "model.safetensors is a link that leads nowhere (../../blobs/gone)",
        "s": "model-00002-of-00002.safetensors is a link that leads nowhere (/gone)",
        "g/m-F16.gguf": "m-F16.gguf is a link that leads nowhere (/gone)",
    }
    with pytest.raises(UnreadableWeights, match="link that leads nowhere"):
        one_local_model(tmp_path / "c")


def test_linked_folders_are_walked_once_each(tmp_path: Path) -> None:
    put(tmp_path, "disk/c/model.safetensors", "disk/c/deep/model.safetensors", "L/own/model.safetensors")
    put(tmp_path, "L/.hidden/h/model.safetensors")
    for link, target in (("c", "disk/c"), ("again", "disk/c"), ("deep", "disk/c/deep"), ("mine", "L/own")):
        (tmp_path / "L" / link).symlink_to(tmp_path / target)
    (tmp_path / "L" / "shown").symlink_to(tmp_path / "L/.hidden/h")
    (tmp_path / "disk" / "c" / "back").symlink_to(tmp_path / "disk")
    found = names(tmp_path / "L")
    assert {name for name, why in found.items() if why is None} == {"again", "deep", "own", "shown"}
    assert found["again/back"] == "a link to a folder that it lies in itself"


def test_a_linked_model_of_the_cache_is_read(tmp_path: Path) -> None:
    put(tmp_path, f"elsewhere/models--acme--tiny/snapshots/{'1' * 40}/model.safetensors")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "models--acme--tiny").symlink_to(tmp_path / "elsewhere" / "models--acme--tiny")
    assert names(tmp_path / "hub") == {"acme/tiny": None}


def test_endings_in_upper_case_are_read(tmp_path: Path) -> None:
    put(tmp_path, "C.SAFETENSORS", "x/Model.SafeTensors", "g/model-F16.GGUF", "p/OLD.PKL")
    found = names(tmp_path)
    assert "never opened" in str(found.pop("p"))
    assert found == {"C": None, "x/Model": None, "g/model-F16.GGUF": None}
    assert one_local_model(tmp_path / "C.SAFETENSORS").files[0].name == "C.SAFETENSORS"
    form = one_local_model(tmp_path / "g" / "model-F16.GGUF").format
    assert form is not None and form.kind == "gguf"


def test_a_name_that_is_no_utf8_is_shown_with_its_bytes(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.safetensors"))
    odd.write_bytes(model_file(1))
    put(tmp_path, "p.safetensors", content=model_file(2))
    models = list(local_models(tmp_path))
    assert [model.id for model in models] == ["caf\\xe9", "p"]
    opened = locate_local(models[0])
    assert opened.model.repo_id.endswith("/caf\\xe9.safetensors") and opened.model.hub_id == local_id(odd)
    opened.model.repo_id.encode()
    assert opened.header


def test_an_index_decides_which_shards_are_the_model(tmp_path: Path) -> None:
    new = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    for folder, old in (("whole", (1, 2)), ("part", (1,))):
        put(tmp_path, *(f"{folder}/{name}" for name in new), f"{folder}/config.json")
        put(tmp_path, *(f"{folder}/model-0000{i}-of-00002.safetensors" for i in old))
        index = json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(new)}}).encode()
        put(tmp_path, f"{folder}/model.safetensors.index.json", content=index)
    for model in local_models(tmp_path):
        assert [file.name for file in model.files] == new, model.reason


def test_a_shard_or_part_by_name_is_the_whole_model_or_says_what_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "st/model-00001-of-00002.safetensors", "st/model-00002-of-00002.safetensors")
    put(tmp_path, "gg/m-F16-00001-of-00002.gguf", "gg/m-F16-00002-of-00002.gguf", "gg/m-Q4_0.gguf")
    put(tmp_path, "half/model-00001-of-00002.safetensors", "half/m-00002-of-00002.gguf")
    shard = one_local_model(tmp_path / "st" / "model-00002-of-00002.safetensors")
    assert (len(shard.files), shard.id) == (2, "st")
    part = one_local_model(tmp_path / "gg" / "m-F16-00002-of-00002.gguf")
    assert [file.name for file in part.files] == ["m-F16-00001-of-00002.gguf", "m-F16-00002-of-00002.gguf"]
    for name in ("model-00001-of-00002.safetensors", "m-00002-of-00002.gguf"):
        with pytest.raises(UnreadableWeights, match="1 of its 2 weight files is missing"):
            one_local_model(tmp_path / "half" / name)


def test_tensors_and_not_names_make_an_adapter_or_a_companion(tmp_path: Path) -> None:
    for name in ("alpaca-lora-7b-F16", "llama-expanded-vocab.F16", "model-imatrix-F16"):
        write_gguf(tmp_path, f"models/{name}.gguf", {"a.weight": np.ones((4, 4), np.float32)})
    put(tmp_path, "full/config.json", "full/gpt4-alpaca-lora-13b.safetensors")
    assert names(tmp_path) == {
        "full": None,
        "models/alpaca-lora-7b-F16.gguf": None,
        "models/llama-expanded-vocab.F16.gguf": None,
        "models/model-imatrix-F16.gguf": None,
    }
    assert one_local_model(tmp_path / "models" / "model-imatrix-F16.gguf").files


def test_what_only_goes_along_with_a_gguf_model_is_told_where_it_is_alone(tmp_path: Path) -> None:
    plain = {"a.weight": np.ones((4, 4), np.float32)}
    for folder in ("with", "alone"):
        write_gguf(tmp_path, f"{folder}/mmproj-m.gguf", plain, architecture="clip")
    write_gguf(tmp_path, "with/m.gguf", plain)
    write_gguf(tmp_path, "with/m-imatrix.gguf", plain, kind="imatrix")
    write_gguf(tmp_path, "with/m-lora.gguf", plain, kind="adapter")
    write_gguf(tmp_path, "vocab/m-vocab.gguf", {})
    found = names(tmp_path)
    assert found.pop("with/m.gguf") is None
    assert "projector" in str(found.pop("alone/mmproj-m.gguf"))
    assert found.pop("with/m-lora.gguf") is None  # an adapter, which is read as one
    assert "no tensors" in str(found.pop("vocab/m-vocab.gguf"))
    assert found == {}
    with pytest.raises(UnreadableWeights, match="importance matrix"):
        one_local_model(tmp_path / "with" / "m-imatrix.gguf")
    assert one_local_model(tmp_path / "with" / "m-lora.gguf").files


def test_the_cache_gives_the_newest_revision_that_has_weights(tmp_path: Path) -> None:
    shas = [str(i) * 40 for i in range(1, 5)]
    for age, sha in enumerate(shas[:3]):
        put(tmp_path, f"models--acme--a/snapshots/{sha}/model.safetensors", content=sha.encode())
        os.utime(tmp_path / f"models--acme--a/snapshots/{sha}", (1_000_000 - age, 1_000_000 - age))
    put(tmp_path, f"models--acme--a/snapshots/{shas[3]}/config.json")
    put(tmp_path, "models--acme--a/refs/main", content=shas[3].encode())
    (model,) = local_models(tmp_path)
    assert (model.revision, model.reason) == (shas[0], None)
    put(tmp_path, "models--acme--a/refs/main", content=shas[1].encode())
    (model,) = local_models(tmp_path)
    assert model.revision == shas[1]
    (tmp_path / f"models--acme--a/snapshots/{shas[1]}/model.safetensors").unlink()
    (tmp_path / f"models--acme--a/snapshots/{shas[1]}/model.safetensors").symlink_to("../../blobs/gone")
    (model,) = local_models(tmp_path)
    assert model.revision == shas[1] and "leads nowhere" in str(model.reason)


def test_an_index_over_one_file_of_another_name_does_not_hide_it(tmp_path: Path) -> None:
    put(tmp_path, "c/merged-weights.safetensors", "c/config.json")
    put(
        tmp_path, "c/model.safetensors.index.json", content=b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    )
    (model,) = local_models(tmp_path)
    assert (model.id, [file.name for file in model.files]) == ("c", ["merged-weights.safetensors"])


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


def test_exports_in_a_folder_of_a_model_are_that_model(tmp_path: Path) -> None:
    """As sentence-transformers and optimum lay out a repository."""
    put(tmp_path, "st/config.json", "st/model.safetensors", "st/onnx/model.onnx", "st/onnx/model_O1.onnx")
    put(tmp_path, "exports/onnx/model.onnx")
    assert list(names(tmp_path)) == ["exports/onnx", "st"]
    assert one_local_model(tmp_path / "st").files == (tmp_path / "st/model.safetensors",)
    assert one_local_model(tmp_path / "exports").files == (tmp_path / "exports/onnx/model.onnx",)


def test_a_folder_that_is_a_model_is_meant_and_not_the_checkpoints_below_it(tmp_path: Path) -> None:
    put(
        tmp_path,
        *(f"{folder}{name}" for folder in ("", "checkpoint-1/") for name in ("config.json", "model.safetensors")),
    )
    assert list(names(tmp_path)) == [".", "checkpoint-1"]
    assert one_local_model(tmp_path).files == (tmp_path / "model.safetensors",)


def test_one_model_is_wanted_and_none_or_several_are_told(tmp_path: Path) -> None:
    put(tmp_path, "two/a.safetensors", "two/b.safetensors", "pickle/model.pkl")
    with pytest.raises(UnreadableWeights, match="several models: a, b"):
        one_local_model(tmp_path / "two")
    with pytest.raises(UnreadableWeights, match="never opened"):
        one_local_model(tmp_path / "pickle")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableWeights, match="no weight files"):
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
    with pytest.raises(UnreadableWeights, match="became shorter"):
        list(opened.read([Block("layers.5.weight", 0, 10)]))


def test_a_sample_of_absurdly_wide_rows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wide.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1,100000000],"data_offsets":[0,400000000]}}'
    with file.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(8 + len(header) + 400_000_000)
    with pytest.raises(UnreadableWeights, match="so wide"):
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
        "half/m-00001-of-00002.gguf": [],
    }
    assert one_local_model(tmp_path / "m").files[0].name == "m-Q8_0.gguf"
    assert one_local_model(tmp_path / "both").files[0].name == "model.safetensors"
    assert one_local_model(tmp_path / "m" / "m-Q4_0.gguf").files


def test_a_store_that_lies_in_the_folder_is_no_model(tmp_path: Path) -> None:
    put(tmp_path, "models/one/model.v2.safetensors", content=model_file(1))
    open_store(str(tmp_path / "store")).close()
    assert (tmp_path / "store" / "graph").is_dir()
    store = SketchStore(tmp_path / "store" / "sketches")
    for seed in (1, 2):
        store.keep(sketch_of(weights(seed)))
    assert [model.id for model in local_models(tmp_path)] == ["models/one/model.v2"]
    store.compact(everything=True)
    assert [file.parent.name for file in (tmp_path / "store").rglob("*.safetensors")] == ["shards"]
    assert [model.id for model in local_models(tmp_path)] == ["models/one/model.v2"]


def test_what_would_have_one_name_has_two_and_none_is_lost(tmp_path: Path) -> None:
    put(tmp_path, "a.safetensors", "a/model.safetensors", "a/config.json", "c.safetensors", "c.SAFETENSORS")
    put(
        tmp_path,
        *(f"t/model-0000{number}-of-0000{total}.safetensors" for total in (2, 3) for number in range(1, total + 1)),
    )
    put(tmp_path, "k/model.safetensors", "k/model-00001-of-00001.safetensors", "k/model.safetensors.index.json")
    found = list(local_models(tmp_path))
    assert {model.id for model in found} == {
        *("a", "a/", "c", "c.safetensors"),
        *("t/model", "t/model-00001-of-00003.safetensors", "k/model", "k/model.safetensors"),
    }
    assert len({local_id(model.path) for model in found}) == len(found)


def test_the_detector_of_a_checkout_of_this_program_is_no_model(tmp_path: Path) -> None:
    shipped = Path(str(files("lineage.detect.detector")))
    for file in shipped.iterdir():
        if file.is_file():
            put(tmp_path, f"lineage/build/lib/{file.name}", content=b"x")
    put(tmp_path, "mine/detector.safetensors")
    assert (tmp_path / "lineage/build/lib/detector.safetensors").exists()
    assert [model.id for model in local_models(tmp_path)] == ["mine/detector"]


def test_the_folder_of_a_pipeline_means_its_main_part(tmp_path: Path) -> None:
    parts = ("text_encoder", "transformer", "vae")
    for part in parts:
        (tmp_path / part).mkdir()
        file = tmp_path / part / "diffusion_pytorch_model.safetensors"
        file.write_bytes(save({"weight": np.zeros((2, 2), np.float32)}))
    with pytest.raises(UnreadableWeights, match="several models"):
        one_local_model(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    assert one_local_model(tmp_path).folder == tmp_path / "transformer"
    assert {model.folder.name for model in local_models(tmp_path)} == set(parts)
