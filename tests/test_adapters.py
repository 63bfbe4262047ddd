"""Adapters as models of the graph, from a Hub and from folders: claims that fit, claims that do not, chains, circles, pipelines, dirt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.answer import sentence_of
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.schema import Status
from lineage.graphdb.store import Store, open_store
from lineage.queries.claim_check import compare
from lineage.queries.parent_query import parent_named
from lineage.queries.walk import descendants
from tests.adapters import diffusers, ia3, kohya, lora, peft_files
from tests.builders import Weights, start
from tests.crawler.ggufs import llama
from tests.crawler.toys import hub_at
from tests.fake_hub import FakeHub

QV = ("q_proj", "v_proj")


class World:
    """A Hub and a graph that is brought up to date with it."""

    def __init__(self, hub: FakeHub, graph: Store, place: Path):
        self.hub, self.graph, self.place = hub, graph, place
        self.sketches = SketchStore(place / "sketches")

    def add(self, name: str, content: dict[str, bytes]) -> None:
        self.hub.add_repo(name, content)

    def sync(self, folder: Path | None = None, **options: bool) -> dict[str, int]:
        crawl = CrawlOptions(folder=folder)
        hub = None if folder else hub_at(self.hub)
        crawl_into(self.graph, self.sketches, self.place / "progress.sqlite", crawl, hub=hub)
        return detect_into(self.graph, self.sketches, Options(**options), "run")

    def edges(self, kind: str = "ADAPTER_OF") -> set[tuple[str, str]]:
        rows = self.graph.read(f"MATCH (c:Model)-[:{kind}]->(p:Model) RETURN c.repo_id AS child, p.repo_id AS parent")
        return {(row["child"], row["parent"]) for row in rows}

    def reason(self, name: str) -> str:
        rows = parent_named(self.graph, name)
        assert rows is not None
        return str(sentence_of(rows.reason))

    def declared(self, name: str) -> tuple[str, str]:
        model = self.graph.model(name)
        assert model is not None
        (found,) = compare(self.graph, [model.hub_id])
        return str(found.agreement), found.reason


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with FakeHub() as hub, open_store(str(tmp_path / "store")) as graph:
        yield World(hub, graph, tmp_path)


def full(weights: Weights, card: str = "license: mit") -> dict[str, bytes]:
    return {"README.md": f"---\n{card}\n---\n".encode(), "config.json": b"{}", "model.safetensors": save(weights)}


def wide() -> Weights:
    """The same architecture, twice as wide."""
    return {name: np.tile(values, 2 if values.ndim == 1 else (1, 2)) for name, values in llama(5).items()}


@pytest.mark.slow
def test_a_claim_that_fits_is_an_edge_and_one_that_does_not_is_a_contradiction(world: World) -> None:
    world.add("acme/base", full(llama()))
    world.add("acme/wide", full(wide()))
    world.add("me/honest", peft_files(lora(llama(), QV), "acme/base"))
    world.add("me/liar", peft_files(lora(llama(), QV), "acme/wide"))
    count = world.sync()
    assert world.edges() == {("me/honest", "acme/base")} and not world.edges("POSSIBLE_PARENT")
    assert (count["adapters"], count["adapters_with_base"], count["adapters_contradicted"]) == (2, 1, 1)
    assert world.declared("me/honest") == ("agree", "acme/base is declared and fits")
    agreement, why = world.declared("me/liar")
    assert agreement == "contradicts" and "acme/wide is declared and cannot be its base" in why and "q_proj" in why
    assert [relative.repo_id for relative in descendants(world.graph, world.graph.model("acme/base").hub_id)] == [
        "me/honest"
    ]  # type: ignore[union-attr]


def test_of_two_claimed_bases_that_fit_the_one_that_a_program_wrote_counts_and_the_other_is_possible(
    world: World,
) -> None:
    world.add("acme/base", full(llama()))
    world.add("acme/sister", full(llama(3)))
    card = {"README.md": b"---\nbase_model: acme/sister\n---\n"}
    world.add("me/both", peft_files(lora(llama(), QV), "acme/base") | card)
    world.sync()
    assert world.edges() == {("me/both", "acme/base")} and world.edges("POSSIBLE_PARENT") == {
        ("me/both", "acme/sister")
    }


@pytest.mark.slow
def test_nothing_is_decided_again_until_something_changes(world: World) -> None:
    world.add("me/early", peft_files(lora(llama(), QV), "acme/base"))
    assert world.sync()["adapters_undecided"] == 1
    assert "acme/base is declared and not known here" in world.reason("me/early")
    assert (again := world.sync())["adapters"] == 0 and again["adapters_unchanged"] == 1
    world.add("acme/base", full(llama()))
    assert world.sync()["adapters_with_base"] == 1 and world.edges() == {("me/early", "acme/base")}
    world.hub.commit("acme/base", {"model.safetensors": save(wide())})
    assert world.sync()["edges_superseded"] == 1 and not world.edges()


@pytest.mark.slow
def test_without_a_claim_models_that_fit_are_possible_while_they_are_few(world: World) -> None:
    world.add("acme/one", full(llama(1)))
    world.add("acme/two", full(llama(2)))
    world.add("acme/wide", full(wide()))
    world.add("me/silent", peft_files(lora(llama(), QV), None))
    world.add("me/path", peft_files(lora(llama(), QV), "/workspace/llama"))
    world.sync()
    assert not world.edges()
    assert world.edges("POSSIBLE_PARENT") == {
        (f"me/{c}", f"acme/{p}") for c in ("silent", "path") for p in ("one", "two")
    }
    assert "no base is declared" in world.reason("me/silent") and "as a path: /workspace/llama" in world.reason(
        "me/path"
    )
    assert world.declared("me/path")[0] == "cannot tell"
    for seed in range(3, 20):
        world.add(f"acme/more{seed}", full(llama(seed)))
    world.sync()
    assert not world.edges("POSSIBLE_PARENT") and "it fits 19 known models" in world.reason("me/silent")


@pytest.mark.slow
def test_adapters_upon_adapters_reach_down_to_the_model(world: World) -> None:
    world.add("acme/base", full(llama()))
    world.add("me/first", peft_files(lora(llama(), QV), "acme/base"))
    world.add("me/second", peft_files(ia3(llama(), ("k_proj",)), "me/first", "IA3"))
    world.add("me/misfit", peft_files(lora(wide(), QV), "me/first"))
    world.sync()
    assert world.edges() == {("me/first", "acme/base"), ("me/second", "me/first")}
    assert "me/first" in world.declared("me/misfit")[1] and world.declared("me/misfit")[0] == "contradicts"
    below = descendants(world.graph, world.graph.model("acme/base").hub_id)  # type: ignore[union-attr]
    assert {(relative.repo_id, relative.depth) for relative in below} == {("me/first", 1), ("me/second", 2)}


@pytest.mark.slow
def test_adapters_in_a_circle_are_one_line_each_and_stop_nothing(world: World) -> None:
    for place in range(12):
        world.add(
            f"me/ring{place}", peft_files(lora(llama(), QV), f"me/ring{(place + 1) % 3 if place < 3 else place - 1}")
        )
    world.add("me/itself", peft_files(lora(llama(), QV), "me/itself"))
    world.add("me/other", peft_files(lora(llama(), QV), "acme/base"))
    world.add("acme/base", full(llama()))
    world.sync()
    assert world.edges() == {("me/other", "acme/base")}
    assert "adapters in a circle: me/ring1 and me/ring2 and me/ring0" in world.reason("me/ring0")
    assert "more than 8 adapters lie upon one another" in world.reason("me/ring11")
    assert "\n" not in world.reason("me/itself")


@pytest.mark.slow
def test_adapters_in_folders_of_one_repository_are_models_of_their_own(world: World) -> None:
    world.add("acme/base", full(llama()))
    several = {}
    for name, targets in {"math": QV, "code": ("o_proj",)}.items():
        several |= {f"{name}/{file}": data for file, data in peft_files(lora(llama(), targets), None).items()}
    world.add("me/several", {"README.md": b"---\nbase_model: acme/base\n---\n", **several})
    beside = {f"lora/{file}": data for file, data in peft_files(lora(llama(), QV), "acme/base").items()}
    world.add("me/beside", full(llama(7)) | beside)
    on_the_way = {f"checkpoint-10/{f}": d for f, d in peft_files(lora(llama(), QV, 2), "acme/base").items()}
    world.add("me/trained", peft_files(lora(llama(), QV), "acme/base") | on_the_way)
    for _ in range(2):
        world.sync()
        assert world.edges() == {
            (name, "acme/base") for name in ("me/several/math", "me/several/code", "me/beside/lora", "me/trained")
        }
    assert world.graph.model("me/beside").status is Status.SKETCHED  # type: ignore[union-attr]


UNET = {f"down_blocks.{i}.attentions.0.{part}.weight": (48, 48) for i in range(2) for part in ("to_q", "to_k", "proj")}
TEXT = {
    f"text_model.encoder.layers.{i}.self_attn.{part}_proj.weight": (40, 40) for i in range(2) for part in "qkv"
}  # fmt: skip


def pipeline(seed: int) -> dict[str, bytes]:
    return {
        "model_index.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": save(start(seed, UNET)),
        "unet/config.json": b"{}",
        "text_encoder/model.safetensors": save(start(seed + 1, TEXT)),
        "text_encoder/config.json": b"{}",
    }


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("program", ["kohya", "diffusers"])
def test_an_adapter_of_a_pipeline_belongs_to_its_parts(
    world: World, program: str, on_disk: bool, tmp_path: Path
) -> None:
    write = kohya if program == "kohya" else diffusers
    unet, text = start(1, UNET), start(2, TEXT)
    names = ("unet", "te") if program == "kohya" else ("unet", "text_encoder")
    style = write(unet, names[0], ("to_q", "to_k")) | write(text, names[1], ("q_proj",))
    content = {
        "acme/sd": pipeline(1),
        "me/style": {"README.md": b"---\nbase_model: acme/sd\n---\n", "pytorch_lora_weights.safetensors": save(style)},
    }
    for name, files in content.items():
        for file, data in files.items():
            path = tmp_path / "disk" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        world.add(name, files)
    world.sync(tmp_path / "disk" if on_disk else None)
    parents = {parent.rpartition("acme/")[2] for _, parent in world.edges()}
    assert parents == {"sd/unet", "sd/text_encoder"}
    (child,) = {child for child, _ in world.edges()}
    assert world.declared(child)[0] == "agree"


def test_a_base_named_by_the_hash_of_its_file_is_found_whatever_it_is_called(world: World) -> None:
    unet = start(3, UNET)
    content = save(unet)
    world.add("someone/renamed", {"model.safetensors": content})
    world.add("someone/else", {"model.safetensors": save(start(4, UNET))})
    metadata = {"ss_sd_model_name": "v1-5-pruned.ckpt", "ss_new_sd_model_hash": hashlib.sha256(content).hexdigest()}
    world.add("me/style", {"style.safetensors": save(kohya(unet, "unet", ("to_q",)), metadata)})
    for _ in range(2):
        world.sync()
        assert world.edges() == {("me/style", "someone/renamed")}


@pytest.mark.slow
def test_dirt_costs_a_line_and_nothing_else(world: World, tmp_path: Path) -> None:
    long = json.dumps({"base_model_name_or_path": "acme/base", "target_modules": ["x" * 1000] * 50_000}).encode()
    assert len(long) > 50_000_000
    files = peft_files(lora(llama(), QV), "acme/base")
    folder = tmp_path / "disk"
    (folder / "acme" / "base").mkdir(parents=True)
    for name, data in full(llama()).items():
        (folder / "acme" / "base" / name).write_bytes(data)
    for name, data in {
        "long": files | {"adapter_config.json": long},
        "rank": rank_of_a_million(),
        "plain": files,
    }.items():
        (folder / "me" / name).mkdir(parents=True)
        for file, content in data.items():
            (folder / "me" / name / file).write_bytes(content)
    world.sync(folder)
    assert {Path(child).name for child, _ in world.edges()} == {"long", "plain"}
    (rank,) = [m.repo_id for m in world.graph.models() if m.repo_id.endswith("me/rank")]
    assert "a damaged adapter" in world.reason(rank) and "a rank of 1000000" in world.reason(rank)


@pytest.mark.slow
def test_an_enormous_configuration_on_the_hub_leaves_the_card(world: World) -> None:
    files = peft_files(lora(llama(), QV), "acme/base") | {"adapter_config.json": b" " * 50_000_000}
    world.add("acme/base", full(llama()))
    world.add("me/long", {"README.md": b"---\nbase_model: acme/base\n---\n", **files})
    world.sync()
    assert world.edges() == {("me/long", "acme/base")}


def rank_of_a_million() -> dict[str, bytes]:
    """Half precision, so that it is 64 MB: a rank that nobody trains."""
    halves = {"lora_A.weight": np.zeros((10**6, 8), np.float16), "lora_B.weight": np.zeros((8, 10**6), np.float16)}
    weights = {f"base_model.model.model.layers.0.self_attn.q_proj.{name}": values for name, values in halves.items()}
    return peft_files(weights, "acme/base", r=10**6)
