"""`lineage scan` and `lineage explain` as a person runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from safetensors.numpy import save, save_file

from tests.builders import Weights, start, three_generations, tune, write
from tests.cli.command import Command
from tests.cli.world import OTHER, World, adapter

pytestmark = pytest.mark.slow

TEXT, PROBABILITY = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}


def exactly(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def rows(**properties: object) -> dict[str, object]:
    return {"type": "array", "items": exactly(**properties)}


SCAN = {
    "type": "object",
    "required": ["models", "edges", "undecided", "unreadable"],
    "properties": {
        "models": rows(id=TEXT, model=TEXT, signature=TEXT, digest={"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        "edges": rows(
            child=TEXT,
            parent=TEXT,
            relation={"enum": ["FINE_TUNED_FROM", "QUANTIZED_FROM", "ADAPTER_OF", "MERGED_FROM", "COPY_OF"]},
            probability=PROBABILITY,
            decided_by={"type": "array", "items": TEXT, "minItems": 1},
            evidence={"type": "object", "minProperties": 1},
        ),
        "undecided": rows(child=TEXT, model=TEXT, candidates=rows(parent=TEXT, probability=PROBABILITY), reason=TEXT),
        "unreadable": rows(id=TEXT, model=TEXT, reason={"type": "string", "minLength": 1}),
    },
}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two families in folders, one model sharded, one a repository, and what is no model."""
    folder = tmp_path_factory.mktemp("zoo")
    models, _ = three_generations()
    write(folder / "mlp", {name: models[name] for name in ("a", "b", "c", "ba")})
    save_sharded(folder / "mlp" / "d", models["d"])
    save_file({name: v.astype(np.float16) for name, v in models["d"].items()}, folder / "mlp" / "half.safetensors")
    (folder / "other" / "stranger").mkdir(parents=True)
    save_file(start(5, OTHER), folder / "other" / "stranger" / "model.safetensors")
    (folder / "other" / "stranger" / "config.json").write_text("{}")
    (folder / "old").mkdir()
    (folder / "old" / "model.pkl").write_bytes(b"no pickle is ever opened")
    (folder / "broken.safetensors").write_bytes(b"\x00" * 40)
    (folder / "lora").mkdir()
    for name, content in adapter().items():
        (folder / "lora" / name).write_bytes(content)
    return folder


def save_sharded(folder: Path, weights: Weights) -> None:
    import json

    folder.mkdir(parents=True)
    names = sorted(weights)
    places = {name: f"model-{1 + (i % 2):05}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: weights[name] for name in names if places[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_scan_keeps_its_contract(offline: Command, zoo: Path, tmp_path: Path) -> None:
    done = offline("scan", zoo, "--json")
    assert done.code == 0 and done.stderr == "", "no progress where there is no terminal"
    Draft202012Validator(SCAN).validate(done.json)
    found = done.json
    assert {model["id"] for model in found["models"]} == {
        "mlp/a", "mlp/b", "mlp/c", "mlp/ba", "mlp/d", "mlp/half", "other/stranger", "lora",
    }  # fmt: skip
    told = {edge["child"] for edge in found["edges"]} | {row["child"] for row in found["undecided"]}
    told |= {row["model"] for row in (*found["roots"], *found["no_relatives"])}
    assert [row["model"] for row in found["no_relatives"]] == ["other/stranger"]
    assert told == {model["id"] for model in found["models"]}, "every model is told about once"
    edges = {(edge["child"], edge["relation"]): edge for edge in found["edges"]}
    assert edges["mlp/half", "QUANTIZED_FROM"]["parent"] == "mlp/d"
    assert edges["mlp/b", "FINE_TUNED_FROM"]["parent"] == "mlp/a"
    assert {entry["id"] for entry in found["unreadable"]} == {"old", "broken"}
    assert {row["child"] for row in found["undecided"]} == {"lora"}, "its base, acme/a, is not in the folder"
    assert len({m["signature"] for m in found["models"]}) == 3
    assert not (tmp_path / "store").exists()


def test_a_scan_prints_trees(offline: Command, zoo: Path) -> None:
    lines = offline("scan", zoo).stdout.splitlines()
    assert lines[0].startswith("mlp/a   (root: ") and any("── mlp/half   cast, >0.99" in line for line in lines)
    assert any(line.startswith("old   (not read: only pickle") for line in lines)
    assert lines[-1].startswith("8 models, ") and lines[-1].endswith(", 2 not readable")


def test_a_scan_of_one_file_or_one_family(offline: Command, zoo: Path) -> None:
    one = offline("scan", zoo / "mlp" / "a.safetensors", "--json")
    assert one.code == 0 and [model["id"] for model in one.json["models"]] == ["a"]
    sharded = offline("scan", zoo / "mlp" / "d", "--json")
    assert [model["id"] for model in sharded.json["models"]] == ["."]


def test_the_threshold_decides_what_is_asserted(offline: Command, zoo: Path) -> None:
    def asserted(*more: str) -> dict[str, float]:
        return {
            edge["child"]: edge["probability"] for edge in offline("scan", zoo / "mlp", "--json", *more).json["edges"]
        }

    usual = asserted()
    threshold = (min(usual.values()) + max(usual.values())) / 2
    strict = asserted("--threshold", str(threshold))
    assert strict.keys() < usual.keys(), "some lie below it"
    assert strict == {child: p for child, p in usual.items() if p >= threshold}


def test_two_folders_are_explained_without_any_store(offline: Command, zoo: Path, tmp_path: Path) -> None:
    done = offline("explain", zoo / "mlp" / "d", zoo / "mlp" / "a.safetensors", "--json")
    assert done.code == 3 and done.stderr == "", "two models alone cannot tell a parent from a sibling"
    found = done.json
    assert found["verdict"]["answer"] == "undecided"
    assert (found["child"], found["parent"]) == (str(zoo / "mlp" / "d"), str(zoo / "mlp" / "a.safetensors"))
    assert found["pair"]["growth_z"] > 3 and 0 < found["pair"]["relative_distance"] < 1
    assert {layer["name"] for layer in found["layers"]} == set(three_generations()[0]["a"])
    assert found["models_weighed"] == 2 and not (tmp_path / "store").exists()
    backwards = offline("explain", zoo / "mlp" / "a.safetensors", zoo / "mlp" / "d", "--json").json
    assert backwards["pair"]["growth_z"] == pytest.approx(-found["pair"]["growth_z"])
    assert backwards["is_parent"] is False


def test_the_verdict_comes_first(world: World) -> None:
    done = world.lineage("explain", "acme/b", "acme/a")
    lines = done.stdout.splitlines()
    assert done.code == 0 and lines[0].startswith("acme/b was fine-tuned from acme/a (probability ")
    assert any(line.startswith("  growth    z = +") for line in lines)
    assert any(line.split()[:1] == ["layers.0.weight"] for line in lines) and "  acme/a " in done.stdout
    assert world.hub.repo("acme/a").hub_id not in done.stdout and not world.hub.log()
    other = world.lineage("explain", "acme/b", "acme/d").stdout.splitlines()[0]
    assert other.startswith("acme/d is not the parent: acme/b was fine-tuned from acme/a (probability ")
    found = world.lineage("explain", "acme/b", "acme/d", "--json").json
    assert found["is_parent"] is False and found["verdict"]["parent"] == "acme/a" and found["declared"] == ["acme/a"]
    assert found["background"][0]["related"] >= found["background"][-1]["related"]


def test_what_a_parent_had_learned_itself_is_shown_in_its_child_and_drawn(
    offline: Command, zoo: Path, tmp_path: Path
) -> None:
    mlp, picture = zoo / "mlp", tmp_path / "evidence.png"
    done = offline(
        "explain", mlp / "ba.safetensors", mlp / "b.safetensors", "--among", mlp, "--plot", picture, "--json"
    )
    found = done.json
    assert done.code == 0 and found["is_parent"] and found["inherited_since"] == "a"
    slopes = [layer["inheritance_slope"] for layer in found["layers"]]
    assert all(0.5 < slope < 1.5 for slope in slopes), slopes
    grown = [layer for layer in found["layers"] if layer["growth_gamma"] is not None]
    assert grown and all(
        abs(g["growth_gamma"] / g["growth_error"] - abs(g["growth_z"])) < 0.1 or g["growth_z"] < 0 for g in grown
    )
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


def test_a_picture_of_no_known_kind_is_refused_in_one_line(offline: Command, zoo: Path, tmp_path: Path) -> None:
    done = offline("explain", zoo / "mlp" / "d", zoo / "mlp" / "a.safetensors", "--plot", tmp_path / "evidence.txt")
    assert done.code == 1 and "cannot draw a .txt" in done.stderr and "png" in done.stderr


def test_never_crawled_models_are_explained_beside_the_known_ones(own_world: World) -> None:
    own_world.hub.add_repo("new/child", {"model.safetensors": save(tune(own_world.models["c"], 5))})
    try:
        done = own_world.lineage("explain", "new/child", "acme/c", "--json")
    finally:
        own_world.hub.delete("new/child")
    assert done.code == 0 and done.json["models_weighed"] > 5
    assert done.json["background"][0]["related"] > 0.5


def test_what_cannot_be_compared_is_not_explained(world: World, tmp_path: Path) -> None:
    done = world.lineage("explain", "acme/a", "acme/stranger")
    assert (done.code, done.stdout) == (3, "") and "no backbone in common" in done.stderr
    done = world.lineage("explain", "acme/adapter", "acme/a")
    assert done.code == 0 and "acme/adapter is an adapter of acme/a" in done.stdout, done.stderr
    done = world.lineage("explain", "acme/a", "acme/adapter")
    assert (done.code, done.stdout) == (3, "") and "acme/adapter is an adapter" in done.stderr
    done = world.lineage("explain", "acme/a", "ACME/A")
    assert (done.code, done.stdout) == (2, "") and "one and the same model" in done.stderr
