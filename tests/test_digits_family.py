"""The family that the demo trains: real training, known lineage, repositories that the loopback Hub can serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file

from bench.digits_family import ARCHITECTURES, PLAN, Truth, publish, read_truth, train_family
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("digits")
    return folder, train_family(folder, effort=0.15)


def weights(folder: Path, repo_id: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in (folder / repo_id).glob("*.safetensors"):
        found |= load_file(file)
    return found


def test_plan_holds_what_a_detector_must_tell_apart(family: tuple[Path, Truth]) -> None:
    _, truth = family
    parents = truth.parents()

    def depth(repo_id: str) -> int:
        parent = parents[repo_id]
        return 0 if parent is None else 1 + depth(parent)

    assert max(map(depth, parents)) == 3
    assert len({m.architecture for m in truth.models}) == 3
    strangers = [m for m in truth.models if m.parent is None and m.id not in parents.values()]
    assert {m.architecture for m in strangers} == {"mlp", "autoencoder"}
    assert [m.relation for m in truth.models].count("COPY_OF") == 1
    wrong = [m for m in truth.models if m.declared not in (None, m.parent)]
    silent = [m for m in truth.models if m.parent and m.declared is None]
    assert len(wrong) == len(silent) == 1
    assert all(m.values >= 50_000 for m in truth.models)


def test_children_move_and_learn_and_the_copy_does_not(family: tuple[Path, Truth]) -> None:
    folder, truth = family
    for model in truth.models:
        if model.relation == "COPY_OF":
            assert model.distance == 0 and model.parent is not None
            copy, original = (folder / r / "model.safetensors" for r in (model.id, model.parent))
            assert copy.read_bytes() == original.read_bytes()
        else:
            assert model.distance is None or 0.02 < model.distance < 0.5
            assert model.accuracy is None or model.accuracy > 0.3  # a guess is right in 0.1


def test_weights_load_into_their_architecture_in_every_storage(family: tuple[Path, Truth]) -> None:
    folder, truth = family
    for model in truth.models:
        found = weights(folder, model.id)
        ARCHITECTURES[model.architecture]().load_state_dict(found)
        config = json.loads((folder / model.id / "config.json").read_text())
        assert config["architectures"] == [ARCHITECTURES[model.architecture].__name__]
        assert all(torch.isfinite(w).all() for w in found.values())
    assert len(list((folder / "acme/digits-conv").glob("*.safetensors"))) == 2
    assert weights(folder, "cedar/low-digits")["1.weight"].dtype == torch.bfloat16


def test_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_family(tmp_path / name, seed, effort=0.01)

    def content(name: str) -> list[bytes]:
        return [(tmp_path / name / p.repo_id / "config.json").parent.joinpath(f).read_bytes() for p, f in every]

    every = [(p, f.name) for p in PLAN for f in sorted((tmp_path / "a" / p.repo_id).glob("*.safetensors"))]
    assert content("a") == content("b")
    assert all(x != y for x, y in zip(content("a"), content("c"), strict=True))


def test_hub_shows_the_family_with_its_cards_and_without_telling_dates(family: tuple[Path, Truth]) -> None:
    folder, _ = family

    with FakeHub() as hub:
        truth = publish(folder, hub)
        assert truth == read_truth(folder)
        api = HfApi(endpoint=hub.url, token=False)
        models = {m.id: m for m in api.list_models(expand=["tags", "createdAt", "safetensors", "config"])}
        assert set(models) == set(truth.parents())
        assert len({m.created_at for m in models.values()}) == 1
        for model in truth.models:
            tags = models[model.id].tags or []
            assert (f"base_model:finetune:{model.declared}" in tags) == (model.declared is not None)
            assert models[model.id].safetensors is not None
        metadata = api.get_safetensors_metadata("acme/digits-conv")
        assert metadata.sharded and len(metadata.files_metadata) == 2
    with FakeHub() as hub:
        publish(folder, hub, dated=True)
        seen = [m.id for m in HfApi(endpoint=hub.url, token=False).list_models(sort="created_at")]
        assert all(p is None or seen.index(p) > seen.index(c) for c, p in truth.parents().items())
