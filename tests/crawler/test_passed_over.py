"""A folder without a model: the message names what is read, and the files that may be weights all the same."""

from __future__ import annotations

from pathlib import Path

from lineage.crawler.passed_over import READ_KINDS, no_model_under


def test_files_that_may_be_weights_are_named(tmp_path: Path) -> None:
    for name, size in (
        ("a.ftz", 5000),
        ("data/b.ftz", 5000),
        ("gnubg.weights", 9000),
        ("notes.txt", 9000),
        ("c.dat", 10),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    failure = no_model_under(tmp_path)
    assert failure.message.endswith(
        "; 2 files that may be weights: a.ftz … (.ftz is not read)"
        "; 1 file that may be weights: gnubg.weights (.weights is not read)"
    )
    assert failure.try_next == READ_KINDS and all(kind in READ_KINDS for kind in (".pth", ".gguf", ".onnx"))


def test_a_folder_without_any_says_no_more(tmp_path: Path) -> None:
    assert no_model_under(tmp_path).message == f"no model under {tmp_path}"
