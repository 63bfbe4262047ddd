"""Every format of weights goes through one list: what is in it is found, digested and read on every road."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lineage.crawler.folder import local_models
from lineage.crawler.formats import registry
from lineage.crawler.formats.registry import FORMATS, READ_SUFFIXES, choose_model, format_of
from lineage.crawler.listing import Repository
from lineage.crawler.priority import has_weights, pack, unpack

FIRST = {form.kind: f"model{form.suffixes[0]}" for form in FORMATS}


def test_the_formats_are_these_and_each_has_its_own_kind_and_suffixes() -> None:
    assert [form.kind for form in FORMATS] == ["safetensors", "torch", "gguf", "onnx", "zip"]
    assert len(READ_SUFFIXES) == len(set(READ_SUFFIXES))


@pytest.mark.parametrize("kind", FIRST)
def test_a_file_of_each_format_is_the_model_of_a_repository_and_of_a_folder(kind: str, tmp_path: Path) -> None:
    name = FIRST[kind]
    form, choice = choose_model(["README.md", name])
    assert form.kind == kind and choice.weights is not None and choice.weights.files == (name,)
    (tmp_path / name).write_bytes(b"\0")
    if kind == "zip":  # archives of other things are passed over
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("model.pt", b"\0")
    (found,) = local_models(tmp_path)
    assert found.format is form and found.files == (tmp_path / name,)
    assert format_of(name.upper()) is form


def test_where_a_model_is_there_in_several_formats_the_first_of_the_list_is_read() -> None:
    left = list(FORMATS)
    while left:
        form, _ = choose_model([FIRST[later.kind] for later in reversed(left)])
        assert form is left.pop(0)
    assert choose_model(["model.h5"])[1].weights is None


def test_the_waiting_line_keeps_the_files_of_every_format() -> None:
    files = (*FIRST.values(), "model.onnx_data", "picture.png")
    repository = Repository("1", "org/name", "0" * 40, files)
    kept = unpack(pack(repository))
    assert kept.files == files[:-1] and has_weights(kept)
    assert not has_weights(Repository("2", "org/other", "0" * 40, ("picture.png",)))


def test_nothing_but_the_list_names_a_format() -> None:
    """Modules that choose, open or count models ask the list; only selection.py, which is about safetensors, knows one."""
    folder = Path(registry.__file__).parent.parent
    for name in ("open_model", "folder", "plan", "priority", "visit"):
        text = (folder / f"{name}.py").read_text()
        assert not any(f"formats.{form}" in text for form in ("gguf", "onnx_graph", "torch_zip", "safetensors")), name
