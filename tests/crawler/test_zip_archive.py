"""Models whose weight file lies in a zip archive are read there, and other archives are passed over."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from lineage.crawler.folder import local_models, one_local_model
from lineage.crawler.formats import zip_archive
from lineage.crawler.formats.registry import choose_model
from lineage.crawler.formats.zip_directory import BadArchive
from lineage.crawler.open_model import OpenModel, locate_local, open_model
from lineage.crawler.packing.interface import TensorRange
from tests.crawler.toys import hub_at
from tests.fake_hub import FakeHub

WEIGHTS = {"net.weight": torch.arange(12.0).reshape(3, 4), "net.bias": torch.ones(3)}


def saved(what: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(what, buffer)
    return buffer.getvalue()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def opened(path: Path) -> OpenModel:
    return locate_local(one_local_model(path))


def numbers(model: OpenModel, name: str) -> bytes:
    tensor = next(tensor for tensor in model.header if tensor.name == name)
    return b"".join(data for _, data in model.read([block_of(tensor.name, tensor.values)]))


def block_of(name: str, values: int) -> TensorRange:
    return TensorRange(name, 0, values)


POLICY = {
    "data": b"{}",
    "pytorch_variables.pth": saved({"log": torch.zeros(1)}),
    "policy.pth": saved(WEIGHTS),
    "policy.optimizer.pth": saved({"state": {0: {"exp_avg": torch.zeros(3, 4)}}}),
    "system_info.txt": b"",
}


@pytest.mark.parametrize(
    ("members", "method"),
    [
        (POLICY, zipfile.ZIP_STORED),
        ({"network.pt": saved(WEIGHTS), "model_params.json": b"{}"}, zipfile.ZIP_DEFLATED),
        ({"run/best/model.pt": saved(WEIGHTS), "run/best/config.json": b"{}"}, zipfile.ZIP_DEFLATED),
    ],
    ids=["stable-baselines3", "TabNet", "in a folder"],
)
@pytest.mark.parametrize("name", ["model-v1.zip", "model-v1.tar"])
def test_the_weight_file_in_an_archive_is_the_model(
    members: dict[str, bytes], method: int, name: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "one" / name, members, method)
    assert [(model.id, model.reason) for model in local_models(tmp_path)] == [("one", None)]
    for road in (path, path.parent):
        model = opened(road)
        assert {tensor.name: tensor.shape for tensor in model.header} == {"net.weight": (3, 4), "net.bias": (3,)}
        assert numbers(model, "net.weight") == WEIGHTS["net.weight"].numpy().tobytes()


def test_what_pytorch_saved_under_the_name_of_an_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "net.zip").write_bytes(saved(WEIGHTS))
    assert len(opened(tmp_path).header) == 2


def test_other_archives_are_passed_over(tmp_path: Path) -> None:
    archive(tmp_path / "digits.zip", {"0.png": b"0", "1.png": b"1"})
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4" + bytes(100))
    (tmp_path / "page.zip").write_bytes(b"<html>")
    with tarfile.open(tmp_path / "pictures.tar", "w"):
        pass
    assert list(local_models(tmp_path)) == []
    with pytest.raises(BadArchive, match="without weight files"):
        _ = opened(tmp_path / "digits.zip").header


def test_several_weight_files_in_an_archive_are_named_with_what_to_do(tmp_path: Path) -> None:
    archive(tmp_path / "actor.zip", {"actor.pth": saved(WEIGHTS), "critic.pth": saved(WEIGHTS)})
    with pytest.raises(
        BadArchive, match=r"several weight files in one archive, which has to be unpacked: actor\.pth, critic\.pth"
    ) as error:
        _ = opened(tmp_path).header
    assert "unpack" in (error.value.try_next or "")


def test_nothing_is_inflated_beyond_what_the_directory_says_nor_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "bomb.zip", {"model.pt": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\1\2")
    content[at + 24 : at + 28] = (1000).to_bytes(4, "little")  # the size that it claims to inflate to
    path.write_bytes(content)
    with pytest.raises(BadArchive, match="damaged"):
        _ = opened(path).header
    archive(path, {"model.pt": saved(WEIGHTS)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zip_archive, "INFLATED_LIMIT_BYTES", 10)
    with pytest.raises(BadArchive, match="compressed and more than"):
        _ = opened(path).header


def test_an_archive_is_read_only_where_there_is_nothing_else() -> None:
    assert choose_model(["agent.zip", "train_eval_metrics.zip", "agent/policy.pth"])[1].weights.files == ("agent.zip",)  # type: ignore[union-attr]
    assert choose_model(["agent.zip", "policy.pth"])[1].weights.files == ("policy.pth",)  # type: ignore[union-attr]
    assert choose_model(["dataset.zip"])[1].weights is None


def test_an_archive_on_the_hub_is_read_by_ranges(tmp_path: Path) -> None:
    content = archive(tmp_path / "agent.zip", POLICY).read_bytes()
    with FakeHub() as hub:
        hub.add_repo("org/agent", {"agent.zip": content, "agent/policy.pth": b"unpacked", "config.json": b"{}"})
        model = open_model("org/agent", hub_at(hub))
        assert {tensor.file for tensor in model.header} == {"agent.zip/policy.pth"}
        assert numbers(model, "net.weight") == WEIGHTS["net.weight"].numpy().tobytes()
