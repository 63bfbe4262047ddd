"""A pipeline on the Hub means its main part, whatever is asked, from the graph and where there is none, as its folder on disk does."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save

from tests.builders import start, three_generations
from tests.cli.command import Command, command_at
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

MODELS, _ = three_generations()
TEXT = {"stem.weight": (24, 20), "head.weight": (16, 24)}
NAMES = {"base": "a", "tuned": "b", "again": "c", "below": "ba"}


def pipeline(unet: str, base: str | None) -> dict[str, bytes]:
    return {
        "README.md": f"---\nbase_model: sd/{base}\n---\n".encode() if base else b"",
        "model_index.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": save(MODELS[unet]),
        "text_encoder/model.safetensors": save(start(77, TEXT)),
    }


@pytest.fixture
def lineage(hub: FakeHub, tmp_path: Path) -> Command:
    hub.add_repo("clip/stock", {"model.safetensors": save(start(77, TEXT))})
    for name, unet in NAMES.items():
        hub.add_repo(f"sd/{name}", pipeline(unet, None if name == "base" else "tuned" if name == "below" else "base"))
    return command_at(tmp_path, hub.url)


def test_every_question_about_a_pipeline_is_about_its_main_part(lineage: Command) -> None:
    assert lineage("sync").code == 0
    asked = lineage("who-is-parent", "sd/tuned", "--json")
    assert asked.json["parent"] == "sd/base/unet" and "its main part, unet" in asked.stderr
    assert asked.json["declared"][0]["base"] == "sd/base"
    assert lineage("verify", "sd/tuned", "--parent", "sd/base").code == 0
    assert "declared and found in the weights" in lineage("verify", "sd/tuned").stdout
    explained = lineage("explain", "sd/tuned", "sd/base", "--json")
    assert explained.code == 0 and explained.json["verdict"]["answer"] == "parent"
    heirs = {row["repo_id"] for row in lineage("blast-radius", "sd/base", "--json").json}
    assert heirs == {"sd/tuned/unet", "sd/again/unet", "sd/below/unet"}
    assert [row["repo_id"] for row in lineage("ancestors", "sd/below", "--json").json] == [
        "sd/tuned/unet",
        "sd/base/unet",
    ]
    assert lineage("verify", "sd/tuned/unet").code == 0


def test_cards_of_pipelines_are_compared_with_their_main_parts_once(lineage: Command, hub: FakeHub) -> None:
    hub.add_repo("sd/wrong", pipeline("d", "other"))
    hub.add_repo("sd/other", {**pipeline("a", None), "unet/diffusion_pytorch_model.safetensors": save(start(5))})
    assert lineage("sync").code == 0
    found = {row["repo_id"]: row["agreement"] for row in lineage("declared", "--json").json}
    assert {found[f"sd/{name}"] for name in ("tuned", "again", "below")} == {"agree"}
    assert found["sd/wrong"] == "contradicts" and not any(name.endswith("/unet") for name in found)
    assert lineage("verify", "sd/wrong").code == 5


def test_a_pipeline_that_no_graph_knows_is_its_main_part(lineage: Command, hub: FakeHub) -> None:
    assert lineage("sync", "--search", "base").code == 0
    asked = lineage("who-is-parent", "sd/tuned", "--json")
    assert asked.json["parent"] == "sd/base/unet" and "its main part, unet" in asked.stderr
    assert {claim["base"] for claim in asked.json["declared"]} == {"sd/base"}
    assert lineage("verify", "sd/tuned", "--parent", "sd/base").code == 0


def test_a_repository_of_checkpoints_has_an_answer_for_each_of_them(lineage: Command, hub: FakeHub) -> None:
    hub.add_repo("ck/base", {"model.safetensors": save(MODELS["a"])})
    steps = {f"checkpoint-{n}/model.safetensors": save(MODELS[name]) for n, name in ((1, "b"), (2, "c"))}
    hub.add_repo("ck/runs", {"README.md": b"---\nbase_model: ck/base\n---\n", **steps})
    assert lineage("sync").code == 0
    asked = lineage("who-is-parent", "ck/runs", "--json")
    assert asked.code == 0 and "2 models" in asked.stderr
    assert {part["model"] for part in asked.json["parts"]} == {"ck/runs/checkpoint-1", "ck/runs/checkpoint-2"}
    assert {part["declared"][0]["base"] for part in asked.json["parts"]} == {"ck/base"}
    assert lineage("verify", "ck/runs").code == 0
    assert {row["repo_id"]: row["agreement"] for row in lineage("declared", "ck/runs", "--json").json} == {
        "ck/runs/checkpoint-1": "agree",
        "ck/runs/checkpoint-2": "agree",
    }
    assert lineage("verify", "ck/runs", "--parent", "clip/stock").code == 5
    first = lineage("verify", "ck/runs/checkpoint-1", "--json").json["checks"][0]["details"]["detected"]
    assert lineage("verify", "ck/runs", "--parent", first[0]).stdout.splitlines()[-1].startswith("holds")


def test_a_second_sync_counts_as_the_first(lineage: Command) -> None:
    first, second = (lineage("sync").stdout.splitlines()[1] for _ in range(2))
    assert first == second == "1 readable, 4 with several models in each"


def test_a_sync_that_could_read_nothing_is_a_failure(hub: FakeHub, tmp_path: Path) -> None:
    hub.add_repo("x/broken", {"model.safetensors": b"no header"})
    hub.add_repo("x/parts", {f"{part}/model.safetensors": b"no header" for part in "ab"})
    asked = command_at(tmp_path, hub.url)("sync")
    assert asked.code == 1 and "3 BadHeader" in asked.stderr and "2 models seen" in asked.stdout
